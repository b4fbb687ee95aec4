"""Annotations of any form as a file in COCO's format, for what reads such files."""

from __future__ import annotations

import functools
import hashlib
import json
import logging
import os
import tempfile
from collections.abc import Sequence
from typing import Any

from maskrcnn_benchmark.data import formats
from maskrcnn_benchmark.data.datasets.converted import note_source
from maskrcnn_benchmark.utils.distributed import is_main_process
from maskrcnn_benchmark.utils.files import write_atomically


@functools.lru_cache(maxsize=64)
def as_coco_file(
    path: str, form: str, images: str, split: str, classes: Sequence[str], options: tuple[tuple[str, Any], ...] = ()
) -> tuple[str, str]:
    """The annotations of `formats.read`, in COCO's format: (path of the file, folder of the images).

    The file lies among the system's temporary ones, under a name that its content decides: every process of a run makes or
    finds the same. What did not fit is logged, once.
    """
    content = formats.read(path, form, images, split, classes, **dict(options))
    content.check_images(path)
    if is_main_process():
        for sentence in content.notes.sentences():
            logging.getLogger(__name__).warning("%s: %s", path, sentence)
    encoded = json.dumps(content.as_coco()).encode()
    digest = hashlib.blake2b(encoded, digest_size=12).hexdigest()
    folder = os.path.join(tempfile.gettempdir(), f"maskrcnn_benchmark-{os.getuid()}")
    os.makedirs(folder, mode=0o700, exist_ok=True)
    file = os.path.join(folder, f"{digest}.json")
    note_source(file, path)
    if not os.path.isfile(file) or os.path.getsize(file) != len(encoded):
        write_atomically(file, lambda f: f.write(encoded))
    return file, content.root
