"""Deformable convolution and pooling, under upstream's paths. The operator itself is `maskrcnn_benchmark.ops.deform_conv_op`."""

from maskrcnn_benchmark.ops import deform_conv_op

__all__ = ["deform_conv_op"]
