"""Non-maximum suppression, under upstream's path."""

from torch import Tensor

from maskrcnn_benchmark import _C
from maskrcnn_benchmark.ops.nms import nms as best_first_nms

__all__ = ["_C", "nms"]


def nms(dets: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """Indices of the boxes that stay, in ascending order as upstream's: int64 Tensor[K].

    Args:
        dets: Tensor[N, 4] xyxy, pixels, corners inclusive.
        scores: Tensor[N].
        threshold: IoU above which the weaker of two boxes goes.
    """
    return best_first_nms(dets, scores, threshold).sort().values
