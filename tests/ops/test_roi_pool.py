"""RoIPool against a naive reference, torchvision, and what PyTorch asks of an operator."""

from __future__ import annotations

import math

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from maskrcnn_benchmark.layers.roi_pool import ROIPool
from maskrcnn_benchmark.ops.library import ops
from maskrcnn_benchmark.ops.roi_pool import roi_pool

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))]
on_devices = pytest.mark.parametrize("device", DEVICES)


def away_from_zero(value: float) -> int:
    """Rounds halves as C does, and not to the even neighbour."""
    return int(math.copysign(math.floor(abs(value) + 0.5), value))


def naive_roi_pool(input: Tensor, rois: Tensor, bins: tuple[int, int], scale: float) -> Tensor:
    """The definition, one bin at a time."""
    height, width = input.shape[2:]
    output = input.new_zeros(len(rois), input.shape[1], *bins)
    for k, (image, *corners) in enumerate(rois.tolist()):
        x1, y1, x2, y2 = (away_from_zero(corner * scale) for corner in corners)
        step_y, step_x = max(y2 - y1 + 1, 1) / bins[0], max(x2 - x1 + 1, 1) / bins[1]
        for row in range(bins[0]):
            for column in range(bins[1]):
                top, bottom = math.floor(row * step_y) + y1, math.ceil((row + 1) * step_y) + y1
                left, right = math.floor(column * step_x) + x1, math.ceil((column + 1) * step_x) + x1
                part = input[int(image), :, max(top, 0) : max(min(bottom, height), 0)]
                part = part[:, :, max(left, 0) : max(min(right, width), 0)]
                if part.numel() > 0:
                    output[k, :, row, column] = part.amax(dim=(1, 2))
    return output


def random_case(
    channels: int, count: int = 20, dtype: torch.dtype = torch.float32, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Two images of 24 x 32 pixels at scale 1/4, and RoIs [count, 5] of which some lie outside or are turned around."""
    generator = torch.Generator().manual_seed(seed)
    input = torch.randn(2, channels, 24, 32, generator=generator, dtype=torch.float64)
    centre = torch.rand(count, 2, generator=generator) * torch.tensor([150.0, 120.0]) - 10
    size = torch.rand(count, 2, generator=generator) ** 2 * 120 - 4
    image = torch.randint(0, 2, (count, 1), generator=generator).float()
    return input.to(dtype), torch.cat([image, centre - size / 2, centre + size / 2], dim=1)


@on_devices
@pytest.mark.parametrize("bins", [(1, 1), (4, 4), (7, 2)])  # bins of a power of two per axis divide without rounding
@pytest.mark.parametrize("channels_last", [False, True])
def test_follows_the_definition(device: str, channels_last: bool, bins: tuple[int, int]) -> None:
    input, rois = random_case(3, dtype=torch.float64)
    expected = naive_roi_pool(input, rois, bins, 1 / 4)
    if channels_last:
        input = input.to(memory_format=torch.channels_last)
    assert torch.equal(roi_pool(input.to(device), rois.double().to(device), bins, 1 / 4).cpu(), expected)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.integers(1, 70), st.lists(st.integers(-30, 90), min_size=4, max_size=4))
def test_integer_rois(bins_y: int, bins_x: int, channels: int, corners: list[int]) -> None:
    """Corners on halves of a feature pixel, beyond the map, in any order."""
    input, _ = random_case(channels)
    rois = torch.tensor([[1, *corners]], dtype=torch.float32)
    expected = torchvision.ops.roi_pool(input, rois, (bins_y, bins_x), 0.5)
    assert torch.equal(roi_pool(input, rois, (bins_y, bins_x), 0.5), expected)


@on_devices
@pytest.mark.parametrize("channels", [1, 64, 83])
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("count", [1, 60])
def test_agrees_with_torchvision(device: str, count: int, channels_last: bool, channels: int) -> None:
    input, rois = (tensor.to(device) for tensor in random_case(channels, count))
    if channels_last:
        input = input.to(memory_format=torch.channels_last)
    ours, theirs = input.detach().requires_grad_(), input.detach().clone().requires_grad_()
    pooled, expected = roi_pool(ours, rois, (7, 5), 1 / 4), torchvision.ops.roi_pool(theirs, rois, (7, 5), 1 / 4)
    assert torch.equal(pooled, expected) and pooled.is_contiguous()
    weights = torch.randn(pooled.shape, generator=torch.Generator().manual_seed(2)).to(device)
    pooled.backward(weights)
    expected.backward(weights)
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-5, atol=1e-5)


@on_devices
def test_argmax_names_the_pixel(device: str) -> None:
    input, rois = (tensor.to(device) for tensor in random_case(5, 30))
    pooled, argmax = ops.roi_pool(input, rois, 1 / 4, [3, 3])
    assert argmax.dtype == torch.int32 and not argmax.requires_grad
    empty = argmax == -1
    planes = input.flatten(2)[rois[:, 0].long()]
    read = planes.gather(2, argmax.flatten(2).clamp(min=0).long()).view_as(pooled)
    assert empty.any() and pooled[empty].eq(0).all() and torch.equal(read[~empty], pooled[~empty])


@on_devices
def test_gradcheck(device: str) -> None:
    input, rois = random_case(2, 4, torch.float64)
    input = input[:, :, :6, :7].to(device).requires_grad_()
    rois = torch.cat([rois[:, :1], rois[:, 1:] / 5], dim=1).double().to(device)
    settings = {"nondet_tol": 0.0 if device == "cpu" else 1e-10}
    assert torch.autograd.gradcheck(lambda map: roi_pool(map, rois, 2, 1 / 4), input, **settings)
    assert torch.autograd.gradgradcheck(lambda map: roi_pool(map, rois, 2, 1 / 4) ** 2, input, **settings)


@on_devices
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_opcheck(device: str, dtype: torch.dtype) -> None:
    input, rois = (tensor.to(device) for tensor in random_case(3, 6))
    input = input.to(dtype)
    for map in (input, input.to(memory_format=torch.channels_last)):
        torch.library.opcheck(ops.roi_pool, (map.detach().requires_grad_(), rois, 1 / 4, [3, 2]))
    pooled, argmax = ops.roi_pool(input, rois, 1 / 4, [3, 2])
    torch.library.opcheck(
        ops.roi_pool_backward, (pooled.detach().clone().requires_grad_(), argmax, rois, list(input.shape))
    )


@on_devices
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_reduced_types(device: str, dtype: torch.dtype) -> None:
    """Maxima are exact, also under autocast; gradients are summed in float32 and rounded once."""
    input, rois = random_case(20, 40)
    input, rois = input.to(device, dtype), rois.to(device)
    narrow, wide = input.detach().requires_grad_(), input.float().requires_grad_()
    with torch.autocast(device, dtype):
        pooled = roi_pool(narrow, rois, 5, 1 / 4)
    expected = roi_pool(wide, rois, 5, 1 / 4)
    assert pooled.dtype == dtype and torch.equal(pooled.float(), expected)
    with torch.autocast(device, dtype):
        assert roi_pool(wide, rois, 5, 1 / 4).dtype == torch.float32
    weights = torch.randn_like(pooled)
    (grad,), (wanted,) = (
        torch.autograd.grad(pooled, narrow, weights),
        torch.autograd.grad(expected, wide, weights.float()),
    )
    step = torch.finfo(dtype).eps
    assert grad.dtype == dtype
    torch.testing.assert_close(grad.float(), wanted, rtol=step, atol=step * 1e-2)


@on_devices
@pytest.mark.parametrize(
    ("images", "channels", "height", "count"),
    [(2, 4, 8, 0), (0, 4, 8, 0), (2, 0, 8, 3), (2, 4, 0, 3)],
    ids=["no RoIs", "no images", "no channels", "no rows"],
)
def test_empty(device: str, images: int, channels: int, height: int, count: int) -> None:
    input = torch.randn(images, channels, height, 8, device=device, requires_grad=True)
    pooled = roi_pool(input, torch.zeros(count, 5, device=device), (7, 5), 0.5)
    assert pooled.shape == (count, channels, 7, 5) and pooled.eq(0).all()
    pooled.sum().backward()
    assert torch.equal(input.grad, torch.zeros_like(input))


@on_devices
def test_non_contiguous_arguments(device: str) -> None:
    input, rois = (tensor.to(device) for tensor in random_case(6))
    strided = input.transpose(2, 3)[:, ::2].detach().requires_grad_()
    dense = strided.detach().contiguous().requires_grad_()
    pooled, expected = roi_pool(strided, rois[::2], 3, 1 / 4), roi_pool(dense, rois[::2].contiguous(), 3, 1 / 4)
    assert torch.equal(pooled, expected)
    pooled.sum().backward()  # the gradient is one number, expanded
    expected.backward(torch.ones_like(expected))
    torch.testing.assert_close(strided.grad, dense.grad)


@on_devices
def test_special_values(device: str) -> None:
    input = torch.tensor([[[[-math.inf, -math.inf, 1.0, math.nan, 2.0]]]], device=device)
    rois = torch.tensor([[0, 0, 0, 1, 0], [0, 2, 0, 2, 0], [0, 2, 0, 4, 0], [0, math.nan, 0, 2, 0]], device=device)
    rois = torch.cat([rois, torch.tensor([[0.0, -1e30, 0, 1e30, 0], [0, -math.inf, 0, math.inf, 0]], device=device)])
    pooled, argmax = ops.roi_pool(input, rois, 1.0, [1, 1])
    assert pooled[0, 0] == -math.inf and pooled[1, 0] == 1 and pooled[2, 0].isnan() and argmax[2, 0] == 3
    assert argmax.max() < 5 and argmax[4, 0] == 3


def test_gradient_does_not_depend_on_threads() -> None:
    input, rois = random_case(70, 200)
    input.requires_grad_()
    threads, grads = torch.get_num_threads(), []
    try:
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            grads.append(torch.autograd.grad((roi_pool(input, rois, 3, 1 / 4) ** 2).sum(), input)[0])
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(grads[0], grads[1]) and torch.equal(grads[0], grads[2])


@on_devices
def test_compiles(device: str) -> None:
    def loss(map: Tensor, rois: Tensor) -> Tensor:
        return (roi_pool(map, rois, 3, 1 / 4) * 2).relu().sum()

    torch._dynamo.reset()
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    for count in (10, 13):
        input, rois = (tensor.to(device) for tensor in random_case(4, count))
        ours, theirs = input.clone().requires_grad_(), input.clone().requires_grad_()
        result, expected = compiled(ours, rois), loss(theirs, rois)
        torch.testing.assert_close(result, expected)
        torch.testing.assert_close(torch.autograd.grad(result, ours), torch.autograd.grad(expected, theirs))


def test_determinism_is_respected() -> None:
    """The CPU's gradient is deterministic; on CUDA the switch is an error, or a warning if it was set so."""
    input, rois = random_case(2)
    try:
        torch.use_deterministic_algorithms(True)
        roi_pool(input.requires_grad_(), rois, 2, 1 / 4).sum().backward()
        if torch.cuda.is_available():
            loss = roi_pool(input.cuda(), rois.cuda(), 2, 1 / 4).sum()
            with pytest.raises(RuntimeError, match="roi_pool_backward_cuda does not have a deterministic"):
                loss.backward()
            torch.use_deterministic_algorithms(True, warn_only=True)
            with pytest.warns(UserWarning, match="roi_pool_backward_cuda does not have a deterministic"):
                roi_pool(input.cuda(), rois.cuda(), 2, 1 / 4).sum().backward()
    finally:
        torch.use_deterministic_algorithms(False)
    assert input.grad.abs().sum() > 0


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"input": torch.zeros(2, 3, 4)}, r"input must have shape \[N, C, H, W\], got \[2, 3, 4\]"),
        ({"input": torch.zeros(2, 3, 4, 4, dtype=torch.int32)}, "input must be float32.*got Int"),
        ({"rois": torch.zeros(3, 4)}, r"rois must have shape \[K, 5\].*got \[3, 4\]"),
        ({"rois": torch.zeros(3, 5, dtype=torch.int64)}, "rois must be float32, .*got Long"),
        ({"rois": torch.tensor([[2.0, 0, 0, 4, 4]])}, "RoI 0 names image 2 in a batch of 2"),
        ({"rois": torch.tensor([[math.nan, 0, 0, 4, 4]])}, "names image nan"),
        ({"output_size": (0, 2)}, "output_size must be two positive integers"),
    ],
)
def test_bad_arguments_are_named(change: dict, message: str) -> None:
    arguments = {"input": torch.zeros(2, 3, 8, 8), "rois": torch.zeros(3, 5), "output_size": 2, "spatial_scale": 0.5}
    with pytest.raises(RuntimeError, match=message):
        roi_pool(**{**arguments, **change})


@on_devices
def test_module(device: str) -> None:
    module = ROIPool((7, 5), 0.25)
    assert repr(module) == "ROIPool(output_size=(7, 5), spatial_scale=0.25)"
    input, rois = (tensor.to(device) for tensor in random_case(3))
    assert torch.equal(module(input, rois), torchvision.ops.RoIPool((7, 5), 0.25)(input, rois))
