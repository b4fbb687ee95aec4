"""Anchors: boxes of fixed sizes and shapes at every position of every feature map."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from maskrcnn_benchmark.layers.layout import any_layout
from maskrcnn_benchmark.modeling.rpn.anchor_windows import (  # noqa: F401 (for forks)
    _generate_anchors,
    _mkanchors,
    _ratio_enum,
    _scale_enum,
    _whctrs,
)
from maskrcnn_benchmark.modeling.rpn.retinanet.anchors import retinanet_anchors
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.image_list import ImageList
from maskrcnn_benchmark.utils.overriding import is_overridden, replaceable

__all__ = [
    "AnchorGenerator",
    "BufferList",
    "generate_anchors",
    "make_anchor_generator",
    "make_anchor_generator_retinanet",
]


def generate_anchors(
    stride: int = 16, sizes: Sequence[float] = (32, 64, 128, 256, 512), aspect_ratios: Sequence[float] = (0.5, 1, 2)
) -> Tensor:
    """Anchors around the cell at the origin: float64 Tensor[len(aspect_ratios) * len(sizes), 4] xyxy, pixels.

    A shape is first rounded to whole pixels at the area of one cell and then scaled, as in Faster R-CNN's own code: the
    anchors of released models depend on it. `aspect_ratios` are height / width.
    """
    ratios = torch.tensor(aspect_ratios, dtype=torch.float64)
    width = torch.round(torch.sqrt(stride**2 / ratios))
    shapes = torch.stack((width, torch.round(width * ratios)), dim=1)
    scales = torch.tensor(sizes, dtype=torch.float64) / stride
    half = (shapes[:, None] * scales[:, None] - 1).reshape(-1, 2) / 2
    centre = (stride - 1) / 2
    return torch.cat((centre - half, centre + half), dim=1)


@any_layout
class BufferList(nn.Module):
    """A list of tensors that move with the module and appear in its state dict under their index."""

    def __init__(self, buffers: Sequence[Tensor] | None = None):
        super().__init__()
        if buffers is not None:
            self.extend(buffers)

    def extend(self, buffers: Sequence[Tensor]) -> "BufferList":
        offset = len(self)
        for i, buffer in enumerate(buffers):
            self.register_buffer(str(offset + i), buffer)
        return self

    def __len__(self) -> int:
        return len(self._buffers)

    def __iter__(self):
        return iter(self._buffers.values())


@replaceable("add_visibility_to")
@any_layout
class AnchorGenerator(nn.Module):
    """Anchors for each image and feature map.

    Args:
        sizes: side in pixels of the square anchor; with several strides one entry (a number or several) for each.
        aspect_ratios: height / width.
        anchor_strides: pixels between neighbouring positions of each map.
        straddle_thresh: an anchor that leaves the image by more pixels is not used in training; negative: all are used.
    """

    def __init__(
        self,
        sizes: Sequence = (128, 256, 512),
        aspect_ratios: Sequence[float] = (0.5, 1.0, 2.0),
        anchor_strides: Sequence[int] = (8, 16, 32),
        straddle_thresh: int = 0,
    ):
        super().__init__()
        if len(anchor_strides) == 1:
            per_map = [sizes]
        elif len(anchor_strides) == len(sizes):
            per_map = [size if isinstance(size, (tuple, list)) else (size,) for size in sizes]
        else:
            raise ValueError(
                f"MODEL.RPN.ANCHOR_STRIDE {tuple(anchor_strides)} has {len(anchor_strides)} maps, ANCHOR_SIZES {tuple(sizes)} "
                f"has {len(sizes)}; give one size (or tuple of sizes) for each map."
            )
        self.strides = tuple(anchor_strides)
        self.straddle_thresh = straddle_thresh
        self.cell_anchors = BufferList(
            [generate_anchors(s, z, aspect_ratios).float() for s, z in zip(anchor_strides, per_map, strict=True)]
        )

    def num_anchors_per_location(self) -> list[int]:
        return [len(anchors) for anchors in self.cell_anchors]

    def grid_anchors(self, grid_sizes: Sequence[tuple[int, int]]) -> list[Tensor]:
        """For maps of (height, width): Tensor[height * width * A, 4], rows of positions first."""
        if len(grid_sizes) != len(self.strides):
            raise ValueError(
                f"The model makes {len(grid_sizes)} maps, and there are anchors for {len(self.strides)}: the lengths of "
                f"MODEL.RPN.ANCHOR_STRIDE {self.strides} and ANCHOR_SIZES (MODEL.RETINANET.ANCHOR_STRIDES and ANCHOR_SIZES of a "
                f"RetinaNet) must be {len(grid_sizes)}."
            )
        grids = []
        for (height, width), stride, cell in zip(grid_sizes, self.strides, self.cell_anchors, strict=True):
            y = torch.arange(height, device=cell.device, dtype=torch.float32) * stride
            x = torch.arange(width, device=cell.device, dtype=torch.float32) * stride
            y, x = torch.meshgrid(y, x, indexing="ij")
            shift = torch.stack((x, y, x, y), dim=-1).reshape(-1, 1, 4)
            grids.append((shift + cell).reshape(-1, 4))
        return grids

    def add_visibility_to(self, boxlist: BoxList) -> None:
        """Add the field "visibility": bool Tensor[N], whether the anchor may be used in training."""
        boxlist.add_field("visibility", self._visible(boxlist.bbox, *boxlist.size))

    def _visible(self, boxes: Tensor, width: float, height: float) -> Tensor:
        slack = self.straddle_thresh
        if slack < 0:
            return torch.ones(len(boxes), dtype=torch.bool, device=boxes.device)
        x1, y1, x2, y2 = boxes.unbind(1)
        return (torch.minimum(x1, y1) >= -slack) & (x2 < width + slack) & (y2 < height + slack)

    def forward(self, image_list: ImageList, feature_maps: Sequence[Tensor]) -> list[list[BoxList]]:
        """For each image, for each map: its anchors as a BoxList, in training with "visibility". The images share the boxes."""
        grids = self.grid_anchors([(m.shape[-2], m.shape[-1]) for m in feature_maps])
        own_visibility = is_overridden(self, AnchorGenerator, "add_visibility_to")
        everywhere = torch.cat(grids) if self.training and not own_visibility else None
        anchors = []
        for size in image_list.image_sizes:
            # A symbolic size, of a program being exported, stays one.
            sides: Any = tuple(side if isinstance(side, torch.SymInt) else int(side) for side in size)
            height, width = sides
            in_image = [BoxList(grid, (width, height)) for grid in grids]
            if everywhere is not None:
                visible = self._visible(everywhere, width, height).split([len(grid) for grid in grids])
                for boxlist, of_level in zip(in_image, visible, strict=True):
                    boxlist.add_field("visibility", of_level)
            elif self.training:
                for boxlist in in_image:
                    self.add_visibility_to(boxlist)
            anchors.append(in_image)
        return anchors


def make_anchor_generator(config) -> AnchorGenerator:
    rpn = config.MODEL.RPN
    return AnchorGenerator(rpn.ANCHOR_SIZES, rpn.ASPECT_RATIOS, rpn.ANCHOR_STRIDE, rpn.STRADDLE_THRESH)


def make_anchor_generator_retinanet(config) -> AnchorGenerator:
    """RetinaNet's anchors, which MODEL.RETINANET describes."""
    return retinanet_anchors(AnchorGenerator, config)
