"""Deformable position-sensitive RoI pooling (Dai et al. 2017, https://arxiv.org/abs/1703.06211, equation 6)."""

from __future__ import annotations

import torch
from torch import Tensor

from .determinism import alert_not_deterministic
from .library import ops, refuse_second_derivative

_FORWARD = "maskrcnn_benchmark::deform_psroi_pooling"
_BACKWARD = "maskrcnn_benchmark::deform_psroi_pooling_backward"


def deform_roi_pooling(
    data: Tensor,
    rois: Tensor,
    offset: Tensor,
    spatial_scale: float,
    out_size: int,
    out_channels: int,
    no_trans: bool,
    group_size: int = 1,
    part_size: int | None = None,
    sample_per_part: int = 4,
    trans_std: float = 0.0,
) -> Tensor:
    """Average of every bin of a RoI, each bin moved by its offset.

    A RoI reaches from round(x1) * scale - 0.5 to (round(x2) + 1) * scale - 0.5 and is at least 0.1 feature pixel in
    size. A bin averages the bilinear samples of a regular grid that lie on the map, from -0.5 to W - 0.5; one without
    any is 0. A coordinate or an offset that is not finite gives NaN.

    Args:
        data: Tensor[N, out_channels * group_size^2, H, W].
        rois: Tensor[K, 5], (image index, x1, y1, x2, y2) in image pixels.
        offset: Tensor[K, 2 * classes, part_size, part_size], for each class the horizontal and then the vertical
            offset of each part, in units of trans_std times the RoI's size. The output channels are divided evenly
            among the classes. Ignored with no_trans.
        spatial_scale: factor from image pixels to feature pixels.
        out_size: bins along each axis.
        out_channels: channels of the result.
        no_trans: pool without offsets.
        group_size: output channel c reads, in the bins of group (gy, gx), input channel
            (c * group_size + gy) * group_size + gx.
        part_size: parts along each axis of `offset`; None: out_size.
        sample_per_part: samples of each bin along each axis.
        trans_std: between 0 and 1.

    Returns:
        Tensor[K, out_channels, out_size, out_size] in the dtype of data, also under autocast.

    Gradients flow to data and offset. They are deterministic on the CPU; on CUDA they are sums of atomic additions. At a
    sample on a whole coordinate the gradient to its offset is taken as zero.
    """
    parts = out_size if part_size is None else part_size
    settings = (spatial_scale, out_size, out_channels, no_trans, group_size, parts, sample_per_part, trans_std)
    return ops.deform_psroi_pooling(data, rois, offset, *settings)[0]


@torch.library.register_fake(_FORWARD)
def _forward_fake(data, rois, offset, spatial_scale, out_size, out_channels, no_trans, *settings):
    classes = 1 if no_trans else offset.shape[1] // 2
    count = data.new_empty((rois.shape[0], classes, out_size, out_size), dtype=torch.int32)
    return data.new_empty((rois.shape[0], out_channels, out_size, out_size)), count


@torch.library.register_fake(_BACKWARD)
def _backward_fake(grad, data, rois, offset, count, *settings):
    return data.new_empty(data.shape), offset.new_empty(offset.shape)


def _setup(ctx, inputs, output) -> None:
    data, rois, offset, *ctx.settings = inputs
    ctx.save_for_backward(data, rois, offset, output[1])


def _differentiate(ctx, grad, _):
    if grad.is_cuda:
        alert_not_deterministic("deform_psroi_pooling_backward_cuda")
    data_grad, offset_grad = ops.deform_psroi_pooling_backward(grad, *ctx.saved_tensors, *ctx.settings)
    return data_grad, None, offset_grad, *[None] * len(ctx.settings)


torch.library.register_autograd(_FORWARD, _differentiate, setup_context=_setup)
refuse_second_derivative(_BACKWARD)
