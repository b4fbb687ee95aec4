"""RoIAlign against a naive reference, torchvision, and what PyTorch asks of an operator."""

from __future__ import annotations

import math

import pytest
import torch
import torchvision
from torch import Tensor

from maskrcnn_benchmark.layers.roi_align import ROIAlign
from maskrcnn_benchmark.ops.library import ops
from maskrcnn_benchmark.ops.roi_align import multiscale_roi_align, roi_align

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))]
on_devices = pytest.mark.parametrize("device", DEVICES)
SCALES = [1 / 4, 1 / 8, 1 / 16]


def bilinear(map: Tensor, y: float, x: float) -> Tensor:
    """map: [C, H, W]; the value at (y, x) by the four pixels around it, zero further than a pixel outside."""
    height, width = map.shape[1:]
    if not (-1 <= y <= height and -1 <= x <= width):
        return map.new_zeros(map.shape[0])
    y, x = min(max(y, 0.0), height - 1), min(max(x, 0.0), width - 1)
    value = map.new_zeros(map.shape[0])
    for row in {math.floor(y), math.ceil(y)}:
        for column in {math.floor(x), math.ceil(x)}:
            value += map[:, row, column] * (1 - abs(y - row)) * (1 - abs(x - column))
    return value


def naive_roi_align(
    features: Tensor, rois: Tensor, bins: tuple[int, int], scale: float, ratio: int, aligned: bool
) -> Tensor:
    """The definition, one sample at a time."""
    output = features.new_zeros(len(rois), features.shape[1], *bins)
    for k, (image, *corners) in enumerate(rois.double().tolist()):
        x1, y1, x2, y2 = (corner * scale - 0.5 * aligned for corner in corners)
        extents = [y2 - y1, x2 - x1] if aligned else [max(y2 - y1, 1.0), max(x2 - x1, 1.0)]
        steps = [extent / count for extent, count in zip(extents, bins, strict=True)]
        samples = [ratio if ratio > 0 else math.ceil(step) for step in steps]
        for row in range(bins[0]):
            for column in range(bins[1]):
                values = [
                    bilinear(
                        features[int(image)],
                        y1 + (row + (i + 0.5) / samples[0]) * steps[0],
                        x1 + (column + (j + 0.5) / samples[1]) * steps[1],
                    )
                    for i in range(samples[0])
                    for j in range(samples[1])
                ]
                output[k, :, row, column] = sum(values, start=features.new_zeros(features.shape[1])) / len(values)
    return output


def random_rois(count: int, images: int, width: float, height: float, seed: int = 0) -> Tensor:
    """[count, 5]; some reach beyond the image, some are thinner than a pixel."""
    generator = torch.Generator().manual_seed(seed)
    centre = torch.rand(count, 2, generator=generator) * torch.tensor([width, height])
    size = torch.rand(count, 2, generator=generator) ** 3 * torch.tensor([width, height])
    image = torch.randint(0, images, (count, 1), generator=generator).float()
    return torch.cat([image, centre - size / 2, centre + size / 2], dim=1)


def random_pyramid(channels: int = 5, dtype: torch.dtype = torch.float32, device: str = "cpu") -> list[Tensor]:
    """Maps of a 2 x 96 x 128 pixel batch at SCALES."""
    generator = torch.Generator().manual_seed(1)
    maps = [torch.randn(2, channels, int(96 * s), int(128 * s), generator=generator) for s in SCALES]
    return [map.to(device, dtype) for map in maps]


def differentiable(maps: list[Tensor]) -> list[Tensor]:
    return [map.detach().clone(memory_format=torch.preserve_format).requires_grad_() for map in maps]


@on_devices
@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("ratio", [-1, 0, 1, 2])
def test_follows_the_definition(device: str, ratio: int, aligned: bool) -> None:
    features = random_pyramid(3, torch.float64)[1]
    rois = random_rois(12, 2, 128, 96)
    expected = naive_roi_align(features, rois, (3, 2), 1 / 8, ratio, aligned)
    pooled = roi_align(features.to(device), rois.to(device), (3, 2), 1 / 8, ratio, aligned)
    torch.testing.assert_close(pooled.cpu(), expected, rtol=1e-5, atol=1e-5)


@on_devices
@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("ratio", [0, 2])
@pytest.mark.parametrize("channels", [1, 16, 83])  # 83: four full vectors, one more, and a remainder
@pytest.mark.parametrize("channels_last", [False, True])
def test_agrees_with_torchvision(device: str, channels_last: bool, channels: int, ratio: int, aligned: bool) -> None:
    features = random_pyramid(channels, device=device)[0]
    if channels_last:
        features = features.to(memory_format=torch.channels_last)
    rois = random_rois(40, 2, 128, 96).to(device)
    ours, theirs = differentiable([features])[0], differentiable([features])[0]
    pooled = roi_align(ours, rois, (7, 5), 1 / 4, ratio, aligned)
    expected = torchvision.ops.roi_align(theirs, rois, (7, 5), 1 / 4, ratio, aligned)
    torch.testing.assert_close(pooled, expected, rtol=1e-4, atol=1e-5)
    assert pooled.is_contiguous()

    weights = torch.randn(pooled.shape, generator=torch.Generator().manual_seed(2)).to(device)
    pooled.backward(weights)
    expected.backward(weights)
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-4)
    wanted = torch.channels_last if channels_last else torch.contiguous_format
    assert ours.grad.is_contiguous(memory_format=wanted)


@on_devices
def test_pyramid_equals_its_levels(device: str) -> None:
    maps, rois = random_pyramid(device=device), random_rois(30, 2, 128, 96).to(device)
    levels = torch.arange(30, device=device) % 3
    ours, single = differentiable(maps), differentiable(maps)
    pooled = multiscale_roi_align(ours, rois, levels, SCALES, 4, 2)
    expected = torch.empty_like(pooled)
    for level, (map, scale) in enumerate(zip(single, SCALES, strict=True)):
        expected[levels == level] = torchvision.ops.roi_align(map, rois[levels == level], 4, scale, 2)
    torch.testing.assert_close(pooled, expected, rtol=1e-4, atol=1e-5)
    weights = torch.randn_like(pooled)
    for grad, wanted in zip(
        torch.autograd.grad(pooled, ours, weights), torch.autograd.grad(expected, single, weights), strict=True
    ):
        torch.testing.assert_close(grad, wanted, rtol=1e-4, atol=1e-4)


@on_devices
@pytest.mark.parametrize("aligned", [False, True])
@pytest.mark.parametrize("ratio", [0, 2])
def test_gradcheck(device: str, ratio: int, aligned: bool) -> None:
    maps = differentiable([map[..., :5, :6] for map in random_pyramid(2, torch.float64, device)[:2]])
    rois = random_rois(4, 2, 40, 40).double().to(device)
    levels = torch.tensor([0, 1, 1, 0], device=device)

    def pool(*maps: Tensor) -> Tensor:
        return multiscale_roi_align(maps, rois, levels, SCALES[:2], 2, ratio, aligned)

    settings = {"nondet_tol": 0.0 if device == "cpu" else 1e-10}
    assert torch.autograd.gradcheck(pool, maps, **settings)
    assert torch.autograd.gradgradcheck(pool, maps, fast_mode=True, **settings)


@on_devices
@pytest.mark.parametrize("channels_last", [False, True])
def test_a_pixel_of_no_weight_is_not_read(device: str, channels_last: bool) -> None:
    """Infinity times zero is no part of an average: a sample on a pixel's centre reads that pixel alone."""
    map = torch.arange(64.0, device=device).view(1, 1, 8, 8).repeat(1, 3, 1, 1)
    map[:, :, 4, :] = map[:, :, :, 5] = float("inf")  # neighbours of the samples at row 3 and column 4
    if channels_last:
        map = map.contiguous(memory_format=torch.channels_last)
    rois = torch.tensor([[0, 3.5, 2.5, 4.5, 3.5], [0, 0.0, 0.0, 8.0, 8.0]], device=device)  # x 4, y 3; all of the map
    pooled = roi_align(map, rois, 1, 1.0, 1)
    assert pooled[0].flatten().tolist() == [28.0] * 3
    assert pooled[1].flatten().tolist() == [float("inf")] * 3 and not pooled.isnan().any()


def test_the_backward_operator_refuses_empty_levels() -> None:
    """Which a forward pass refuses, so that no gradient can be asked for; the operator can be called all the same."""
    grad, rois = torch.ones(1, 2, 2, 2), torch.tensor([[0, 0.0, 0.0, 5.0, 5.0]])
    for sizes in ([1, 2, 0, 4], [1, 2, 4, 0], [1, 2, -4, 4]):
        with pytest.raises(RuntimeError, match="features must not have an empty height or width, got"):
            ops.multiscale_roi_align_backward(grad, rois, None, sizes, [1.0], [2, 2], 2, False, False)


@on_devices
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
def test_opcheck(device: str, dtype: torch.dtype) -> None:
    maps = differentiable(random_pyramid(3, dtype, device)[:2])
    rois, levels = random_rois(6, 2, 128, 96).to(device), torch.tensor([0, 1, 1, 0, 0, 1], device=device)
    for channels_last in (False, True):
        if channels_last:
            maps = differentiable([map.to(memory_format=torch.channels_last) for map in maps])
        arguments = (rois, levels, SCALES[:2], [3, 2], 2, False)
        torch.library.opcheck(ops.multiscale_roi_align, (maps, *arguments))
        grad = torch.randn(6, 3, 3, 2, device=device, dtype=dtype)
        sizes = [2, 3, 24, 32, 12, 16]
        backward = (grad, rois, levels, sizes, *arguments[2:], channels_last)
        torch.library.opcheck(ops.multiscale_roi_align_backward, backward)
        torch.library.opcheck(ops.multiscale_roi_align, (maps[:1], rois, None, SCALES[:1], [3, 2], 0, True))


@on_devices
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_reduced_types_are_summed_in_float32(device: str, dtype: torch.dtype) -> None:
    """The result is the float32 result, rounded once; likewise the gradient."""
    maps = random_pyramid(20, dtype, device)
    maps[0][0, 0, 0, 0] = torch.finfo(dtype).tiny / 4  # subnormal
    rois, levels = random_rois(30, 2, 128, 96).to(device), torch.arange(30, device=device) % 3
    ours, wide = differentiable(maps), differentiable([map.float() for map in maps])
    pooled = multiscale_roi_align(ours, rois, levels, SCALES, 3, 2)
    expected = multiscale_roi_align(wide, rois, levels, SCALES, 3, 2)
    assert pooled.dtype == dtype
    step = torch.finfo(dtype).eps
    torch.testing.assert_close(pooled.float(), expected, rtol=step, atol=step * 1e-2)
    weights = torch.randn_like(pooled)
    for grad, wanted in zip(
        torch.autograd.grad(pooled, ours, weights), torch.autograd.grad(expected, wide, weights.float()), strict=True
    ):
        assert grad.dtype == dtype
        torch.testing.assert_close(grad.float(), wanted, rtol=step, atol=step * 1e-2)


def test_float16_widens_exactly() -> None:
    """Every finite half-precision number survives the kernel's own conversion, as do infinities and NaN."""
    bits = torch.arange(-(2**15), 2**15, dtype=torch.int32).to(torch.int16)
    features = bits.view(torch.float16).view(1, 2**16, 1, 1).expand(1, 2**16, 2, 2).contiguous()
    # One sample in the middle of pixel (0, 0): the other pixels get no weight.
    pooled = roi_align(features, torch.tensor([[0.0, -0.5, -0.5, 0.5, 0.5]]), 1, 1.0, 1)
    torch.testing.assert_close(pooled.flatten(), features[0, :, 0, 0], rtol=0, atol=0, equal_nan=True)


@on_devices
def test_autocast_keeps_the_dtype_of_the_maps(device: str) -> None:
    maps = [map.bfloat16() for map in random_pyramid(device=device)]
    rois, levels = random_rois(10, 2, 128, 96).to(device), torch.zeros(10, dtype=torch.int64, device=device)
    expected = multiscale_roi_align(maps, rois, levels, SCALES, 3, 2)
    with torch.autocast(device, torch.bfloat16):
        pooled = multiscale_roi_align(maps, rois, levels, SCALES, 3, 2)
        mixed = multiscale_roi_align([maps[0].float(), *maps[1:]], rois, levels, SCALES, 3, 2)
    assert pooled.dtype == torch.bfloat16
    torch.testing.assert_close(pooled, expected, rtol=0, atol=0)
    assert mixed.dtype == torch.float32
    torch.testing.assert_close(mixed.bfloat16(), expected, rtol=0, atol=0)


@on_devices
@pytest.mark.parametrize(
    ("images", "channels", "count"), [(2, 4, 0), (0, 4, 0), (2, 0, 3)], ids=["no RoIs", "no images", "no channels"]
)
def test_empty(device: str, images: int, channels: int, count: int) -> None:
    features = torch.randn(images, channels, 8, 8, device=device, requires_grad=True)
    pooled = roi_align(features, torch.zeros(count, 5, device=device), (7, 5), 0.5, 2)
    assert pooled.shape == (count, channels, 7, 5)
    pooled.sum().backward()
    torch.testing.assert_close(features.grad, torch.zeros_like(features))


@on_devices
def test_non_contiguous_arguments(device: str) -> None:
    features, rois = random_pyramid(6, device=device)[0], random_rois(20, 2, 128, 96).to(device)
    expected = roi_align(features[:, ::2].contiguous(), rois[::2].contiguous(), 3, 1 / 4, 2)
    pooled = roi_align(features[:, ::2], rois[::2], 3, 1 / 4, 2)
    torch.testing.assert_close(pooled, expected)
    flipped = roi_align(features.transpose(2, 3), rois, 3, 1 / 4, 2)
    torch.testing.assert_close(flipped, roi_align(features.transpose(2, 3).contiguous(), rois, 3, 1 / 4, 2))
    # A gradient that is one number, expanded.
    maps = differentiable([features])[0]
    roi_align(maps, rois, 3, 1 / 4, 2).sum().backward()
    dense = differentiable([features])[0]
    roi_align(dense, rois, 3, 1 / 4, 2).backward(torch.ones(20, 6, 3, 3, device=device))
    torch.testing.assert_close(maps.grad, dense.grad)


@on_devices
def test_rois_that_are_not_finite_give_nan(device: str) -> None:
    features = torch.ones(1, 2, 8, 8, device=device, requires_grad=True)
    rois = torch.tensor([[0, 1, 1, 5, 5], [0, math.nan, 1, 5, 5], [0, 1, 1, math.inf, 5]], device=device)
    pooled = roi_align(features, rois, 2, 1.0, 0)
    assert pooled[0].eq(1).all() and pooled[1:].isnan().all()
    pooled[0].sum().backward()
    assert features.grad.isfinite().all()


@on_devices
def test_huge_roi_ends(device: str) -> None:
    """A box far larger than any image is sampled, mostly outside the map, instead of overflowing an integer."""
    rois = torch.tensor([[0, -1e12, 0, 1e12, 8]], device=device)
    assert roi_align(torch.ones(1, 1, 8, 8, device=device), rois, 2, 1.0, 0).isfinite().all()


def test_gradient_does_not_depend_on_threads() -> None:
    maps, rois = differentiable(random_pyramid(70)), random_rois(200, 2, 128, 96)
    levels = torch.arange(200) % 3
    threads, grads = torch.get_num_threads(), []
    try:
        for count in (1, 2, 5):
            torch.set_num_threads(count)
            pooled = multiscale_roi_align(maps, rois, levels, SCALES, 3, 2)
            grads.append(torch.autograd.grad((pooled**2).sum(), maps))
    finally:
        torch.set_num_threads(threads)
    for other in grads[1:]:
        for first, second in zip(grads[0], other, strict=True):
            assert torch.equal(first, second)


@on_devices
@pytest.mark.parametrize("dynamic", [False, True])
def test_compiles(device: str, dynamic: bool) -> None:
    def loss(maps: list[Tensor], rois: Tensor, levels: Tensor) -> Tensor:
        return (multiscale_roi_align(maps, rois, levels, SCALES, 3, 2) * 2).relu().sum()

    torch._dynamo.reset()
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager", dynamic=dynamic)
    for count in (10, 13):
        rois, levels = random_rois(count, 2, 128, 96).to(device), torch.arange(count, device=device) % 3
        eager = differentiable([m.to(memory_format=torch.channels_last) for m in random_pyramid(device=device)])
        traced = differentiable(eager)
        expected, result = loss(eager, rois, levels), compiled(traced, rois, levels)
        torch.testing.assert_close(result, expected)
        for grad, wanted in zip(torch.autograd.grad(result, traced), torch.autograd.grad(expected, eager), strict=True):
            torch.testing.assert_close(grad, wanted)
            assert grad.stride() == wanted.stride()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rois": torch.zeros(3, 4)}, r"rois must have shape \[K, 5\].*got \[3, 4\]"),
        ({"rois": torch.zeros(3, 5, dtype=torch.int64)}, "rois must be float32, .*got Long"),
        ({"rois": torch.tensor([[2.0, 0, 0, 4, 4]] * 3)}, "RoI 0 names image 2 in a batch of 2"),
        ({"rois": torch.tensor([[math.nan, 0, 0, 4, 4]] * 3)}, "names image nan"),
        ({"levels": torch.tensor([0, 1, 3])}, "RoI 2 names level 3 of 3"),
        ({"levels": torch.tensor([0, -1, 1])}, "RoI 1 names level -1 of 3"),
        ({"levels": torch.tensor([0, 1])}, r"levels must be int64 of shape \[3\].*got Long of shape \[2\]"),
        ({"levels": torch.zeros(3)}, "levels must be int64.*got Float"),
        ({"levels": None}, "3 feature levels need a `levels` tensor"),
        ({"scales": SCALES[:2]}, "one scale per feature level, got 2 scales for 3 levels"),
        ({"features": []}, "expected 1 to 16 feature levels, got 0"),
        ({"features": [torch.zeros(2, 3, 4)] * 3}, r"features must have shape \[N, C, H, W\], got \[2, 3, 4\]"),
        ({"features": [torch.zeros(2, c, 4, 4) for c in (1, 1, 2)]}, r"same N and C, got \[2, 1, 4, 4\] and \[2, 2,"),
        ({"features": [torch.zeros(2, 1, 4, 4, dtype=torch.int32)] * 3}, "features must be float32.*got Int"),
        ({"features": [torch.zeros(2, 1, 0, 4)] * 3}, "empty height or width"),
        ({"output_size": (0, 2)}, "output_size must be two positive integers"),
    ],
)
def test_bad_arguments_are_named(change: dict, message: str) -> None:
    arguments = {
        "features": random_pyramid(1),
        "rois": random_rois(3, 2, 128, 96),
        "levels": torch.tensor([0, 1, 2]),
        "scales": SCALES,
        "output_size": 2,
        "sampling_ratio": 2,
    }
    with pytest.raises((RuntimeError, IndexError), match=f"(?m)^roi_align: .*{message}"):
        multiscale_roi_align(**{**arguments, **change})


@on_devices
def test_module(device: str) -> None:
    module = ROIAlign((7, 5), 0.25, 2)
    assert repr(module) == "ROIAlign(output_size=(7, 5), spatial_scale=0.25, sampling_ratio=2)"
    features, rois = random_pyramid(device=device)[0], random_rois(9, 2, 128, 96).to(device)
    for aligned in (False, True):
        module = ROIAlign((7, 5), 0.25, 2, aligned=aligned).to(device)
        expected = torchvision.ops.RoIAlign((7, 5), 0.25, 2, aligned=aligned)(features, rois)
        torch.testing.assert_close(module(features, rois), expected, rtol=1e-4, atol=1e-5)
    assert repr(module).endswith("sampling_ratio=2, aligned=True)")
