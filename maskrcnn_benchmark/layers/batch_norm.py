"""Batch normalization with fixed statistics, under upstream's path."""

from maskrcnn_benchmark.layers.frozen_batch_norm import FrozenBatchNorm2d

__all__ = ["FrozenBatchNorm2d"]
