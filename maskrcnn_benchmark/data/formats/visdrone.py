"""VisDrone's labels of images from drones: a text file an image, a line an object: left, top, width and height in pixels,
whether it counts, its class, and how far it is cut off and hidden, with commas between."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from maskrcnn_benchmark.data.formats.content import Content, single
from maskrcnn_benchmark.data.formats.text_labels import holds_labels, images_beside, label_folder, labelled_images
from maskrcnn_benchmark.utils.wording import counted

FOLDERS = ("annotations",)
# By number, from 1; 0 are regions to ignore and 11 other objects.
CLASSES = (*("pedestrian", "people", "bicycle", "car", "van", "truck", "tricycle", "awning-tricycle", "bus", "motor"),)
COLUMNS = 8


def recognises(path: Path) -> bool:
    """Whether this is a folder of such labels, or with such a folder in it."""
    return holds_labels(path, FOLDERS, lambda line: _numbers(line) is not None)


def _numbers(line: str) -> list[float] | None:
    cells = line.rstrip(", ").split(",")
    try:
        values = [float(cell) for cell in cells]
    except ValueError:
        return None
    return values if len(values) == COLUMNS and all(map(math.isfinite, values)) else None


def read(path: str, images: str = "", split: str = "", classes: Sequence[str] = ()) -> Content:
    """A set from a folder of label files, or from the folder that holds annotations and images.

    Args:
        images: folder of the images; by default images/ beside that of the labels.
        split: not known to this form.
        classes: other names for the ten classes, in their order.

    Raises FileNotFoundError or ValueError with file and line.
    """
    if split:
        raise ValueError(
            f"VisDrone's labels have no splits; leave SPLIT {split!r} out and name the folder of the split."
        )
    folder = label_folder(Path(path), FOLDERS, lambda line: _numbers(line) is not None)
    if folder is None:
        raise ValueError(f"{path} holds no labels of VisDrone: lines of eight numbers with commas between.")
    if classes and len(classes) != len(CLASSES):
        raise ValueError(
            f"VisDrone has {counted(len(CLASSES), 'class', 'classes')}; got the names {', '.join(classes)}."
        )
    content = Content(str(images_beside(folder, images)))
    content.name_classes(classes or CLASSES)
    for image, lines in labelled_images(content, folder):
        for line, where in lines:
            with single():
                _add_line(content, image, line, where)
    return content


def _add_line(content: Content, image: dict, line: str, where: str) -> None:
    values = _numbers(line)
    if values is None or values[5] not in range(len(CLASSES) + 2):
        raise ValueError(f"{where}: a line is eight numbers, the sixth a class from 0 to 11; got {line[:80]!r}.")
    left, top, width, height, counts, label, *_ = values
    if not counts or label not in range(1, len(CLASSES) + 1):
        content.notes.add("regions to ignore and other objects, which have no class here", where)
        return
    inside = (max(left, 0.0), max(top, 0.0), min(left + width, image["width"]), min(top + height, image["height"]))
    if inside[2] <= inside[0] or inside[3] <= inside[1]:
        content.notes.add("boxes of no size, left out", where)
        return
    is_cut = inside != (left, top, left + width, top + height)
    content.notes.add("boxes that leave the image, cut at its border", where, is_cut)
    content.add(image, int(label), (inside[0], inside[1], inside[2] - inside[0], inside[3] - inside[1]))
