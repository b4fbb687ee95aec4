"""Files that are whole or not there."""

import json
import os
from collections.abc import Callable
from typing import IO, Any


def write_atomically(path: str, write: Callable[[IO[bytes]], Any]) -> None:
    """Let `write` fill a file that appears under its name only when it is complete and on the disk."""
    partial = f"{path}.partial"
    try:
        with open(partial, "wb") as f:
            write(f)
            f.flush()
            os.fsync(f.fileno())
        os.replace(partial, path)
    except BaseException:
        if os.path.exists(partial):
            os.remove(partial)
        raise


def write_text(path: str, text: str) -> None:
    write_atomically(path, lambda f: f.write(text.encode()))


def write_json(path: str, content: Any) -> None:
    write_text(path, json.dumps(content))
