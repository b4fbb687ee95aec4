"""The RPN's losses against a loop over anchors."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from maskrcnn_benchmark.modeling.balanced_positive_negative_sampler import BalancedPositiveNegativeSampler
from maskrcnn_benchmark.modeling.box_coder import BoxCoder
from maskrcnn_benchmark.modeling.matcher import Matcher
from maskrcnn_benchmark.modeling.rpn.anchor_generator import AnchorGenerator
from maskrcnn_benchmark.modeling.rpn.loss import RPNLossComputation, generate_rpn_labels
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.boxes import box_iou
from maskrcnn_benchmark.structures.boxlist_ops import cat_boxlist
from maskrcnn_benchmark.structures.image_list import to_image_list

SIZE = (96, 64)
GRIDS = [(8, 12), (4, 6)]
RATIOS = (0.5, 1.0, 2.0)
CODER = BoxCoder((1.0, 1.0, 1.0, 1.0))
OBJECTS = [[[10.0, 12, 30, 40], [50, 5, 80, 33], [0, 0, 9, 60]], []]


def smooth_l1(x: float, beta: float) -> float:
    return 0.5 * x * x / beta if abs(x) < beta else abs(x) - 0.5 * beta


def inputs(objects):
    generator = torch.Generator().manual_seed(0)
    images = to_image_list([torch.zeros(3, SIZE[1], SIZE[0])] * len(objects))
    maps = [torch.zeros(len(objects), 1, *grid) for grid in GRIDS]
    anchors = AnchorGenerator([16, 32], RATIOS, [8, 16])(images, maps)
    logits = [torch.randn(len(objects), 3, *grid, generator=generator, requires_grad=True) for grid in GRIDS]
    deltas = [torch.randn(len(objects), 12, *grid, generator=generator, requires_grad=True) for grid in GRIDS]
    return anchors, logits, deltas, [BoxList(o, SIZE) for o in objects]


def evaluator(batch: int = 1_000_000) -> RPNLossComputation:
    return RPNLossComputation(Matcher(0.5, 0.3, True), BalancedPositiveNegativeSampler(batch, 0.5), CODER)


def naive_losses(anchors, logits, deltas, targets) -> tuple[float, float]:
    """Over all anchors inside the image that are object or background; both losses divided by their number."""
    count, objectness, box = 0, 0.0, 0.0
    for i, target in enumerate(targets):
        boxes = torch.cat([level.bbox for level in anchors[i]])
        matched = Matcher(0.5, 0.3, True)(box_iou(target.bbox, boxes)).tolist()
        n = 0
        for level, (height, width) in enumerate(GRIDS):
            for y in range(height):
                for x in range(width):
                    for a in range(len(RATIOS)):
                        x1, y1, x2, y2 = boxes[n].tolist()
                        match, anchor = matched[n], boxes[n]
                        n += 1
                        if match == -2 or x1 < 0 or y1 < 0 or x2 >= SIZE[0] or y2 >= SIZE[1]:
                            continue
                        count += 1
                        probability = 1 / (1 + math.exp(-logits[level][i, a, y, x].item()))
                        objectness -= math.log(probability if match >= 0 else 1 - probability)
                        if match >= 0:
                            aim = CODER.encode(target.bbox[match], anchor)
                            offsets = deltas[level][i, 4 * a : 4 * a + 4, y, x] - aim
                            box += sum(smooth_l1(v, 1 / 9) for v in offsets.tolist())
    return objectness / count, box / count


@pytest.mark.parametrize("objects", [OBJECTS, OBJECTS[:1], [[], []]])
def test_follows_the_loop(objects):
    arguments = inputs(objects)
    losses = evaluator()(*arguments)
    expected = naive_losses(*arguments)
    assert [v.item() for v in losses] == pytest.approx(expected, rel=1e-4)
    assert (expected[1] > 0) == any(map(bool, objects))


def test_without_objects_gradients_are_zero_for_boxes_and_not_for_objectness():
    anchors, logits, deltas, targets = inputs([[], []])
    sum(evaluator()(anchors, logits, deltas, targets)).backward()
    assert all(torch.isfinite(t.grad).all() for t in (*logits, *deltas))
    assert logits[0].grad.any() and not any(d.grad.any() for d in deltas)


def test_only_drawn_anchors_count():
    anchors, logits, deltas, targets = inputs(OBJECTS)
    torch.manual_seed(0)
    sum(evaluator(16)(anchors, logits, deltas, targets)).backward()
    used = sum((t.grad != 0).sum().item() for t in logits)
    assert used == 2 * 16


def test_a_prediction_that_is_not_finite_at_an_unused_anchor_does_no_harm():
    anchors, logits, deltas, targets = inputs(OBJECTS)
    used: Tensor = torch.cat([level.get_field("visibility") for level in anchors[0]])
    assert not used[0], "the first anchor leaves the image"
    with torch.no_grad():
        logits[0][0, 0, 0, 0] = math.nan
        deltas[0][0, :4, 0, 0] = math.inf
    losses = evaluator()(anchors, logits, deltas, targets)
    assert torch.isfinite(torch.stack(losses)).all()
    sum(losses).backward()
    assert torch.isfinite(logits[0].grad[1]).all() and torch.isfinite(deltas[0].grad[1]).all()


@pytest.mark.parametrize("objects", [OBJECTS[0], []])
def test_targets_of_the_anchors(objects):
    anchors, _, _, (truth,) = inputs([objects])
    anchor, loss = cat_boxlist(anchors[0]), evaluator()
    truth.add_field("labels", torch.arange(1, len(objects) + 1))
    expected = Matcher(0.5, 0.3, True)(box_iou(truth.bbox, anchor.bbox))
    matched = loss.match_targets_to_anchors(anchor, truth, ["labels"])
    assert torch.equal(matched.get_field("matched_idxs"), expected) and matched.has_field("labels")
    assert loss.match_targets_to_anchors(anchor, truth).fields() == ["matched_idxs"]
    assert torch.equal(generate_rpn_labels(matched), (expected >= 0).float())
    (labels,), (offsets,) = loss.prepare_targets([anchor], [truth])
    assert labels.dtype == torch.float32 and offsets.shape == anchor.bbox.shape
    for k, (m, (x1, y1, x2, y2)) in enumerate(zip(expected.tolist(), anchor.bbox.tolist(), strict=True)):
        inside = x1 >= 0 and y1 >= 0 and x2 < SIZE[0] and y2 < SIZE[1]
        assert labels[k] == (-1 if m == -2 or not inside else 1 if m >= 0 else 0)
        if m >= 0:
            torch.testing.assert_close(offsets[k], CODER.encode(truth.bbox[m], anchor.bbox[k]))
    assert (labels == 1).any() == bool(objects)


def test_a_fork_may_override_the_steps():
    """Without its last object, and with anchors that leave the image."""

    class Fork(RPNLossComputation):
        discard_cases = ("between_thresholds",)

        def match_targets_to_anchors(self, anchor, target, copied_fields=()):
            return super().match_targets_to_anchors(anchor, target[[0, 1]], copied_fields)

    anchors, logits, deltas, targets = inputs(OBJECTS[:1])
    for boxlist in anchors[0]:
        boxlist.add_field("visibility", torch.zeros(len(boxlist), dtype=torch.bool))
    sampler = BalancedPositiveNegativeSampler(1_000_000, 0.5)
    fork = Fork(Matcher(0.5, 0.3, True), sampler, CODER, generate_rpn_labels)(anchors, logits, deltas, targets)
    for boxlist in anchors[0]:
        boxlist.add_field("visibility", torch.ones(len(boxlist), dtype=torch.bool))
    expected = evaluator()(anchors, logits, deltas, [targets[0][[0, 1]]])
    torch.testing.assert_close(torch.stack(fork), torch.stack(expected))
    assert expected[1] > 0
