"""Which object, if any, each box stands for."""

import torch
from torch import Tensor

from maskrcnn_benchmark.structures.boxes import MAX_BLOCK, box_iou


class Matcher:
    """Assigns to each of N boxes the index of one of M objects, or a negative number.

    Args:
        high_threshold: a box whose best IoU is at least this stands for that object.
        low_threshold: a box whose best IoU is below this is background; between the two it is neither.
        allow_low_quality_matches: also give each object the boxes that overlap it most, however little
            (Faster R-CNN, section 3.1.2, i).
    """

    BELOW_LOW_THRESHOLD = -1
    BETWEEN_THRESHOLDS = -2

    def __init__(self, high_threshold: float, low_threshold: float, allow_low_quality_matches: bool = False):
        if low_threshold > high_threshold:
            raise ValueError(f"low_threshold {low_threshold} is above high_threshold {high_threshold}.")
        self.high_threshold = high_threshold
        self.low_threshold = low_threshold
        self.allow_low_quality_matches = allow_low_quality_matches

    def __call__(self, match_quality_matrix: Tensor) -> Tensor:
        """Tensor[M, N] of IoU -> int64 Tensor[N]."""
        if match_quality_matrix.numel() == 0:  # no objects, or no boxes
            return self._all_background(match_quality_matrix, match_quality_matrix.shape[1])
        best = match_quality_matrix.amax(dim=1) if self.allow_low_quality_matches else None
        return self._match_block(match_quality_matrix, best)

    def match_boxes(self, objects: Tensor, boxes: Tensor) -> Tensor:
        """Match Tensor[N, 4] boxes to Tensor[M, 4] objects -> int64 Tensor[N].

        The IoU matrix is made in blocks, so memory stays bounded for any M and N; a matrix that fits one block is
        computed once, a larger one twice where low-quality matches need each object's best overlap first.
        """
        if len(objects) == 0:
            return self._all_background(boxes, len(boxes))
        blocks = boxes.split(max(MAX_BLOCK // len(objects), 1))
        if len(blocks) <= 1:
            return self(box_iou(objects, boxes))
        best = None
        if self.allow_low_quality_matches:
            best = torch.stack([box_iou(objects, block).amax(dim=1) for block in blocks]).amax(dim=0)
        return torch.cat([self._match_block(box_iou(objects, block), best) for block in blocks])

    def _all_background(self, like: Tensor, count: int) -> Tensor:
        return like.new_full((count,), self.BELOW_LOW_THRESHOLD, dtype=torch.int64)

    def _match_block(self, iou: Tensor, best_of_object: Tensor | None) -> Tensor:
        value, index = iou.max(dim=0)
        keep = value >= self.high_threshold
        if best_of_object is not None:
            # An object that no box touches has no best box: no IoU equals 2.
            best = torch.where(best_of_object > 0, best_of_object, 2.0)
            keep = keep | (iou == best[:, None]).any(dim=0)
        unmatched = torch.where(value < self.low_threshold, self.BELOW_LOW_THRESHOLD, self.BETWEEN_THRESHOLDS)
        return torch.where(keep, index, unmatched)
