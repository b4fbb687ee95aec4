"""Geometry of boxes as plain tensors: xyxy corners in pixels, both corners belonging to the box."""

import torch
from torch import Tensor

# A box from x1 to x2 covers x2 - x1 + PIXEL columns: upstream's, and the Detectron family's, inclusive corners.
PIXEL = 1

# IoU matrices are made in blocks of at most this many entries (64 MB in float32), however many boxes there are.
MAX_BLOCK = 1 << 24


def box_area(boxes: Tensor) -> Tensor:
    """Tensor[..., 4] xyxy -> Tensor[...], square pixels."""
    return (boxes[..., 2] - boxes[..., 0] + PIXEL) * (boxes[..., 3] - boxes[..., 1] + PIXEL)


def box_iou(boxes1: Tensor, boxes2: Tensor) -> Tensor:
    """Intersection over union of every pair: Tensor[M, 4], Tensor[N, 4] -> Tensor[M, N]."""
    top_left = torch.maximum(boxes1[:, None, :2], boxes2[:, :2])
    bottom_right = torch.minimum(boxes1[:, None, 2:], boxes2[:, 2:])
    extent = (bottom_right - top_left + PIXEL).clamp_(min=0)
    intersection = extent[..., 0] * extent[..., 1]
    return intersection / (box_area(boxes1)[:, None] + box_area(boxes2) - intersection)


def clip_boxes(boxes: Tensor, width: float | Tensor, height: float | Tensor) -> Tensor:
    """Move the corners of Tensor[..., 4] into images: x to [0, width - 1], y to [0, height - 1].

    `width` and `height` are numbers, or tensors that broadcast against boxes[..., 0].
    """
    if isinstance(width, Tensor) and isinstance(height, Tensor):
        limit = torch.stack((width, height, width, height), dim=-1)
    else:
        limit = boxes.new_tensor((width, height, width, height))
    return torch.minimum(boxes.clamp(min=0), limit - PIXEL)


def xywh_to_xyxy(boxes: Tensor) -> Tensor:
    """Corner and extent -> two inclusive corners; an extent below one pixel gives one pixel."""
    return torch.cat((boxes[..., :2], boxes[..., :2] + (boxes[..., 2:] - PIXEL).clamp(min=0)), dim=-1)


def xyxy_to_xywh(boxes: Tensor) -> Tensor:
    """Two inclusive corners -> corner and extent."""
    return torch.cat((boxes[..., :2], boxes[..., 2:] - boxes[..., :2] + PIXEL), dim=-1)
