"""Suppression and merging of overlapping detections against direct definitions."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from maskrcnn_benchmark.structures.merging import merge_greedily, suppress


def detections(count: int, seed: int, frame: float = 300.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes in heaps, with some scores and some corners equal."""
    rng = np.random.default_rng(seed)
    heaps = rng.uniform(0, frame, (count // 4 + 1, 2))
    centres = heaps[rng.integers(0, len(heaps), count)] + rng.normal(0, 4, (count, 2))
    extent = 30 * np.exp(rng.normal(0, 0.3, (count, 2)))
    boxes = np.concatenate((centres - extent / 2, centres + extent / 2), axis=1).round(1)
    boxes[::9] = boxes[0]
    return boxes, rng.integers(1, 60, count) / 60, rng.integers(1, 4, count)


def overlap(a: np.ndarray, b: np.ndarray, metric: str) -> float:
    width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    shared = max(width, 0) * max(height, 0)
    one, other = (a[2] - a[0]) * (a[3] - a[1]), (b[2] - b[0]) * (b[3] - b[1])
    return shared / (one + other - shared if metric == "iou" else min(one, other))


def by_definition(boxes, scores, labels, threshold, metric):
    """Score, label and box of each merged detection, by going through all pairs."""
    left = sorted(range(len(boxes)), key=lambda i: (-scores[i], labels[i], *boxes[i]))
    found = []
    while left:
        best = left.pop(0)
        near = [i for i in left if labels[i] == labels[best] and overlap(boxes[best], boxes[i], metric) >= threshold]
        left = [i for i in left if i not in near]
        whole = boxes[best]
        for i in near:
            if overlap(whole, boxes[i], metric) >= threshold:
                whole = np.concatenate((np.minimum(whole[:2], boxes[i][:2]), np.maximum(whole[2:], boxes[i][2:])))
        found.append((scores[best], labels[best], *whole))
    return found


@pytest.mark.parametrize("metric", ["iou", "ios"])
@pytest.mark.parametrize("threshold", [0.2, 0.5, 0.8])
@pytest.mark.parametrize("seed", range(4))
def test_greedy_merging_is_its_definition(metric, threshold, seed):
    boxes, scores, labels = detections(120, seed)
    kept, grown, taken = merge_greedily(boxes, scores, labels, threshold, metric)
    found = [(scores[i], labels[i], *box) for i, box in zip(kept, grown, strict=True)]
    assert found == by_definition(boxes, scores, labels, threshold, metric)
    assert any(len(t) for t in taken)
    for i, others, box in zip(kept, taken, grown, strict=True):
        parts = boxes[[i, *others]]
        assert (np.concatenate((parts[:, :2].min(0), parts[:, 2:].max(0))) == box).all()


@pytest.mark.parametrize("method", ["suppress", "nmm"])
def test_the_order_of_detections_does_not_matter(method):
    boxes, scores, labels = detections(200, 7)
    results = []
    for seed in range(5):
        order = np.random.default_rng(seed).permutation(len(boxes))
        b, s, c = boxes[order], scores[order], labels[order]
        if method == "nmm":
            kept, grown, _ = merge_greedily(b, s, c, 0.5)
            results.append(np.column_stack((s[kept], c[kept], grown)))
        else:
            kept = suppress(torch.tensor(b), torch.tensor(s), torch.tensor(c), 0.5).numpy()
            results.append(np.column_stack((s[kept], c[kept], b[kept])))
    assert all(np.array_equal(results[0], other) for other in results[1:]) and 20 < len(results[0]) < 200


def test_suppression_keeps_classes_apart():
    boxes = torch.tensor([[0.0, 0, 9, 9], [0, 0, 9, 8], [0, 0, 9, 9], [50, 50, 60, 60]])
    scores, labels = torch.tensor([0.5, 0.9, 0.7, 0.1]), torch.tensor([1, 1, 2, 1])
    assert suppress(boxes, scores, labels, 0.5).tolist() == [1, 2, 3]


@pytest.mark.parametrize("count", [0, 1])
def test_few_detections(count):
    boxes, scores, labels = np.zeros((count, 4)), np.zeros(count), np.ones(count, np.int64)
    kept, grown, taken = merge_greedily(boxes, scores, labels, 0.5)
    assert len(kept) == len(grown) == len(taken) == count
    assert len(suppress(torch.zeros(count, 4), torch.zeros(count), torch.ones(count, dtype=torch.int64), 0.5)) == count


def test_an_unknown_metric_is_refused():
    with pytest.raises(ValueError, match=r"one of \('iou', 'ios'\); got 'giou'"):
        merge_greedily(np.zeros((0, 4)), np.zeros(0), np.zeros(0), 0.5, "giou")
