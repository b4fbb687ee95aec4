"""What the forms share: text in whatever encoding, folders of images, outlines of masks."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from itertools import chain, count
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pycocotools.mask as mask_utils

from maskrcnn_benchmark.data.datasets.coco_tree import to_rle
from maskrcnn_benchmark.data.datasets.images import IMAGE_ENDINGS
from maskrcnn_benchmark.data.formats.content import Content, polygon_area
from maskrcnn_benchmark.utils.files import files_below, read_text, write_atomically


def read_rows(path: Path) -> list[list[str]]:
    """The rows of a table, separated by commas, semicolons or tabs."""
    text = read_text(path)
    first = text.split("\n", 1)[0]
    separator = max(",;\t", key=first.count)
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))
    except csv.Error as error:
        raise ValueError(f"{path} is no table of comma-separated values: {error}.") from None
    return [[cell.strip() for cell in row] for row in rows]


def list_images(folder: Path) -> list[Path]:
    """The image files of a folder and those below it, in order of their names; linked folders are followed."""
    return [Path(path) for path in files_below(str(folder)) if path.lower().endswith(IMAGE_ENDINGS)]


def name_below(root: Path, image: Path) -> str:
    """How a set calls an image: from the folder of the images on where it lies there, also by another name of a linked folder,
    else its whole path."""
    if not image.is_relative_to(root):
        root, image = root.resolve(), image.resolve()
    return (image.relative_to(root) if image.is_relative_to(root) else image).as_posix()


def unique_stems(content: Content, flat: bool = False) -> dict[Any, str]:
    """A name without ending for each image's own file of annotations, by the image's id: that of the image, told apart by the
    image's ending or a number where others have it too; without folders if `flat`."""
    stems: dict[Any, str] = {}
    taken: set[str] = set()
    for image in content.images:
        path = Path(image["file_name"].lstrip("/"))
        plain, told = path.with_suffix("").as_posix(), f"{path.with_suffix('').as_posix()}_{path.suffix[1:]}"
        tries = chain((plain, told), (f"{told}_{i}" for i in count(2)))
        names = (name.replace("/", "_") if flat else name for name in tries)
        stems[image["id"]] = next(name for name in names if name.lower() not in taken)
        taken.add(stems[image["id"]].lower())
    return stems


def write_lines(path: Path, lines: Sequence[str]) -> None:
    """A text file, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(str(path), lambda f: f.write("".join(f"{line}\n" for line in lines).encode()))


def as_polygons(segmentation: Any, image: dict) -> list[list[float]]:
    """The outlines of an object, x1, y1, x2, y2, ..., the largest first; holes are lost.

    Args:
        segmentation: polygons or run lengths as COCO has them.
        image: its entry, for "height" and "width".
    """
    if isinstance(segmentation, list):
        polygons = [list(map(float, p)) for p in segmentation if len(p) >= 6]
    else:
        rle = to_rle(segmentation, image["height"], image["width"])
        x, y, width, height = (int(v) for v in mask_utils.toBbox(rle))
        inside = mask_utils.decode(rle)[y : y + height, x : x + width]
        # OpenCV's outlines join the centres of pixels. At twice the size these lie within the pixels at the border, so that
        # the outline covers the same pixels as the mask.
        doubled = inside.repeat(2, axis=0).repeat(2, axis=1)
        outlines, _ = cv2.findContours(doubled, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
        polygons = [((o.reshape(-1, 2) + 0.5) / 2 + (x, y)).flatten().tolist() for o in outlines]
    return sorted(polygons, key=polygon_area, reverse=True)


def join_polygons(polygons: Sequence[Sequence[float]]) -> list[float]:
    """One outline around all of them: each is reached from its nearest neighbour on a line of no width, and left on the same."""
    joined = np.asarray(polygons[0], np.float64).reshape(-1, 2)
    for polygon in polygons[1:]:
        part = np.asarray(polygon, np.float64).reshape(-1, 2)
        distance = ((joined[:, None] - part) ** 2).sum(axis=2)
        here, there = np.unravel_index(distance.argmin(), distance.shape)
        part = np.concatenate((part[there:], part[: there + 1]))
        joined = np.concatenate((joined[: here + 1], part, joined[here:]))
    return joined.flatten().tolist()
