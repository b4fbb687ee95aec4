"""The convolution of this package's own layers: PyTorch's, trained faster on processors."""

from __future__ import annotations

from typing import TypeGuard

import torch
from torch import Tensor, nn

from maskrcnn_benchmark.layers.layout import any_layout
from maskrcnn_benchmark.ops.convolution import conv3x3, is_transformed, scaled_convolution
from maskrcnn_benchmark.ops.winograd import WINOGRAD_CHANNELS, has_winograds_form

# Fewer tiles than this do not pay for transforming the kernels.
MIN_TILES = 32


@any_layout
class Conv2d(nn.Conv2d):
    """torch.nn.Conv2d. On a CPU in float32, a wide 3 x 3 convolution through which a gradient is to go is computed by Winograd's
    filtering, as its gradients are (`ops.convolution.conv3x3`): about twice as fast. What is only looked at, without
    gradients, is what PyTorch computes, to the bit.
    """

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if _is_trained_here(input, weight) and _pays(self, input):
            return conv3x3(input, weight, bias)
        return super()._conv_forward(input, weight, bias)


def scaled(x: Tensor, conv: nn.Conv2d, scale: Tensor, shift: Tensor) -> Tensor:
    """What `conv` (see `is_plain`) computes with its weights times `scale`, Tensor[O, 1, 1, 1], and plus `shift`, Tensor[O].

    On a CPU the backward pass multiplies the weights again: all of a body's for a second time are a tenth of what a training
    step keeps.
    """
    weight = conv.weight  # read once: a parametrization computes it at each time
    # PyTorch's gradient of a convolution takes no single image and no padding by name.
    is_usual = x.dim() == 4 and not isinstance(conv.padding, str)
    if not (is_usual and _is_trained_here(x, weight) and weight.requires_grad):
        return conv._conv_forward(x, weight * scale, shift)
    if isinstance(conv, Conv2d) and _pays(conv, x):
        return conv3x3(x, weight, shift, scale)
    return scaled_convolution(x, weight, scale, shift, conv)


def _is_trained_here(x: Tensor, weight: Tensor) -> bool:
    if not (torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)) or is_transformed():
        return False
    is_real_on_cpu = x.device.type == "cpu" and x.dtype.is_floating_point
    return is_real_on_cpu and not torch.is_autocast_enabled("cpu") and x.dtype == weight.dtype


def _pays(conv: Conv2d, x: Tensor) -> bool:
    """Whether a convolution is one that Winograd's filtering trains faster."""
    if not has_winograds_form(conv) or x.dtype != torch.float32 or x.dim() != 4:
        return False
    tiles = x.shape[0] * -(-x.shape[2] // 4) * -(-x.shape[3] // 4)
    return min(conv.in_channels, conv.out_channels) >= WINOGRAD_CHANNELS and tiles >= MIN_TILES


def is_plain(conv: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Whether a module computes what nn.Conv2d does, which a subclass may not."""
    if not isinstance(conv, nn.Conv2d):
        return False
    kind = type(conv)
    return kind.forward is nn.Conv2d.forward and kind._conv_forward in (nn.Conv2d._conv_forward, Conv2d._conv_forward)
