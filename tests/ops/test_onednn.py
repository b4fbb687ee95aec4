"""Fully connected layers by oneDNN against those of PyTorch in float64."""

import copy

import pytest
import torch
from torch import nn

from maskrcnn_benchmark.modeling.optimize import use_onednn
from maskrcnn_benchmark.ops.onednn import OneDnnLinear

SHAPES = [(5, 48), (0, 48), (2, 3, 48), (48,), (300, 48)]


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("shape", SHAPES)
@torch.no_grad()
def test_values(shape, bias):
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
def test_other_dtypes_are_computed_as_before(dtype):
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
def test_it_compiles_in_one_graph():
    fast = nn.Sequential(nn.Linear(6, 5), nn.ReLU())
    use_onednn(fast)
    compiled = torch.compile(fast, fullgraph=True, backend="aot_eager", dynamic=True)
    for count in (3, 7):
        x = torch.randn(count, 6)
        torch.testing.assert_close(compiled(x), fast(x))


def test_opcheck():
    inputs = torch.randn(3, 6), torch.randn(5, 6), torch.randn(5)
    torch.library.opcheck(torch.ops.maskrcnn_benchmark.onednn_linear.default, inputs, test_utils="test_faketensor")
