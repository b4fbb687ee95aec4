"""Annotations that were made on the pixels as stored, for forms whose readers see images as EXIF turns them."""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from maskrcnn_benchmark.data.datasets.images import BrokenImageError, Header, read_header
from maskrcnn_benchmark.data.formats.content import Content
from maskrcnn_benchmark.data.formats.files import outlines_of

# By EXIF's orientation: where a point (x, y) of an image stored with (width, height) is seen.
SEEN_AT: dict[int, Callable[[Any, Any, int, int], tuple[Any, Any]]] = {
    2: lambda x, y, width, height: (width - x, y),
    3: lambda x, y, width, height: (width - x, height - y),
    4: lambda x, y, width, height: (x, height - y),
    5: lambda x, y, width, height: (y, x),
    6: lambda x, y, width, height: (height - y, x),
    7: lambda x, y, width, height: (height - y, width - x),
    8: lambda x, y, width, height: (y, width - x),
}


class SeenImages:
    """The images of a set, and their annotations, as they are seen."""

    def __init__(self, content: Content):
        self._content = content

    def __call__(self, image: dict, annotations: Sequence[dict]) -> tuple[dict, Sequence[dict]]:
        """An image's entry and annotations on the image as it is seen; the same ones where they are that already, or where there
        is no such file."""
        header = self._header(image)
        size = (image["width"], image["height"])
        if header is None or size != header.stored or header.orientation not in SEEN_AT:
            return image, annotations
        notes, stored = self._content.notes, header.stored != header.seen
        if not stored and self._set_is_of_stored is None:
            notes.add(
                "images that EXIF mirrors or turns without a change of size, taken as annotated as they are seen",
                image["file_name"],
            )
        if not (stored or self._set_is_of_stored):
            return image, annotations
        notes.add(
            "images whose annotations were made on the pixels as stored, turned to how EXIF shows them",
            image["file_name"],
        )
        width, height = header.seen
        turned = {**image, "width": width, "height": height}
        return turned, [_turned(self._content, annotation, image, header.orientation) for annotation in annotations]

    def _header(self, image: dict) -> Header | None:
        try:
            return read_header(os.path.join(self._content.root, image["file_name"]))
        except BrokenImageError:
            return None

    @functools.cached_property
    def _set_is_of_stored(self) -> bool | None:
        """Whether the set's annotations were made on the pixels as stored, as most images tell whose sides EXIF swaps; None for
        a set without such an image."""
        told = []
        for image in self._content.images:
            header = self._header(image)
            if header is not None and header.stored != header.seen:
                told.append((image["width"], image["height"]) == header.stored)
        return sum(told) > len(told) / 2 if told else None


def _turned(content: Content, annotation: dict, image: dict, orientation: int) -> dict:
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
        outlines = outlines_of(content, annotation, image)
        changed["segmentation"] = [points(outline).flatten().tolist() for outline in outlines]
    if annotation.get("keypoints"):
        turned = points(annotation["keypoints"], 3)
        turned[turned[:, 2] == 0] = 0
        changed["keypoints"] = turned.flatten().tolist()
    return {**annotation, **changed}
