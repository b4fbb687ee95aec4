"""Matching boxes to objects, against a loop over boxes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from maskrcnn_benchmark.modeling import targets as targets_module
from maskrcnn_benchmark.modeling.matcher import Matcher
from maskrcnn_benchmark.modeling.targets import match_boxes
from maskrcnn_benchmark.structures.boxes import box_iou


def naive_match(iou: list[list[float]], count: int, high: float, low: float, low_quality: bool) -> list[int]:
    """The first object of the highest overlap if it is high enough, or if the box is one of that object's best, or of any
    other object's."""
    result = []
    for n in range(count):
        column = [row[n] for row in iou]
        best = max(column, default=0.0)
        rescued = low_quality and any(row[n] == max(row) > 0 for row in iou)
        if column and (best >= high or rescued):
            result.append(column.index(best))
        else:
            result.append(-1 if best < low else -2)
    return result


# Few values, all exact in float32, so ties and thresholds hit exactly are common.
OVERLAP = st.sampled_from([0.0, 0.125, 0.25, 0.5, 0.75, 1.0])


@st.composite
def matrices(draw):
    objects, boxes = draw(st.integers(0, 4)), draw(st.integers(0, 7))
    return [draw(st.lists(OVERLAP, min_size=boxes, max_size=boxes)) for _ in range(objects)], boxes


@settings(max_examples=300, deadline=None)
@given(matrices(), st.sampled_from([(0.75, 0.25), (0.5, 0.5), (0.75, 0.125)]), st.booleans())
def test_follows_the_definition(matrix, thresholds, low_quality):
    iou, count = matrix
    match = Matcher(*thresholds, allow_low_quality_matches=low_quality)
    result = match(torch.tensor(iou).reshape(len(iou), count))
    assert result.dtype == torch.int64
    assert result.tolist() == naive_match(iou, count, *thresholds, low_quality)


def random_boxes(count: int, seed: int) -> Tensor:
    """Integer corners, so that some overlaps are equal."""
    generator = torch.Generator().manual_seed(seed)
    corner = torch.randint(0, 40, (count, 2), generator=generator)
    return torch.cat((corner, corner + torch.randint(0, 12, (count, 2), generator=generator)), dim=1).float()


@pytest.mark.parametrize("low_quality", [False, True])
@pytest.mark.parametrize("block", [1, 7, 60, 1 << 24])
def test_blocks_give_what_the_whole_gives(monkeypatch, block, low_quality):
    monkeypatch.setattr(targets_module, "MAX_BLOCK", block)
    objects, boxes = random_boxes(6, 0), random_boxes(100, 1)
    match = Matcher(0.25, 0.125, low_quality)
    expected = naive_match(box_iou(objects, boxes).tolist(), 100, 0.25, 0.125, low_quality)
    assert {-2, -1} < set(expected) and len(set(expected)) > 3
    assert match_boxes(match, objects, boxes).tolist() == expected


def test_low_quality_matches_by_themselves():
    iou = torch.tensor([[0.2, 0.1, 0.0, 0.2], [0.1, 0.3, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
    matches, nearest = torch.tensor([-1, -2, -1, -1]), torch.tensor([0, 1, 0, 0])
    Matcher(0.7, 0.3, True).set_low_quality_matches_(matches, nearest, iou)
    assert matches.tolist() == [0, 1, -1, 0]  # both boxes that overlap the first object most; none for the last


@pytest.mark.parametrize("block", [60, 1 << 24])
def test_a_fork_may_override_the_low_quality_step(monkeypatch, block):
    class Strict(Matcher):
        def set_low_quality_matches_(self, matches, all_matches, match_quality_matrix):
            """Leaves boxes alone that overlap by less than 0.05."""
            before = matches.clone()
            super().set_low_quality_matches_(matches, all_matches, match_quality_matrix)
            slight = match_quality_matrix.amax(dim=0) < 0.05
            matches[slight] = before[slight]

    monkeypatch.setattr(targets_module, "MAX_BLOCK", block)
    objects, boxes = random_boxes(12, 3), random_boxes(40, 4)
    iou = box_iou(objects, boxes)
    plain, strict = (match_boxes(kind(0.9, 0.1, True), objects, boxes) for kind in (Matcher, Strict))
    slight = iou.amax(dim=0) < 0.05
    assert (plain[slight] >= 0).any() and (strict[slight] == -1).all() and (strict[~slight] == plain[~slight]).all()


@pytest.mark.parametrize("low_quality", [False, True])
def test_without_objects_all_is_background(low_quality):
    match = Matcher(0.7, 0.3, low_quality)
    assert match(torch.zeros(0, 3)).tolist() == [-1, -1, -1]
    assert match_boxes(match, torch.zeros(0, 4), random_boxes(3, 0)).tolist() == [-1, -1, -1]


@pytest.mark.parametrize("low_quality", [False, True])
def test_without_boxes(low_quality):
    assert match_boxes(Matcher(0.7, 0.3, low_quality), random_boxes(2, 0), torch.zeros(0, 4)).tolist() == []


def test_an_object_that_touches_nothing_takes_no_box():
    boxes = torch.tensor([[0.0, 0, 9, 9], [20, 0, 29, 9]])
    objects = torch.tensor([[500.0, 500, 510, 510], [0, 0, 4, 9]])
    assert match_boxes(Matcher(0.9, 0.3, allow_low_quality_matches=True), objects, boxes).tolist() == [1, -1]


def test_thresholds_in_the_wrong_order():
    with pytest.raises(ValueError, match=r"low_threshold 0.7 is above high_threshold 0.3"):
        Matcher(0.3, 0.7)


def test_a_matcher_of_another_class_is_given_the_whole_matrix():
    """A fork's matcher.py has `__call__` alone."""
    seen = []

    class Theirs:
        def __call__(self, match_quality_matrix):
            seen.append(match_quality_matrix)
            return torch.full((match_quality_matrix.shape[1],), 1)

    objects, boxes = random_boxes(3, 5), random_boxes(4, 6)
    assert match_boxes(Theirs(), objects, boxes).tolist() == [1, 1, 1, 1]
    torch.testing.assert_close(seen[0], box_iou(objects, boxes))
    assert match_boxes(Theirs(), objects[:0], boxes).tolist() == [-1] * 4  # what upstream's refuses is not asked
    assert len(seen) == 1
