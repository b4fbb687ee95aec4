"""Objects that are neither learned nor background: what anchors and proposals in them are taken for."""

import pytest
import torch

from maskrcnn_benchmark.modeling.balanced_positive_negative_sampler import BalancedPositiveNegativeSampler
from maskrcnn_benchmark.modeling.box_coder import BoxCoder
from maskrcnn_benchmark.modeling.box_losses import BoxLosses
from maskrcnn_benchmark.modeling.matcher import Matcher
from maskrcnn_benchmark.modeling.rpn.loss import RPNLossComputation
from maskrcnn_benchmark.modeling.targets import match_boxes, match_objects
from maskrcnn_benchmark.structures.bounding_box import BoxList

SIZE = (200, 100)
OBJECTS = [[10, 10, 29, 29], [100, 40, 139, 79], [12, 12, 31, 31]]
BOXES = [
    [10, 10, 29, 29],  # the first object, which the ignored third overlaps
    [100, 40, 119, 59],  # a quarter of the second, the whole of it inside
    [100, 60, 139, 99],  # half inside the second
    [100, 61, 139, 100],  # 19 of 40 rows
    [60, 10, 79, 29],  # nothing
    [10, 10, 199, 99],  # covers all of them
]


def target(ignored: list[bool] | None) -> BoxList:
    found = BoxList(torch.tensor(OBJECTS, dtype=torch.float32), SIZE)
    found.add_field("labels", torch.tensor([1, 2, 3]))
    if ignored is not None:
        found.add_field("ignored", torch.tensor(ignored))
    return found


def boxes() -> BoxList:
    found = BoxList(torch.tensor(BOXES, dtype=torch.float32), SIZE)
    found.add_field("visibility", torch.ones(len(BOXES), dtype=torch.bool))
    return found


@pytest.mark.parametrize("low_quality", [False, True])
def test_boxes_within_ignored_objects_are_neither(low_quality):
    matcher = Matcher(0.7, 0.3, allow_low_quality_matches=low_quality)
    found = match_objects(matcher, target([False, True, True]), boxes().bbox)
    assert found.tolist() == [0, -2, -2, -1, -1, -1]
    without = target(None)[torch.tensor([0])]
    learned = match_boxes(matcher, without.bbox, boxes().bbox)
    assert [a for a in found.tolist() if a != -2] == learned[torch.tensor([0, 3, 4, 5])].tolist()


def test_without_ignored_objects_nothing_changes():
    matcher = Matcher(0.7, 0.3, allow_low_quality_matches=True)
    plain = match_boxes(matcher, target(None).bbox, boxes().bbox)
    for ignored in (None, [False] * 3):
        assert torch.equal(match_objects(matcher, target(ignored), boxes().bbox), plain)


def test_all_ignored_leaves_no_object():
    matcher = Matcher(0.7, 0.3, allow_low_quality_matches=True)
    assert match_objects(matcher, target([True] * 3), boxes().bbox).tolist() == [-2, -2, -2, -1, -1, -1]


def test_they_are_not_drawn_by_either_stage():
    some = target([False, True, True])
    coder, sampler = BoxCoder((10.0, 10.0, 5.0, 5.0)), BalancedPositiveNegativeSampler(64, 0.5)
    heads = BoxLosses(Matcher(0.5, 0.5), sampler, coder)
    labels, _ = heads.prepare_targets([boxes()], [some])
    assert labels[0].tolist() == [1, -1, -1, 0, 0, 0]
    drawn = heads.subsample([boxes()], [some])[0]
    assert sorted(drawn.get_field("labels").tolist()) == [0, 0, 0, 1]
    rpn = RPNLossComputation(Matcher(0.7, 0.3, allow_low_quality_matches=True), sampler, coder)
    assert rpn.prepare_targets([boxes()], [some])[0][0].tolist() == [1, -1, -1, 0, 0, 0]
