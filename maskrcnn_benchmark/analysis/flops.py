"""FLOPs of this package's operators, for torch.utils.flop_counter: importing this module registers them.

As there, a multiply-add counts as two, and only products count: comparisons (NMS, the maxima of RoIPool) and element-wise
functions (focal loss, norms, activations) do not. Every bilinear sample is four multiply-adds a channel.
"""

from __future__ import annotations

import math
from typing import Any

from torch.utils.flop_counter import register_flop_formula

from maskrcnn_benchmark import ops as operators  # noqa: F401 (defines them)
from maskrcnn_benchmark.layers.non_local.algebra import multiply_adds
from maskrcnn_benchmark.ops.library import ops

Shape = Any  # torch.Size, or None for an argument that is not given

FLOPS_PER_MULTIPLY_ADD = 2
FLOPS_PER_SAMPLE = 4 * FLOPS_PER_MULTIPLY_ADD  # of one channel
# Samples of a bin along an axis where the operator takes one a pixel, as many as the bin happens to have.
ADAPTIVE_SAMPLES = 2


@register_flop_formula(ops.multiscale_roi_align)
def roi_align_flops(
    features: list[Shape],
    rois: Shape,
    levels: Shape,
    scales: Any,
    output_size: tuple[int, int],
    sampling_ratio: int,
    *args: Any,
    **kwargs: Any,
) -> int:
    return _pooled(rois[0], features[0][1], output_size, sampling_ratio)


@register_flop_formula(ops.multiscale_roi_align_backward)
def roi_align_backward_flops(
    grad: Shape,
    rois: Shape,
    levels: Shape,
    sizes: Any,
    scales: Any,
    output_size: tuple[int, int],
    sampling_ratio: int,
    *args: Any,
    **kwargs: Any,
) -> int:
    """Every sample's four pixels are read in one direction and added to in the other."""
    return _pooled(rois[0], grad[1], output_size, sampling_ratio)


def _pooled(regions: int, channels: int, output_size: tuple[int, int], sampling_ratio: int) -> int:
    samples = sampling_ratio if sampling_ratio > 0 else ADAPTIVE_SAMPLES
    return regions * channels * math.prod(output_size) * samples**2 * FLOPS_PER_SAMPLE


@register_flop_formula(ops.deform_conv2d)
def deform_conv_flops(input: Shape, offset: Shape, mask: Shape, weight: Shape, *args: Any, **kwargs: Any) -> int:
    return _deformed_product(offset, weight) + _deformed_samples(input, offset, weight)


@register_flop_formula(ops.deform_conv2d_backward)
def deform_conv_backward_flops(
    grad: Shape, input: Shape, offset: Shape, mask: Shape, weight: Shape, *args: Any, **kwargs: Any
) -> int:
    """The last two arguments say which gradients are formed. Samples are spread over their pixels for the first, with the
    three derivatives along y, x and the mask, and read again for the second."""
    sampling_grads, weight_grad = args[-2:]
    product, samples = _deformed_product(offset, weight), _deformed_samples(input, offset, weight)
    return sampling_grads * (product + (4 if mask else 3) * samples) + weight_grad * (product + samples)


def _deformed_product(offset: Shape, weight: Shape) -> int:
    """The convolution itself."""
    return offset[0] * math.prod(offset[2:]) * math.prod(weight) * FLOPS_PER_MULTIPLY_ADD


def _deformed_samples(input: Shape, offset: Shape, weight: Shape) -> int:
    return offset[0] * math.prod(offset[2:]) * math.prod(weight[2:]) * input[1] * FLOPS_PER_SAMPLE


@register_flop_formula(ops.deform_psroi_pooling)
def deform_psroi_pooling_flops(
    data: Shape,
    rois: Shape,
    offset: Shape,
    spatial_scale: float,
    out_size: int,
    out_channels: int,
    no_trans: bool,
    group_size: int,
    part_size: int,
    sample_per_part: int,
    *args: Any,
    **kwargs: Any,
) -> int:
    return rois[0] * out_channels * out_size**2 * sample_per_part**2 * FLOPS_PER_SAMPLE


@register_flop_formula([ops.roi_pool, ops.batched_nms, ops.suppress, ops.sigmoid_focal_loss])
def no_products(*args: Any, **kwargs: Any) -> int:
    return 0


@register_flop_formula(ops.efficient_non_local)
def enl_flops(x: Shape, theta_weight: Shape, theta_bias: Shape, *args: Any, **kwargs: Any) -> int:
    return FLOPS_PER_MULTIPLY_ADD * multiply_adds(x, theta_bias[0], args[-1]).forward


@register_flop_formula(ops.efficient_non_local_backward)
def enl_backward_flops(grad: Shape, x: Shape, theta_weight: Shape, theta_bias: Shape, *args: Any, **kwargs: Any) -> int:
    return FLOPS_PER_MULTIPLY_ADD * multiply_adds(x, theta_bias[0], args[-1]).backward
