"""Targets and losses of the box and mask heads against loops over proposals."""

from __future__ import annotations

import math

import pycocotools.mask as mask_utils
import pytest
import torch

from maskrcnn_benchmark.modeling.balanced_positive_negative_sampler import BalancedPositiveNegativeSampler
from maskrcnn_benchmark.modeling.box_coder import BoxCoder
from maskrcnn_benchmark.modeling.matcher import Matcher
from maskrcnn_benchmark.modeling.roi_heads.box_head.loss import FastRCNNLossComputation
from maskrcnn_benchmark.modeling.roi_heads.mask_head.loss import MaskRCNNLossComputation
from maskrcnn_benchmark.modeling.roi_heads.mask_head.mask_head import keep_only_positive_boxes
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.segmentation_mask import SegmentationMask

SIZE = (100, 80)
CLASSES = 4
CODER = BoxCoder((10.0, 10.0, 5.0, 5.0))
MATCHER = Matcher(0.5, 0.4)
OBJECTS = [[10.0, 10, 40, 50], [50, 20, 90, 60], [5, 60, 30, 75]]
LABELS = [2, 1, 3]


def diamond(x1: float, y1: float, x2: float, y2: float) -> list[float]:
    """The polygon through the middles of a box's sides."""
    return [(x1 + x2) / 2, y1, x2, (y1 + y2) / 2, (x1 + x2) / 2, y2, x1, (y1 + y2) / 2]


def target(count: int) -> BoxList:
    result = BoxList(OBJECTS[:count], SIZE)
    result.add_field("labels", torch.tensor(LABELS[:count], dtype=torch.int64))
    result.add_field("masks", SegmentationMask([[diamond(*o)] for o in OBJECTS[:count]], SIZE))
    return result


def proposals(count: int = 40, seed: int = 0) -> BoxList:
    """Around the objects, so that some match well, some badly and some in between."""
    generator = torch.Generator().manual_seed(seed)
    shift = 12 * torch.randn(count, 4, generator=generator)
    boxes = (torch.tensor(OBJECTS)[torch.arange(count) % 3] + shift).clamp(min=0)
    boxes[:, 2:] = torch.maximum(boxes[:, 2:].clamp(max=79), boxes[:, :2] + 1)
    result = BoxList(boxes, SIZE)
    result.add_field("objectness", torch.rand(count, generator=generator))
    return result


def evaluator(agnostic: bool = False, batch: int = 1_000_000, fraction: float = 1.0) -> FastRCNNLossComputation:
    sampler = BalancedPositiveNegativeSampler(batch, fraction)
    return FastRCNNLossComputation(MATCHER, sampler, CODER, agnostic)


def naive_iou(a: list[float], b: list[float]) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]) + 1)
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]) + 1)
    areas = sum((c[2] - c[0] + 1) * (c[3] - c[1] + 1) for c in (a, b))
    return width * height / (areas - width * height)


@pytest.mark.parametrize("objects", [3, 1, 0])
def test_targets_of_the_proposals(objects):
    given, truth = proposals(), target(objects)
    (drawn,) = evaluator().subsample([given], [truth])
    rows = {tuple(box): i for i, box in enumerate(given.bbox.tolist())}
    seen = set()
    labels = drawn.get_field("labels").tolist()
    for k, box in enumerate(drawn.bbox.tolist()):
        seen.add(rows[tuple(box)])
        overlaps = [naive_iou(box, o) for o in OBJECTS[:objects]]
        best = max(overlaps, default=0.0)
        assert best >= 0.5 or best < 0.4, "a box between the thresholds was drawn"
        assert labels[k] == (LABELS[overlaps.index(best)] if best >= 0.5 else 0)
        if best >= 0.5:
            matched = overlaps.index(best)
            assert drawn.get_field("matched_idxs")[k] == matched
            expected = CODER.encode(torch.tensor(OBJECTS[matched]), torch.tensor(box))
            torch.testing.assert_close(drawn.get_field("regression_targets")[k], expected)
    left = [naive_iou(box, o) for i, box in enumerate(given.bbox.tolist()) if i not in seen for o in OBJECTS[:objects]]
    assert len(seen) == len(labels) and all(v < 0.5 for v in left)
    assert (max(labels) > 0) == (objects > 0)
    assert torch.equal(
        drawn.get_field("objectness"), given.get_field("objectness")[[rows[tuple(b)] for b in drawn.bbox.tolist()]]
    )


@pytest.mark.parametrize("agnostic", [False, True])
@pytest.mark.parametrize("objects", [(3, 1), (3, 0), (0, 0)])
def test_box_losses(objects, agnostic):
    loss = evaluator(agnostic)
    drawn = loss.subsample([proposals(seed=0), proposals(seed=1)], [target(n) for n in objects])
    count = sum(len(d) for d in drawn)
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(count, CLASSES, generator=generator, requires_grad=True)
    deltas = torch.randn(count, 8 if agnostic else 4 * CLASSES, generator=generator, requires_grad=True)
    classification = box = 0.0
    labels = torch.cat([d.get_field("labels") for d in drawn]).tolist()
    aims = torch.cat([d.get_field("regression_targets") for d in drawn])
    for k, label in enumerate(labels):
        classification -= math.log(logits[k].softmax(0)[label].item())
        if label > 0:
            column = 4 if agnostic else 4 * label
            for offset in (deltas[k, column : column + 4] - aims[k]).tolist():
                box += 0.5 * offset * offset if abs(offset) < 1 else abs(offset) - 0.5
    losses = loss([logits], [deltas])
    assert [v.item() for v in losses] == pytest.approx([classification / count, box / count], rel=1e-4)
    sum(losses).backward()
    assert logits.grad.any() and deltas.grad.any() == any(objects)
    assert torch.isfinite(deltas.grad).all()


def test_share_of_positives():
    (drawn,) = evaluator(batch=12, fraction=0.25).subsample([proposals(200)], [target(3)])
    labels = drawn.get_field("labels")
    assert len(drawn) == 12 and (labels > 0).sum() == 3 and (labels[:3] > 0).all()


def test_without_proposals():
    loss = evaluator()
    loss.subsample([proposals(0)], [target(2)])
    logits, deltas = torch.zeros(0, CLASSES, requires_grad=True), torch.zeros(0, 16, requires_grad=True)
    losses = loss([logits], [deltas])
    assert [v.item() for v in losses] == [0, 0]
    sum(losses).backward()
    assert logits.grad is not None and deltas.grad is not None


def test_mask_loss():
    truth = [target(3), target(0), target(2)]
    drawn = evaluator().subsample([proposals(seed=i) for i in range(3)], truth)
    positive, kept = keep_only_positive_boxes(drawn)
    assert [len(p) > 0 for p in positive] == [True, False, True]
    assert all(torch.equal(k, d.get_field("labels") > 0) for k, d in zip(kept, drawn, strict=True))
    count = sum(len(p) for p in positive)
    logits = torch.randn(count, CLASSES, 14, 14, generator=torch.Generator().manual_seed(0), requires_grad=True)
    total, k = 0.0, 0
    for image in positive:
        labels, objects = (image.get_field(f).tolist() for f in ("labels", "matched_idxs"))
        for (x1, y1, x2, y2), label, matched in zip(image.bbox.tolist(), labels, objects, strict=True):
            a, b, c, d = OBJECTS[matched]
            w, h = max(x2 - x1, 1) / 14, max(y2 - y1, 1) / 14
            outline = diamond((a - x1) / w, (b - y1) / h, (c - x1) / w, (d - y1) / h)
            aim = mask_utils.decode(mask_utils.frPyObjects([outline], 14, 14))
            for p, m in zip(logits[k, label].sigmoid().flatten().tolist(), aim.flatten().tolist(), strict=True):
                total -= math.log(p if m else 1 - p)
            k += 1
    loss = MaskRCNNLossComputation(MATCHER, 14)(positive, logits, truth)
    assert loss.item() == pytest.approx(total / (count * 14 * 14), rel=1e-4)
    loss.backward()
    labels = torch.cat([p.get_field("labels") for p in positive])
    own = torch.zeros(count, CLASSES, dtype=torch.bool)
    own[torch.arange(count), labels] = True
    assert torch.equal(logits.grad.flatten(2).any(dim=2), own), "only the mask of a proposal's own class is trained"


def test_mask_loss_without_positives():
    drawn = evaluator().subsample([proposals()], [target(0)])
    positive, _ = keep_only_positive_boxes(drawn)
    logits = torch.zeros(0, CLASSES, 14, 14, requires_grad=True)
    loss = MaskRCNNLossComputation(MATCHER, 14)(positive, logits, [target(0)])
    assert loss.item() == 0
    loss.backward()
    assert logits.grad is not None
