"""Anchors against the numbers of Faster R-CNN and a loop over positions."""

from __future__ import annotations

import math

import pytest
import torch

from maskrcnn_benchmark.modeling.rpn.anchor_generator import AnchorGenerator, generate_anchors
from maskrcnn_benchmark.structures.image_list import to_image_list


def naive_cell(stride: int, sizes, ratios) -> list[list[float]]:
    """Ratio by ratio and size by size: sides rounded at the cell's area, scaled, around the cell's centre."""
    anchors = []
    for ratio in ratios:
        width = round(math.sqrt(stride * stride / ratio))
        height = round(width * ratio)
        for size in sizes:
            w, h, c = width * size / stride, height * size / stride, (stride - 1) / 2
            anchors.append([c - (w - 1) / 2, c - (h - 1) / 2, c + (w - 1) / 2, c + (h - 1) / 2])
    return anchors


def test_anchors_of_faster_rcnn():
    """The nine anchors that Faster R-CNN's authors print, one pixel less for counting from zero."""
    assert generate_anchors(16, (128, 256, 512), (0.5, 1, 2)).tolist() == [
        [-84, -40, 99, 55],
        [-176, -88, 191, 103],
        [-360, -184, 375, 199],
        [-56, -56, 71, 71],
        [-120, -120, 135, 135],
        [-248, -248, 263, 263],
        [-36, -80, 51, 95],
        [-80, -168, 95, 183],
        [-168, -344, 183, 359],
    ]


@pytest.mark.parametrize("stride", [4, 8, 16, 32, 64])
@pytest.mark.parametrize("ratios", [(0.5, 1.0, 2.0), (0.3, 1.7)])
def test_cell_anchors(stride, ratios):
    sizes = (stride * 8, stride * 3)
    torch.testing.assert_close(
        generate_anchors(stride, sizes, ratios), torch.tensor(naive_cell(stride, sizes, ratios), dtype=torch.float64)
    )


def test_grid():
    """Rows, then columns, then the anchors of a cell, shifted by the stride."""
    generator = AnchorGenerator(((8, 16), (32, 64)), (0.5, 2.0), (4, 8))
    grids = generator.grid_anchors([(3, 2), (1, 4)])
    for grid, (height, width), stride, sizes in zip(grids, [(3, 2), (1, 4)], (4, 8), ((8, 16), (32, 64)), strict=True):
        expected = [
            [a[0] + x * stride, a[1] + y * stride, a[2] + x * stride, a[3] + y * stride]
            for y in range(height)
            for x in range(width)
            for a in naive_cell(stride, sizes, (0.5, 2.0))
        ]
        torch.testing.assert_close(grid, torch.tensor(expected, dtype=torch.float32))


@pytest.mark.parametrize("threshold", [0, 10, -1])
def test_visibility_of_each_image(threshold):
    generator = AnchorGenerator((16,), (1.0,), (8,), straddle_thresh=threshold)
    images = to_image_list([torch.zeros(3, 40, 48), torch.zeros(3, 32, 64)])
    anchors = generator(images, [torch.zeros(2, 1, 5, 8)])
    assert [levels[0].size for levels in anchors] == [(48, 40), (64, 32)]
    for levels in anchors:
        (width, height), boxes = levels[0].size, levels[0].bbox.tolist()
        t = threshold if threshold >= 0 else math.inf
        expected = [x1 >= -t and y1 >= -t and x2 < width + t and y2 < height + t for x1, y1, x2, y2 in boxes]
        assert levels[0].get_field("visibility").tolist() == expected
        assert any(expected) and (all(expected) == (threshold < 0))


def test_one_map_with_several_sizes():
    generator = AnchorGenerator((32, 64, 128), (0.5, 1.0), (16,))
    assert generator.num_anchors_per_location() == [6]


def test_numbers_of_maps_and_sizes_differ():
    with pytest.raises(ValueError, match=r"ANCHOR_STRIDE \(4, 8\) has 2 maps, ANCHOR_SIZES \(32, 64, 128\) has 3"):
        AnchorGenerator((32, 64, 128), (1.0,), (4, 8))
