"""Upstream's names for layers that needed workarounds for empty inputs, which PyTorch's own handle today, and DFConv2d."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor
from torch.autograd import Function
from torch.nn import BatchNorm2d, ConvTranspose2d
from torch.nn.functional import interpolate

from maskrcnn_benchmark.layers.convolution import Conv2d
from maskrcnn_benchmark.layers.deformable import DFConv2d

__all__ = ["BatchNorm2d", "Conv2d", "ConvTranspose2d", "DFConv2d", "_NewEmptyTensorOp", "interpolate"]


class _NewEmptyTensorOp(Function):
    """`_NewEmptyTensorOp.apply(x, shape)`: an empty result of an empty x, through which the graph stays connected."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, new_shape: Sequence[int]) -> Tensor:
        ctx.shape = x.shape
        return x.new_empty(new_shape)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        return grad.new_zeros(ctx.shape), None
