"""RoIPool: the maximum of every bin of a RoI (Fast R-CNN, https://arxiv.org/abs/1504.08083, section 2.1)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .determinism import alert_not_deterministic
from .library import ops

_FORWARD = "maskrcnn_benchmark::roi_pool"
_BACKWARD = "maskrcnn_benchmark::roi_pool_backward"


def roi_pool(input: Tensor, rois: Tensor, output_size: int | Sequence[int], spatial_scale: float) -> Tensor:
    """Largest value of each bin, channel by channel.

    Args:
        input: Tensor[N, C, H, W]. The CPU reads channels_last maps as they are, and copies others.
        rois: Tensor[K, 5], (image index, x1, y1, x2, y2) in image pixels. Keep them in float32: corners are rounded to
            whole feature pixels (halves away from zero), and both corners belong to the RoI.
        output_size: bins (height, width), or one number for both.
        spatial_scale: factor from image pixels to feature pixels, 1/16 for a map of stride 16.

    Returns:
        Tensor[K, C, height, width] in the dtype of the input, also under autocast. A bin outside the map, and every bin
        of a RoI with a coordinate that is not finite, is 0 or the maximum of what part of it lies on the map; a NaN on
        the map makes the maximum NaN. A RoI that names an image that does not exist is an error on the CPU and NaN on
        CUDA, where looking would stall the device.

    Gradients flow to the input, to the pixel that was the maximum. On CUDA they are sums of atomic additions, whose order
    varies.
    """
    bins = [output_size, output_size] if isinstance(output_size, int) else list(output_size)
    return ops.roi_pool(input, rois, spatial_scale, bins)[0]


@torch.library.register_fake(_FORWARD)
def _forward_fake(input, rois, spatial_scale, output_size):
    shape = (rois.shape[0], input.shape[1], *output_size)
    return input.new_empty(shape), input.new_empty(shape, dtype=torch.int32)


@torch.library.register_fake(_BACKWARD)
def _backward_fake(grad, argmax, rois, sizes):
    return grad.new_empty(sizes)


def _setup_forward(ctx, inputs, output) -> None:
    input, rois, _, _ = inputs
    ctx.sizes = list(input.shape)
    ctx.save_for_backward(output[1], rois)


def _differentiate_forward(ctx, grad, _):
    if grad.is_cuda:
        alert_not_deterministic("roi_pool_backward_cuda")
    return ops.roi_pool_backward(grad, *ctx.saved_tensors, ctx.sizes), None, None, None


def _setup_backward(ctx, inputs, output) -> None:
    _, argmax, rois, _ = inputs
    ctx.save_for_backward(argmax, rois)


def _differentiate_backward(ctx, grad):
    """The backward operator adds to the pixels that were maxima, so its adjoint reads those pixels."""
    argmax, rois = ctx.saved_tensors
    _, channels, height, width = grad.shape
    planes = rois[:, :1].long() * channels + torch.arange(channels, device=rois.device)
    places = planes[:, :, None, None] * (height * width) + argmax.clamp(min=0)
    read = grad.reshape(-1)[places] if grad.numel() > 0 else grad.new_zeros(places.shape)
    return torch.where(argmax >= 0, read, 0), None, None, None


torch.library.register_autograd(_FORWARD, _differentiate_forward, setup_context=_setup_forward)
torch.library.register_autograd(_BACKWARD, _differentiate_backward, setup_context=_setup_backward)
