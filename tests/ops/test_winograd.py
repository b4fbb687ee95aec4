"""Winograd's filtering and its gradients against PyTorch's convolution."""

from __future__ import annotations

import copy
from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from maskrcnn_benchmark.ops import winograd
from maskrcnn_benchmark.ops.convolution import conv3x3
from maskrcnn_benchmark.ops.library import ops
from maskrcnn_benchmark.ops.winograd import WinogradConv2d, has_winograds_form


@pytest.mark.parametrize("size", [(1, 1), (2, 7), (4, 4), (5, 8), (13, 18), (32, 31)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("channels", [(5, 7), (16, 21), (33, 8)])  # whole vectors, parts of one, both
def test_the_values_of_a_convolution(size, bias, channels):
    torch.manual_seed(0)
    conv = nn.Conv2d(*channels, 3, padding=1, bias=bias).double()
    x = torch.randn(2, channels[0], *size, dtype=torch.float64)
    fast = WinogradConv2d(conv)
    expected = conv(x)
    torch.testing.assert_close(fast(x), expected, rtol=1e-11, atol=1e-11)
    channels_last = x.contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(fast(channels_last), expected, rtol=1e-11, atol=1e-11)
    assert fast(x).shape == expected.shape and fast(x[:0]).shape == expected[:0].shape
    assert not any(p.requires_grad for name, p in fast.named_parameters() if name == "weight")


@pytest.mark.parametrize("size", [(1, 1), (2, 7), (4, 4), (13, 18)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("channels", [(5, 7), (16, 21), (33, 8)])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_the_gradients_of_a_convolution(size, bias, channels, layout, monkeypatch):
    monkeypatch.setattr(winograd, "TILES", 3)  # several parts, the last of them smaller
    generator = torch.Generator().manual_seed(0)
    shapes = [(2, channels[0], *size), (channels[1], channels[0], 3, 3), (channels[1],), (2, channels[1], *size)]
    x, weight, shift, grad = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    x, weight = (t.contiguous(memory_format=layout).requires_grad_() for t in (x, weight))
    inputs = [x, weight, *([shift.requires_grad_()] if bias else [])]
    found, expected = (
        conv3x3(x, weight, shift if bias else None),
        F.conv2d(x, weight, shift if bias else None, padding=1),
    )
    torch.testing.assert_close(found, expected, rtol=1e-11, atol=1e-11)
    gradients = torch.autograd.grad(found, inputs, grad)
    torch.testing.assert_close(gradients, torch.autograd.grad(expected, inputs, grad), rtol=1e-11, atol=1e-11)
    assert gradients[1].stride() == weight.stride()
    for one, wanted in zip(inputs, gradients, strict=True):  # each alone: the others do not ask for a gradient
        alone = [t if t is one else t.detach() for t in inputs]
        z = conv3x3(*alone, *([] if bias else [None]))
        torch.testing.assert_close(torch.autograd.grad(z, one, grad)[0], wanted)


def test_the_gradients_go_by_the_filtering_too():
    x, weight = torch.randn(1, 3, 8, 8, requires_grad=True), torch.randn(4, 3, 3, 3, requires_grad=True)
    y = conv3x3(x, weight, None)
    with mock.patch.object(winograd, "ops", wraps=ops) as called:
        y.sum().backward()
    assert called.winograd_conv2d.called and called.winograd_gradients.called


def test_gradients_of_gradients():
    torch.manual_seed(0)
    inputs = [torch.randn(s, dtype=torch.float64, requires_grad=True) for s in ((1, 2, 5, 6), (3, 2, 3, 3), (3,))]
    assert torch.autograd.gradgradcheck(conv3x3, inputs)


def test_the_output_may_be_changed_in_place():
    x, weight = torch.randn(1, 3, 8, 8), torch.randn(4, 3, 3, 3, requires_grad=True)
    F.relu_(conv3x3(x, weight, None)).sum().backward()
    expected = weight.detach().requires_grad_()
    F.relu(F.conv2d(x, expected, padding=1)).sum().backward()
    torch.testing.assert_close(weight.grad, expected.grad, rtol=1e-4, atol=1e-4)


def test_rounding_of_gradients_in_float32():
    torch.manual_seed(0)
    x, weight, grad = torch.randn(2, 256, 30, 41), torch.randn(256, 256, 3, 3) / 48, torch.randn(2, 256, 30, 41)

    def gradients(function, *tensors):
        x, weight, grad = tensors
        inputs = x.clone().requires_grad_(), weight.clone().requires_grad_()
        return torch.autograd.grad(function(*inputs), inputs, grad)

    exact = gradients(lambda x, w: F.conv2d(x, w, padding=1), x.double(), weight.double(), grad.double())
    for value, wanted in zip(gradients(lambda x, w: conv3x3(x, w, None), x, weight, grad), exact, strict=True):
        assert (value - wanted).abs().max() < 5e-5 * wanted.abs().max()


def test_rounding_in_float32():
    """With 256 channels, the error is below 1e-4 of the largest output: what 36 sums of large and small terms leave."""
    torch.manual_seed(0)
    conv = nn.Conv2d(256, 256, 3, padding=1)
    x = torch.randn(1, 256, 30, 41)
    with torch.no_grad():
        exact = conv.double()(x.double())
        found = WinogradConv2d(conv.float())(x)
    assert (found - exact).abs().max() < 1e-4 * exact.abs().max()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_narrow_maps_and_autocast(dtype):
    torch.manual_seed(0)
    conv, x = nn.Conv2d(8, 8, 3, padding=1), torch.randn(1, 8, 9, 9)
    fast, expected = WinogradConv2d(conv), conv(x)
    with torch.autocast("cpu", torch.bfloat16):
        for maps in (x, x.to(dtype)):
            torch.testing.assert_close(fast(maps), conv(maps), check_dtype=False, rtol=0, atol=0.05)
    narrow = fast.to(dtype)(x.to(dtype))
    assert narrow.dtype == dtype and narrow.is_contiguous(memory_format=torch.channels_last)
    torch.testing.assert_close(narrow.float(), expected, rtol=0, atol=0.1)
    torch.library.opcheck(ops.winograd_conv2d, (x.to(dtype), fast.weight, fast.bias, 8), test_utils="test_faketensor")


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_maps_of_16_bits_are_rounded_once(dtype, relu):
    torch.manual_seed(0)
    conv = nn.Conv2d(70, 83, 3, padding=1).to(dtype)
    x = torch.randn(2, 70, 9, 14, dtype=dtype)
    with torch.no_grad():
        exact = copy.deepcopy(conv).double()(x.double())
        found = WinogradConv2d(conv)(x, relu=relu)
    exact = exact.relu() if relu else exact
    assert found.dtype == dtype
    # Half a unit of the last place, and 1e-5 of the largest value that the filtering itself leaves.
    allowed = torch.finfo(dtype).eps / 2 * exact.abs() + 2e-5 * exact.abs().max()
    assert ((found.double() - exact).abs() <= allowed).all()


@pytest.mark.parametrize("value", [0x7F800000, 0x7F7FFFFF, 0x7F7F8000, 0x3F808000, 0x3F818000, 0x3F808001, 0x00000001])
def test_rounding_to_bfloat16_is_torchs(value):
    """Infinity, the largest numbers, ties to even in both directions, and a subnormal number: as the bias of no weight."""
    bits = torch.tensor([value, value - (1 << 31)], dtype=torch.int64).to(torch.int32)
    bias = bits.view(torch.float32)
    weight = torch.zeros(36, 1, 1, 16)
    result = torch.zeros(1, 4, 4, 2, dtype=torch.bfloat16)
    ops.winograd_filter(torch.zeros(1, 4, 4, 1, dtype=torch.bfloat16), weight, bias, False, result)
    assert torch.equal(result[0, 0, 0], bias.to(torch.bfloat16))


def test_opcheck():
    x, weight, bias = torch.randn(2, 3, 5, 6), torch.randn(36, 1, 3, 16), torch.randn(4)
    torch.library.opcheck(ops.winograd_conv2d, (x, weight, bias, 4))
    torch.library.opcheck(ops.winograd_conv2d, (x.contiguous(memory_format=torch.channels_last), weight, None, 4))


@pytest.mark.parametrize(
    ("pixels", "tiles", "first", "said"),
    [
        (torch.zeros(1, 4, 4), torch.zeros(36, 1, 4), 0, r"contiguous \[N, H, W, C\], got \[1, 4, 4\]"),
        (torch.zeros(1, 4, 4, 2).half(), torch.zeros(36, 1, 2).half(), 0, "float32 or float64, got Half"),
        (torch.zeros(1, 4, 4, 2), torch.zeros(36, 1, 3), 0, r"with the pixels' channels and type, got \[36, 1, 3\]"),
        (torch.zeros(1, 4, 5, 2), torch.zeros(36, 2, 2), 1, "the maps have 2 tiles, got 2 from 1 on"),
    ],
)
@pytest.mark.parametrize("transform", [ops.winograd_inputs, ops.winograd_gradients])
def test_what_does_not_fit_is_refused(transform, pixels, tiles, first, said):
    with pytest.raises(RuntimeError, match=said):
        transform(pixels, first, tiles)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"pixels": torch.zeros(1, 4, 4)}, r"contiguous \[N, H, W, C\], got \[1, 4, 4\]"),
        ({"pixels": torch.zeros(1, 4, 4, 2).half()}, "size and type of the pixels"),
        ({"pixels": torch.zeros(1, 4, 4, 2).int(), "result": torch.zeros(1, 4, 4, 20).int()}, "or of 16 bits, got Int"),
        ({"result": torch.zeros(1, 4, 5, 20)}, r"size and type of the pixels, got \[1, 4, 5, 20\] for \[1, 4, 4, 2\]"),
        ({"result": torch.zeros(1, 4, 4, 20).double()}, "size and type of the pixels"),
        ({"weight": torch.zeros(36, 2, 20)}, r"contiguous \[36, 2, 2, 16\] of the pixels' type .*, got \[36, 2, 20\]"),
        ({"weight": torch.zeros(36, 1, 2, 16)}, r"contiguous \[36, 2, 2, 16\]"),
        ({"weight": torch.zeros(36, 2, 2, 16).double()}, r"contiguous \[36, 2, 2, 16\] of the pixels' type"),
        ({"bias": torch.zeros(16)}, r"bias must be a contiguous \[20\] of the pixels' type .*, got \[16\]"),
    ],
)
def test_a_convolution_that_does_not_fit_is_refused(changed, said):
    fitting = {
        "pixels": torch.zeros(1, 4, 4, 2),
        "weight": torch.zeros(36, 2, 2, 16),
        "bias": torch.zeros(20),
        "relu": False,
        "result": torch.zeros(1, 4, 4, 20),
    }
    ops.winograd_filter(**fitting)
    with pytest.raises(RuntimeError, match=said):
        ops.winograd_filter(**{**fitting, **changed})


@pytest.mark.parametrize("threads", [1, 3])
def test_more_tiles_than_are_taken_at_a_time(threads):
    torch.manual_seed(0)
    conv, x = nn.Conv2d(3, 70, 3, padding=1).double(), torch.randn(3, 3, 37, 41, dtype=torch.float64)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        torch.testing.assert_close(WinogradConv2d(conv)(x), conv(x), rtol=1e-11, atol=1e-11)
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 1},
        {"kernel_size": 3},
        {"kernel_size": 3, "padding": 1, "stride": 2},
        {"kernel_size": 3, "padding": 2, "dilation": 2},
        {"kernel_size": 3, "padding": 1, "groups": 2},
        {"kernel_size": 3, "padding": 1, "padding_mode": "reflect"},
        {"kernel_size": 3, "padding": "same"},
    ],
)
def test_other_convolutions_are_refused(options):
    conv = nn.Conv2d(4, 4, **options)
    assert not has_winograds_form(conv)
    with pytest.raises(ValueError, match=r"stride 1 and padding 1; got Conv2d\(4, 4"):
        WinogradConv2d(conv)
