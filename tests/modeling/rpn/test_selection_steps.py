"""Selecting boxes level by level, as forks do, against the selection of all levels together."""

from __future__ import annotations

import pytest
import torch

from maskrcnn_benchmark.modeling.rpn.inference import RPNPostProcessor
from maskrcnn_benchmark.modeling.rpn.retinanet.inference import RetinaNetPostProcessor
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.boxlist_ops import cat_boxlist
from tests.modeling.rpn import test_retinanet as retinanet
from tests.modeling.rpn import test_rpn_inference as rpn


def level_by_level(selector, anchors, scores, deltas) -> list[BoxList]:
    found: list[list[BoxList]] = [[] for _ in anchors]
    for level in range(len(scores)):
        of_level = [image[level] for image in anchors]
        boxes = selector.forward_for_single_feature_map(of_level, scores[level], deltas[level])
        assert [b.size for b in boxes] == [a.size for a in of_level]
        for image, boxlist in zip(found, boxes, strict=True):
            image.append(boxlist)
    return [cat_boxlist(image) for image in found]


def assert_same(ours: list[BoxList], expected: list[BoxList], fields: list[str]) -> None:
    assert any(len(e) for e in expected)
    for a, b in zip(ours, expected, strict=True):
        assert a.size == b.size and set(a.fields()) == set(b.fields()) == set(fields)
        assert torch.equal(a.bbox, b.bbox) and all(torch.equal(a.get_field(f), b.get_field(f)) for f in fields)


@torch.no_grad()
@pytest.mark.parametrize("nms", [0.5, 0.0])
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("per_batch", [True, False])
def test_rpn(training, per_batch, nms):
    inputs = rpn.predictions(3)
    inputs[1][0][:, 0] = 0.25  # equal scores
    selector = RPNPostProcessor(60, 30, nms, 4, fpn_post_nms_top_n=25, fpn_post_nms_per_batch=per_batch)
    selector.train(training)
    joined = level_by_level(selector, *inputs)
    found = selector.select_over_all_levels(joined)
    assert_same(found, selector(*inputs), ["objectness"])
    assert sum(map(len, found)) == (25 if training and per_batch else 50)
    for boxlist in joined:
        boxlist.add_field("place", boxlist.bbox * 2)
    assert all(torch.equal(b.get_field("place"), b.bbox * 2) for b in selector.select_over_all_levels(joined))


@torch.no_grad()
def test_rpn_of_one_level():
    inputs = rpn.predictions(1)
    selector = RPNPostProcessor(60, 30, 0.5, 0, fpn_post_nms_top_n=5).eval()
    assert_same(level_by_level(selector, *inputs), selector(*inputs), ["objectness"])


@torch.no_grad()
@pytest.mark.parametrize("levels", [1, 3])
def test_rpn_calls_what_a_fork_overrides(levels):
    class Levels(RPNPostProcessor):
        def forward_for_single_feature_map(self, anchors, objectness, box_regression):
            found = super().forward_for_single_feature_map(anchors, objectness, box_regression)
            return [b[b.get_field("objectness") > 0.95] for b in found]

    class Selection(RPNPostProcessor):
        def select_over_all_levels(self, boxlists):
            return [b[:1] for b in super().select_over_all_levels(boxlists)]

    inputs, settings = rpn.predictions(levels), (60, 30, 0.5, 0)
    plain = RPNPostProcessor(*settings).eval()(*inputs)
    strong = [b[b.get_field("objectness") > 0.95] for b in plain]
    assert 0 < sum(map(len, strong)) < sum(map(len, plain))
    if levels == 1:
        assert_same(Levels(*settings).eval()(*inputs), strong, ["objectness"])
        assert_same(Selection(*settings).eval()(*inputs), plain, ["objectness"])  # there is nothing to select from
    else:
        assert all((b.get_field("objectness") > 0.95).all() for b in Levels(*settings).eval()(*inputs))
        assert_same(Selection(*settings).eval()(*inputs), [b[:1] for b in plain], ["objectness"])
        targets = [BoxList([[1.0, 2, 30, 40]], (96, 60)), BoxList([], (80, 64))]
        joined = Selection(*settings, fpn_post_nms_per_batch=False).train()(*inputs, targets)
        assert [len(b) for b in joined] == [2, 1] and joined[0].bbox[-1].tolist() == [1, 2, 30, 40]


FIELDS = ["scores", "labels"]


@torch.no_grad()
@pytest.mark.parametrize(("top_n", "limit"), [(1000, 0), (40, 7)])
def test_retinanet(top_n, limit):
    anchors, logits, deltas = retinanet.predictions(2)
    logits[0][:, 0] = 0.25  # equal scores
    selector = RetinaNetPostProcessor(0.3, top_n, 0.4, limit, 3, retinanet.CLASSES + 1)
    candidates = level_by_level(selector, anchors, logits, deltas)
    assert all((b.get_field("labels") >= 1).all() and len(b) <= 2 * top_n for b in candidates)
    found = selector.select_over_all_levels(candidates)
    assert_same(found, selector(anchors, logits, deltas), FIELDS)
    assert all(len(f) < len(c) for f, c in zip(found, candidates, strict=True))


@torch.no_grad()
def test_retinanet_calls_what_a_fork_overrides():
    class Fork(RetinaNetPostProcessor):
        def forward_for_single_feature_map(self, anchors, box_cls, box_regression):
            found = super().forward_for_single_feature_map(anchors, box_cls, box_regression)
            return [b[b.get_field("labels") == 2] for b in found]

    inputs, settings = retinanet.predictions(2), (0.3, 1000, 0.4, 0, 0, retinanet.CLASSES + 1)
    plain = RetinaNetPostProcessor(*settings)(*inputs)
    assert_same(Fork(*settings)(*inputs), [b[b.get_field("labels") == 2] for b in plain], FIELDS)

    selector = RetinaNetPostProcessor(*settings)
    calls = []
    selector.select_over_all_levels = lambda boxlists: calls.append(len(boxlists)) or plain  # type: ignore[method-assign]
    assert selector(*inputs) is plain and calls == [2]


def test_objects_may_join_retinanets_detections():
    inputs, settings = retinanet.predictions(2), (0.3, 1000, 0.4, 3, 0, retinanet.CLASSES + 1)
    selector = RetinaNetPostProcessor(*settings)
    found = selector(*(i if k == 0 else [x.detach() for x in i] for k, i in enumerate(inputs)))
    targets = [retinanet.target(*retinanet.OBJECTS[0]), retinanet.target([], [], retinanet.SIZES[1])]
    joined = selector.add_gt_proposals(found, targets)
    assert [len(b) for b in joined] == [6, 3]
    assert torch.equal(joined[0].bbox[3:], targets[0].bbox) and (joined[0].get_field("scores")[3:] == 1).all()
    assert joined[0].get_field("labels")[3:].tolist() == [2, 1, 3]
