"""Linear attention against its equations, computed through every pair of positions in float64 by autograd."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from maskrcnn_benchmark.analysis import flops as formulas  # noqa: F401 (registers those of ENL's operator)
from maskrcnn_benchmark.analysis.memory import peak_memory
from maskrcnn_benchmark.config import cfg as defaults
from maskrcnn_benchmark.layers.non_local import EfficientNonLocal, LinearAttention, linear_attention

SIZES = [(7, 13), (14, 11), (1, 1), (3, 20), (9, 9), (1, 17)]
FORMATS = [torch.contiguous_format, torch.channels_last]


def trained(channels: int = 16, heads: int = 2, **options) -> LinearAttention:
    """A module in float64 whose response and biases are not zero."""
    torch.manual_seed(0)
    module = LinearAttention(channels, heads=heads, **options).double()
    torch.nn.init.normal_(module.theta.bias)
    torch.nn.init.normal_(module.out.weight, std=0.3)
    torch.nn.init.normal_(module.out.bias)
    return module


def through_every_pair(module: LinearAttention, x: Tensor) -> Tensor:
    """The equations as they stand in linear_attention.py, with an N x N matrix of each head."""
    n = F.layer_norm(x.permute(0, 2, 3, 1), (x.shape[1],)).permute(0, 3, 1, 2)
    query, key, value = (conv(n).flatten(2) for conv in (module.theta, module.phi, module.g))
    key = key.softmax(2)
    heads = zip(*(t.chunk(module.heads, 1) for t in (query, key, value)), strict=True)
    y = torch.cat([v @ (q.transpose(1, 2) @ k).transpose(1, 2) for q, k, v in heads], 1)
    return x + module.out(y.unflatten(2, x.shape[2:]))


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("format", FORMATS)
@pytest.mark.parametrize("block", [1 << 20, 2000])
def test_values_and_gradients_are_those_of_the_equations(size, format, block, monkeypatch):
    monkeypatch.setattr(linear_attention, "_BLOCK", block)  # bytes that are computed together
    module = trained()
    x = (5 * torch.randn(2, 16, *size, dtype=torch.float64) + 1).requires_grad_()
    laid = x.detach().contiguous(memory_format=format).requires_grad_()
    expected, actual = through_every_pair(module, x), module(laid)
    torch.testing.assert_close(actual, expected, rtol=1e-9, atol=1e-9)
    with torch.inference_mode():
        torch.testing.assert_close(module(laid), expected, rtol=1e-9, atol=1e-9)
    grad = torch.randn_like(expected)
    for a, b in zip(
        torch.autograd.grad(actual, [laid, *module.parameters()], grad),
        torch.autograd.grad(expected, [x, *module.parameters()], grad),
        strict=True,
    ):
        torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-8)


def test_gradcheck():
    module = trained(channels=8, heads=1)
    x = torch.randn(2, 8, 3, 4, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(module, (x,))


def test_second_derivatives_are_refused():
    x = torch.randn(1, 16, 3, 4, dtype=torch.float64, requires_grad=True)
    (grad,) = torch.autograd.grad(trained()(x).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("format", FORMATS)
def test_it_starts_as_the_identity(dtype, format):
    x = torch.randn(2, 32, 9, 12).to(dtype).contiguous(memory_format=format)
    module = LinearAttention(32)
    for answer in (module(x), module.to(dtype)(x)):
        assert torch.equal(answer, x) and answer.dtype == dtype and answer.is_contiguous(memory_format=format)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("scale", [0.1, 1.0, 60.0])
def test_the_response_has_one_scale_whatever_the_maps(dtype, scale):
    """And rounds with the unit of the dtype: float16 sums 4,000 positions and does not overflow."""
    module = trained(channels=32)
    x = scale * torch.randn(2, 32, 50, 80, dtype=torch.float64)
    expected = through_every_pair(module, x.to(dtype).double()) - x.to(dtype).double()
    typed = module.to(dtype) if dtype == torch.float32 else module.float()
    actual = typed(x.to(dtype)).double() - x.to(dtype).double()
    usual = through_every_pair(module.double(), x / scale) - x / scale
    assert 0.98 < expected.norm() / usual.norm() < 1.02
    assert (actual - expected).norm() < 8 * torch.finfo(dtype).eps * (expected.norm() + x.norm())


@pytest.mark.parametrize("mean", [10, 100, 1000])
def test_channels_far_from_zero_keep_their_differences(mean):
    """As a layer norm does in float32, which loses the digits that the map itself has no room for."""
    module = trained(channels=32)
    x = (mean + torch.randn(2, 32, 30, 40)).double()
    y = x.clone().requires_grad_()
    grad = torch.randn_like(x)
    exact = (through_every_pair(module, y) - y).detach()
    exact_grad = torch.autograd.grad(through_every_pair(module, y), y, grad)[0]
    narrow = x.float().requires_grad_()
    answer = module.float()(narrow)
    found = torch.autograd.grad(answer, narrow, grad.float())[0]
    assert (answer.double() - x - exact).norm() < 1e-6 * mean * exact.norm()
    assert (found.double() - exact_grad).norm() < 1e-6 * mean * exact_grad.norm()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_gradients_of_the_narrow_types_are_finite_and_close(dtype):
    module = trained(channels=32)
    x = 20 * torch.randn(2, 32, 50, 80, dtype=torch.float64)
    grad = torch.randn(x.shape, dtype=torch.float64)
    found = {}
    for name in (torch.float64, dtype):
        y = x.to(dtype).to(name).requires_grad_()
        module.double() if name == torch.float64 else module.float()
        found[name] = torch.autograd.grad(module(y), [y, *module.parameters()], grad.to(name))
    for exact, narrow in zip(found[torch.float64], found[dtype], strict=True):
        error = (narrow.double() - exact).norm() / exact.norm()
        assert error < 40 * torch.finfo(dtype).eps


@pytest.mark.parametrize(("mean", "bound"), [(0, 0.02), (2, 0.02), (10, 0.06)])
def test_in_bfloat16_a_mean_takes_little_of_the_response(mean, bound):
    """Rounded weights do not sum to zero: uncorrected, that was 0.08 at a mean of ten deviations."""
    module = trained(channels=256, heads=4).bfloat16()
    x = (torch.randn(1, 256, 12, 14) + mean).bfloat16()
    exact = through_every_pair(copy.deepcopy(module).double(), x.double()) - x.double()
    with torch.no_grad():
        error = (module(x).double() - x.double() - exact).norm() / exact.norm()
    assert error < bound


def test_autocast_leaves_the_map_its_type():
    module, x = LinearAttention(32), torch.randn(2, 32, 8, 8).bfloat16().requires_grad_()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        answer = module(x)
    answer.float().sum().backward()
    assert answer.dtype == torch.bfloat16 == x.grad.dtype
    assert module.out.weight.grad.dtype == torch.float32 and module.out.weight.grad.any()
    assert not module.theta.weight.grad.any()  # out is zero, and passes nothing on


def test_it_keeps_its_input_and_what_is_small():
    """Norms and queries of a position, and matrices whose size does not depend on the positions."""
    module = LinearAttention(64)
    sizes = []
    x = torch.randn(1, 64, 40, 50, requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
        module(x)
    assert sizes.count(x.numel()) == 1 and sum(sizes) < 1.2 * x.numel() + sum(p.numel() for p in module.parameters())


@pytest.mark.parametrize("size", [(25, 34), (50, 68), (100, 136)])
def test_it_costs_less_than_enl(size):
    x = torch.randn(1, 256, *size)
    flops = {}
    for module in (LinearAttention(256), EfficientNonLocal(256)):
        with FlopCounterMode(display=False) as counter:
            module(x.requires_grad_()).sum().backward()
        flops[type(module)] = counter.get_total_flops()
    assert flops[LinearAttention] < 0.75 * flops[EfficientNonLocal]


@pytest.mark.no_cover
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("size", [(25, 34), (58, 58), (100, 136)])
def test_it_takes_less_memory_than_enl(size, dtype):
    peaks = []
    for kind in (LinearAttention, EfficientNonLocal):
        module = kind(256).to(dtype, memory_format=torch.channels_last)
        x = torch.randn(1, 256, *size, dtype=dtype).contiguous(memory_format=torch.channels_last)
        grad = torch.randn_like(x)
        with torch.no_grad():
            inference = peak_memory(lambda module=module, x=x: module(x))
        inputs = [x.requires_grad_(), *module.parameters()]
        training = peak_memory(lambda m=module, i=inputs, grad=grad: torch.autograd.grad(m(i[0]), i, grad))
        peaks.append((inference, training))
    assert peaks[0][0] < peaks[1][0] and peaks[0][1] < peaks[1][1]


def test_images_of_a_batch_do_not_mix():
    module = trained()
    x = torch.randn(2, 16, 5, 6, dtype=torch.float64)
    changed = torch.stack((x[0], torch.randn_like(x[1])))
    torch.testing.assert_close(module(x)[0], module(changed)[0], rtol=1e-12, atol=1e-12)


def test_no_images():
    x = torch.zeros(0, 16, 5, 6, dtype=torch.float64, requires_grad=True)
    answer = trained()(x)
    answer.sum().backward()
    assert answer.shape == x.shape == x.grad.shape


def test_constant_maps_have_a_finite_gradient():
    x = torch.ones(1, 16, 6, 7, dtype=torch.float64, requires_grad=True)
    module = trained()
    answer = module(x)
    answer.square().sum().backward()
    assert answer.isfinite().all() and x.grad.isfinite().all()


@pytest.mark.parametrize("mode", ["inference", "training"])
def test_it_compiles_in_one_graph(mode):
    module = trained(channels=32).float()
    compiled = torch.compile(module, fullgraph=True, backend="aot_eager")
    for size in ((9, 12), (10, 7)):
        x = torch.randn(2, 32, *size, requires_grad=mode == "training")
        with torch.set_grad_enabled(mode == "training"):
            torch.testing.assert_close(compiled(x), module(x), rtol=1e-4, atol=1e-4)
        if mode == "training":
            compiled_grad, grad = (torch.autograd.grad(m(x).square().sum(), x)[0] for m in (compiled, module))
            assert (compiled_grad - grad).norm() < 1e-4 * grad.norm()


@pytest.mark.slow
@pytest.mark.no_cover
def test_it_is_compiled_for_training_on_maps_of_any_size():
    module = trained(channels=32).float()
    compiled = torch.compile(module, dynamic=True)
    for size in ((8, 9), (5, 7)):
        x = torch.randn(2, 32, *size).contiguous(memory_format=torch.channels_last).requires_grad_()
        found, expected = (torch.autograd.grad(m(x).square().sum(), x)[0] for m in (compiled, module))
        assert (found - expected).norm() < 1e-4 * expected.norm()


def test_its_exported_program_takes_any_size():
    module = trained(channels=32).float().eval().requires_grad_(False)
    sizes = {2: torch.export.Dim("height", min=2, max=512), 3: torch.export.Dim("width", min=2, max=512)}
    program = torch.export.export(module, (torch.randn(1, 32, 20, 30),), dynamic_shapes={"x": sizes})
    for size in ((20, 30), (7, 64)):
        x = torch.randn(1, 32, *size)
        torch.testing.assert_close(program.module()(x), module(x), rtol=1e-4, atol=1e-4)


def test_pair_weights_are_the_rows_of_the_matrix():
    module = trained(channels=16, heads=2)
    x = torch.randn(16, 6, 9, dtype=torch.float64)
    n = F.layer_norm(x.permute(1, 2, 0), (16,)).permute(2, 0, 1)[None]
    query, key = module.theta(n).flatten(2)[0], module.phi(n).flatten(2).softmax(2)[0]
    row, column = 4, 7
    found = module.pair_weights(x, row, column)
    appearance = (query[:, row * 9 + column] @ key / 2).view(6, 9)
    torch.testing.assert_close(found.appearance.double(), appearance, rtol=1e-5, atol=1e-6)
    assert not found.position.any() and torch.equal(found.total, found.appearance)
    with pytest.raises(ValueError, match="6 rows and 9 columns; got row 6"):
        module.pair_weights(x, 6, 0)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"heads": 3}, r"channels that 12 divides: 2 x 2 \(MODEL.NON_LOCAL.REDUCTION, .* x 3 heads .*; the map has 32"),
        ({"heads": 0}, "x 0 heads"),
        ({"reduction": 0}, "2 x 0 "),
    ],
)
def test_bad_arguments(options, said):
    with pytest.raises(ValueError, match=said):
        LinearAttention(32, **options)


def test_the_keys_of_a_configuration_reach_it():
    non_local = defaults.clone().MODEL.NON_LOCAL
    non_local.merge_from_list(["REDUCTION", 4])
    module = LinearAttention.from_config(non_local, 256)
    assert (module.theta.out_channels, module.g.out_channels) == (32, 64)


@pytest.mark.parametrize("shape", [(1, 16, 0, 4), (0, 16, 3, 4)])
def test_nothing_stays_nothing(shape):
    module, x = LinearAttention(16), torch.zeros(shape, requires_grad=True)
    y = module(x)
    y.sum().backward()
    assert y.shape == x.shape and all(p.grad is not None for p in module.parameters())


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (torch.zeros(16, 3, 4), r"takes a floating-point map \[B, C, H, W\]; got torch.float32 \[16, 3, 4\]"),
        (torch.zeros(1, 16, 3, 4, dtype=torch.int64), "got torch.int64"),
        (torch.zeros(1, 8, 3, 4), r"of 16 channels got a map \[B, C, H, W\] of \[1, 8, 3, 4\]"),
    ],
)
def test_what_is_no_map_of_its_channels_is_said(x, said):
    with pytest.raises(ValueError, match=f"linear_attention .*{said}"):
        LinearAttention(16)(x)
