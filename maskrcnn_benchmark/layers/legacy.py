"""Upstream's native functions, where they used to be: `maskrcnn_benchmark.ops.legacy`."""

from maskrcnn_benchmark.ops.legacy import FUNCTIONS

__all__ = ["FUNCTIONS"]
