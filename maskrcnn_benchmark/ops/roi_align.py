"""RoIAlign (Mask R-CNN, https://arxiv.org/abs/1703.06870, section 3), over one feature map or a whole pyramid.

Both functions are the operator `multiscale_roi_align`; its kernels are in csrc/cpu and csrc/cuda, everything else that
PyTorch wants to know about it is registered here.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from .determinism import alert_not_deterministic
from .library import ops

_FORWARD = "maskrcnn_benchmark::multiscale_roi_align"
_BACKWARD = "maskrcnn_benchmark::multiscale_roi_align_backward"


def multiscale_roi_align(
    features: Sequence[Tensor],
    rois: Tensor,
    levels: Tensor | None,
    scales: Sequence[float],
    output_size: int | Sequence[int],
    sampling_ratio: int,
    aligned: bool = False,
) -> Tensor:
    """Pool every RoI from its level of a feature pyramid, in one call and without waiting for the device.

    Args:
        features: L maps [N, C, H_l, W_l] of one dtype. The CPU reads channels_last maps as they are, and copies others.
        rois: Tensor[K, 5], (image index, x1, y1, x2, y2) in image pixels. Keep them in float32: narrower types round
            large coordinates to whole pixels and more.
        levels: Tensor[K] int64, the index in `features` that each RoI reads; None with a single level.
        scales: L factors from image pixels to feature pixels, 1/4 for a map of stride 4.
        output_size: bins (height, width), or one number for both.
        sampling_ratio: bilinear samples per bin along each axis; 0 or less: ceil(extent of the bin).
        aligned: shift RoIs by half a feature pixel. Without it a RoI is at least one feature pixel in size.

    Returns:
        Tensor[K, C, height, width] in the dtype of the features, in the order of `rois`. Sums are formed in float32
        (float64 for float64). A RoI with a coordinate that is not finite gives NaN. One that names an image or level
        that does not exist is an error on the CPU and NaN on CUDA, where looking would stall the device.

    Gradients flow to the features and not to the RoIs. They are deterministic on the CPU; on CUDA they are sums of
    atomic additions, whose order varies.
    """
    bins = [output_size, output_size] if isinstance(output_size, int) else list(output_size)
    return ops.multiscale_roi_align(list(features), rois, levels, list(scales), bins, sampling_ratio, aligned)


def roi_align(
    input: Tensor,
    rois: Tensor,
    output_size: int | Sequence[int],
    spatial_scale: float,
    sampling_ratio: int,
    aligned: bool = False,
) -> Tensor:
    """`multiscale_roi_align` of a single map: [N, C, H, W] and RoIs [K, 5] to [K, C, height, width]."""
    return multiscale_roi_align([input], rois, None, [spatial_scale], output_size, sampling_ratio, aligned)


def _is_channels_last(map: Tensor) -> bool:
    return not map.is_contiguous() and map.is_contiguous(memory_format=torch.channels_last)


@torch.library.register_fake(_FORWARD)
def _forward_fake(features, rois, levels, scales, output_size, sampling_ratio, aligned):
    return features[0].new_empty(rois.shape[0], features[0].shape[1], *output_size)


@torch.library.register_fake(_BACKWARD)
def _backward_fake(grad, rois, levels, sizes, scales, output_size, sampling_ratio, aligned, channels_last):
    memory_format = torch.channels_last if channels_last else torch.contiguous_format
    return [
        torch.empty(
            (*sizes[:2], *sizes[2 + 2 * level : 4 + 2 * level]),
            dtype=grad.dtype,
            device=grad.device,
            memory_format=memory_format,
        )
        for level in range(len(scales))
    ]


def _setup_forward(ctx, inputs, output) -> None:
    features, rois, levels, *ctx.settings = inputs
    ctx.sizes = [*features[0].shape[:2], *(size for map in features for size in map.shape[2:])]
    ctx.channels_last = _is_channels_last(features[0])
    ctx.save_for_backward(rois, levels)


def _differentiate_forward(ctx, grad):
    if grad.is_cuda:
        alert_not_deterministic("multiscale_roi_align_backward_cuda")
    rois, levels = ctx.saved_tensors
    grads = ops.multiscale_roi_align_backward(grad, rois, levels, ctx.sizes, *ctx.settings, ctx.channels_last)
    return grads, None, None, None, None, None, None


def _setup_backward(ctx, inputs, output) -> None:
    _, rois, levels, _, *ctx.settings, _ = inputs
    ctx.save_for_backward(rois, levels)


def _differentiate_backward(ctx, grads):
    """The backward operator is linear in the gradient, and its adjoint is the forward operator."""
    rois, levels = ctx.saved_tensors
    pooled = ops.multiscale_roi_align(grads, rois, levels, *ctx.settings)
    return pooled, None, None, None, None, None, None, None, None


torch.library.register_autograd(_FORWARD, _differentiate_forward, setup_context=_setup_forward)
torch.library.register_autograd(_BACKWARD, _differentiate_backward, setup_context=_setup_backward)


def _register_autocast(device_type: str, key: str) -> None:
    """Autocast: the maps keep their dtype, the widest of them if they differ; RoIs keep theirs.

    The kernels widen every product to float32, so casting the maps would cost time and gain nothing, and coordinates in
    a reduced type would be off by pixels.
    """

    def autocast(keyset, features, *arguments):
        dtype = features[0].dtype
        for map in features[1:]:
            dtype = torch.promote_types(dtype, map.dtype)
        with torch.autocast(device_type, enabled=False):
            return ops.multiscale_roi_align([map.to(dtype) for map in features], *arguments)

    _library.impl("multiscale_roi_align", autocast, key, with_keyset=True)


_library = torch.library.Library("maskrcnn_benchmark", "FRAGMENT")
_register_autocast("cpu", "AutocastCPU")
_register_autocast("cuda", "AutocastCUDA")
