"""The images of each iteration."""

import logging
import signal
import threading
from collections.abc import Iterator
from typing import Any

from maskrcnn_benchmark.utils.wording import counted


class LoaderDiedError(OSError):
    """The processes that load images were killed more often than `Batches.RESTARTS`."""


class Batches:
    """Yields lists of `accumulate` batches, one list an iteration, from a loader that may lose its processes.

    What a loader yields depends on the iteration alone, so one that died is started again where it was.

    Args:
        loader: to be started again it needs a `batch_sampler` with the attribute `start_iter`, as ours have.
        start: batches that were taken from it before.
    """

    RESTARTS = 3

    def __init__(self, loader: Any, start: int, accumulate: int = 1):
        self.loader, self.taken, self.accumulate = loader, start, accumulate
        self.deaths = 0

    def __iter__(self) -> Iterator[list[tuple]]:
        batches = self._start()
        group: list[tuple] = []
        while True:
            try:
                batch = next(batches)
            except StopIteration:
                return
            except RuntimeError as error:
                if "DataLoader worker" not in str(error):
                    raise
                self._restart(error)
                batches = self._start()
                continue
            self.taken += 1
            group.append(batch)
            if len(group) == self.accumulate:
                yield group
                group = []

    def _start(self) -> Iterator[tuple]:
        batches = iter(self.loader)
        if threading.current_thread() is threading.main_thread():
            # torch's handler would raise in the middle of whatever this process does when one of the loader's dies; the
            # loader notices by itself, when it is asked for the next batch.
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        return batches

    def _restart(self, error: RuntimeError) -> None:
        self.deaths += 1
        reason = str(error).splitlines()[0]
        if self.deaths > self.RESTARTS or not hasattr(getattr(self.loader, "batch_sampler", None), "start_iter"):
            raise LoaderDiedError(
                f"Processes that load images died {counted(self.deaths, 'time')}; the last time: {reason} "
                "Most often the system killed "
                "them for lack of memory, or /dev/shm was full: lower DATALOADER.NUM_WORKERS, or give a container more of it "
                "(docker run --ipc=host)."
            ) from None
        logging.getLogger("maskrcnn_benchmark.trainer").warning(
            "%s Loading starts again where it was (time %d of %d).", reason, self.deaths, self.RESTARTS
        )
        self.loader.batch_sampler.start_iter = self.taken
