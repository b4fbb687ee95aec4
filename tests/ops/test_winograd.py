"""WinogradConv2d against PyTorch's convolution."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from maskrcnn_benchmark.ops import winograd
from maskrcnn_benchmark.ops.library import ops
from maskrcnn_benchmark.ops.winograd import WinogradConv2d


@pytest.mark.parametrize("size", [(1, 1), (2, 7), (4, 4), (5, 8), (13, 18), (32, 31)])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("channels", [(5, 7), (16, 21), (33, 8)])  # whole vectors, parts of one, both
def test_the_values_of_a_convolution(size, bias, channels, monkeypatch):
    monkeypatch.setattr(winograd, "TILES", 5)  # several parts, the last of them smaller
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


def test_rounding_in_float32():
    """With 256 channels, the error is below 1e-4 of the largest output: what 36 sums of large and small terms leave."""
    torch.manual_seed(0)
    conv = nn.Conv2d(256, 256, 3, padding=1)
    x = torch.randn(1, 256, 30, 41)
    with torch.no_grad():
        exact = conv.double()(x.double())
        found = WinogradConv2d(conv.float())(x)
    assert (found - exact).abs().max() < 1e-4 * exact.abs().max()


def test_opcheck():
    x, weight, bias = torch.randn(2, 3, 5, 6), torch.randn(36, 3, 4), torch.randn(4)
    torch.library.opcheck(ops.winograd_conv2d, (x, weight, bias))
    torch.library.opcheck(ops.winograd_conv2d, (x.contiguous(memory_format=torch.channels_last), weight, None))


@pytest.mark.parametrize(
    ("pixels", "tiles", "first", "said"),
    [
        (torch.zeros(1, 4, 4), torch.zeros(36, 1, 4), 0, r"contiguous \[N, H, W, C\], got \[1, 4, 4\]"),
        (torch.zeros(1, 4, 4, 2).half(), torch.zeros(36, 1, 2).half(), 0, "float32 or float64, got Half"),
        (torch.zeros(1, 4, 4, 2), torch.zeros(36, 1, 3), 0, r"with the pixels' channels and type, got \[36, 1, 3\]"),
        (torch.zeros(1, 4, 5, 2), torch.zeros(36, 2, 2), 1, "the maps have 2 tiles, got 2 from 1 on"),
    ],
)
def test_what_does_not_fit_is_refused(pixels, tiles, first, said):
    with pytest.raises(RuntimeError, match=said):
        ops.winograd_inputs(pixels, first, tiles)
    with pytest.raises(RuntimeError, match=said):
        ops.winograd_outputs(tiles, None, first, pixels)


def test_a_bias_that_does_not_fit_is_refused():
    with pytest.raises(RuntimeError, match=r"bias must be a contiguous \[2\] of the pixels' type, got \[3\]"):
        ops.winograd_outputs(torch.zeros(36, 1, 2), torch.zeros(3), 0, torch.zeros(1, 4, 4, 2))


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
    assert not WinogradConv2d.supports(conv)
    with pytest.raises(ValueError, match=r"stride 1 and padding 1; got Conv2d\(4, 4"):
        WinogradConv2d(conv)
