"""Layers by oneDNN against what PyTorch computes in float64, alone and with what follows them."""

import copy

import pytest
import torch
from torch import nn

from maskrcnn_benchmark.layers.fused import add_conv, add_conv_norm_relu, conv_norm_relu, conv_relu
from maskrcnn_benchmark.modeling.optimize import use_onednn
from maskrcnn_benchmark.ops.onednn import OneDnnConv2d, OneDnnLinear
from maskrcnn_benchmark.ops.winograd import WinogradConv2d

SHAPES = [(5, 48), (0, 48), (2, 3, 48), (48,), (300, 48)]
FORMATS = [torch.contiguous_format, torch.channels_last]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
@torch.no_grad()
def test_linear(shape, bias):
    plain = nn.Linear(48, 17, bias=bias)
    fast = copy.deepcopy(plain)
    assert use_onednn(fast) == 1 and isinstance(fast, OneDnnLinear) and use_onednn(fast) == 0
    assert list(fast.state_dict()) == list(plain.state_dict())
    x = torch.randn(shape)
    for input in (x, x[..., torch.arange(47, -1, -1)], x.T.contiguous().T if len(shape) == 2 else x):
        expected = copy.deepcopy(plain).double()(input.double())
        found = fast(input)
        assert found.dtype == torch.float32 and found.shape == expected.shape
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16], ids=str)
@torch.no_grad()
def test_linear_in_other_dtypes_is_computed_as_before(dtype):
    plain = nn.Linear(8, 3).to(dtype)
    fast = copy.deepcopy(plain)
    use_onednn(fast)
    x = torch.randn(4, 8, dtype=dtype)
    assert torch.equal(fast(x), plain(x))


@torch.no_grad()
def test_hooks_stay_and_kinds_of_ones_own_are_left():
    class Scaled(nn.Linear):
        pass

    model = nn.Sequential(nn.Linear(4, 4), Scaled(4, 4))
    seen = []
    model[0].register_forward_hook(lambda *_: seen.append(1))
    assert use_onednn(model) == 1 and type(model[1]) is Scaled
    model(torch.randn(2, 4))
    assert seen == [1]


@torch.no_grad()
def test_linear_compiles_in_one_graph():
    fast = nn.Sequential(nn.Linear(6, 5), nn.ReLU())
    use_onednn(fast)
    compiled = torch.compile(fast, fullgraph=True, backend="aot_eager", dynamic=True)
    for count in (3, 7):
        x = torch.randn(count, 6)
        torch.testing.assert_close(compiled(x), fast(x))


def test_opcheck():
    inputs = torch.randn(3, 6), torch.randn(5, 6), torch.randn(5)
    torch.library.opcheck(torch.ops.maskrcnn_benchmark.onednn_linear.default, inputs, test_utils="test_faketensor")


def convolution(**options) -> tuple[nn.Conv2d, OneDnnConv2d]:
    torch.manual_seed(0)
    conv = nn.Conv2d(16, 32, **options).to(memory_format=torch.channels_last).requires_grad_(False)
    fast = copy.deepcopy(conv)
    assert use_onednn(fast) == 1 and isinstance(fast, OneDnnConv2d)
    return conv, fast


@pytest.mark.parametrize("format", FORMATS, ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
@pytest.mark.parametrize(
    "options",
    [
        {"kernel_size": 1},
        {"kernel_size": 1, "stride": 2, "bias": False},
        {"kernel_size": 3, "padding": 2, "dilation": 2, "groups": 4},
        {"kernel_size": 3, "padding": "same"},
    ],
    ids=str,
)
def test_convolutions_with_what_follows_them(options, dtype, format):
    conv, fast = convolution(**options)
    conv, fast = conv.to(dtype), fast.to(dtype)
    x = torch.randn(2, 16, 9, 11, dtype=dtype).contiguous(memory_format=format)
    exact = copy.deepcopy(conv).double()(x.double())
    other = torch.randn_like(conv(x))
    tolerance = 0.02 if dtype == torch.bfloat16 else 1e-5
    for found, expected in (
        (fast(x), exact),
        (conv_relu(x, fast), exact.relu()),
        (conv_norm_relu(x, fast, nn.Identity()), exact.relu()),
        (conv_norm_relu(x, fast, nn.Hardtanh(-0.1, 0.1)), exact.clamp(0, 0.1)),
        (add_conv(other.clone(), x, fast), exact + other),
        (add_conv(other.to(torch.float64, copy=True), x, fast), exact + other),
        (add_conv_norm_relu(other.clone(), x, fast, nn.Identity()), (exact + other).relu()),
        (add_conv_norm_relu(other.clone(), x, fast, nn.Hardtanh(-0.1, 0.1)), (exact.clamp(-0.1, 0.1) + other).relu()),
    ):
        torch.testing.assert_close(found.double(), expected, rtol=tolerance, atol=tolerance)


def test_what_watches_a_convolution_sees_what_it_computes():
    conv, fast = convolution(kernel_size=1)
    seen = []
    fast.register_forward_hook(lambda module, args, output: seen.append(output.clone()))
    x = torch.randn(1, 16, 5, 5).contiguous(memory_format=torch.channels_last)
    assert (conv_relu(x, fast) >= 0).all()
    add_conv_norm_relu(conv(x), x, fast, nn.Identity())
    for output in seen:
        torch.testing.assert_close(output, conv(x))
    assert len(seen) == 2


def test_a_gradient_that_is_asked_for_goes_through():
    conv, fast = convolution(kernel_size=1)
    x = torch.randn(1, 16, 5, 5).contiguous(memory_format=torch.channels_last).requires_grad_()
    expected = torch.autograd.grad(conv(x).relu().sum(), x)[0]
    torch.testing.assert_close(torch.autograd.grad(conv_relu(x, fast).sum(), x)[0], expected)


@torch.no_grad()
def test_weights_that_are_no_numbers_are_not_hidden():
    conv = nn.Conv2d(16, 16, 1).to(memory_format=torch.channels_last)
    conv.weight[3, 4] = torch.nan
    assert use_onednn(conv) == 0
    assert conv_relu(torch.randn(1, 16, 4, 4), conv)[:, 3].isnan().all()


@torch.no_grad()
def test_winograds_relu_keeps_what_is_no_number():
    fast = WinogradConv2d(nn.Conv2d(64, 64, 3, padding=1))
    x = torch.randn(1, 64, 4, 4)
    x[0, 3, 2, 2] = torch.nan
    found = conv_relu(x, fast)
    assert found.isnan().any() and (found[~found.isnan()] >= 0).all()
