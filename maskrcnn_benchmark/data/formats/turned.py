"""Annotations that were made on the pixels as stored, for forms whose readers see images as EXIF turns them."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from maskrcnn_benchmark.data.datasets.images import BrokenImageError, read_header
from maskrcnn_benchmark.data.formats.content import Content
from maskrcnn_benchmark.data.formats.files import as_polygons

# By EXIF's orientation: where a point (x, y) of an image stored with (width, height) is seen. The others keep the sides, so that
# the annotated size does not tell on which pixels the annotations were made.
SEEN_AT: dict[int, Callable[[Any, Any, int, int], tuple[Any, Any]]] = {
    5: lambda x, y, width, height: (y, x),
    6: lambda x, y, width, height: (height - y, x),
    7: lambda x, y, width, height: (height - y, width - x),
    8: lambda x, y, width, height: (y, width - x),
}


def as_seen(content: Content, image: dict, annotations: Sequence[dict]) -> tuple[dict, Sequence[dict]]:
    """An image's entry and annotations on the image as it is seen; the same ones where they are that already, or where there is
    no such file."""
    try:
        header = read_header(os.path.join(content.root, image["file_name"]))
    except BrokenImageError:
        return image, annotations
    size = (image["width"], image["height"])
    if size != header.stored or size == header.seen or header.orientation not in SEEN_AT:
        return image, annotations
    content.notes.add(
        "images whose annotations were made on the pixels as stored, turned to how EXIF shows them", image["file_name"]
    )
    turned = {**image, "width": size[1], "height": size[0]}
    return turned, [_turned(annotation, image, header.orientation) for annotation in annotations]


def _turned(annotation: dict, image: dict, orientation: int) -> dict:
    def points(flat: Any, step: int = 2) -> np.ndarray:
        there = np.asarray(flat, np.float64).reshape(-1, step).copy()
        x, y = there[:, 0].copy(), there[:, 1].copy()
        there[:, 0], there[:, 1] = SEEN_AT[orientation](x, y, image["width"], image["height"])
        return there

    x, y, width, height = annotation["bbox"]
    corners = points((x, y, x + width, y + height))
    low, high = corners.min(axis=0), corners.max(axis=0)
    changed: dict[str, Any] = {"bbox": [*low.tolist(), *(high - low).tolist()]}
    if annotation.get("segmentation"):
        outlines = as_polygons(annotation["segmentation"], image)
        changed["segmentation"] = [points(outline).flatten().tolist() for outline in outlines]
    if annotation.get("keypoints"):
        turned = points(annotation["keypoints"], 3)
        turned[turned[:, 2] == 0] = 0
        changed["keypoints"] = turned.flatten().tolist()
    return {**annotation, **changed}
