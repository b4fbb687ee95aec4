"""Boxes as offsets from other boxes (R-CNN, Girshick et al. 2014, appendix C), with inclusive corners."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from maskrcnn_benchmark.structures.boxes import PIXEL

SCALE_CLIP = math.log(1000.0 / 16)  # a box grows at most from 16 to 1000 pixels in one step


def _centres_and_extents(boxes: Tensor) -> tuple[Tensor, Tensor]:
    extent = boxes[..., 2:] - boxes[..., :2] + PIXEL
    return boxes[..., :2] + 0.5 * extent, extent


# Weights are numbers and stay on the host: as a tensor they would have to be copied to the device, and the host to wait for it.


def _times(pairs: Tensor, a: float, b: float) -> Tensor:
    """Tensor[..., 2] times (a, b)."""
    return pairs * a if a == b else torch.stack((pairs[..., 0] * a, pairs[..., 1] * b), dim=-1)


def _over(pairs: Tensor, a: float, b: float) -> Tensor:
    """Tensor[..., 2] divided by (a, b)."""
    return pairs / a if a == b else torch.stack((pairs[..., 0] / a, pairs[..., 1] / b), dim=-1)


def encode_boxes(reference_boxes: Tensor, proposals: Tensor, weights: Sequence[float]) -> Tensor:
    """Offsets (dx, dy, dw, dh) that lead from proposals to reference boxes, both Tensor[..., 4] xyxy, pixels."""
    centre, extent = _centres_and_extents(proposals)
    target_centre, target_extent = _centres_and_extents(reference_boxes)
    shift = (target_centre - centre) / extent
    scale = torch.log(target_extent / extent)
    wx, wy, ww, wh = weights
    return torch.cat((_times(shift, wx, wy), _times(scale, ww, wh)), dim=-1)


def decode_boxes(deltas: Tensor, boxes: Tensor, weights: Sequence[float], scale_clip: float = SCALE_CLIP) -> Tensor:
    """The inverse of `encode_boxes`: offsets Tensor[..., 4], boxes Tensor[..., 4] -> Tensor[..., 4] xyxy, pixels."""
    wx, wy, ww, wh = weights
    shift, scale = _over(deltas[..., :2], wx, wy), _over(deltas[..., 2:], ww, wh)
    centre, extent = _centres_and_extents(boxes.to(deltas.dtype))
    new_centre = shift * extent + centre
    new_extent = torch.exp(scale.clamp(max=scale_clip)) * extent
    return torch.cat((new_centre - 0.5 * new_extent, new_centre + 0.5 * new_extent - PIXEL), dim=-1)


class BoxCoder:
    """`encode_boxes` and `decode_boxes` with fixed weights (wx, wy, ww, wh)."""

    def __init__(self, weights: Sequence[float], bbox_xform_clip: float = SCALE_CLIP):
        self.weights = tuple(weights)
        self.bbox_xform_clip = bbox_xform_clip

    def encode(self, reference_boxes: Tensor, proposals: Tensor) -> Tensor:
        return encode_boxes(reference_boxes, proposals, self.weights)

    def decode(self, rel_codes: Tensor, boxes: Tensor) -> Tensor:
        """Tensor[..., 4 * K] offsets of K classes, Tensor[..., 4] boxes -> Tensor[..., 4 * K]."""
        deltas = rel_codes.unflatten(-1, (-1, 4))
        return decode_boxes(deltas, boxes.unsqueeze(-2), self.weights, self.bbox_xform_clip).flatten(-2)
