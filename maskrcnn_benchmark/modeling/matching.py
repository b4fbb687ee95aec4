"""Which object, if any, each box stands for."""

import torch
from torch import Tensor

from maskrcnn_benchmark.utils.overriding import replaceable


@replaceable("__call__", "set_low_quality_matches_")
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
        value, index = match_quality_matrix.max(dim=0)
        unmatched = torch.where(value < self.low_threshold, self.BELOW_LOW_THRESHOLD, self.BETWEEN_THRESHOLDS)
        matches = torch.where(value >= self.high_threshold, index, unmatched)
        if self.allow_low_quality_matches:
            self.set_low_quality_matches_(matches, index, match_quality_matrix)
        return matches

    def set_low_quality_matches_(self, matches: Tensor, all_matches: Tensor, match_quality_matrix: Tensor) -> None:
        """Give the boxes that overlap some object most the object that they overlap most, in place.

        Args:
            matches: int64 Tensor[N], what is changed.
            all_matches: int64 Tensor[N], the object of each box's highest IoU.
            match_quality_matrix: Tensor[M, N] of IoU.
        """
        best = match_quality_matrix.amax(dim=1, keepdim=True)
        # An object that no box touches has no best box: no IoU equals 2.
        is_best = (match_quality_matrix == torch.where(best > 0, best, 2.0)).any(dim=0)
        matches.copy_(torch.where(is_best, all_matches, matches))

    def _all_background(self, like: Tensor, count: int) -> Tensor:
        return like.new_full((count,), self.BELOW_LOW_THRESHOLD, dtype=torch.int64)
