"""Forms that annotations come in: a module for each, with `read`, `write` and `recognises`.

A form of one's own is such a module, or any object with these, and one line: `FORMATS.register("name", form)`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from maskrcnn_benchmark.config.node import ConfigError
from maskrcnn_benchmark.data.formats import coco, labelme, table, via, voc, yolo
from maskrcnn_benchmark.data.formats.content import Content, Notes
from maskrcnn_benchmark.utils.registry import Registry

__all__ = ["FORMATS", "Content", "Notes", "form_of", "read", "write"]

# The order is that in which they are tried on a file without a named form.
FORMATS = Registry({"coco": coco, "lvis": coco, "via": via, "labelme": labelme, "csv": table, "voc": voc, "yolo": yolo})


def form_of(path: str) -> str:
    """The name of the form that a file or folder is in. Raises FileNotFoundError or ValueError naming the known ones."""
    place = Path(path)
    if not place.exists():
        raise FileNotFoundError(f"There is no {path}.")
    for name, form in FORMATS.items():
        if form.recognises(place):
            return name
    raise ValueError(
        f"{path} is in none of the known forms: {', '.join(FORMATS)}. Expected is a COCO, LVIS or VIA file (.json), a folder of "
        "LabelMe's .json or VOC's .xml files, a table (.csv), or for YOLO a data.yaml, a list of images (.txt) or a folder with "
        "images and labels."
    )


def read(
    path: str, form: str = "", images: str = "", split: str = "", classes: Sequence[str] = (), **options: Any
) -> Content:
    """The annotations of a file or folder.

    Args:
        form: a name in FORMATS; by default the one that the file is in.
        images: folder of the images, where they do not lie where the form has them.
        split: of a form that holds several.
        classes: names in the order of their labels, where the form does not say them or others are wanted.
        options: what the form's `read` takes beside these.

    Raises FileNotFoundError or ValueError with a sentence.
    """
    if form and form not in FORMATS:
        raise ConfigError(f"There is no form {form!r} of annotations; known are {', '.join(FORMATS)}.")
    if images and not Path(images).is_dir():
        raise FileNotFoundError(f"There is no image folder {images!r}, which {path} belongs to.")
    return FORMATS[form or form_of(path)].read(path, images, split, classes, **options)


def write(content: Content, form: str, out: str) -> None:
    """Write annotations in a form; what it cannot hold is added to `content.notes`."""
    FORMATS[form].write(content, out)
