"""The operator `deform_conv2d` (see deform_conv_func for what it computes) and all that PyTorch wants to know about it.

The kernels in csrc/cpu and csrc/cuda only sample: `deform_im2col` fills the rows of a matrix, one row for each of the
N * OH * OW output pixels, which is multiplied with the weights. That happens a part of the rows at a time, so that its
memory does not grow with the batch or the image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from .determinism import alert_not_deterministic
from .library import ops

_FORWARD = "maskrcnn_benchmark::deform_conv2d"
_BACKWARD = "maskrcnn_benchmark::deform_conv2d_backward"
# Of columns at a time. Every part makes all threads wait for the slowest a few times, which is dear on a busy machine.
_COLUMN_BYTES = 256 * 2**20
_COLUMN_BYTES_PER_THREAD = 16 * 2**20


class _Sampling(NamedTuple):
    """The arguments of deform_im2col and deform_col2im that all parts of a call share, in their order."""

    pixels: Tensor  # [N, H, W, C]
    offset: Tensor
    mask: Tensor | None
    kernel: list[int]
    stride: list[int]
    padding: list[int]
    dilation: list[int]
    deformable_groups: int

    @classmethod
    def of(cls, input, offset, mask, weight, stride, padding, dilation, deformable_groups) -> _Sampling:
        wide = _compute_dtype(input)
        mask = None if mask is None else mask.to(wide)
        pixels = input.permute(0, 2, 3, 1).contiguous()
        kernel = list(weight.shape[2:])
        return cls(pixels, offset.to(wide), mask, kernel, stride, padding, dilation, deformable_groups)

    @property
    def positions(self) -> int:
        return self.kernel[0] * self.kernel[1]

    def parts(self) -> Iterator[tuple[int, int]]:
        """(first, last) rows, such that the columns of a part stay within the bound that the functions document."""
        rows = self.offset.shape[0] * self.offset.shape[2] * self.offset.shape[3]
        row_bytes = self.positions * self.pixels.shape[3] * self.pixels.element_size()
        on_cpu = self.pixels.device.type == "cpu"
        bound = min(_COLUMN_BYTES, _COLUMN_BYTES_PER_THREAD * torch.get_num_threads()) if on_cpu else _COLUMN_BYTES
        size = max(1, bound // max(1, row_bytes))
        return ((first, min(first + size, rows)) for first in range(0, rows, size))

    def columns(self, first: int, last: int) -> Tensor:
        """The samples of these rows: [last - first, kh * kw, C]."""
        columns = self.pixels.new_empty(last - first, self.positions, self.pixels.shape[3])
        ops.deform_im2col(*self, first, columns)
        return columns


def _compute_dtype(input: Tensor) -> torch.dtype:
    return torch.float64 if input.dtype == torch.float64 else torch.float32


def _split_columns(columns: Tensor, groups: int) -> Tensor:
    """[R, kh * kw, C] -> [groups, R, kh * kw * C / groups]; a copy only if there are several groups."""
    rows, positions, channels = columns.shape
    split = columns.view(rows, positions, groups, channels // groups)
    return split.permute(2, 0, 1, 3).reshape(groups, rows, positions * (channels // groups))


def _join_columns(columns: Tensor, positions: int) -> Tensor:
    """The inverse of `_split_columns`."""
    groups, rows, width = columns.shape
    split = columns.view(groups, rows, positions, width // positions)
    # With one channel in a group the reshaped tensor would be a view, in another order.
    return split.permute(1, 2, 0, 3).contiguous().view(rows, positions, groups * (width // positions))


def _split_weight(weight: Tensor, groups: int) -> Tensor:
    """[O, C / groups, kh, kw] -> [groups, kh * kw * C / groups, O / groups]."""
    out_channels, group_channels, height, width = weight.shape
    split = weight.reshape(groups, out_channels // groups, group_channels, height * width)
    return split.permute(0, 3, 2, 1).reshape(groups, height * width * group_channels, out_channels // groups)


def _join_weight(matrices: Tensor, shape: torch.Size) -> Tensor:
    """The inverse of `_split_weight`."""
    groups, _, group_out = matrices.shape
    return matrices.view(groups, shape[2] * shape[3], shape[1], group_out).permute(0, 3, 2, 1).reshape(shape)


def _is_channels_last(map: Tensor) -> bool:
    return not map.is_contiguous() and map.is_contiguous(memory_format=torch.channels_last)


def _as_map(pixels: Tensor, channels_last: bool) -> Tensor:
    """[N, H, W, C] -> [N, C, H, W]."""
    map = pixels.permute(0, 3, 1, 2)
    return map if channels_last else map.contiguous()


def _forward(input, offset, mask, weight, bias, stride, padding, dilation, groups, deformable_groups) -> Tensor:
    _check(input, offset, mask, weight, bias, stride, padding, dilation, groups, deformable_groups)
    sampling = _Sampling.of(input, offset, mask, weight, stride, padding, dilation, deformable_groups)
    out_channels, matrices = weight.shape[0], _split_weight(weight, groups)
    shift = (input.new_zeros(out_channels) if bias is None else bias).view(groups, 1, -1)
    output = input.new_empty(input.shape[0], *offset.shape[2:], out_channels)
    rows = output.view(-1, groups, out_channels // groups).transpose(0, 1)
    for first, last in sampling.parts():
        columns = _split_columns(sampling.columns(first, last), groups)
        rows[:, first:last] = torch.baddbmm(shift, columns, matrices)
    return _as_map(output, _is_channels_last(input))


def _backward(
    grad, input, offset, mask, weight, stride, padding, dilation, groups, deformable_groups, sampling_grads, weight_grad
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients by input, offset, mask and weight; empty where not asked for and without a mask."""
    sampling = _Sampling.of(input, offset, mask, weight, stride, padding, dilation, deformable_groups)
    matrices = _split_weight(weight, groups)
    grad_rows = grad.permute(0, 2, 3, 1).reshape(-1, groups, grad.shape[1] // groups).transpose(0, 1)
    wide = _compute_dtype(input)  # of all sums over parts
    grad_pixels = torch.zeros_like(sampling.pixels, dtype=wide) if sampling_grads else None
    grad_offset = torch.zeros_like(sampling.offset) if sampling_grads else None
    grad_mask = torch.zeros_like(sampling.mask) if sampling_grads and sampling.mask is not None else None
    grad_matrices = torch.zeros_like(matrices, dtype=wide) if weight_grad else None
    for first, last in sampling.parts():
        part = grad_rows[:, first:last]
        if grad_matrices is not None:
            columns = _split_columns(sampling.columns(first, last), groups)
            grad_matrices += torch.bmm(columns.transpose(1, 2), part)
        if grad_pixels is not None:
            grad_columns = _join_columns(torch.bmm(part, matrices.transpose(1, 2)), sampling.positions)
            ops.deform_col2im(grad_columns, *sampling, first, grad_pixels, grad_offset, grad_mask)
    empty = input.new_empty
    return (
        empty(0) if grad_pixels is None else _as_map(grad_pixels.to(input.dtype), _is_channels_last(input)),
        empty(0) if grad_offset is None else grad_offset.to(offset.dtype),
        empty(0) if grad_mask is None else grad_mask.to(mask.dtype),
        empty(0) if grad_matrices is None else _join_weight(grad_matrices, weight.shape).to(weight.dtype),
    )


def _backward_cuda(*arguments) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    if arguments[-2]:
        alert_not_deterministic("deform_conv2d_backward_cuda")
    return _backward(*arguments)


def _check(input, offset, mask, weight, bias, stride, padding, dilation, groups, deformable_groups) -> None:
    if input.dim() != 4 or weight.dim() != 4 or not input.is_floating_point():
        raise ValueError(
            "deform_conv2d: input must be a floating-point Tensor[N, C, H, W] and weight a Tensor[O, C / groups, kh, kw], "
            f"got {input.dtype} of shape {list(input.shape)} and shape {list(weight.shape)}."
        )
    if min(*stride, *dilation, *weight.shape[2:]) < 1 or min(padding) < 0:
        raise ValueError(
            "deform_conv2d: kernel, stride and dilation must be positive and padding not negative, got a kernel of "
            f"{list(weight.shape[2:])}, stride {stride}, padding {padding}, dilation {dilation}."
        )
    channels, out_channels = input.shape[1], weight.shape[0]
    for name, count in (("groups", groups), ("deformable_groups", deformable_groups)):
        if count < 1 or channels % count:
            raise ValueError(
                f"deform_conv2d: {name} must be a divisor of the input's {channels} channels, got {count}."
            )
    if out_channels % groups or weight.shape[1] != channels // groups:
        raise ValueError(
            f"deform_conv2d: {channels} input channels in {groups} groups need a weight of shape [O, "
            f"{channels // groups}, kh, kw] with O divisible by {groups}, got {list(weight.shape)}."
        )
    size = [
        (length + 2 * pad - dilate * (kernel - 1) - 1) // step + 1
        for length, pad, dilate, kernel, step in zip(
            input.shape[2:], padding, dilation, weight.shape[2:], stride, strict=True
        )
    ]
    if min(input.shape[2:]) < 1 or min(size) < 1:
        raise ValueError(
            f"deform_conv2d: an input of {list(input.shape)} is smaller than the kernel of {list(weight.shape[2:])} with "
            f"dilation {dilation} and padding {padding}."
        )
    samples = deformable_groups * weight.shape[2] * weight.shape[3]
    expected = {
        "offset": (offset, [input.shape[0], 2 * samples, *size]),
        "mask": (mask, [input.shape[0], samples, *size]),
        "bias": (bias, [out_channels]),
    }
    for name, (tensor, shape) in expected.items():
        if tensor is not None and list(tensor.shape) != shape:
            raise ValueError(f"deform_conv2d: {name} must have shape {shape}, got {list(tensor.shape)}.")
    for name, tensor in {"weight": weight, "offset": offset, "mask": mask, "bias": bias}.items():
        if tensor is not None and tensor.device != input.device:
            raise ValueError(f"deform_conv2d: input is on {input.device}, but {name} on {tensor.device}.")
        if tensor is not None and name in ("weight", "bias") and tensor.dtype != input.dtype:
            raise ValueError(
                f"deform_conv2d: input is {input.dtype}, but {name} {tensor.dtype}; they must be the same."
            )


def _forward_fake(input, offset, mask, weight, bias, stride, padding, dilation, groups, deformable_groups):
    memory_format = torch.channels_last if _is_channels_last(input) else torch.contiguous_format
    shape = (input.shape[0], weight.shape[0], *offset.shape[2:])
    return torch.empty(shape, dtype=input.dtype, device=input.device, memory_format=memory_format)


def _backward_fake(
    grad, input, offset, mask, weight, stride, padding, dilation, groups, deformable_groups, sampling_grads, weight_grad
):
    memory_format = torch.channels_last if _is_channels_last(input) else torch.contiguous_format
    empty = input.new_empty
    return (
        torch.empty_like(input, memory_format=memory_format) if sampling_grads else empty(0),
        torch.empty_like(offset) if sampling_grads else empty(0),
        torch.empty_like(mask) if sampling_grads and mask is not None else empty(0),
        empty(weight.shape) if weight_grad else empty(0),
    )


def _setup(ctx, inputs, output) -> None:
    input, offset, mask, weight, _, *ctx.settings = inputs
    ctx.save_for_backward(input, offset, mask, weight)


def _differentiate(ctx, grad):
    input, offset, mask, weight = ctx.saved_tensors
    needs = ctx.needs_input_grad
    grads = ops.deform_conv2d_backward(grad, input, offset, mask, weight, *ctx.settings, any(needs[:3]), needs[3])
    by_input, by_offset, by_mask, by_weight = (
        value if needed else None for value, needed in zip(grads, needs[:4], strict=True)
    )
    by_bias = grad.sum((0, 2, 3)) if needs[4] else None
    return by_input, by_offset, by_mask, by_weight, by_bias, None, None, None, None, None


def _no_second_derivative(ctx, *grads):
    raise RuntimeError("deform_conv2d has no second derivative; do not pass create_graph=True through it.")


def _register_autocast(device_type: str, key: str) -> None:
    """Autocast: what is multiplied is cast. Offsets and masks stay: a reduced type would round positions."""

    def cast(tensor: Tensor | None) -> Tensor | None:
        if tensor is None or tensor.dtype == torch.float64:
            return tensor
        return tensor.to(torch.get_autocast_dtype(device_type))

    def autocast(keyset, input, offset, mask, weight, bias, *settings):
        with torch.autocast(device_type, enabled=False):
            return ops.deform_conv2d(cast(input), offset, mask, cast(weight), cast(bias), *settings)

    _library.impl("deform_conv2d", autocast, key, with_keyset=True)


_library = torch.library.Library("maskrcnn_benchmark", "FRAGMENT")
_kernels: dict[str, tuple[Callable, Callable]] = {"CPU": (_forward, _backward), "CUDA": (_forward, _backward_cuda)}
for _key, (_to_output, _to_gradients) in _kernels.items():
    _library.impl("deform_conv2d", _to_output, _key)
    _library.impl("deform_conv2d_backward", _to_gradients, _key)
torch.library.register_fake(_FORWARD, _forward_fake)
torch.library.register_fake(_BACKWARD, _backward_fake)
torch.library.register_autograd(_FORWARD, _differentiate, setup_context=_setup)
torch.library.register_autograd(_BACKWARD, _no_second_derivative)
_register_autocast("cpu", "AutocastCPU")
_register_autocast("cuda", "AutocastCUDA")
