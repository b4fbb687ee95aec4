"""The convolution of this package's own layers: PyTorch's, trained faster on processors."""

from __future__ import annotations

from typing import TypeGuard

import torch
from torch import Tensor, nn

from maskrcnn_benchmark.layers.layout import any_layout
from maskrcnn_benchmark.ops.winograd import WINOGRAD_CHANNELS, conv3x3, has_winograds_form

# Fewer tiles than this do not pay for transforming the kernels.
MIN_TILES = 32


@any_layout
class Conv2d(nn.Conv2d):
    """torch.nn.Conv2d. On a CPU in float32, a wide 3 x 3 convolution through which a gradient is to go is computed by Winograd's
    filtering, as its gradients are (`ops.winograd.conv3x3`): about twice as fast. What is only looked at, without gradients, is
    what PyTorch computes, to the bit.
    """

    def _conv_forward(self, input: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if has_winograds_form(self) and _is_trained_here(input, weight):
            return conv3x3(input, weight, bias)
        return super()._conv_forward(input, weight, bias)


def _is_trained_here(x: Tensor, weight: Tensor) -> bool:
    if not (torch.is_grad_enabled() and (x.requires_grad or weight.requires_grad)) or torch.compiler.is_compiling():
        return False
    if x.device.type != "cpu" or torch.is_autocast_enabled("cpu") or not x.dtype == weight.dtype == torch.float32:
        return False
    is_batch = x.dim() == 4 and min(weight.shape[:2]) >= WINOGRAD_CHANNELS
    return is_batch and x.shape[0] * -(-x.shape[2] // 4) * -(-x.shape[3] // 4) >= MIN_TILES


def is_plain(conv: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Whether a module computes what nn.Conv2d does, which a subclass may not."""
    if not isinstance(conv, nn.Conv2d):
        return False
    kind = type(conv)
    return kind.forward is nn.Conv2d.forward and kind._conv_forward in (nn.Conv2d._conv_forward, Conv2d._conv_forward)
