"""DOTA's labels of aerial images: a text file an image, a line an object: four corners in pixels, a class, and whether it is
difficult. Lines such as "gsd:0.15" before them say other things."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from maskrcnn_benchmark.data.formats.content import Content, box_of_polygons, clip_polygon, single
from maskrcnn_benchmark.data.formats.text_labels import holds_labels, images_beside, label_folder, labelled_images

FOLDERS = ("labelTxt*", "annfiles", "labels")
HEADERS = ("imagesource", "gsd")
CORNERS = 8  # numbers of four


def recognises(path: Path) -> bool:
    """Whether this is a folder of such labels, or with such a folder in it."""
    return holds_labels(path, FOLDERS, _is_line)


def _is_line(line: str) -> bool:
    words = line.split()
    is_object = len(words) > CORNERS and _numbers(words[:CORNERS]) is not None and _numbers(words[CORNERS:9]) is None
    return is_object or _is_header(line)


def _is_header(line: str) -> bool:
    return line.split(":")[0].strip().lower() in HEADERS


def _numbers(words: Sequence[str]) -> list[float] | None:
    try:
        values = [float(word) for word in words]
    except ValueError:
        return None
    return values if all(map(math.isfinite, values)) else None


def read(path: str, images: str = "", split: str = "", classes: Sequence[str] = ()) -> Content:
    """A set from a folder of label files, or from the folder that holds labelTxt and images. The four corners are an object's
    outline, and what encloses them its box.

    Args:
        images: folder of the images; by default images/ beside that of the labels.
        split: not known to this form.
        classes: names in the order of the labels; by default those of the files, sorted.

    Raises FileNotFoundError or ValueError with file and line.
    """
    if split:
        raise ValueError(f"DOTA's labels have no splits; leave SPLIT {split!r} out and name the folder of the split.")
    folder = label_folder(Path(path), FOLDERS, _is_line)
    if folder is None:
        raise ValueError(f"{path} holds no labels of DOTA: lines of four corners and a class.")
    content = Content(str(images_beside(folder, images)))
    listed = [(image, [_parsed(*line) for line in lines]) for image, lines in labelled_images(content, folder)]
    found = [(image, [entry for entry in entries if entry]) for image, entries in listed]
    names = list(classes) or sorted({name for _, entries in found for name, *_ in entries})
    content.name_classes(names)
    known = {name: i for i, name in enumerate(names, start=1)}
    for image, entries in found:
        for name, corners, is_difficult, where in entries:
            with single():
                if name not in known:
                    raise ValueError(f"{where}: the class {name!r} is not one of {', '.join(known)}.")
                outline = clip_polygon(corners, image["width"], image["height"])
                box = box_of_polygons([outline])
                if box[2] <= 0 or box[3] <= 0:
                    content.notes.add("objects without width or height inside the image, left out", where)
                    continue
                content.notes.add("objects marked as difficult, kept as crowds", where, is_difficult)
                content.add(image, known[name], box, segmentation=[outline], iscrowd=is_difficult)
    return content


def _parsed(line: str, where: str) -> tuple[str, list[float], bool, str] | None:
    """Class, corners, whether it is difficult, and the line's place; None for a line that is no object."""
    words = line.split()
    if _is_header(line):
        return None
    with single():
        corners = _numbers(words[:CORNERS])
        if corners is None or len(words) not in (CORNERS + 1, CORNERS + 2):
            raise ValueError(f"{where}: a line has four corners, a class and perhaps a number; got {line[:80]!r}.")
        return words[CORNERS], corners, words[CORNERS + 1 :] not in ([], ["0"]), where
    return None
