"""The "segmentation" of an annotation in the forms that tools write."""

import math
from typing import Any

import numpy as np
import pycocotools.mask as mask_utils

from maskrcnn_benchmark.data.datasets.coco_entries import LARGEST, MOST_PIXELS, number, whole

# A polygon of four numbers is a box if it is the annotation's own to this many pixels; otherwise it is two points.
SAME_BOX = 1.0


def looks_like_mask(segmentation: Any) -> bool:
    """A quick look, of every object of a file: whether `usable_mask` will most likely find one."""
    if type(segmentation) is not list:
        return False
    for polygon in segmentation:
        if type(polygon) is not list or len(polygon) < 6 or len(polygon) & 1:
            return False
        try:
            if not -1e12 < sum(polygon) < 1e12:  # not for NaN
                return False
        except TypeError:
            return False
    return len(segmentation) > 0


def usable_mask(segmentation: Any, box: list[float], height: int, width: int) -> list | dict | None:
    """Polygons (lists of six or more numbers), or run lengths of that size (a dictionary); None for what is no mask.

    Understood are a polygon or a list of them, polygons as lists of points, a box of four numbers, run lengths as lists or
    compressed, and lists of these, which are joined. A sound segmentation comes back as the same object.

    Args:
        box: the annotation's, x, y, width, height in pixels.
        height, width: of the image.
    """
    if type(segmentation) is list and len(segmentation) == 1 and _is_sound_polygon(segmentation[0]):
        return segmentation  # most are
    if isinstance(segmentation, dict):
        return _run_lengths(segmentation, height, width)
    if not isinstance(segmentation, list) or not segmentation:
        return None
    if all(map(_is_sound_polygon, segmentation)):
        return segmentation
    if any(isinstance(part, dict) for part in segmentation):
        return _joined(segmentation, box, height, width)
    if not any(isinstance(part, list) for part in segmentation):
        segmentation = [segmentation]  # the numbers of one polygon
    elif all(isinstance(part, list) and len(part) == 2 and number(part[0]) is not None for part in segmentation):
        segmentation = [segmentation]  # the points of one polygon
    polygons = [polygon for polygon in (_polygon(part, box) for part in segmentation) if polygon]
    return polygons or None


def _is_sound_polygon(polygon: Any) -> bool:
    if type(polygon) is not list or len(polygon) < 6 or len(polygon) & 1:
        return False
    try:
        return math.hypot(*polygon) <= LARGEST  # not for NaN; the quickest that looks at all of them
    except (TypeError, OverflowError):
        return False


def _polygon(part: Any, box: list[float]) -> list[float] | None:
    if not isinstance(part, list):
        return None
    if part and all(isinstance(point, list) and len(point) == 2 for point in part):
        part = [v for point in part for v in point]
    numbers = [number(v) for v in part]
    if None in numbers:
        return None
    if len(part) == 4 and all(abs(a - b) <= SAME_BOX for a, b in zip(numbers, box, strict=True)):  # type: ignore[operator]
        x, y, w, h = box
        return [x, y, x + w, y, x + w, y + h, x, y + h]
    return numbers if len(numbers) >= 6 and len(numbers) % 2 == 0 else None  # type: ignore[return-value]


def _joined(parts: list, box: list[float], height: int, width: int) -> dict | None:
    """Run lengths of the union of polygons and run lengths."""
    rles = []
    for part in parts:
        mask = usable_mask(part, box, height, width)
        if isinstance(mask, dict):
            rles.append(to_rle(mask, height, width))
        elif mask is not None:
            rles += mask_utils.frPyObjects(mask, height, width)
    return mask_utils.merge(rles) if rles else None


def _run_lengths(segmentation: dict, height: int, width: int) -> dict | None:
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if not isinstance(size, (list, tuple)) or [whole(v) for v in size] != [height, width]:
        return None
    if isinstance(counts, (str, bytes)):
        runs = decoded_counts(counts)
    elif isinstance(counts, list) and all(type(v) is int and 0 <= v < 2**32 for v in counts):
        runs = np.array(counts, np.int64)
    else:
        return None
    if runs is None or (runs < 0).any() or runs.sum() != height * width or not runs[1::2].any():
        return None  # also a mask without a pixel
    return segmentation if list(size) == [height, width] else {**segmentation, "size": [height, width]}


def decoded_counts(counts: str | bytes) -> np.ndarray | None:
    """The run lengths int64 [N] of COCO's compressed form: numbers of 5 bits a character, lowest first, each but the first three
    less the one two before it. None for what is no such text."""
    try:
        codes = np.frombuffer(counts.encode("ascii") if isinstance(counts, str) else counts, np.uint8).astype(np.int64)
    except UnicodeEncodeError:
        return None
    codes = codes - 48
    if len(codes) == 0 or (codes < 0).any() or (codes > 63).any() or codes[-1] & 32:
        return None
    ends = np.flatnonzero((codes & 32) == 0)
    starts = np.concatenate(([0], ends[:-1] + 1))
    lengths = ends - starts + 1
    if np.max(lengths) > 8:
        return None
    shift = 5 * (np.arange(len(codes)) - np.repeat(starts, lengths))
    values = np.add.reduceat((codes & 31) << shift, starts)
    values -= np.where(codes[ends] & 16, 1 << (5 * lengths), 0)  # the sign of the last
    for first in (1, 2):  # counts from the third on are differences to those two before
        values[first::2] = np.cumsum(values[first::2])
    return values


def to_rle(segmentation: Any, height: int, width: int) -> dict:
    """COCO's polygons, or run lengths as a list or compressed, as compressed run lengths."""
    if height * width > MOST_PIXELS:
        raise ValueError(
            f"A mask of {width} x {height} pixels is larger than any image that is read ({MOST_PIXELS} pixels)."
        )
    if isinstance(segmentation, list):
        return mask_utils.merge(mask_utils.frPyObjects(segmentation, height, width))
    if isinstance(segmentation["counts"], list):
        return mask_utils.frPyObjects(segmentation, height, width)
    return segmentation
