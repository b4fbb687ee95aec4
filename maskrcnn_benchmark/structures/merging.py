"""Joining the detections of several views of one image, such as overlapping tiles.

Geometry is continuous here, width = x2 - x1, as in the tools whose answers these functions give (SAHI, supervision); the
suppression of a detector itself counts inclusive corners and is `ops.nms`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from maskrcnn_benchmark.ops.nms import batched_nms

METRICS = ("iou", "ios")
PAIRS_AT_ONCE = 1_000_000  # pairs of boxes whose overlap is computed together: some 100 MB


def suppress(boxes: Tensor, scores: Tensor, labels: Tensor, threshold: float) -> Tensor:
    """Class-wise non-maximum suppression whose result does not depend on the order of the boxes.

    Args:
        boxes: Tensor[N, 4], inclusive corners; scores: Tensor[N]; labels: Tensor[N] int64.
        threshold: a box is dropped if its IoU with a better one of its class is greater.

    Returns:
        Indices int64 Tensor[M], best first.
    """
    order = torch.from_numpy(canonical_order(boxes.cpu().numpy(), scores.cpu().numpy(), labels.cpu().numpy()))
    order = order.to(boxes.device)
    return order[batched_nms(boxes[order], scores[order], labels[order], threshold)]


def canonical_order(boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Best first; equal scores by label and corners, so that the order of the boxes does not matter: int64 [N]."""
    return np.lexsort((*boxes.T[::-1], labels, -scores))


def merge_greedily(
    boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray, threshold: float, metric: str = "ios"
) -> tuple[np.ndarray, np.ndarray, list[np.ndarray]]:
    """Greedy non-maximum merging (SAHI's GREEDYNMM), class by class.

    The best box takes those that overlap it by at least `threshold`, as it was found, and grows over each of them, in the order
    of their scores, that the grown box still overlaps by at least `threshold`.

    Args:
        boxes: float [N, 4], x1, y1, x2, y2, width = x2 - x1; scores: [N]; labels: [N].
        metric: "iou", or "ios", the intersection over the smaller of the two areas.

    Returns:
        Indices int64 [M] of the boxes that are kept, best first; their grown boxes [M, 4]; and for each the indices of the
        boxes that it took.
    """
    if metric not in METRICS:
        raise ValueError(f"The metric of merging is one of {METRICS}; got {metric!r}.")
    order = canonical_order(boxes, scores, labels)
    kept: list[int] = []
    grown: list[list[float]] = []
    taken: list[np.ndarray] = []
    for label in np.unique(labels):
        waiting = order[labels[order] == label]
        sorted_boxes = boxes[waiting]
        corners = sorted_boxes.tolist()
        partners = _partners(sorted_boxes, threshold, metric)
        gone = [False] * len(waiting)
        for best, near in enumerate(partners):
            if gone[best]:
                continue
            whole, took = corners[best], []
            for other in near:
                if gone[other]:
                    continue
                gone[other] = True
                if _overlap(whole, corners[other], metric) >= threshold:
                    whole = _union(whole, corners[other])
                    took.append(other)
            kept.append(int(waiting[best]))
            grown.append(whole)
            taken.append(waiting[np.array(took, dtype=np.int64)])
    place_of = np.empty(len(order), np.int64)
    place_of[order] = np.arange(len(order))
    rank = np.argsort(place_of[np.array(kept, dtype=np.int64)])
    places = np.array(kept, dtype=np.int64)[rank]
    return places, np.array(grown, dtype=boxes.dtype).reshape(-1, 4)[rank], [taken[i] for i in rank]


def _partners(boxes: np.ndarray, threshold: float, metric: str) -> list[list[int]]:
    """Of each box the later ones, in ascending order, that overlap it by at least `threshold`.

    Only boxes whose left edges are near enough for it are looked at.
    """
    count = len(boxes)
    by_left = np.argsort(boxes[:, 0], kind="stable")
    left = boxes[by_left, 0]
    widest = (boxes[:, 2] - boxes[:, 0]).max(initial=0)
    begin = np.searchsorted(left, boxes[:, 0] - widest, side="left")
    sizes = np.searchsorted(left, boxes[:, 2], side="right") - begin
    partners: list[list[int]] = [[] for _ in range(count)]
    for start, end in _chunks(sizes, PAIRS_AT_ONCE):
        first = np.repeat(np.arange(start, end), sizes[start:end])
        offset = np.cumsum(sizes[start:end]) - sizes[start:end]
        second = by_left[np.arange(len(first)) - np.repeat(offset - begin[start:end], sizes[start:end])]
        upper, lower = boxes[:, 1], boxes[:, 3]
        near = (second > first) & (upper[second] <= lower[first]) & (upper[first] <= lower[second])
        first, second = first[near], second[near]
        extent = np.minimum(boxes[first, 2:], boxes[second, 2:]) - np.maximum(boxes[first, :2], boxes[second, :2])
        shared = extent.clip(0).prod(axis=1)
        areas = [(boxes[i, 2:] - boxes[i, :2]).prod(axis=1) for i in (first, second)]
        whole = areas[0] + areas[1] - shared if metric == "iou" else np.minimum(*areas)
        with np.errstate(invalid="ignore"):
            found = np.flatnonzero(shared / whole >= threshold)
        found = found[np.lexsort((second[found], first[found]))]
        for one, other in zip(first[found].tolist(), second[found].tolist(), strict=True):
            partners[one].append(other)
    return partners


def _chunks(sizes: np.ndarray, most: int) -> Iterator[tuple[int, int]]:
    """Ranges of places whose sizes sum to about `most`."""
    start, total = 0, np.cumsum(sizes)
    while start < len(sizes):
        before = total[start - 1] if start else 0
        end = max(int(np.searchsorted(total, before + most, side="right")), start + 1)
        yield start, end
        start = end


def _union(a: list[float], b: list[float]) -> list[float]:
    return [min(a[0], b[0]), min(a[1], b[1]), max(a[2], b[2]), max(a[3], b[3])]


def _overlap(a: list[float], b: list[float], metric: str) -> float:
    shared = max(min(a[2], b[2]) - max(a[0], b[0]), 0) * max(min(a[3], b[3]) - max(a[1], b[1]), 0)
    one, other = ((c[2] - c[0]) * (c[3] - c[1]) for c in (a, b))
    whole = one + other - shared if metric == "iou" else min(one, other)
    return shared / whole if whole > 0 else 0.0
