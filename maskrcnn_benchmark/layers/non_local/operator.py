"""ENL as one operator: equation 9 of Levi and Ullman (BMVC 2019), regrouped around the Gram matrix of the map.

The operator keeps its input and two small matrices an image for the backward pass; no map of theta, phi, g or y exists in
either direction. Its algebra is in algebra.py, the passes over the map in passes.py and, for a GPU, triton_passes.py.
"""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType

import torch
from torch import Tensor

from maskrcnn_benchmark.ops.library import has_kernels, ops, refuse_second_derivative

from . import passes
from .algebra import Weights, check_map, contract_backward, is_regrouped, literal_order, literal_order_backward
from .equations import dct_tables

_FORWARD = "maskrcnn_benchmark::efficient_non_local"
_BACKWARD = "maskrcnn_benchmark::efficient_non_local_backward"


def efficient_non_local(x: Tensor, weights: Weights, dct_size: int = 9) -> Tensor:
    """x + out(y) with y = (1/N) theta^T (phi g^T) + E (E^T g) (equation 9), to rounding.

    Args:
        x: Tensor[B, C, H, W], contiguous or channels_last (others are copied), float16 to float64.
        weights: of the four 1 x 1 convolutions, in any dtype.
        dct_size: frequencies kept along each axis, at most as many as the axis has positions; 0 leaves the position term out
            (equation 6).

    Returns:
        Tensor[B, C, H, W] in the dtype and memory format of x, also under autocast. Sums over positions, 1/N and the products
        of the weights are float32 (float64 for float64), whatever the dtypes.

    Maps of few positions are computed in the paper's order where that counts fewer multiply-adds. The gradient cannot be
    differentiated again.
    """
    return ops.efficient_non_local(x, *weights, dct_size)[0]


def _sums_dtype(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)


def _tables(x: Tensor, dct_size: int) -> tuple[Tensor, Tensor]:
    return dct_tables(x.shape[2], x.shape[3], max(dct_size, 1), _sums_dtype(x), x.device)


def _check(x: Tensor, weights: Weights, dct_size: int) -> None:
    check_map(x, "efficient_non_local")
    channels, inner = x.shape[1], weights.theta_bias.numel()
    expected = [inner * channels, inner] * 3 + [channels * inner, channels]
    for name, tensor, count in zip(Weights._fields, weights, expected, strict=True):
        wide = name == "out_weight"
        if tensor.numel() != count or (tensor.dim() > 1 and tensor.shape[0] != (channels if wide else inner)):
            raise ValueError(
                f"efficient_non_local: {name} has shape {list(tensor.shape)}; a map of {channels} channels and {inner} inner "
                f"ones (theta_bias) needs {count} elements."
            )
        if tensor.device != x.device:
            raise ValueError(f"efficient_non_local: {name} is on {tensor.device}, the map on {x.device}.")
    if dct_size < 0:
        raise ValueError(f"efficient_non_local: dct_size counts frequencies and is not negative; got {dct_size}.")


def _nothing(x: Tensor) -> Tensor:
    """In the place of sums that the backward pass does not need."""
    return x.new_empty(0, dtype=_sums_dtype(x))


def _format(x: Tensor) -> torch.memory_format:
    """channels_last or, of contiguous maps and all others, contiguous."""
    is_last = not x.is_contiguous() and x.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if is_last else torch.contiguous_format


def _forward(passes: ModuleType, x: Tensor, *arguments) -> tuple[Tensor, Tensor, Tensor]:
    weights, dct_size = Weights(*arguments[:-1]), arguments[-1]
    _check(x, weights, dct_size)
    if x.numel() == 0:
        return x.clone(), _nothing(x), _nothing(x)
    wide = weights.to(_sums_dtype(x))
    if not is_regrouped(x.shape, len(weights.theta_bias), dct_size):
        z = literal_order(x.to(_sums_dtype(x)), wide, dct_size)
        return z.to(x.dtype).contiguous(memory_format=_format(x)), _nothing(x), _nothing(x)
    x = x.contiguous(memory_format=_format(x))
    rows, columns = _tables(x, dct_size)
    gram, spectrum = passes.position_sums(x, x, rows, columns)
    mixing, low_pass = passes.contract(gram, spectrum, len(rows) * len(columns), wide, dct_size > 0)
    # A compiler relies on the strides that the fake kernel says.
    return passes.mix(x, mixing, low_pass, rows, columns), gram.contiguous(), spectrum.contiguous()


def _backward(passes: ModuleType, grad: Tensor, x: Tensor, *arguments) -> tuple[Tensor, ...]:
    weights, (gram, spectrum, dct_size) = Weights(*arguments[:-3]), arguments[-3:]
    if x.numel() == 0:
        return torch.empty_like(x), *(torch.zeros_like(w) for w in weights)
    wide = weights.to(_sums_dtype(x))
    if not is_regrouped(x.shape, len(weights.theta_bias), dct_size):
        grad_x, grads = literal_order_backward(grad.to(_sums_dtype(x)), x.to(_sums_dtype(x)), wide, dct_size)
        grad_x = grad_x.to(x.dtype).contiguous(memory_format=_format(x))
    else:
        rows, columns = _tables(x, dct_size)
        positions = len(rows) * len(columns)
        x, grad = (t.contiguous(memory_format=_format(x)) for t in (x, grad))
        cross, grad_spectrum = passes.position_sums(grad, x, rows, columns)
        mixing, remix, low_pass, grads = contract_backward(
            cross, grad_spectrum, gram, spectrum, positions, wide, dct_size > 0
        )
        del cross, grad_spectrum  # before the gradient of the map is made
        grad_x = passes.mix(grad, mixing, low_pass, rows, columns, x, remix)
    return grad_x, *(torch.empty_like(w).copy_(g.reshape(w.shape)) for g, w in zip(grads, weights, strict=True))


def _gpu_passes(x: Tensor) -> ModuleType:
    """Triton's kernels, where Triton is there; it comes with PyTorch's builds for CUDA."""
    if x.dtype == torch.float64:
        return passes
    try:
        from . import triton_passes
    except ImportError:
        return passes
    return triton_passes


def _without_autocast(kernel: Callable, choose_passes: Callable[[Tensor], ModuleType]) -> Callable:
    """The kernel as PyTorch calls it. Autocast would narrow the products inside; the map keeps the dtype it comes in."""

    def call(*arguments):
        with torch.autocast(arguments[0].device.type, enabled=False):
            return kernel(choose_passes(arguments[0]), *arguments)

    return call


def _forward_fake(x, *arguments):
    weights, dct_size = Weights(*arguments[:-1]), arguments[-1]
    z = torch.empty_like(x, memory_format=_format(x))
    if x.numel() == 0 or not is_regrouped(x.shape, len(weights.theta_bias), dct_size):
        return z, _nothing(x), _nothing(x)
    batch, channels, height, width = x.shape
    frequencies = min(max(dct_size, 1), height) * min(max(dct_size, 1), width)
    sums = x.new_empty(batch, channels, channels, dtype=_sums_dtype(x))
    return z, sums, sums.new_empty(batch, channels, frequencies)


def _backward_fake(grad, x, *arguments):
    grad_x = torch.empty_like(x, memory_format=_format(x))
    return grad_x, *(w.new_empty(w.shape) for w in arguments[:-3])


def _setup(ctx, inputs, output) -> None:
    *tensors, ctx.dct_size = inputs
    _, gram, spectrum = output
    ctx.mark_non_differentiable(gram, spectrum)
    ctx.save_for_backward(*tensors, gram, spectrum)


def _differentiate(ctx, grad, grad_gram, grad_spectrum):
    return *ops.efficient_non_local_backward(grad, *ctx.saved_tensors, ctx.dct_size), None


_library = torch.library.Library("maskrcnn_benchmark", "FRAGMENT")
if not has_kernels(_FORWARD):
    torch.library.register_fake(_FORWARD, _forward_fake)
    torch.library.register_fake(_BACKWARD, _backward_fake)
    torch.library.register_autograd(_FORWARD, _differentiate, setup_context=_setup)
    refuse_second_derivative(_BACKWARD)
    for _key, _choose in (("CPU", lambda x: passes), ("CUDA", _gpu_passes)):
        _library.impl("efficient_non_local", _without_autocast(_forward, _choose), _key)
        _library.impl("efficient_non_local_backward", _without_autocast(_backward, _choose), _key)
