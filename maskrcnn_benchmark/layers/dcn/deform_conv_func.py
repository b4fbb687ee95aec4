"""Deformable convolution, under upstream's path; the operator is `maskrcnn_benchmark.ops.deform_conv`."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn.modules.utils import _pair

from maskrcnn_benchmark import _C
from maskrcnn_benchmark.ops.deform_conv import deform_conv, modulated_deform_conv
from maskrcnn_benchmark.ops.function import gradients, run_operator

__all__ = ["DeformConvFunction", "ModulatedDeformConvFunction", "_C", "deform_conv", "modulated_deform_conv"]


class DeformConvFunction(Function):
    """`deform_conv` for code that calls `DeformConvFunction.apply` or builds on it."""

    @staticmethod
    def forward(
        ctx, input, offset, weight, stride=1, padding=0, dilation=1, groups=1, deformable_groups=1, im2col_step=64
    ) -> Tensor:
        settings = (stride, padding, dilation, groups, deformable_groups, im2col_step)
        return run_operator(ctx, deform_conv, input, offset, weight, *settings)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        return gradients(ctx, grad_output)

    @staticmethod
    def _output_size(
        input: Tensor, weight: Tensor, padding: Sequence[int], dilation: Sequence[int], stride: Sequence[int]
    ) -> tuple[int, ...]:
        """The shape of the result. ValueError if the input is smaller than the kernel."""
        size = (input.shape[0], weight.shape[0], *_size(input, weight, padding, dilation, stride))
        if min(size) <= 0:
            raise ValueError(
                f"A kernel of {list(weight.shape[2:])} with padding {list(padding)} and dilation {list(dilation)} needs a "
                f"larger input than {list(input.shape)}: the output would be of {list(size)}."
            )
        return size


class ModulatedDeformConvFunction(Function):
    """`modulated_deform_conv` for code that calls `ModulatedDeformConvFunction.apply` or builds on it."""

    @staticmethod
    def forward(
        ctx, input, offset, mask, weight, bias=None, stride=1, padding=0, dilation=1, groups=1, deformable_groups=1
    ) -> Tensor:
        ctx.stride, ctx.padding, ctx.dilation = stride, padding, dilation
        settings = (stride, padding, dilation, groups, deformable_groups)
        return run_operator(ctx, modulated_deform_conv, input, offset, mask, weight, bias, *settings)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        return gradients(ctx, grad_output)

    @staticmethod
    def _infer_shape(ctx, input: Tensor, weight: Tensor) -> tuple[int, ...]:
        """The shape of the result for the stride, padding and dilation in `ctx`."""
        settings = (_pair(ctx.padding), _pair(ctx.dilation), _pair(ctx.stride))
        return input.shape[0], weight.shape[0], *_size(input, weight, *settings)


def _size(
    input: Tensor, weight: Tensor, padding: Sequence[int], dilation: Sequence[int], stride: Sequence[int]
) -> list[int]:
    """Height and width of the result."""
    return [
        (length + 2 * pad - spacing * (kernel - 1) - 1) // step + 1
        for length, kernel, pad, spacing, step in zip(
            input.shape[2:], weight.shape[2:], padding, dilation, stride, strict=True
        )
    ]
