"""Batch normalisation with fixed statistics, and its fusion into the convolution before it."""

from typing import TypeGuard

import torch
from torch import Tensor, nn

from maskrcnn_benchmark.layers.convolution import is_plain, scaled
from maskrcnn_benchmark.layers.layout import any_layout
from maskrcnn_benchmark.utils.overriding import is_overridden, replaceable


def _scale_and_shift(weight: Tensor, bias: Tensor, mean: Tensor, variance: Tensor) -> tuple[Tensor, Tensor]:
    scale = weight * variance.rsqrt()
    return scale, bias - mean * scale


class _Kept:
    """Scale and shift of a norm, and the buffers in the state that they were computed from."""

    def __init__(self, buffers: tuple[Tensor, ...]):
        self.buffers, self.versions = buffers, [buffer._version for buffer in buffers]
        with torch.inference_mode(False), torch.no_grad():
            self.scale, shift = _scale_and_shift(*buffers)
        self.shifts = {shift.dtype: shift}

    def is_of(self, buffers: tuple[Tensor, ...]) -> bool:
        """Whether nobody has replaced or changed a buffer since."""
        same = all(a is b for a, b in zip(self.buffers, buffers, strict=True))
        return same and self.versions == [buffer._version for buffer in buffers]

    def shift(self, dtype: torch.dtype) -> Tensor:
        if dtype not in self.shifts:
            with torch.inference_mode(False):
                self.shifts[dtype] = next(iter(self.shifts.values())).to(dtype)
        return self.shifts[dtype]


@replaceable("forward")
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

        self._kept: _Kept | None = None

    def affine(self, dtype: torch.dtype | None = None) -> tuple[Tensor, Tensor]:
        """(scale, shift), each Tensor[n], such that y = scale * x + shift; the shift in `dtype`, where one is given.

        Both are kept until a buffer changes: on a GPU the tiny kernels that make them for each of fifty norms take longer than
        many a convolution. A CUDA graph computes its own at each replay: kept ones may be gone by then, and none may stay that a
        graph is yet to compute.
        """
        buffers = self.weight, self.bias, self.running_mean, self.running_var
        is_recorded = (
            torch.compiler.is_compiling()
            or torch.jit.is_tracing()
            or (self.weight.is_cuda and torch.cuda.is_current_stream_capturing())
        )
        if is_recorded or any(buffer.is_inference() for buffer in buffers):
            scale, shift = _scale_and_shift(*buffers)
            return scale, shift.to(dtype or shift.dtype)
        if self._kept is None or not self._kept.is_of(buffers):
            kept = _Kept(buffers)
            if type(kept.scale) is not Tensor or torch._C._functorch.is_functorch_wrapped_tensor(kept.scale):
                # Of a transform or a fake mode, which ends before the model does.
                return kept.scale, kept.shift(dtype or self.bias.dtype)
            self._kept = kept
        return self._kept.scale, self._kept.shift(dtype or self.bias.dtype)

    def train(self, mode: bool = True) -> "FrozenBatchNorm2d":
        # What is written through `.data`, as programs of 2019 do, leaves no trace in a buffer's version.
        self._kept = None
        return super().train(mode)

    def forward(self, x: Tensor) -> Tensor:
        scale, shift = (v.reshape(-1, 1, 1).to(x.dtype) for v in self.affine())
        return x * scale + shift

    def __repr__(self) -> str:
        return f"FrozenBatchNorm2d({len(self.weight)})"


def is_watched(*modules: nn.Module) -> bool:
    """Whether hooks wait for a call of one of these modules: a visualization's, or those of spectral_norm and weight_norm.

    Hooks of all modules are no such: those who count FLOPs set them, and count what is computed.
    """
    return any(m._forward_hooks or m._forward_pre_hooks or m._backward_hooks or m._backward_pre_hooks for m in modules)


def can_be_fused(conv: nn.Module, norm: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Whether a module computes what nn.Conv2d does, and nobody waits for a call of the two."""
    return is_plain(conv) and not is_watched(conv, norm)


def conv_norm(x: Tensor, conv: nn.Module, norm: nn.Module) -> Tensor:
    """norm(conv(x)).

    A frozen batch norm only scales and shifts, so it is applied to the weights, which are small, instead of to the map:
    one pass over the map less, and one map less to keep for the backward pass. Other classes, a fork's of the same name
    among them, may compute something else, and are called.
    """
    if type(norm) is not FrozenBatchNorm2d or is_overridden(norm, FrozenBatchNorm2d, "forward"):
        return norm(conv(x))
    if not can_be_fused(conv, norm) or conv.padding_mode != "zeros":
        return norm(conv(x))
    if norm.weight.dtype != x.dtype and not torch.is_autocast_enabled(x.device.type):
        return norm(conv(x))
    # In the map's type, which under autocast is that of the convolution.
    scale, shift = norm.affine(x.dtype if conv.bias is None else None)
    if conv.bias is not None:
        shift = shift + conv.bias * scale
    return scaled(x, conv, scale.reshape(-1, 1, 1, 1), shift)
