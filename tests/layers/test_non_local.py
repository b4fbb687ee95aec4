"""The non-local module against equations 1 to 9 of the paper, in all its types and forms. ENL's operator: test_enl.py."""

from __future__ import annotations

import math

import pytest
import torch

from maskrcnn_benchmark.config.node import ConfigError
from maskrcnn_benchmark.layers.non_local import NON_LOCAL, EfficientNonLocal
from maskrcnn_benchmark.layers.non_local.equations import dct_basis
from tests.support.dense_non_local import dct_matrix, dense_non_local, module_of

SIZES = [(7, 13), (14, 11), (1, 1), (3, 20), (11, 10), (9, 9), (1, 17)]
KINDS = [("nl", "dct"), ("nl_dot", "dct"), ("enl", "dct"), ("enl", "")]
FORMS = [(*kind, False) for kind in KINDS] + [("nl", "dct", True), ("enl", "dct", True), ("enl", "", True)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize(("type", "position", "literal"), FORMS)
def test_values_and_gradients_are_those_of_the_equations(type, position, literal, size):
    module = module_of(type, position, literal=literal)
    x = torch.randn(2, 8, *size, dtype=torch.float64, requires_grad=True)
    actual, expected = module(x), dense_non_local(module, x, type, position)
    torch.testing.assert_close(actual, expected, rtol=1e-10, atol=1e-10)
    grad = torch.randn_like(x)
    inputs = [x, *module.parameters()]
    # A softmax over one position is constant: nothing depends on theta and phi there, in either computation.
    for a, b in zip(
        torch.autograd.grad(actual, inputs, grad, allow_unused=True, materialize_grads=True),
        torch.autograd.grad(expected, inputs, grad, allow_unused=True, materialize_grads=True),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("type", "position"), KINDS)
def test_gradcheck(type, position):
    module = module_of(type, position, channels=4, dct_size=2)
    x = torch.randn(2, 4, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(module, (x,))


@pytest.mark.parametrize(("dct_size", "reduction"), [(1, 1), (3, 4), (20, 2)])
def test_sizes_of_the_block(dct_size, reduction):
    module = module_of("enl", dct_size=dct_size, reduction=reduction)
    assert module.g.weight.shape == (8 // reduction, 8, 1, 1)
    x = torch.randn(1, 8, 6, 15, dtype=torch.float64)
    torch.testing.assert_close(module(x), dense_non_local(module, x), rtol=1e-10, atol=1e-10)


def test_images_of_a_batch_do_not_mix():
    for type, position in KINDS:
        module = module_of(type, position)
        x = torch.randn(2, 8, 5, 6, dtype=torch.float64)
        changed = torch.stack((x[0], torch.randn_like(x[1])))
        torch.testing.assert_close(module(x)[0], module(changed)[0], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("length", [1, 2, 8, 9, 10, 37])
def test_dct_basis(length):
    basis = dct_basis(length, 9, torch.float64, torch.device("cpu"))
    count = min(length, 9)
    assert basis.shape == (length, count)
    torch.testing.assert_close(basis.T @ basis, torch.eye(count, dtype=torch.float64), rtol=0, atol=1e-12)
    torch.testing.assert_close(basis, dct_matrix(length, 1, 9), rtol=0, atol=1e-12)


def test_position_term_keeps_low_frequencies_only():
    module = module_of("enl", channels=2, dct_size=3)
    with torch.no_grad():
        for conv in (module.theta, module.phi, module.g, module.out):
            torch.nn.init.zeros_(conv.weight)
            torch.nn.init.zeros_(conv.bias)
        module.g.weight[0, 0] = module.out.weight[1, 0] = 1.0  # channel 1 receives channel 0, low-pass filtered
        y = torch.arange(16, dtype=torch.float64)
        low, high = (torch.cos(math.pi / 16 * (y + 0.5) * k)[:, None].expand(16, 12) for k in (2, 3))
        x = torch.zeros(1, 2, 16, 12, dtype=torch.float64)
        x[0, 0] = low + high
        torch.testing.assert_close(module(x)[0, 1], low, rtol=0, atol=1e-12)


def test_initialisation():
    torch.manual_seed(1)
    module = EfficientNonLocal(256)
    for name in ("theta", "phi", "g", "out"):
        conv = getattr(module, name)
        n = conv.weight.numel()  # 32768: the bounds are five standard errors
        assert abs(conv.weight.mean().item()) < 5 * 0.01 / math.sqrt(n)
        assert abs(conv.weight.std().item() / 0.01 - 1) < 5 / math.sqrt(2 * n)
        assert not conv.bias.any()
    for options, out_std in (({}, 0.1), ({"out_init_std": 0.001}, 0.001)):
        module = EfficientNonLocal(256, init_std=0.1, **options)
        assert abs(module.g.weight.std().item() / 0.1 - 1) < 5 / math.sqrt(2 * 32768)
        assert abs(module.out.weight.std().item() / out_std - 1) < 5 / math.sqrt(2 * 32768)
    x = torch.randn(1, 256, 3, 4)
    assert torch.equal(EfficientNonLocal(256, init_std=0.1, out_init_std=0.0)(x), x)


@pytest.mark.parametrize("type", ["nl", "nl_dot", "enl"])
def test_parameters(type):
    shapes = {name: tuple(p.shape) for name, p in NON_LOCAL[type](256).named_parameters()}
    inner = {f"{n}.{k}": s for n in ("theta", "phi", "g") for k, s in (("weight", (128, 256, 1, 1)), ("bias", (128,)))}
    assert shapes == {**inner, "out.weight": (256, 128, 1, 1), "out.bias": (256,)}
    assert sum(math.prod(s) for s in shapes.values()) == 395_136 // 3


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float16, 4e-3), (torch.bfloat16, 3e-2)])
@pytest.mark.parametrize(("type", "position"), KINDS)
def test_autocast_stays_close(type, position, dtype, bound):
    module = module_of(type, position, channels=64, init_std=0.05).float()
    x = 3 * torch.randn(2, 64, 40, 50)
    expected = module(x) - x
    with torch.autocast("cpu", dtype=dtype):
        actual = module(x) - x
    assert torch.isfinite(actual).all()
    assert (actual - expected).abs().max() < bound * expected.abs().max()


@pytest.mark.parametrize(("type", "position"), KINDS)
def test_autocast_does_not_overflow(type, position):
    """Sums over 4,000 positions of values near 60 leave float16's range; the result does not."""
    module = module_of(type, position, channels=16, init_std=0.1).float()
    x = 60 + torch.randn(1, 16, 50, 80)
    with torch.autocast("cpu", dtype=torch.float16):
        actual = module(x)
    torch.testing.assert_close(actual.float(), module(x), rtol=2e-2, atol=1.0)


@pytest.mark.parametrize(("type", "position"), KINDS)
def test_channels_last(type, position):
    module = module_of(type, position)
    x = torch.randn(2, 8, 7, 10, dtype=torch.float64)
    actual = module.to(memory_format=torch.channels_last)(x.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(actual, dense_non_local(module, x, type, position), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(
    ("kwargs", "said"),
    [
        ({"position": "sine"}, "got 'sine'"),
        ({"reduction": 3}, "divide the 8 channels; got 3"),
        ({"reduction": 0}, "got 0"),
        ({"dct_size": 0}, "at least 1; got 0"),
    ],
)
def test_bad_arguments(kwargs, said):
    with pytest.raises(ValueError, match=said):
        EfficientNonLocal(8, **kwargs)


def test_an_unknown_kind_is_told_the_known_ones():
    with pytest.raises(ConfigError, match="'gaussian' is not one of enl, linear_attention, nl, nl_dot"):
        NON_LOCAL["gaussian"]
