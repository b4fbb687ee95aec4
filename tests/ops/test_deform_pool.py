"""Deformable RoI pooling against a naive reference, and what PyTorch asks of an operator."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from maskrcnn_benchmark.ops.deform_psroi import deform_roi_pooling
from maskrcnn_benchmark.ops.library import ops

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))]
on_devices = pytest.mark.parametrize("device", DEVICES)


def bilinear(plane: Tensor, y: Tensor, x: Tensor) -> Tensor:
    """plane: [H, W]; y, x: scalars on it. Differentiable by all three."""
    height, width = plane.shape
    y, x = y.clamp(0, height - 1), x.clamp(0, width - 1)
    value = plane.new_zeros(())
    for row in {math.floor(y.item()), math.ceil(y.item())}:
        for column in {math.floor(x.item()), math.ceil(x.item())}:
            value = value + plane[row, column] * (1 - (y - row).abs()) * (1 - (x - column).abs())
    return value


def naive_pooling(
    data: Tensor,
    rois: Tensor,
    offset: Tensor | None,
    spatial_scale: float,
    out_size: int,
    out_channels: int,
    group_size: int,
    part_size: int,
    sample_per_part: int,
    trans_std: float,
) -> tuple[Tensor, Tensor]:
    """The definition, one sample at a time: averages and counts [K, out_channels, out_size, out_size]."""
    height, width = data.shape[2:]
    rows, counts = [], []
    for k, (image, *corners) in enumerate(rois.tolist()):
        x1, y1, x2, y2 = (math.copysign(math.floor(abs(corner) + 0.5), corner) for corner in corners)
        left, top = x1 * spatial_scale - 0.5, y1 * spatial_scale - 0.5
        roi_width = max((x2 + 1) * spatial_scale - 0.5 - left, 0.1)
        roi_height = max((y2 + 1) * spatial_scale - 0.5 - top, 0.1)
        for c in range(out_channels):
            for i in range(out_size):
                for j in range(out_size):
                    y = data.new_tensor(top + i * roi_height / out_size)
                    x = data.new_tensor(left + j * roi_width / out_size)
                    if offset is not None:
                        category = c * (offset.shape[1] // 2) // out_channels
                        part = i * part_size // out_size, j * part_size // out_size
                        x = x + offset[(k, 2 * category, *part)] * trans_std * roi_width
                        y = y + offset[(k, 2 * category + 1, *part)] * trans_std * roi_height
                    group = (i * group_size // out_size) * group_size + j * group_size // out_size
                    plane = data[int(image), c * group_size**2 + group]
                    values = []
                    for m in range(sample_per_part):
                        for n in range(sample_per_part):
                            yy = y + m * roi_height / out_size / sample_per_part
                            xx = x + n * roi_width / out_size / sample_per_part
                            if -0.5 <= yy <= height - 0.5 and -0.5 <= xx <= width - 0.5:
                                values.append(bilinear(plane, yy, xx))
                    counts.append(len(values))
                    rows.append(torch.stack(values).mean() if values else data.new_zeros(()))
    shape = (len(rois), out_channels, out_size, out_size)
    return torch.stack(rows).view(shape), torch.tensor(counts).view(shape)


def random_case(
    channels: int, count: int, classes: int = 1, parts: int = 2, dtype: torch.dtype = torch.float64, seed: int = 0
) -> tuple[Tensor, Tensor, Tensor]:
    """Two images of 9 x 11 pixels at scale 1/4, RoIs [count, 5] of which some reach beyond the map, and offsets."""
    generator = torch.Generator().manual_seed(seed)
    data = torch.randn(2, channels, 9, 11, generator=generator, dtype=torch.float64)
    centre = torch.rand(count, 2, generator=generator) * torch.tensor([50.0, 40.0]) - 3
    size = torch.rand(count, 2, generator=generator) ** 2 * 60
    image = torch.randint(0, 2, (count, 1), generator=generator).float()
    offset = torch.randn(count, 2 * classes, parts, parts, generator=generator, dtype=torch.float64)
    return data.to(dtype), torch.cat([image, centre - size / 2, centre + size / 2], 1).to(dtype), offset.to(dtype)


SCALE = 0.27  # so that no sample lies on a whole coordinate, where the gradient to the offset is a matter of definition
CASES: dict[str, dict[str, Any]] = {
    "plain": {"out_size": 3, "out_channels": 2},
    "no offsets": {"out_size": 2, "out_channels": 3, "classes": 0},
    "no offsets, groups": {"out_size": 3, "out_channels": 2, "classes": 0, "group_size": 2},
    "groups": {"out_size": 3, "out_channels": 2, "group_size": 3},
    "fewer groups than bins": {"out_size": 5, "out_channels": 2, "group_size": 2, "sample_per_part": 2},
    "parts and classes": {"out_size": 3, "out_channels": 4, "classes": 2, "part_size": 2, "sample_per_part": 3},
    "one sample": {"out_size": 2, "out_channels": 2, "part_size": 1, "sample_per_part": 1},
    "wide": {"out_size": 2, "out_channels": 38, "classes": 2, "group_size": 2, "sample_per_part": 2},
}


def prepare(case: dict[str, Any], count: int, seed: int = 0) -> tuple[Tensor, Tensor, Tensor, dict[str, Any]]:
    """Tensors and the keyword arguments that `naive_pooling` takes."""
    arguments = {"group_size": 1, "part_size": case["out_size"], "sample_per_part": 4, "trans_std": 0.2, **case}
    classes = arguments.pop("classes", 1)
    channels = arguments["out_channels"] * arguments["group_size"] ** 2
    data, rois, offset = random_case(channels, count, max(classes, 1), arguments["part_size"], seed=seed)
    return data, rois, offset if classes else offset.new_empty(0), {"spatial_scale": SCALE, **arguments}


@on_devices
@pytest.mark.parametrize("name", CASES)
def test_follows_the_definition(device: str, name: str) -> None:
    """Values, sample counts and, by differentiating the naive formula, both gradients."""
    data, rois, offset, arguments = prepare(CASES[name], count=4)
    shifted = offset.numel() > 0
    theirs = [data.clone().requires_grad_(), offset.clone().requires_grad_()]
    expected, expected_counts = naive_pooling(theirs[0], rois, theirs[1] if shifted else None, **arguments)
    for memory_format in (torch.contiguous_format, torch.channels_last):
        ours = [
            data.to(device).to(memory_format=memory_format).requires_grad_(),
            offset.to(device).requires_grad_(),
        ]
        pooled = deform_roi_pooling(ours[0], rois.to(device), ours[1], no_trans=not shifted, **arguments)
        torch.testing.assert_close(pooled.cpu(), expected, rtol=1e-10, atol=1e-12)
        assert pooled.is_contiguous()
        weights = torch.randn(pooled.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        grads = torch.autograd.grad(pooled, ours if shifted else ours[:1], weights.to(device))
        wanted = torch.autograd.grad(expected, theirs if shifted else theirs[:1], weights, retain_graph=True)
        for grad, reference in zip(grads, wanted, strict=True):
            torch.testing.assert_close(grad.cpu(), reference, rtol=1e-9, atol=1e-10)

    order = ("spatial_scale", "out_size", "out_channels", "", "group_size", "part_size", "sample_per_part", "trans_std")
    settings = [arguments[key] if key else not shifted for key in order]
    _, counts = ops.deform_psroi_pooling(data.to(device), rois.to(device), offset.to(device), *settings)
    per_channel = counts.cpu().repeat_interleave(arguments["out_channels"] // counts.shape[1], 1)
    assert torch.equal(per_channel, expected_counts.int()) and (per_channel < arguments["sample_per_part"] ** 2).any()


@settings(max_examples=25, deadline=None)
@given(
    st.integers(1, 4), st.integers(1, 3), st.integers(1, 4), st.integers(1, 3), st.integers(1, 3), st.integers(0, 99)
)
def test_any_settings(bins: int, groups: int, parts: int, samples: int, classes: int, seed: int) -> None:
    case = {"out_size": bins, "out_channels": classes, "classes": classes}
    case |= {"group_size": groups, "part_size": parts, "sample_per_part": samples}
    data, rois, offset, arguments = prepare(case, count=2, seed=seed)
    expected, _ = naive_pooling(data, rois, offset, **arguments)
    pooled = deform_roi_pooling(data, rois, offset, no_trans=False, **arguments)
    torch.testing.assert_close(pooled, expected, rtol=1e-10, atol=1e-12)


@on_devices
def test_gradcheck(device: str) -> None:
    data, rois, offset, arguments = prepare(CASES["parts and classes"], count=3)
    data, rois, offset = data.to(device).requires_grad_(), rois.to(device), offset.to(device).requires_grad_()
    nondeterminism = 0.0 if device == "cpu" else 1e-10
    assert torch.autograd.gradcheck(
        lambda data, offset: deform_roi_pooling(data, rois, offset, no_trans=False, **arguments),
        (data, offset),
        nondet_tol=nondeterminism,
        fast_mode=True,
    )


@on_devices
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_opcheck(device: str, dtype: torch.dtype) -> None:
    for no_trans in (False, True):
        data, rois, offset = (tensor.to(device) for tensor in random_case(8, 5, dtype=dtype))
        offset = data.new_empty(0) if no_trans else offset
        settings = (SCALE, 4, 2, no_trans, 2, 2, 3, 0.1)
        differentiable = data.clone().requires_grad_(), rois.float(), offset.clone().requires_grad_()
        torch.library.opcheck(ops.deform_psroi_pooling, (*differentiable, *settings))
        pooled, count = ops.deform_psroi_pooling(data, rois.float(), offset, *settings)
        torch.library.opcheck(
            ops.deform_psroi_pooling_backward, (torch.randn_like(pooled), data, rois.float(), offset, count, *settings)
        )


@on_devices
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_reduced_types_are_summed_in_float32(device: str, dtype: torch.dtype) -> None:
    data, rois, offset, arguments = prepare(CASES["wide"], count=12)
    data, rois, offset = data.to(device, dtype), rois.float().to(device), offset.to(device, dtype)
    narrow = [data.clone().requires_grad_(), offset.clone().requires_grad_()]
    wide = [data.float().requires_grad_(), offset.float().requires_grad_()]
    with torch.autocast(device, dtype):
        pooled = deform_roi_pooling(narrow[0], rois, narrow[1], no_trans=False, **arguments)
    expected = deform_roi_pooling(wide[0], rois, wide[1], no_trans=False, **arguments)
    step = torch.finfo(dtype).eps
    assert pooled.dtype == dtype
    torch.testing.assert_close(pooled.float(), expected, rtol=step, atol=step * 1e-2)
    weights = torch.randn_like(pooled)
    grads = torch.autograd.grad(pooled, narrow, weights)
    for grad, wanted in zip(grads, torch.autograd.grad(expected, wide, weights.float()), strict=True):
        assert grad.dtype == dtype
        torch.testing.assert_close(grad.float(), wanted, rtol=step, atol=step * 1e-1)


@on_devices
def test_offset_may_be_narrower_than_data(device: str) -> None:
    """As under autocast, where a linear layer predicts the offset."""
    data, rois, offset, arguments = prepare(CASES["plain"], count=3)
    data, rois, offset = data.float().to(device), rois.float().to(device), offset.bfloat16().to(device).requires_grad_()
    pooled = deform_roi_pooling(data, rois, offset, no_trans=False, **arguments)
    expected = deform_roi_pooling(data, rois, offset.float(), no_trans=False, **arguments)
    assert torch.equal(pooled, expected)
    pooled.sum().backward()
    assert offset.grad is not None and offset.grad.dtype == torch.bfloat16 and offset.grad.abs().sum() > 0


@on_devices
@pytest.mark.parametrize(("images", "channels", "count"), [(2, 8, 0), (0, 8, 0), (2, 0, 3)])
def test_empty(device: str, images: int, channels: int, count: int) -> None:
    data = torch.randn(images, channels, 9, 9, device=device, requires_grad=True)
    offset = torch.randn(count, 2, 3, 3, device=device, requires_grad=True)
    pooled = deform_roi_pooling(data, torch.zeros(count, 5, device=device), offset, SCALE, 3, channels // 4, False, 2)
    assert pooled.shape == (count, channels // 4, 3, 3)
    pooled.sum().backward()
    assert torch.equal(data.grad, torch.zeros_like(data)) and torch.equal(offset.grad, torch.zeros_like(offset))


@on_devices
def test_non_contiguous_arguments(device: str) -> None:
    data, rois, offset = (tensor.to(device) for tensor in random_case(8, 10, parts=3))
    strided = [data.transpose(2, 3)[:, ::2].detach().requires_grad_(), offset[::2].transpose(2, 3).requires_grad_()]
    dense = [tensor.detach().contiguous().requires_grad_() for tensor in strided]
    pooled = deform_roi_pooling(strided[0], rois[::2], strided[1], SCALE, 3, 4, False, trans_std=0.1)
    expected = deform_roi_pooling(dense[0], rois[::2].contiguous(), dense[1], SCALE, 3, 4, False, trans_std=0.1)
    assert torch.equal(pooled, expected)
    grads = torch.autograd.grad(pooled.sum(), strided)  # the gradient is one number, expanded
    for grad, wanted in zip(grads, torch.autograd.grad(expected, dense, torch.ones_like(expected)), strict=True):
        torch.testing.assert_close(grad, wanted)


@on_devices
def test_places_that_are_not_finite_give_nan(device: str) -> None:
    data = torch.ones(1, 2, 9, 9, device=device, requires_grad=True)
    rois = torch.tensor([[0, 8, 8, 16, 16], [0, math.nan, 8, 16, 16], [0, 8, 8, 16, 16]], device=device)
    offset = torch.zeros(3, 2, 1, 1, device=device)
    offset[2, 1] = math.inf
    pooled = deform_roi_pooling(data, rois, offset, 1 / 4, 2, 2, False, part_size=1, trans_std=0.1)
    assert pooled[0].eq(1).all() and pooled[1:].isnan().all()
    pooled[0].sum().backward()
    assert data.grad.isfinite().all()


def test_gradients_do_not_depend_on_threads() -> None:
    data, rois, offset, arguments = prepare(CASES["wide"], count=40)
    inputs = [data.float().requires_grad_(), offset.float().requires_grad_()]
    threads, grads = torch.get_num_threads(), []
    try:
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            pooled = deform_roi_pooling(inputs[0], rois.float(), inputs[1], no_trans=False, **arguments)
            grads.append(torch.autograd.grad((pooled**2).sum(), inputs))
    finally:
        torch.set_num_threads(threads)
    for other in grads[1:]:
        assert torch.equal(grads[0][0], other[0]) and torch.equal(grads[0][1], other[1])


@on_devices
def test_compiles(device: str) -> None:
    def loss(data: Tensor, rois: Tensor, offset: Tensor) -> Tensor:
        return (deform_roi_pooling(data, rois, offset, SCALE, 2, 3, False, trans_std=0.1) * 2).relu().sum()

    torch._dynamo.reset()
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    for count in (5, 7):
        data, rois, offset = (tensor.to(device) for tensor in random_case(3, count))
        ours, theirs = ([data.clone().requires_grad_(), offset.clone().requires_grad_()] for _ in range(2))
        result, expected = compiled(ours[0], rois, ours[1]), loss(theirs[0], rois, theirs[1])
        torch.testing.assert_close(result, expected)
        for grad, wanted in zip(torch.autograd.grad(result, ours), torch.autograd.grad(expected, theirs), strict=True):
            torch.testing.assert_close(grad, wanted)


def test_second_derivative_is_refused() -> None:
    data, rois, offset = random_case(3, 2)
    data.requires_grad_()
    pooled = deform_roi_pooling(data, rois, offset, SCALE, 2, 3, False, trans_std=0.1)
    (grad,) = torch.autograd.grad((pooled**2).sum(), data, create_graph=True)
    with pytest.raises(RuntimeError, match="cannot be differentiated again"):
        grad.sum().backward()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": torch.zeros(2, 8, 9)}, r"data must have shape \[N, C, H, W\], got \[2, 8, 9\]"),
        ({"data": torch.zeros(2, 8, 9, 9, dtype=torch.int32)}, "data must be float32.*got Int"),
        ({"data": torch.zeros(2, 7, 9, 9)}, r"out_channels \* group_size\^2 = 8 channels, got 7"),
        ({"data": torch.zeros(2, 8, 0, 9)}, "empty height or width"),
        ({"rois": torch.zeros(3, 4)}, r"rois must have shape \[K, 5\].*got \[3, 4\]"),
        ({"rois": torch.tensor([[2.0, 0, 0, 4, 4]] * 3)}, "RoI 0 names image 2 in a batch of 2"),
        ({"offset": torch.zeros(3, 3, 3, 3)}, r"offset must have shape \[3, 2 \* classes, 3, 3\], got \[3, 3, 3, 3\]"),
        ({"offset": torch.zeros(2, 2, 3, 3)}, r"offset must have shape .*got \[2, 2, 3, 3\]"),
        ({"part_size": 2}, r"offset must have shape \[3, 2 \* classes, 2, 2\], got \[3, 2, 3, 3\]"),
        ({"offset": torch.zeros(3, 6, 3, 3)}, "out_channels must be a multiple of the 3 classes.*got 2"),
        ({"trans_std": 1.5}, "trans_std must lie between 0 and 1, got 1.5"),
        ({"sample_per_part": 0}, "must be positive, got 3, 2, 3 and 0"),
    ],
)
def test_bad_arguments_are_named(change: dict[str, Any], message: str) -> None:
    arguments: dict[str, Any] = {
        "data": torch.zeros(2, 8, 9, 9),
        "rois": torch.zeros(3, 5),
        "offset": torch.zeros(3, 2, 3, 3),
        "spatial_scale": 0.5,
        "out_size": 3,
        "out_channels": 2,
        "no_trans": False,
        "group_size": 2,
    }
    with pytest.raises(RuntimeError, match=message):
        deform_roi_pooling(**{**arguments, **change})
