"""The box coder against its formula, and as its own inverse."""

from __future__ import annotations

import math

import pytest
import torch

from maskrcnn_benchmark.modeling.box_coder import BoxCoder

WEIGHTS = [(1.0, 1.0, 1.0, 1.0), (10.0, 10.0, 5.0, 5.0)]


def random_boxes(count: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator, dtype=torch.float64) * 100
    return torch.cat((corner, corner + torch.rand(count, 2, generator=generator, dtype=torch.float64) * 60), dim=1)


@pytest.mark.parametrize("weights", WEIGHTS)
def test_formula(weights):
    objects, boxes = random_boxes(8, 0), random_boxes(8, 1)
    codes = BoxCoder(weights).encode(objects, boxes)
    for code, (gx1, gy1, gx2, gy2), (x1, y1, x2, y2) in zip(
        codes.tolist(), objects.tolist(), boxes.tolist(), strict=True
    ):
        w, h, gw, gh = x2 - x1 + 1, y2 - y1 + 1, gx2 - gx1 + 1, gy2 - gy1 + 1
        dx, dy = (gx1 + gw / 2 - x1 - w / 2) / w, (gy1 + gh / 2 - y1 - h / 2) / h
        expected = [v * s for v, s in zip((dx, dy, math.log(gw / w), math.log(gh / h)), weights, strict=True)]
        assert code == pytest.approx(expected)


@pytest.mark.parametrize("weights", WEIGHTS)
def test_decoding_is_the_inverse(weights):
    coder, objects, boxes = BoxCoder(weights), random_boxes(20, 0), random_boxes(20, 1)
    torch.testing.assert_close(coder.decode(coder.encode(objects, boxes), boxes), objects)


def test_no_offset_leaves_the_box():
    boxes = random_boxes(5, 0)
    torch.testing.assert_close(
        BoxCoder(WEIGHTS[1]).decode(torch.zeros(5, 12, dtype=torch.float64), boxes), boxes.repeat(1, 3)
    )


def test_several_classes():
    coder, boxes = BoxCoder(WEIGHTS[1]), random_boxes(6, 0)
    codes = torch.randn(6, 12, dtype=torch.float64)
    expected = torch.cat([coder.decode(codes[:, i : i + 4], boxes) for i in (0, 4, 8)], dim=1)
    torch.testing.assert_close(coder.decode(codes, boxes), expected)


def test_growth_is_limited():
    box = torch.tensor([[0.0, 0.0, 15.0, 15.0]])
    decoded = BoxCoder(WEIGHTS[0]).decode(torch.tensor([[0.0, 0.0, 1e6, 1e6]]), box)
    torch.testing.assert_close(decoded[:, 2:] - decoded[:, :2] + 1, torch.full((1, 2), 1000.0))
    mild = BoxCoder(WEIGHTS[0], bbox_xform_clip=math.log(2)).decode(torch.tensor([[0.0, 0.0, 5.0, -1.0]]), box)
    torch.testing.assert_close(mild[0, 2:] - mild[0, :2] + 1, torch.tensor([32.0, 16 / math.e]))


def test_empty():
    coder, none = BoxCoder(WEIGHTS[0]), torch.zeros(0, 4)
    assert coder.encode(none, none).shape == (0, 4)
    assert coder.decode(torch.zeros(0, 8), none).shape == (0, 8)
