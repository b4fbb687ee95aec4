"""An end to processes that wait for ever."""

import faulthandler
import os
import sys
import threading
import time
from typing import Any

from maskrcnn_benchmark.utils import distributed

EXIT_STATUS = 75  # of a process that hung: "temporary failure", worth starting again


class HangWatch:
    """Ends the process when nothing has happened in it for a while, and says where it was.

    A collective call for which another process does not come waits for ever, or until its own much less telling time-out;
    so does a read from a dead file server. torchrun then ends, or with --max-restarts starts again, all of them.

    Args:
        timeout_s: seconds without a sign of life; 0 for no limit.
    """

    def __init__(self, timeout_s: float):
        self.timeout_s = timeout_s
        self._ended = threading.Event()
        self._where = ""
        self._since: float | None = None

    def __enter__(self) -> "HangWatch":
        if self.timeout_s > 0:
            threading.Thread(target=self._watch, name="hang watch", daemon=True).start()
        return self

    def __exit__(self, *exc: Any) -> None:
        self._ended.set()

    def beat(self, where: str) -> None:
        """A sign of life: the process now enters `where`, in words."""
        self._where, self._since = where, time.monotonic()

    def pause(self) -> None:
        """What follows may take as long as it wants."""
        self._since = None

    def _watch(self) -> None:
        while not self._ended.wait(min(self.timeout_s / 10, 5.0)):
            since = self._since
            if since is not None and time.monotonic() - since > self.timeout_s:
                self._end()

    def _end(self) -> None:
        sys.stderr.write(
            f"error: rank {distributed.get_rank()} has made no progress for {self.timeout_s:g} s (TIMEOUT) in {self._where}. The "
            "process ends; the same command goes on from the last checkpoint. Its threads were here:\n"
        )
        faulthandler.dump_traceback(file=sys.stderr)
        sys.stderr.flush()
        os._exit(EXIT_STATUS)
