"""Non-maximum suppression, under upstream's path."""

from maskrcnn_benchmark import _C
from maskrcnn_benchmark.ops.nms import nms

__all__ = ["_C", "nms"]
