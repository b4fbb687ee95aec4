"""Non-maximum suppression of boxes with inclusive corners: a box from x1 to x2 covers x2 - x1 + 1 pixels."""

from __future__ import annotations

import torch
from torch import Tensor

from .library import ops


def nms(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """Indices of the boxes that no better box overlaps by more than `threshold`, best first.

    Args:
        boxes: Tensor[N, 4], xyxy, pixels.
        scores: Tensor[N]. Of equal scores the one with the lower index counts as better.
        threshold: a box is dropped if its IoU with a kept one is strictly greater.

    Returns:
        Tensor[M] int64, in descending order of score.
    """
    return ops.batched_nms(boxes.detach(), scores.detach(), None, threshold, -1)


def batched_nms(boxes: Tensor, scores: Tensor, groups: Tensor, iou_threshold: float, max_output: int = -1) -> Tensor:
    """`nms` in which only boxes of the same group (class, image, level) compete, for all groups in one call.

    Args:
        boxes: Tensor[N, 4], xyxy, pixels.
        scores: Tensor[N].
        groups: Tensor[N] int64; any numbers.
        iou_threshold: a box is dropped if its IoU with a kept one of its group is strictly greater.
        max_output: return only this many, the best over all groups; negative: all.

    Returns:
        Tensor[M] int64, in descending order of score over all groups; ties: lower index first.
    """
    return ops.batched_nms(boxes.detach(), scores.detach(), groups, iou_threshold, max_output)


def suppress(
    boxes: Tensor, scores: Tensor, groups: Tensor, iou_threshold: float, most: int = -1
) -> tuple[Tensor, Tensor]:
    """`batched_nms` as a mask, for which the host does not wait for the device.

    Args:
        most: how many of each group the caller will take at most; negative: all. What is said of the others saves time and
            may be wrong.

    Returns:
        order: int64 Tensor[N], the indices of all boxes in descending order of score; ties: lower index first.
        kept: bool Tensor[N], which of these are not suppressed: order[kept] is what `batched_nms` returns.
    """
    return ops.suppress(boxes.detach(), scores.detach(), groups, iou_threshold, most)


@torch.library.register_fake("maskrcnn_benchmark::suppress")
def _suppress_fake(boxes, scores, groups, iou_threshold, most=-1):
    return scores.new_empty(scores.shape, dtype=torch.int64), scores.new_empty(scores.shape, dtype=torch.bool)


@torch.library.register_fake("maskrcnn_benchmark::batched_nms")
def _batched_nms_fake(boxes, scores, groups, iou_threshold, max_output):
    return boxes.new_empty(torch.library.get_ctx().new_dynamic_size(max=2**31 - 1), dtype=torch.int64)
