"""Sizes and shapes of anchors that meet the objects of a data set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

MEETS = 0.5  # IoU with an anchor from which an object counts as met
MOST_BOXES = 4000  # as many, evenly chosen, say the same as all
RATIOS = 3
GRID = 1.12  # factor between neighbouring sizes that are tried
LEAST_OF_STRIDE = 2.0  # a smaller anchor than so many strides passes by objects between two of its places


def best_overlaps(
    boxes: np.ndarray, sizes: Sequence[float], ratios: Sequence[float], strides: Sequence[int]
) -> np.ndarray:
    """The IoU of each box with the best anchor, where both lie: float [N].

    Args:
        boxes: [N, 4], x, y, width, height in pixels of the network's input.
        sizes: one for each of `strides`; ratios: height / width. Anchors stand around the centres of the cells.
    """
    best = np.zeros(len(boxes))
    extent = boxes[:, 2:]
    for size, stride in zip(sizes, strides, strict=True):
        # From the centre of the box to the nearest of a cell.
        off = np.abs((boxes[:, :2] + extent / 2) % stride - stride / 2)
        for ratio in ratios:
            width = round(
                (stride**2 / ratio) ** 0.5
            )  # shapes are whole pixels at the area of a cell: `generate_anchors`
            anchor = np.array((width, round(width * ratio))) * size / stride
            shared = (
                (np.minimum(extent / 2, off + anchor / 2) - np.maximum(-extent / 2, off - anchor / 2))
                .clip(0)
                .prod(axis=1)
            )
            best = np.maximum(best, shared / (extent.prod(axis=1) + anchor.prod() - shared))
    return best


def recall(boxes: np.ndarray, sizes: Sequence[float], ratios: Sequence[float], strides: Sequence[int]) -> float:
    """The share of boxes that an anchor overlaps by `MEETS` or more."""
    return float((best_overlaps(_some(boxes), sizes, ratios, strides) >= MEETS).mean())


def fit_anchors(boxes: np.ndarray, strides: Sequence[int]) -> tuple[tuple[int, ...], tuple[float, ...]]:
    """A size for each stride, and ratios, whose mean IoU with the boxes is as high as one change at a time can make it.

    Args:
        boxes: [N, 4], x, y, width, height in pixels of the network's input.
        strides: ascending; sizes come out ascending, and not below twice their stride.
    """
    boxes = _some(boxes)
    ratios = _ratios(boxes[:, 3] / boxes[:, 2])
    side = np.sqrt(boxes[:, 2:].prod(axis=1))
    low, high = max(side.min(), 4.0), max(side.max() * 1.5, LEAST_OF_STRIDE * strides[-1])
    grid = low * GRID ** np.arange(int(np.log(high / low) / np.log(GRID)) + 2)
    shares = (np.arange(len(strides)) + 0.5) / len(strides)
    least = LEAST_OF_STRIDE * np.array(strides, dtype=np.float64)
    sizes: list[float] = np.maximum.accumulate(np.maximum(least, np.quantile(side, shares))).tolist()
    score = best_overlaps(boxes, sizes, ratios, strides).mean()
    for _ in range(4):
        before = score
        for level, stride in enumerate(strides):
            below = sizes[level - 1] if level else 0.0
            above = sizes[level + 1] if level + 1 < len(sizes) else np.inf
            for candidate in grid[(grid >= max(below, LEAST_OF_STRIDE * stride)) & (grid <= above)]:
                tried = [*sizes[:level], float(candidate), *sizes[level + 1 :]]
                found = best_overlaps(boxes, tried, ratios, strides).mean()
                if found > score + 1e-6:
                    sizes, score = tried, found
        if score - before < 1e-4:
            break
    return tuple(round(size) for size in sizes), ratios


def _ratios(shapes: np.ndarray) -> tuple[float, ...]:
    """Cluster centres of height / width on a logarithmic scale (Lloyd's algorithm from the quantiles)."""
    logs = np.log(shapes.clip(0.1, 10))
    centres = np.quantile(logs, (np.arange(RATIOS) + 0.5) / RATIOS)
    for _ in range(50):
        nearest = np.abs(logs[:, None] - centres).argmin(axis=1)
        moved = np.array([logs[nearest == i].mean() if (nearest == i).any() else centres[i] for i in range(RATIOS)])
        if np.allclose(moved, centres, atol=1e-4):
            break
        centres = moved
    return tuple(dict.fromkeys(round(float(np.exp(c)), 2) for c in np.sort(centres)))


def _some(boxes: np.ndarray) -> np.ndarray:
    return boxes[:: max(len(boxes) // MOST_BOXES, 1)]
