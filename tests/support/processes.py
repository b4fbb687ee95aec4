"""Functions run in several processes that talk through gloo."""

import os
import pickle
import socket
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.multiprocessing

from maskrcnn_benchmark.utils import distributed as comm


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _enter(rank: int, folder: str, processes: int, port: int, function: Callable, args: tuple) -> None:
    """What torchrun would do, then `function`."""
    names = {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": processes, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    os.environ.update({name: str(value) for name, value in names.items()})
    torch.set_num_threads(1)
    comm.init_from_environment("cpu", timeout_s=60)
    try:
        result = function(*args)
    finally:
        comm.shut_down()
    Path(folder, str(rank)).write_bytes(pickle.dumps(result))


def run_in_processes(function: Callable, *args: Any, processes: int = 2, timeout_s: float = 120) -> list:
    """What `function(*args)` returns in each process, by rank.

    An exception in one of them is raised here; processes that are not done after `timeout_s` are killed.
    """
    with tempfile.TemporaryDirectory() as folder:
        started = torch.multiprocessing.start_processes(
            _enter,
            args=(folder, processes, free_port(), function, args),
            nprocs=processes,
            join=False,
            start_method="spawn",
        )
        deadline = time.monotonic() + timeout_s
        while not started.join(timeout=1):
            if time.monotonic() > deadline:
                for process in started.processes:
                    process.kill()
                raise TimeoutError(f"{function.__name__} was not done in {processes} processes after {timeout_s} s.")
        return [pickle.loads(Path(folder, str(rank)).read_bytes()) for rank in range(processes)]
