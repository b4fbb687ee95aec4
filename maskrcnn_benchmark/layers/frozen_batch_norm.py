"""Batch normalisation with fixed statistics, and its fusion into the convolution before it."""

from typing import TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskrcnn_benchmark.layers.layout import any_layout


@any_layout
class FrozenBatchNorm2d(nn.Module):
    """Batch normalisation whose statistics and affine parameters are constants.

    All four are buffers, and there is no epsilon: y = (x - running_mean) * weight / sqrt(running_var) + bias.
    """

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, n: int):
        super().__init__()
        self.register_buffer("weight", torch.ones(n))
        self.register_buffer("bias", torch.zeros(n))
        self.register_buffer("running_mean", torch.zeros(n))
        self.register_buffer("running_var", torch.ones(n))

    def affine(self) -> tuple[Tensor, Tensor]:
        """(scale, shift), each Tensor[n], such that y = scale * x + shift."""
        scale = self.weight * self.running_var.rsqrt()
        return scale, self.bias - self.running_mean * scale

    def forward(self, x: Tensor) -> Tensor:
        scale, shift = (v[:, None, None].to(x.dtype) for v in self.affine())
        return x * scale + shift

    def __repr__(self) -> str:
        return f"FrozenBatchNorm2d({len(self.weight)})"


def is_watched(*modules: nn.Module) -> bool:
    """Whether hooks wait for a call of one of these modules: a visualization's, or those of spectral_norm and weight_norm."""
    return any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks or m._backward_pre_hooks for m in modules)


def can_be_fused(conv: nn.Module, norm: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Whether a module computes what nn.Conv2d does, which a subclass may not, and nobody waits for a call of the two."""
    if not isinstance(conv, nn.Conv2d) or is_watched(conv, norm):
        return False
    kind = type(conv)
    return kind.forward is nn.Conv2d.forward and kind._conv_forward is nn.Conv2d._conv_forward


def conv_norm(x: Tensor, conv: nn.Module, norm: nn.Module) -> Tensor:
    """norm(conv(x)).

    A frozen batch norm only scales and shifts, so it is applied to the weights, which are small, instead of to the map:
    one pass over the map less, and one map less to keep for the backward pass. Other classes, a fork's of the same name
    among them, may compute something else, and are called.
    """
    if type(norm) is not FrozenBatchNorm2d or not can_be_fused(conv, norm) or conv.padding_mode != "zeros":
        return norm(conv(x))
    scale, shift = norm.affine()
    if conv.bias is not None:
        shift = shift + conv.bias * scale
    weight = conv.weight * scale[:, None, None, None]
    return F.conv2d(x, weight, shift, conv.stride, conv.padding, conv.dilation, conv.groups)
