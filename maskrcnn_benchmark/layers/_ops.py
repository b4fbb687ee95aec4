"""The operators, where they used to be: `maskrcnn_benchmark.ops.library`."""

from maskrcnn_benchmark.ops.library import load, ops

__all__ = ["load", "ops"]
