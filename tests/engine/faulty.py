"""Trainings in which something goes wrong, as programs of their own: python -m tests.engine.faulty WHAT FOLDER."""

import os
import random
import signal
import sys
import time
from pathlib import Path

import torch

from maskrcnn_benchmark.engine import run as engine_run
from maskrcnn_benchmark.engine.command_line import command_line
from maskrcnn_benchmark.utils import distributed as comm
from tests.support.fakes import Loader, Run

ITERATIONS, PERIOD = 300, 10


def resume(folder: Path, iterations: int = ITERATIONS, seed: int = 0, loader=Loader, **keys) -> None:
    """Go on from the last checkpoint, if there is one, to the end; in several processes each has data of its own."""
    run = Run(folder, iterations, SOLVER__LOG_PERIOD=5, SOLVER__CHECKPOINTS_KEPT=3, **keys)
    arguments = {"iteration": 0, **run.checkpointer.load()}
    device = torch.device("cpu")
    wrapped = engine_run.distribute(run.model, device) if comm.get_world_size() > 1 else run.model
    run.train(loader(iterations, arguments["iteration"], seed=seed), wrapped, PERIOD, arguments=arguments)


def killed(folder: Path) -> None:
    """Kill trainings with SIGKILL at random moments until one of them gets to the end. Prints how many it took.

    They live no longer than it takes to get on: a little longer each time that there was no new checkpoint.
    """
    rng, kills, longest, last = random.Random(0), 0, 0.02, ""
    tag = folder / "last_checkpoint"
    while True:
        before, last = last, tag.read_text() if tag.exists() else ""
        longest *= 1.2 if last == before else 1.0
        child = os.fork()
        if child == 0:
            resume(folder)
            os._exit(0)
        deadline = time.monotonic() + rng.uniform(0, longest)
        while True:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                assert status == 0, status
                print(kills)
                return
            if time.monotonic() > deadline:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                kills += 1
                break
            time.sleep(0.001)


class Dying(Loader):
    """Kills process 1 before its 25th batch, the first time that torchrun starts it."""

    def __iter__(self):
        for i, batch in enumerate(super().__iter__(), start=self.start + 1):
            if i == 25 and comm.get_rank() == 1 and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
                os.kill(os.getpid(), signal.SIGKILL)
            yield batch


class Stuck(Loader):
    """Process 1 waits for ever for its third batch."""

    def __iter__(self):
        for i, batch in enumerate(super().__iter__(), start=1):
            if i == 3 and comm.get_rank() == 1:
                time.sleep(1000)
            yield batch


if __name__ == "__main__":
    torch.set_num_threads(1)
    what, folder = sys.argv[1], Path(sys.argv[2])
    if what == "killed":
        killed(folder)
    else:
        comm.init_from_environment("cpu")
        with command_line():
            if what == "one rank dies":
                resume(folder, 40, seed=comm.get_rank(), loader=Dying)
            elif what == "one rank hangs":
                resume(folder, 40, seed=comm.get_rank(), loader=Stuck, TIMEOUT=4)
