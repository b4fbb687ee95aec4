"""Checkpoints of a training that goes on where one cannot be written."""

import logging
import shutil
import tempfile
import time
from typing import Any

from maskrcnn_benchmark.checkpoint import forks
from maskrcnn_benchmark.utils.files import UnwritableError

logger = logging.getLogger("maskrcnn_benchmark.trainer")

LAST_TRIES_S, LAST_PAUSE_S = 120, 10


def why_not_written(error: Exception) -> OSError | None:
    """The error as one of the disk, if it is: torch's writer of files, which a fork's checkpointer may call with a path, raises
    RuntimeErrors of its own."""
    if isinstance(error, UnwritableError):
        return OSError(f"{error.filename}: {error.strerror}")  # what to do is said here
    if isinstance(error, OSError):
        return error
    said = str(error)
    is_of_writer = isinstance(error, RuntimeError) and any(
        word in said for word in ("unexpected pos", "PytorchStreamWriter", "file write failed", "inline_container")
    )
    return OSError(said.splitlines()[0]) if is_of_writer else None


class Saver:
    """Numbered checkpoints; one that could not be written, for example on a full disk, is tried again until it can be."""

    def __init__(self, checkpointer: Any, period: int):
        self.checkpointer, self.period = checkpointer, period
        self.is_owed = False

    def is_due(self, iteration: int) -> bool:
        return self.period > 0 and iteration % self.period == 0

    def save(self, iteration: int, arguments: dict[str, Any]) -> None:
        try:
            self.checkpointer.save(f"model_{iteration:07d}", **arguments)
            self.is_owed = False
        except Exception as error:
            reason = why_not_written(error)
            if reason is None:
                raise
            self.is_owed = True
            logger.error(
                "The checkpoint of iteration %d could not be written (%s). Training goes on and tries again with the next "
                "progress line; until then the checkpoint before it is the last.",
                iteration,
                reason,
            )

    def save_last(self, name: str, arguments: dict[str, Any]) -> None:
        """The one that a training ends with. What it holds is nowhere else, so where it cannot be written it goes to the system's
        folder for temporary files, and if there is no room either, there is some time to make it.

        Raises OSError with a sentence unless it is where it belongs.
        """
        end = time.monotonic() + LAST_TRIES_S
        while True:
            try:
                self.checkpointer.save(name, **arguments)
                return
            except Exception as error:
                reason = why_not_written(error)
                if reason is None:
                    raise
                said = f"The last checkpoint, {name}.pth, could not be written ({reason})."
                place = self._save_elsewhere(name, arguments)
                if place:
                    raise OSError(
                        f"{said} It is in {place} instead: make room, and move the files there into OUTPUT_DIR."
                    ) from error
                if time.monotonic() >= end:
                    raise OSError(
                        f"{said} Make room and start the same command again: it goes on from the last checkpoint that there is. "
                        "What was trained since then is lost."
                    ) from error
            logger.error(
                "%s Make room: it is tried again every %d s, for %d more.",
                said,
                LAST_PAUSE_S,
                end - time.monotonic(),
            )
            time.sleep(LAST_PAUSE_S)

    def _save_elsewhere(self, name: str, arguments: dict[str, Any]) -> str:
        """Write a checkpoint to a new folder for temporary files; returns its path, empty if that cannot be either."""
        before = getattr(self.checkpointer, "save_dir", "")
        place = ""
        try:
            place = self.checkpointer.save_dir = tempfile.mkdtemp(prefix=f"{name}_")
            self.checkpointer.save(name, **arguments)
            return place
        except Exception as error:
            if why_not_written(error) is None:
                raise
            shutil.rmtree(place, ignore_errors=True)
            return ""
        finally:
            self.checkpointer.save_dir = before

    def save_aside(self, name: str, arguments: dict[str, Any]) -> bool:
        """One from which no run goes on; returns whether it could be written."""
        try:
            forks.save_aside(self.checkpointer, name, **arguments)
        except Exception as error:
            reason = why_not_written(error)
            if reason is None:
                raise
            logger.error("%s.pth could not be written (%s). Training goes on without it.", name, reason)
            return False
        return True
