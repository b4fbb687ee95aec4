"""Deformable convolution against a naive reference, torchvision, a plain convolution, and what PyTorch asks of an operator."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from maskrcnn_benchmark.ops import deform_conv_op
from maskrcnn_benchmark.ops.deform_conv import deform_conv, modulated_deform_conv
from maskrcnn_benchmark.ops.determinism import alert_not_deterministic
from maskrcnn_benchmark.ops.library import ops

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))]
on_devices = pytest.mark.parametrize("device", DEVICES)
# (kernel, stride, padding, dilation, groups, deformable_groups)
SETTINGS = [
    ((3, 3), (1, 1), (1, 1), (1, 1), 1, 1),
    ((3, 2), (2, 1), (0, 2), (1, 2), 2, 1),
    ((1, 3), (1, 2), (1, 1), (2, 1), 1, 3),
    ((2, 2), (3, 2), (1, 0), (2, 2), 3, 2),
]
with_settings = pytest.mark.parametrize("setting", SETTINGS)


def bilinear(map: Tensor, y: float, x: float) -> Tensor:
    """map: [C, H, W]; the value at (y, x) by the four pixels around it, those outside the map being zero."""
    value = map.new_zeros(map.shape[0])
    for row, column in itertools.product((math.floor(y), math.floor(y) + 1), (math.floor(x), math.floor(x) + 1)):
        if 0 <= row < map.shape[1] and 0 <= column < map.shape[2]:
            value += map[:, row, column] * (1 - abs(y - row)) * (1 - abs(x - column))
    return value


def naive_deform_conv(
    input, offset, mask, weight, bias, stride, padding, dilation, groups, deformable_groups
) -> Tensor:
    """The definition, one sample at a time."""
    images, channels = input.shape[:2]
    out_channels, _, *kernel = weight.shape
    positions, group_size = kernel[0] * kernel[1], channels // deformable_groups
    columns = input.new_zeros(images, channels, positions, *offset.shape[2:])
    for n, row, column in itertools.product(range(images), *map(range, offset.shape[2:])):
        for g, k in itertools.product(range(deformable_groups), range(positions)):
            dy, dx = offset[n, 2 * (g * positions + k) :, row, column][:2].tolist()
            y = row * stride[0] - padding[0] + k // kernel[1] * dilation[0] + dy
            x = column * stride[1] - padding[1] + k % kernel[1] * dilation[1] + dx
            value = bilinear(input[n, g * group_size : (g + 1) * group_size], y, x)
            if mask is not None:
                value = value * mask[n, g * positions + k, row, column]
            columns[n, g * group_size : (g + 1) * group_size, k, row, column] = value
    columns = columns.reshape(images, groups, channels // groups, positions, *offset.shape[2:])
    weight = weight.reshape(groups, out_channels // groups, channels // groups, positions)
    output = torch.einsum("ngckyx,gock->ngoyx", columns, weight).flatten(1, 2)
    return output if bias is None else output + bias[:, None, None]


def random_arguments(
    setting, dtype=torch.float32, device="cpu", images=2, channels=6, out_channels=6, size=(7, 8), spread=2.0
) -> list[Tensor]:
    """input, offset, mask, weight, bias. Offsets are `spread` pixels on average, so some samples lie outside the map."""
    kernel, stride, padding, dilation, groups, deformable_groups = setting
    generator = torch.Generator().manual_seed(sum(size) + channels)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator, dtype=torch.float64)

    out_size = [(size[i] + 2 * padding[i] - dilation[i] * (kernel[i] - 1) - 1) // stride[i] + 1 for i in (0, 1)]
    samples = deformable_groups * kernel[0] * kernel[1]
    tensors = [
        normal(images, channels, *size),
        spread * normal(images, 2 * samples, *out_size),
        normal(images, samples, *out_size).sigmoid(),
        normal(out_channels, channels // groups, *kernel),
        normal(out_channels),
    ]
    return [tensor.to(device, dtype).requires_grad_() for tensor in tensors]


def differentiable(tensors: list[Tensor]) -> list[Tensor]:
    return [t.detach().clone(memory_format=torch.preserve_format).requires_grad_() for t in tensors]


def assert_grads_close(output: Tensor, leaves, expected: Tensor, expected_leaves, rtol: float, atol: float) -> None:
    weights = torch.randn(output.shape, generator=torch.Generator().manual_seed(3)).to(output)
    ours = torch.autograd.grad(output, leaves, weights)
    theirs = torch.autograd.grad(expected, expected_leaves, weights.to(expected.dtype))
    for grad, wanted in zip(ours, theirs, strict=True):
        torch.testing.assert_close(grad.to(wanted.dtype), wanted, rtol=rtol, atol=atol)


@on_devices
@with_settings
@pytest.mark.parametrize("modulated", [False, True])
def test_follows_the_definition(device: str, modulated: bool, setting) -> None:
    input, offset, mask, weight, bias = (t.detach() for t in random_arguments(setting, torch.float64))
    mask, bias = (mask, bias) if modulated else (None, None)
    expected = naive_deform_conv(input, offset, mask, weight, bias, *setting[1:])
    arguments = [None if t is None else t.to(device) for t in (input, offset, mask, weight, bias)]
    output = modulated_deform_conv(*arguments, *setting[1:])
    torch.testing.assert_close(output.cpu(), expected, rtol=1e-10, atol=1e-10)


@on_devices
@pytest.mark.parametrize("channels, out_channels", [(6, 6), (3, 9)])
def test_a_group_for_each_channel(device: str, channels: int, out_channels: int) -> None:
    setting = ((3, 3), (1, 1), (1, 1), (1, 1), channels, 3)
    ours = random_arguments(setting, torch.float64, device, channels=channels, out_channels=out_channels)
    theirs = differentiable(ours)
    output = modulated_deform_conv(*ours, *setting[1:])
    expected = torchvision.ops.deform_conv2d(*theirs[:2], *theirs[3:], *setting[1:4], mask=theirs[2])
    torch.testing.assert_close(output, expected)
    assert_grads_close(output, ours, expected, theirs, rtol=1e-7, atol=1e-7)


@on_devices
@with_settings
@pytest.mark.parametrize("modulated", [False, True])
@pytest.mark.parametrize("channels_last", [False, True])
def test_agrees_with_torchvision(device: str, channels_last: bool, modulated: bool, setting) -> None:
    # 102 channels: whole vectors and a rest in each of 1, 2 or 3 groups
    tensors = random_arguments(setting, device=device, channels=102, out_channels=12, size=(11, 13))
    if channels_last:
        tensors = [t.to(memory_format=torch.channels_last) if t.dim() == 4 else t for t in tensors]
    input, offset, mask, weight, bias = ours = differentiable(tensors)
    theirs = differentiable(tensors)
    mask = mask if modulated else None
    output = modulated_deform_conv(input, offset, mask, weight, bias, *setting[1:])
    expected = torchvision.ops.deform_conv2d(
        theirs[0], theirs[1], theirs[3], theirs[4], *setting[1:4], mask=theirs[2] if modulated else None
    )
    torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-4)
    wanted = torch.channels_last if channels_last else torch.contiguous_format
    assert output.is_contiguous(memory_format=wanted)
    if not modulated:
        del ours[2], theirs[2]
    assert_grads_close(output, ours, expected, theirs, rtol=1e-4, atol=1e-3)


@on_devices
@with_settings
def test_without_offsets_it_is_a_convolution(device: str, setting) -> None:
    _, stride, padding, dilation, groups, _ = setting
    input, offset, _, weight, bias = random_arguments(setting, torch.float64, device)
    expected = F.conv2d(input, weight, bias, stride, padding, dilation, groups)
    output = modulated_deform_conv(input, torch.zeros_like(offset), None, weight, bias, *setting[1:])
    torch.testing.assert_close(output, expected)
    assert_grads_close(output, [input, weight, bias], expected, [input, weight, bias], 1e-9, 1e-9)


@on_devices
@with_settings
def test_gradcheck(device: str, setting) -> None:
    tensors = random_arguments(setting, torch.float64, device, images=1, size=(4, 5))
    with torch.no_grad():  # bilinear interpolation has kinks at whole pixels
        offset = tensors[1]
        near = (offset - offset.round()).abs() < 0.05
        offset += 0.1 * near
    settings = {"nondet_tol": 0.0 if device == "cpu" else 1e-10, "fast_mode": setting != SETTINGS[2]}
    assert torch.autograd.gradcheck(lambda *leaves: modulated_deform_conv(*leaves, *setting[1:]), tensors, **settings)
    input, offset, _, weight, _ = tensors
    assert torch.autograd.gradcheck(
        lambda *leaves: deform_conv(*leaves, *setting[1:]), (input, offset, weight), **settings
    )


@settings(max_examples=25, deadline=None)
@given(
    images=st.integers(0, 3),
    size=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    group_size=st.integers(1, 20),
    deformable_groups=st.integers(1, 3),
)
def test_any_shape(images, size, kernel, stride, group_size, deformable_groups) -> None:
    setting = (kernel, stride, (1, 1), (1, 1), 1, deformable_groups)
    tensors = random_arguments(setting, images=images, channels=group_size * deformable_groups, size=size)
    theirs = differentiable(tensors)
    output = modulated_deform_conv(*tensors, *setting[1:])
    expected = torchvision.ops.deform_conv2d(theirs[0], theirs[1], theirs[3], theirs[4], *setting[1:4], mask=theirs[2])
    torch.testing.assert_close(output, expected, rtol=1e-4, atol=1e-4)
    assert_grads_close(output, tensors, expected, theirs, rtol=1e-4, atol=1e-3)


@on_devices
@with_settings
def test_the_number_of_parts_does_not_matter(device: str, setting, monkeypatch: pytest.MonkeyPatch) -> None:
    tensors = random_arguments(setting, torch.float64, device)
    whole = modulated_deform_conv(*tensors, *setting[1:])
    expected = torch.autograd.grad(whole.square().sum(), tensors)
    rows = whole.shape[0] * whole.shape[2] * whole.shape[3]
    cuts = [0, 1, rows // 2 + 1, rows]  # the second part reaches into the second image
    monkeypatch.setattr(deform_conv_op._Sampling, "parts", lambda self: itertools.pairwise(cuts))
    output = modulated_deform_conv(*tensors, *setting[1:])
    torch.testing.assert_close(output, whole)
    for grad, wanted in zip(torch.autograd.grad(output.square().sum(), tensors), expected, strict=True):
        torch.testing.assert_close(grad, wanted)


@pytest.mark.parametrize(("threads", "megabytes"), [(1, 16), (2, 32), (100, 256)])
def test_memory_for_columns_is_bounded(threads: int, megabytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    offset = torch.empty(2, 18, 500, 600)
    geometry = ([3, 3], [1, 1], [1, 1], [1, 1], 1)
    parts = list(deform_conv_op._Sampling(torch.empty(2, 500, 600, 64), offset, None, *geometry).parts())
    row_bytes = 9 * 64 * 4
    assert 0.99 < max(last - first for first, last in parts) * row_bytes / (megabytes * 2**20) <= 1
    assert [0, *(last for _, last in parts)] == [*(first for first, _ in parts), 2 * 500 * 600]


@on_devices
@pytest.mark.parametrize("modulated", [False, True])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_opcheck(device: str, dtype: torch.dtype, modulated: bool) -> None:
    setting = SETTINGS[3]
    input, offset, mask, weight, bias = random_arguments(setting, dtype, device)
    mask, bias = (mask, bias) if modulated else (None, None)
    arguments = [list(value) if isinstance(value, tuple) else value for value in setting[1:]]
    for format in (torch.contiguous_format, torch.channels_last):
        laid_out = differentiable([input.to(memory_format=format)])[0]
        torch.library.opcheck(
            ops.deform_conv2d, (laid_out, offset, mask, weight, bias, *arguments), rtol=1e-2, atol=1e-2
        )
        detached = [None if t is None else t.detach() for t in (laid_out, offset, mask, weight)]
        output = ops.deform_conv2d(*detached, None, *arguments)
        for wanted in ((True, True), (True, False), (False, True)):
            torch.library.opcheck(
                ops.deform_conv2d_backward,
                (torch.ones_like(output), *detached, *arguments, *wanted),
                test_utils=("test_schema", "test_autograd_registration", "test_faketensor"),
            )


@on_devices
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_reduced_types_sum_in_float32(device: str, dtype: torch.dtype) -> None:
    """Samples and results are rounded once; positions are computed in float32, whatever the type of the offsets."""
    setting = SETTINGS[0]
    input, offset, mask, weight, bias = random_arguments(setting, device=device, channels=40, size=(9, 60))
    leaves = [input.to(dtype), offset, mask, weight.to(dtype), bias.to(dtype)]
    leaves = differentiable(leaves)
    wide = differentiable([leaf.float() for leaf in leaves])
    output, expected = modulated_deform_conv(*leaves, *setting[1:]), modulated_deform_conv(*wide, *setting[1:])
    assert output.dtype == dtype
    step = torch.finfo(dtype).eps
    scale = expected.square().mean().sqrt()
    assert (output.float() - expected).abs().max() < 4 * step * scale
    grads = torch.autograd.grad(output.sum(), leaves)
    for leaf, grad, wanted in zip(leaves, grads, torch.autograd.grad(expected.sum(), wide), strict=True):
        assert grad.dtype == leaf.dtype
        assert (grad.float() - wanted).abs().max() < 6 * step * wanted.square().mean().sqrt().clamp(min=1)


@on_devices
def test_autocast_keeps_offsets_and_masks(device: str) -> None:
    setting = SETTINGS[0]
    input, offset, mask, weight, bias = random_arguments(setting, device=device)
    with torch.autocast(device, torch.bfloat16):
        output = modulated_deform_conv(input, offset, mask, weight, bias, *setting[1:])
        double = modulated_deform_conv(*(t.double() for t in (input, offset, mask, weight, bias)), *setting[1:])
    half = [t.bfloat16() for t in (input, weight, bias)]
    expected = modulated_deform_conv(half[0], offset, mask, half[1], half[2], *setting[1:])
    assert output.dtype == torch.bfloat16 and double.dtype == torch.float64
    torch.testing.assert_close(output, expected, rtol=0, atol=0)
    grads = torch.autograd.grad(output.float().sum(), [input, offset, weight])
    assert all(grad.dtype == torch.float32 and grad.abs().sum() > 0 for grad in grads)


@on_devices
@pytest.mark.parametrize(("images", "channels"), [(0, 4), (2, 0)], ids=["no images", "no channels"])
def test_empty(device: str, images: int, channels: int) -> None:
    setting = SETTINGS[0]
    tensors = random_arguments(setting, device=device, images=images, channels=channels)
    output = modulated_deform_conv(*tensors, *setting[1:])
    assert output.shape == (images, 6, 7, 8)
    torch.testing.assert_close(output, tensors[4][:, None, None].expand_as(output))
    output.sum().backward()
    for tensor in tensors[:4]:
        torch.testing.assert_close(tensor.grad, torch.zeros_like(tensor))
    torch.testing.assert_close(tensors[4].grad, torch.full((6,), 56.0 * images, device=device))


@on_devices
def test_non_contiguous_arguments(device: str) -> None:
    setting = SETTINGS[0]
    tensors = random_arguments(setting, device=device)
    strided = [
        torch.stack([t.detach(), torch.full_like(t, math.nan)], dim=-1)[..., 0].requires_grad_() for t in tensors
    ]
    assert not any(t.is_contiguous() for t in strided)
    output, expected = modulated_deform_conv(*strided, *setting[1:]), modulated_deform_conv(*tensors, *setting[1:])
    torch.testing.assert_close(output, expected)
    # A gradient that is one number, expanded.
    grads = torch.autograd.grad(output.sum(), strided)
    wanted = torch.autograd.grad(expected, tensors, torch.ones_like(expected))
    for grad, dense in zip(grads, wanted, strict=True):
        torch.testing.assert_close(grad, dense)


@on_devices
def test_border(device: str) -> None:
    """Up to a pixel outside the map a sample fades to zero; further out it is zero and has no gradient; NaN stays NaN."""
    input = torch.full((1, 1, 1, 2), 8.0, device=device)
    weight = torch.ones(1, 1, 1, 1, device=device)
    x = torch.tensor([0.0, -0.25, -0.75, -1.0, -1e9, 1.25, 2.0, math.inf, math.nan], device=device)
    expected = torch.tensor([8.0, 6.0, 2.0, 0.0, 0.0, 6.0, 0.0, 0.0, math.nan], device=device)
    slope = torch.tensor([0.0, 8.0, 8.0, 0.0, 0.0, -8.0, 0.0, 0.0, 0.0], device=device)
    for value, wanted, derivative in zip(x, expected, slope, strict=True):
        offset = torch.zeros(1, 2, 1, 2, device=device)
        offset[0, 1, 0, 0] = value
        offset.requires_grad_()
        output = deform_conv(input, offset, weight)
        torch.testing.assert_close(output[0, 0, 0, 0], wanted, equal_nan=True)
        torch.testing.assert_close(output[0, 0, 0, 1], torch.tensor(8.0, device=device))
        grad = torch.autograd.grad(output[0, 0, 0, 0], offset)[0]
        torch.testing.assert_close(grad[0, 1, 0, 0], derivative)


def test_gradient_does_not_depend_on_threads() -> None:
    setting = ((3, 3), (1, 1), (1, 1), (1, 1), 1, 2)
    input, offset, mask, *_ = (t.detach() for t in random_arguments(setting, channels=70, size=(12, 17)))
    pixels = input.permute(0, 2, 3, 1).contiguous()
    grad_columns = torch.randn(2 * 12 * 17, 9, 70, generator=torch.Generator().manual_seed(4))
    threads, runs = torch.get_num_threads(), []
    try:
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            grads = [torch.zeros_like(pixels), torch.zeros_like(offset), torch.zeros_like(mask)]
            geometry = [list(value) for value in setting[:4]]
            ops.deform_col2im(grad_columns, pixels, offset, mask, *geometry, 2, 0, *grads)
            runs.append(grads)
    finally:
        torch.set_num_threads(threads)
    assert all(grad.abs().sum() > 0 for grad in runs[0])
    for other in runs[1:]:
        assert all(torch.equal(first, second) for first, second in zip(runs[0], other, strict=True))


def test_gradient_is_repeatable() -> None:
    setting = SETTINGS[0]
    tensors = random_arguments(setting, channels=70, size=(12, 17))
    torch.use_deterministic_algorithms(True)
    try:
        runs = [
            torch.autograd.grad(modulated_deform_conv(*tensors, *setting[1:]).square().sum(), tensors) for _ in range(3)
        ]
    finally:
        torch.use_deterministic_algorithms(False)
    for other in runs[1:]:
        assert all(torch.equal(first, second) for first, second in zip(runs[0], other, strict=True))


def test_atomic_gradient_is_announced_as_torch_does() -> None:
    alert_not_deterministic("anything")
    torch.use_deterministic_algorithms(True)
    try:
        with pytest.raises(RuntimeError, match="anything does not have a deterministic implementation, but you set"):
            alert_not_deterministic("anything")
        torch.use_deterministic_algorithms(True, warn_only=True)
        with pytest.warns(UserWarning, match="anything does not have a deterministic implementation"):
            alert_not_deterministic("anything")
    finally:
        torch.use_deterministic_algorithms(False)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_devices_must_agree() -> None:
    input, offset, mask, weight, bias = random_arguments(SETTINGS[0], device="cuda")
    with pytest.raises(ValueError, match="input is on cuda:0, but weight on cpu"):
        modulated_deform_conv(input, offset, mask, weight.cpu(), bias, *SETTINGS[0][1:])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_atomic_gradient_is_announced() -> None:
    tensors = random_arguments(SETTINGS[0], device="cuda")
    output = modulated_deform_conv(*tensors, *SETTINGS[0][1:])
    torch.use_deterministic_algorithms(True)
    try:
        with pytest.raises(
            RuntimeError, match="deform_conv2d_backward_cuda does not have a deterministic implementation"
        ):
            output.sum().backward()
    finally:
        torch.use_deterministic_algorithms(False)


@on_devices
@pytest.mark.parametrize("dynamic", [False, True])
@pytest.mark.parametrize("format", [torch.contiguous_format, torch.channels_last])
def test_compiles(device: str, dynamic: bool, format: torch.memory_format) -> None:
    setting = SETTINGS[0]

    def loss(input, offset, mask, weight, bias) -> Tensor:
        return (modulated_deform_conv(input * 2, offset, mask.sigmoid(), weight, bias, *setting[1:]) * 2).relu().sum()

    torch._dynamo.reset()
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    for size in ((7, 8), (9, 11)):
        tensors = random_arguments(setting, device=device, size=size)
        tensors[0] = tensors[0].detach().to(memory_format=format).requires_grad_()
        traced = differentiable(tensors)
        expected, result = loss(*tensors), compiled(*traced)
        torch.testing.assert_close(result, expected)
        grads, wanted = torch.autograd.grad(result, traced), torch.autograd.grad(expected, tensors)
        for grad, eager in zip(grads, wanted, strict=True):
            torch.testing.assert_close(grad, eager)
            assert grad.stride() == eager.stride()


def test_only_what_is_asked_for_is_differentiated() -> None:
    setting = SETTINGS[0]
    every = random_arguments(setting)
    expected = torch.autograd.grad(modulated_deform_conv(*every, *setting[1:]).sum(), every)
    for chosen in ([0], [1], [2], [3], [4], [0, 3]):
        leaves = [tensor.detach().requires_grad_(i in chosen) for i, tensor in enumerate(every)]
        modulated_deform_conv(*leaves, *setting[1:]).sum().backward()
        for i, leaf in enumerate(leaves):
            assert (leaf.grad is not None) == (i in chosen)
            if i in chosen:
                torch.testing.assert_close(leaf.grad, expected[i])


def test_second_derivatives_are_refused() -> None:
    tensors = random_arguments(SETTINGS[0])
    output = modulated_deform_conv(*tensors, *SETTINGS[0][1:])
    (grad,) = torch.autograd.grad(output.square().sum(), tensors[:1], create_graph=True)
    with pytest.raises(RuntimeError, match="no second derivative"):
        grad.sum().backward()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input": torch.zeros(6, 7, 8)}, r"input must be a floating-point Tensor\[N, C, H, W\].*shape \[6, 7, 8\]"),
        ({"input": torch.zeros(2, 6, 7, 8, dtype=torch.int64)}, "got torch.int64"),
        ({"offset": torch.zeros(2, 16, 7, 8)}, r"offset must have shape \[2, 18, 7, 8\], got \[2, 16, 7, 8\]"),
        ({"offset": torch.zeros(2, 18, 5, 6)}, r"offset must have shape \[2, 18, 7, 8\], got \[2, 18, 5, 6\]"),
        ({"mask": torch.zeros(2, 18, 7, 8)}, r"mask must have shape \[2, 9, 7, 8\], got \[2, 18, 7, 8\]"),
        ({"weight": torch.zeros(6, 5, 3, 3)}, r"weight of shape \[O, 6, kh, kw\].*got \[6, 5, 3, 3\]"),
        ({"weight": torch.zeros(6, 6, 3, 3).double()}, "input is torch.float32, but weight torch.float64"),
        ({"bias": torch.zeros(5)}, r"bias must have shape \[6\], got \[5\]"),
        ({"groups": 4}, "groups must be a divisor of the input's 6 channels, got 4"),
        ({"deformable_groups": 0}, "deformable_groups must be a divisor of the input's 6 channels, got 0"),
        ({"stride": 0}, r"stride and dilation must be positive.*stride \[0, 0\]"),
        ({"padding": (1, -1)}, r"padding not negative.*padding \[1, -1\]"),
        ({"dilation": 5}, "smaller than the kernel of .3, 3. with dilation .5, 5."),
    ],
)
def test_bad_arguments_are_named(change: dict, message: str) -> None:
    names = ("input", "offset", "mask", "weight", "bias")
    arguments = dict(zip(names, (t.detach() for t in random_arguments(SETTINGS[0])), strict=True))
    arguments.update(stride=1, padding=1, dilation=1, groups=1, deformable_groups=1)
    with pytest.raises(ValueError, match=message):
        modulated_deform_conv(**{**arguments, **change})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pixels": torch.zeros(2, 3, 7, 8).permute(0, 2, 3, 1)}, "pixels must be contiguous"),
        ({"offset": torch.zeros(2, 18, 7, 8).double()}, "offset must be Float for pixels of type Float, got Double"),
        ({"columns": torch.zeros(5, 9, 4)}, r"columns must be contiguous of shape \[R, 9, 3\].*\[5, 9, 4\]"),
        ({"first_row": 108}, "rows 108 to 113 reach beyond the 112 output pixels"),
        ({"deformable_groups": 2}, "3 channels cannot be split into 2 deformable groups"),
    ],
)
def test_kernels_check_their_arguments(change: dict, message: str) -> None:
    arguments = {
        "pixels": torch.zeros(2, 7, 8, 3),
        "offset": torch.zeros(2, 18, 7, 8),
        "mask": None,
        "kernel": [3, 3],
        "stride": [1, 1],
        "padding": [1, 1],
        "dilation": [1, 1],
        "deformable_groups": 1,
        "first_row": 0,
        "columns": torch.zeros(5, 9, 3),
    }
    ops.deform_im2col(**arguments)
    with pytest.raises(RuntimeError, match=f"(?m)^deform_conv: .*{message}"):
        ops.deform_im2col(**{**arguments, **change})
