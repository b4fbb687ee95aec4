"""Talking between the processes of a run. Nothing else in the package touches torch.distributed or ranks."""

import datetime
import os
import time
import uuid
from collections.abc import Iterable
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

_host_group: Any = None  # objects travel between hosts' memories, whatever the devices use


def _active() -> bool:
    return dist.is_available() and dist.is_initialized()


def init_from_environment(device: str, timeout_s: float = 1800.0) -> torch.device:
    """Join the processes that torchrun started, if it did, and return this process's device.

    Args:
        device: "cpu", "cuda" or "cuda:N"; with several processes on a machine, "cuda" means one device each.
    """
    global _host_group
    local_rank = int(os.environ.get("LOCAL_RANK", 0))
    if device == "cuda" and torch.cuda.is_available():
        torch.cuda.set_device(local_rank)
    if int(os.environ.get("WORLD_SIZE", 1)) > 1 and not _active():
        timeout = datetime.timedelta(seconds=timeout_s)
        store, rank, world_size = _store_of_this_start(timeout)
        backend = "gloo" if device == "cpu" else "nccl"
        dist.init_process_group(backend, store=store, rank=rank, world_size=world_size, timeout=timeout)
        _host_group = dist.group.WORLD if device == "cpu" else dist.new_group(backend="gloo", timeout=timeout)
    return torch.device(f"cuda:{local_rank}" if device == "cuda" else device)


def _store_of_this_start(timeout: datetime.timedelta) -> tuple[Any, int, int]:
    """The key-value store through which the processes find each other, this one's rank, and how many there are.

    torchrun keeps one store when it starts processes again (pytorch issue 135712), and what earlier ones left in it would be
    taken for these ones'. So the processes first agree on a prefix that nobody has used: each greets process 0 under a name
    that it has just drawn, process 0 answers to that name with its own, and waits for its own to come back.
    """
    store, rank, world_size = next(dist.rendezvous("env://", timeout=timeout))
    name = uuid.uuid4().hex
    if rank > 0:
        store.set(f"greeting/{rank}", name)
        prefix = store.get(f"answer/{name}").decode()
        store.set(f"received/{prefix}/{rank}", "")
        return dist.PrefixStore(prefix, store), rank, world_size
    missing, deadline = set(range(1, world_size)), time.monotonic() + timeout.total_seconds()
    while missing:
        for other in sorted(missing):
            if store.check([f"greeting/{other}"]):  # perhaps an earlier start's, until the new one is there
                store.set(f"answer/{store.get(f'greeting/{other}').decode()}", name)
            if store.check([f"received/{name}/{other}"]):
                missing.discard(other)
        if time.monotonic() > deadline:
            raise TimeoutError(
                f"Of {world_size} processes rank {', '.join(map(str, sorted(missing)))} did not come within "
                f"{timeout.total_seconds():g} s."
            )
        time.sleep(0.01)
    return dist.PrefixStore(name, store), rank, world_size


def take_gpu() -> None:
    """Let "cuda" mean this process's own device, for a group that talks through host memory alone."""
    if torch.cuda.is_available():
        torch.cuda.set_device(get_local_rank() % torch.cuda.device_count())


def shut_down() -> None:
    """Leave the group of processes, if there is one."""
    global _host_group
    _host_group = None
    if _active():
        dist.destroy_process_group()


def get_world_size() -> int:
    return dist.get_world_size() if _active() else 1


def get_rank() -> int:
    return dist.get_rank() if _active() else 0


def get_local_rank() -> int:
    return int(os.environ.get("LOCAL_RANK", 0))


def is_main_process() -> bool:
    return get_rank() == 0


def synchronize() -> None:
    """Wait for all processes."""
    if get_world_size() > 1:
        dist.barrier(group=_host_group)


def all_gather(data: Any) -> list:
    """Every process's object (anything that pickles), by rank, through host memory."""
    if get_world_size() == 1:
        return [data]
    gathered: list = [None] * get_world_size()
    dist.all_gather_object(gathered, data, group=_host_group)
    return gathered


def gather(data: Any) -> list | None:
    """Every process's object, by rank, on the main process; None on the others."""
    if get_world_size() == 1:
        return [data]
    gathered: list | None = [None] * get_world_size() if is_main_process() else None
    dist.gather_object(data, gathered, dst=0, group=_host_group)
    return gathered


def broadcast_object(data: Any) -> Any:
    """The main process's object, on every process."""
    if get_world_size() == 1:
        return data
    box = [data]
    dist.broadcast_object_list(box, src=0, group=_host_group)
    return box[0]


def broadcast_tensors(tensors: Iterable[Tensor]) -> None:
    """Replace tensors by the main process's, in place."""
    if get_world_size() > 1:
        for tensor in tensors:
            dist.broadcast(tensor, src=0)


def all_reduce_max(value: Tensor) -> Tensor:
    """The largest value of any process, in place."""
    if get_world_size() > 1:
        dist.all_reduce(value, op=dist.ReduceOp.MAX)
    return value


def reduce_dict(input_dict: dict[str, Tensor], average: bool = True) -> dict[str, Tensor]:
    """The sum, or the mean, over all processes of scalar tensors with the same names; meaningful on the main process."""
    if get_world_size() == 1:
        return input_dict
    with torch.no_grad():
        names = sorted(input_dict)
        values = torch.stack([input_dict[name] for name in names])
        dist.reduce(values, dst=0)
        if average:
            values = values / get_world_size()
    return dict(zip(names, values, strict=True))
