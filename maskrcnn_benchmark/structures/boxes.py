"""Geometry of boxes and points as plain tensors: xyxy corners in pixels, both corners belonging to the box."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

# A box from x1 to x2 covers x2 - x1 + PIXEL columns: upstream's, and the Detectron family's, inclusive corners.
PIXEL = 1

# The two ways to mirror an image, by PIL's numbers.
FLIP_LEFT_RIGHT = 0
FLIP_TOP_BOTTOM = 1

# IoU matrices are made in blocks of at most this many entries (64 MB in float32), however many boxes there are; on a CPU in
# blocks that its caches hold.
MAX_BLOCK = 1 << 24
MAX_BLOCK_CPU = 1 << 21


def constant(values: Sequence[float], like: Tensor) -> Tensor:
    """Tensor[len(values)] of the type and on the device of `like`. On a GPU the numbers are made there: copying them would make
    the host wait for the device."""
    if like.is_cuda:
        return torch.stack([torch.full((), v, dtype=like.dtype, device=like.device) for v in values])
    return like.new_tensor(values)


def moved(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """`tensor.to`; from pinned memory the host does not wait for the copy."""
    return tensor.to(*args, **{"non_blocking": tensor.is_pinned(), **kwargs})


def box_area(boxes: Tensor) -> Tensor:
    """Tensor[..., 4] xyxy -> Tensor[...], square pixels."""
    return (boxes[..., 2] - boxes[..., 0] + PIXEL) * (boxes[..., 3] - boxes[..., 1] + PIXEL)


def box_iou(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """Intersection over union of every pair: Tensor[M, 4], Tensor[N, 4] -> Tensor[M, N]."""
    intersection = box_intersection(boxes1, boxes2)
    return intersection / (box_area(boxes1)[:, None] + box_area(boxes2)).sub_(intersection)


def box_overlap(regions: Tensor, boxes: Tensor) -> Tensor:
    """The share of each box's area that lies in each region: Tensor[M, 4], Tensor[N, 4] -> Tensor[M, N]."""
    return box_intersection(regions, boxes) / box_area(boxes)


def box_intersection(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """Square pixels that every pair has in common: Tensor[M, 4], Tensor[N, 4] -> Tensor[M, N]."""
    x1, y1, x2, y2 = boxes1[:, :, None].unbind(1)
    left, top, right, bottom = (side.contiguous() for side in boxes2.unbind(1))
    width = torch.minimum(x2, right).sub_(torch.maximum(x1, left)).add_(PIXEL).clamp_(min=0)
    height = torch.minimum(y2, bottom).sub_(torch.maximum(y1, top)).add_(PIXEL).clamp_(min=0)
    return width * height


def clip_boxes(boxes: Tensor, width: float | Tensor, height: float | Tensor) -> Tensor:
    """Move the corners of Tensor[..., 4] into images: x to [0, width - 1], y to [0, height - 1].

    `width` and `height` are numbers, or tensors that broadcast against boxes[..., 0].
    """
    if isinstance(width, Tensor) or isinstance(height, Tensor):
        sides = [torch.as_tensor(side, dtype=boxes.dtype, device=boxes.device) for side in (width, height)]
        limit = torch.stack(sides * 2, dim=-1)
        return torch.minimum(boxes.clamp(min=0), limit - PIXEL)
    x, y = boxes[..., 0::2].clamp(min=0, max=width - PIXEL), boxes[..., 1::2].clamp(min=0, max=height - PIXEL)
    return torch.stack((x, y), dim=-1).flatten(-2)


def xywh_to_xyxy(boxes: Tensor) -> Tensor:
    """Corner and extent -> two inclusive corners; an extent below one pixel gives one pixel."""
    return torch.cat((boxes[..., :2], boxes[..., :2] + (boxes[..., 2:] - PIXEL).clamp(min=0)), dim=-1)


def xyxy_to_xywh(boxes: Tensor) -> Tensor:
    """Two inclusive corners -> corner and extent."""
    return torch.cat((boxes[..., :2], boxes[..., 2:] - boxes[..., :2] + PIXEL), dim=-1)


def crop_points(points: Tensor, box: tuple[float, float, float, float]) -> Tensor:
    """Keypoints in the region (x1, y1, x2, y2), exclusive of x2 and y2: Tensor[N, K, 3] (x, y, visibility) -> the same.

    What lies outside is not labelled any more: 0, 0, 0, as is what was not labelled.
    """
    x1, y1, x2, y2 = box
    moved = points - constant((x1, y1, 0), points)
    x, y, visibility = moved.unbind(-1)
    inside = (x >= 0) & (y >= 0) & (x < x2 - x1) & (y < y2 - y1) & (visibility != 0)
    return moved.masked_fill(~inside[..., None], 0)
