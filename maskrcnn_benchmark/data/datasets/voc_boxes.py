"""Boxes of a Pascal VOC set that cannot be used as they are."""

import logging
from collections.abc import Iterable

import numpy as np

from maskrcnn_benchmark.utils.wording import counted

LEFT_OUT = ("xmax below xmin or ymax below ymin", "only one pixel wide or high", "outside the image")
CLIPPED = "reaching beyond the image"
KINDS = (*LEFT_OUT, CLIPPED)

logger = logging.getLogger(__name__)


def kinds_of(boxes: list[list[float]], size: tuple[int, int] | None) -> np.ndarray:
    """What is wrong with each box, an index into KINDS, or -1: int64 [N].

    Those of LEFT_OUT are the boxes that `BoxList.clip_to_image` leaves out.

    Args:
        boxes: x1, y1, x2, y2 counted from pixel 0.
        size: (width, height) of the image in pixels, None where it is not known.
    """
    corners = np.array(boxes, np.float64).reshape(-1, 4)
    low, high = corners[:, :2], corners[:, 2:]
    last = np.array([np.inf, np.inf] if size is None else size) - 1
    first = -np.inf if size is None else 0
    conditions = [high < low, high == low, (high <= first) | (low >= last), (low < first) | (high > last)]
    return np.select([c.any(axis=1) for c in conditions], range(len(KINDS)), -1)


def report(name: str, images: Iterable[tuple[str, list[list[float]], tuple[int, int] | None]]) -> None:
    """One warning for each kind of box of the set called `name` that is left out or clipped.

    Args:
        images: of each the path of its annotation, boxes and size, see `kinds_of`.
    """
    counts, examples = np.zeros(len(KINDS), np.int64), [""] * len(KINDS)
    for path, boxes, size in images:
        for kind in kinds_of(boxes, size).tolist():
            if kind >= 0:
                counts[kind] += 1
                examples[kind] = examples[kind] or path
    for kind, count, example in zip(KINDS, counts.tolist(), examples, strict=True):
        if count:
            done = "clipped" if kind == CLIPPED else "left out"
            logger.warning(
                "%s: %s %s (%s), for example in %s.", name, done, counted(count, "box", "boxes"), kind, example
            )
