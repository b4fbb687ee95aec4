"""What this package wants of a checkpointer, also of a fork's own, which knows maskrcnn-benchmark's methods alone."""

import inspect
from typing import Any

from maskrcnn_benchmark.checkpoint.checkpointer import Checkpointer


def load(checkpointer: Any, f: str | None, use_latest: bool = True, averaged: bool = False) -> dict[str, Any]:
    """`Checkpointer.load`. One that has no `use_latest` (before 2019-05) always prefers the last checkpoint of its folder."""
    if isinstance(checkpointer, Checkpointer):
        return checkpointer.load(f, use_latest=use_latest, averaged=averaged)
    if "use_latest" in inspect.signature(checkpointer.load).parameters:
        return checkpointer.load(f, use_latest=use_latest)
    return checkpointer.load(f)


def save_aside(checkpointer: Any, name: str, **values: Any) -> None:
    """Save a checkpoint from which a resumed run does not start: the best model, or one that ended badly."""
    if isinstance(checkpointer, Checkpointer):
        checkpointer.save(name, tag=False, **values)
        return
    last = checkpointer.get_checkpoint_file() if checkpointer.has_checkpoint() else None
    checkpointer.save(name, **values)
    if last and getattr(checkpointer, "save_dir", "") and getattr(checkpointer, "save_to_disk", True):
        checkpointer.tag_last_checkpoint(last)
