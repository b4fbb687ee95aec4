"""Fingerprint of the native sources. Standard library only: setup.py runs this file before the package exists."""

from __future__ import annotations

import hashlib
from pathlib import Path

SUFFIXES = {".cpp", ".cu", ".cuh", ".h"}


def source_hash(csrc: Path) -> str:
    """Hash of the names and contents of every source below `csrc`, as 16 hexadecimal digits."""
    digest = hashlib.sha256()
    for path in sorted(csrc.rglob("*")):
        if path.suffix in SUFFIXES:
            digest.update(path.relative_to(csrc).as_posix().encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]
