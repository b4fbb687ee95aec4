"""Checkpoints of a training that goes on where one cannot be written."""

import logging
from typing import Any

from maskrcnn_benchmark.checkpoint import forks

logger = logging.getLogger("maskrcnn_benchmark.trainer")


def why_not_written(error: Exception) -> OSError | None:
    """The error as one of the disk, if it is: torch's writer of files, which a fork's checkpointer may call with a path, raises
    RuntimeErrors of its own."""
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
        """The one that a training ends with. Raises OSError with a sentence where it cannot be written."""
        try:
            self.checkpointer.save(name, **arguments)
        except Exception as error:
            reason = why_not_written(error)
            if reason is None:
                raise
            raise OSError(
                f"The last checkpoint, {name}.pth, could not be written ({reason}). Make room and start the same command again: "
                "it goes on from the last checkpoint that there is."
            ) from error

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
