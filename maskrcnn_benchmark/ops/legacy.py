"""Upstream's native functions under their names and with their arguments, and `ml_nms`, for forks that call `_C` themselves.

`_C.NAME` finds them here. They have no gradients of their own, as upstream's had none; those that take
tensors for their results resize and fill them. Buffers that upstream needed (`columns`, `ones`) are not used.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from . import nms as _nms
from .deform_conv import deform_conv, modulated_deform_conv
from .deform_psroi import deform_roi_pooling
from .library import ops
from .roi_align import roi_align

FUNCTIONS: dict[str, Callable] = {}


def function(name: str) -> Callable:
    """What `_C.NAME` is. For a native function of a fork's own it is one that says so when it is called: forks take them all
    when they are imported (`soft_nms = _C.soft_nms`), and use few."""

    def missing(*args, **kwargs):
        raise NotImplementedError(
            f"_C.{name} is no function of maskrcnn-benchmark: a fork brought it, in C++ or CUDA of its own. Build that for "
            "today's torch, or write it in Python, and take it from there; tools/port.py lists such functions with their "
            "callers."
        )

    return FUNCTIONS.get(name, missing)


def _legacy(function: Callable) -> Callable:
    FUNCTIONS[function.__name__] = torch.no_grad()(function)
    return function


def _fill(target: Tensor, value: Tensor) -> None:
    target.resize_(value.shape).copy_(value)


def _gradients(function: Callable[..., Tensor], inputs: Sequence[Tensor], grad: Tensor) -> tuple[Tensor, ...]:
    with torch.enable_grad():
        inputs = [t.detach().requires_grad_() for t in inputs]
        return torch.autograd.grad(function(*inputs), inputs, grad)


@_legacy
def nms(dets, scores, threshold):
    """Indices of the boxes that stay, ascending (`ops.nms.nms` gives the best first)."""
    return _nms.nms(dets, scores, threshold).sort().values


@_legacy
def ml_nms(dets, scores, labels, threshold):
    """`nms` within each label, as in GLIP, ATSS and FCOS; labels: Tensor[N] of any type."""
    groups = labels if labels.dtype == torch.int64 else labels.unique(return_inverse=True)[1]
    return _nms.batched_nms(dets, scores, groups, threshold).sort().values


@_legacy
def roi_align_forward(input, rois, spatial_scale, pooled_height, pooled_width, sampling_ratio):
    return roi_align(input, rois, (pooled_height, pooled_width), spatial_scale, sampling_ratio)


@_legacy
def roi_align_backward(
    grad, rois, spatial_scale, pooled_height, pooled_width, batch_size, channels, height, width, sampling_ratio
):
    sizes, bins = [batch_size, channels, height, width], [pooled_height, pooled_width]
    return ops.multiscale_roi_align_backward(
        grad, rois, None, sizes, [spatial_scale], bins, sampling_ratio, False, False
    )[0]


@_legacy
def roi_pool_forward(input, rois, spatial_scale, pooled_height, pooled_width):
    return ops.roi_pool(input, rois, spatial_scale, [pooled_height, pooled_width])


@_legacy
def roi_pool_backward(
    grad, input, rois, argmax, spatial_scale, pooled_height, pooled_width, batch_size, channels, height, width
):
    return ops.roi_pool_backward(grad, argmax, rois, [batch_size, channels, height, width])


@_legacy
def sigmoid_focalloss_forward(logits, targets, num_classes, gamma, alpha):
    return ops.sigmoid_focal_loss(logits, targets, gamma, alpha)


@_legacy
def sigmoid_focalloss_backward(logits, targets, d_losses, num_classes, gamma, alpha):
    return ops.sigmoid_focal_loss_backward(d_losses, logits, targets, gamma, alpha)


@_legacy
def deform_conv_forward(
    input, weight, offset, output, columns, ones, kW, kH, dW, dH, padW, padH, dilationW, dilationH, group,
    deformable_group, im2col_step,
):  # fmt: skip
    settings = ((dH, dW), (padH, padW), (dilationH, dilationW), group, deformable_group)
    _fill(output, deform_conv(input, offset, weight, *settings))
    return 1


@_legacy
def deform_conv_backward_input(
    input, offset, gradOutput, gradInput, gradOffset, weight, columns, kW, kH, dW, dH, padW, padH, dilationW, dilationH,
    group, deformable_group, im2col_step,
):  # fmt: skip
    settings = ((dH, dW), (padH, padW), (dilationH, dilationW), group, deformable_group)
    grads = _gradients(lambda x, o: deform_conv(x, o, weight, *settings), [input, offset], gradOutput)
    for target, value in zip((gradInput, gradOffset), grads, strict=True):
        _fill(target, value)
    return 1


@_legacy
def deform_conv_backward_parameters(
    input, offset, gradOutput, gradWeight, columns, ones, kW, kH, dW, dH, padW, padH, dilationW, dilationH, group,
    deformable_group, scale, im2col_step,
):  # fmt: skip
    """Adds to gradWeight, as upstream's."""
    settings = ((dH, dW), (padH, padW), (dilationH, dilationW), group, deformable_group)
    (grad,) = _gradients(lambda w: deform_conv(input, offset, w, *settings), [gradWeight], gradOutput)
    gradWeight.add_(grad, alpha=scale)
    return 1


@_legacy
def modulated_deform_conv_forward(
    input, weight, bias, ones, offset, mask, output, columns, kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w,
    dilation_h, dilation_w, group, deformable_group, with_bias,
):  # fmt: skip
    settings = ((stride_h, stride_w), (pad_h, pad_w), (dilation_h, dilation_w), group, deformable_group)
    _fill(output, modulated_deform_conv(input, offset, mask, weight, bias if with_bias else None, *settings))


@_legacy
def modulated_deform_conv_backward(
    input, weight, bias, ones, offset, mask, columns, grad_input, grad_weight, grad_bias, grad_offset, grad_mask,
    grad_output, kernel_h, kernel_w, stride_h, stride_w, pad_h, pad_w, dilation_h, dilation_w, group, deformable_group,
    with_bias,
):  # fmt: skip
    settings = ((stride_h, stride_w), (pad_h, pad_w), (dilation_h, dilation_w), group, deformable_group)
    inputs, targets = [input, offset, mask, weight], [grad_input, grad_offset, grad_mask, grad_weight]
    if with_bias:
        inputs, targets = [*inputs, bias], [*targets, grad_bias]

    def forward(input, offset, mask, weight, bias=None):
        return modulated_deform_conv(input, offset, mask, weight, bias, *settings)

    for target, value in zip(targets, _gradients(forward, inputs, grad_output), strict=True):
        _fill(target, value)


@_legacy
def deform_psroi_pooling_forward(
    input, bbox, trans, out, top_count, no_trans, spatial_scale, output_dim, group_size, pooled_size, part_size,
    sample_per_part, trans_std,
):  # fmt: skip
    settings = (output_dim, bool(no_trans), group_size, part_size, sample_per_part, trans_std)
    values, counts = ops.deform_psroi_pooling(input, bbox, trans, spatial_scale, pooled_size, *settings)
    _fill(out, values)
    _fill(top_count, counts.repeat_interleave(output_dim // counts.shape[1], dim=1))  # upstream: for each channel


@_legacy
def deform_psroi_pooling_backward(
    out_grad, input, bbox, trans, top_count, input_grad, trans_grad, no_trans, spatial_scale, output_dim, group_size,
    pooled_size, part_size, sample_per_part, trans_std,
):  # fmt: skip
    settings = (output_dim, bool(no_trans), group_size, part_size, sample_per_part, trans_std)

    def forward(input, trans=trans):
        return deform_roi_pooling(input, bbox, trans, spatial_scale, pooled_size, *settings)

    if no_trans:
        _fill(input_grad, _gradients(forward, [input], out_grad)[0])
        return
    for target, value in zip((input_grad, trans_grad), _gradients(forward, [input, trans], out_grad), strict=True):
        _fill(target, value)
