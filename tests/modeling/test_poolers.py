"""Level assignment and pooling over a pyramid, region by region."""

from __future__ import annotations

import math

import pytest
import torch
import torchvision

from maskrcnn_benchmark.modeling.poolers import LevelMapper, Pooler
from maskrcnn_benchmark.structures.bounding_box import BoxList

SCALES = (0.25, 0.125, 0.0625, 0.03125)
SIZE = (1200, 1000)


def square(side: float) -> list[float]:
    return [3.0, 5.0, 3.0 + side - 1, 5.0 + side - 1]


@pytest.mark.parametrize(
    ("side", "level"), [(1, 2), (55, 2), (111, 2), (112, 3), (223, 3), (224, 4), (447, 4), (448, 5), (1000, 5)]
)
def test_level_of_a_square(side, level):
    """Equation 1 of the FPN paper: floor(4 + log2(sqrt(w h) / 224)), within 2 to 5."""
    assert LevelMapper(2, 5).levels(torch.tensor([square(side)])).tolist() == [level - 2]


def test_level_is_equation_1():
    boxes = torch.rand(200, 4, generator=torch.Generator().manual_seed(0)) * 500
    boxes[:, 2:] += boxes[:, :2]
    expected = [
        min(max(math.floor(4 + math.log2(math.sqrt((x2 - x1 + 1) * (y2 - y1 + 1)) / 224)), 3), 5) - 3
        for x1, y1, x2, y2 in boxes.tolist()
    ]
    assert set(expected) == {0, 1, 2}
    assert LevelMapper(3, 5).levels(boxes).tolist() == expected
    halves = [BoxList(boxes[:120], SIZE), BoxList(boxes[120:], SIZE)]
    assert LevelMapper(3, 5)(halves).tolist() == expected


@pytest.mark.parametrize("output_size", [7, (3, 5)])
def test_each_region_is_pooled_from_its_level_and_image(output_size):
    generator = torch.Generator().manual_seed(0)
    features = [torch.randn(2, 4, int(1000 * s), int(1200 * s), generator=generator) for s in SCALES]
    sides = [[20, 300], [500, 130, 60, 240]]
    boxes = [BoxList([square(s) for s in image], SIZE) for image in sides]
    pooled = Pooler(output_size, SCALES, 2)(features, boxes)
    rows = iter(pooled)
    bins = (output_size, output_size) if isinstance(output_size, int) else output_size
    for image, boxlist in enumerate(boxes):
        for side, box in zip(sides[image], boxlist.bbox, strict=True):
            level = min(max(math.floor(4 + math.log2(side / 224)), 2), 5) - 2
            roi = torch.cat((torch.tensor([float(image)]), box))[None]
            expected = torchvision.ops.roi_align(features[level], roi, bins, SCALES[level], 2, aligned=False)
            torch.testing.assert_close(next(rows), expected[0], rtol=1e-4, atol=1e-5)
    assert pooled.shape == (6, 4, *bins)


def test_the_coarsest_map_of_the_rpn_is_not_pooled():
    features = [torch.zeros(1, 2, int(1000 * s), int(1200 * s)) for s in SCALES] + [torch.ones(1, 2, 16, 19)]
    assert not Pooler(2, SCALES, 2)(features, [BoxList([square(900)], SIZE)]).any()


def test_single_level():
    feature = torch.randn(1, 3, 20, 24)
    boxes = [BoxList([[10.0, 20, 200, 150]], (384, 320))]
    expected = torchvision.ops.roi_align(feature, [boxes[0].bbox], 4, 1 / 16, 0, aligned=False)
    torch.testing.assert_close(Pooler(4, (1 / 16,), 0)([feature], boxes), expected, rtol=1e-4, atol=1e-5)


def test_no_boxes():
    features = [torch.randn(2, 4, int(128 * s), int(128 * s), requires_grad=True) for s in SCALES]
    pooled = Pooler(7, SCALES, 2)(features, [BoxList([], (128, 128)), BoxList([], (128, 128))])
    assert pooled.shape == (0, 4, 7, 7)
    pooled.sum().backward()
    assert not features[0].grad.any()


def test_a_box_whose_corners_are_turned_around_is_small():
    levels = LevelMapper(2, 5).levels(torch.tensor([[10.0, 10.0, 8.5, 90.0], [0.0, 0.0, 223.0, 223.0]]))
    assert levels.tolist() == [0, 2]
