"""Convolutions for a training on processors: 3 x 3 ones by Winograd's filtering, and with scaled weights that are not kept."""

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .winograd import filtered, filtered_gradients


def is_transformed() -> bool:
    """Whether this call is compiled, traced, or under a transform of torch.func or forward-mode differentiation: those want
    PyTorch's own operators.
    """
    return (
        torch.compiler.is_compiling()
        or torch.jit.is_tracing()
        or torch._C._functorch.maybe_current_level() is not None
        or torch.autograd.forward_ad._current_level >= 0
    )


class _Geometry(NamedTuple):
    stride: tuple[int, ...] = (1, 1)
    padding: Any = (1, 1)
    dilation: tuple[int, ...] = (1, 1)
    groups: int = 1


def conv3x3(x: Tensor, weight: Tensor, bias: Tensor | None, scale: Tensor | None = None) -> Tensor:
    """F.conv2d(x, weight * scale, bias, padding=1) of a 3 x 3 kernel by Winograd's minimal filtering, as its gradients are.

    For CPUs, float32 and float64. Rounding in float32 is some 1e-5 of the largest value, of the output and of the gradients. What
    the backward pass takes is x, the weight and its scale; the scaled weight is computed again.

    Shapes: Tensor[B, C, H, W], Tensor[O, C, 3, 3], Tensor[O] and Tensor[O, 1, 1, 1] -> Tensor[B, O, H, W] in channels_last order.
    """
    return _Convolution.apply(x, weight, scale, bias, _Geometry(), True)  # type: ignore[no-untyped-call]


def scaled_convolution(x: Tensor, weight: Tensor, scale: Tensor, bias: Tensor | None, conv: nn.Conv2d) -> Tensor:
    """F.conv2d(x, weight * scale, bias) in the geometry of `conv`; the scaled weight is computed again for the gradients."""
    geometry = _Geometry(conv.stride, conv.padding, conv.dilation, conv.groups)
    return _Convolution.apply(x, weight, scale, bias, geometry, False)  # type: ignore[no-untyped-call]


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(
        x: Tensor, weight: Tensor, scale: Tensor | None, bias: Tensor | None, geometry: _Geometry, is_filtered: bool
    ) -> Tensor:
        weight = weight if scale is None else weight * scale
        return filtered(x, weight, bias) if is_filtered else F.conv2d(x, weight, bias, *geometry)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        x, weight, scale, _, ctx.geometry, ctx.is_filtered = inputs
        ctx.save_for_backward(x, weight, scale)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, scale = ctx.saved_tensors
        scaled = weight if scale is None else weight * scale
        wanted = [ctx.needs_input_grad[i] for i in (0, 1, 3)]
        is_single = not torch._C._functorch.is_legacy_batchedtensor(grad) and not is_transformed()
        if ctx.is_filtered and is_single and not torch.is_grad_enabled():
            of_x, of_weight, of_bias = filtered_gradients(grad, x, scaled, wanted)
        else:  # PyTorch's can be differentiated again, and for many gradients at once
            of_x, of_weight, of_bias = torch.ops.aten.convolution_backward(
                grad, x, scaled, [len(weight)], *ctx.geometry[:3], False, [0, 0], ctx.geometry.groups, wanted
            )
        if scale is not None and of_weight is not None:
            of_weight = of_weight * scale
        return of_x, of_weight, None, of_bias, None, None
