"""Files that are whole or not there."""

import contextlib
import json
import os
import uuid
from collections.abc import Callable, Iterator
from typing import IO, Any


@contextlib.contextmanager
def whole_file(path: str, mode: str = "wb", shared: bool = False) -> Iterator[IO[Any]]:
    """An open file that appears as `path` at the end of the block, complete and on the disk; after an error there is none, or
    the one of before.

    Args:
        mode: "wb", or "w" for text in UTF-8.
        shared: several processes may write this file at a time; the last one counts.
    """
    partial = f"{path}.{uuid.uuid4().hex}.partial" if shared else f"{path}.partial"
    try:
        with open(partial, mode, encoding=None if "b" in mode else "utf-8") as f:
            yield f
            f.flush()
            os.fsync(f.fileno())
        os.replace(partial, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.remove(partial)
        raise


def write_atomically(path: str, write: Callable[[IO[bytes]], Any]) -> None:
    """Let `write` fill a `whole_file`."""
    with whole_file(path) as f:
        write(f)


def write_text(path: str, text: str) -> None:
    write_atomically(path, lambda f: f.write(text.encode()))


def write_json(path: str, content: Any) -> None:
    write_text(path, json.dumps(content))
