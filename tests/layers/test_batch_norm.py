"""Frozen batch norm against its formula and PyTorch's batch norm, and its fusion into a convolution."""

from __future__ import annotations

import weakref

import pytest
import torch
from torch import nn
from torch._subclasses import FakeTensorMode
from torch.utils.checkpoint import checkpoint

from maskrcnn_benchmark.layers import FrozenBatchNorm2d, conv_norm


def frozen(channels: int, dtype: torch.dtype = torch.float64) -> FrozenBatchNorm2d:
    generator = torch.Generator().manual_seed(channels)
    norm = FrozenBatchNorm2d(channels)
    for value in norm.buffers():
        value.copy_(torch.rand(channels, generator=generator) + 0.5)
    return norm.to(dtype)


def test_formula_without_epsilon():
    norm, x = frozen(5), torch.randn(2, 5, 4, 3, dtype=torch.float64)
    for c in range(5):
        expected = (x[:, c] - norm.running_mean[c]) * norm.weight[c] / norm.running_var[c] ** 0.5 + norm.bias[c]
        torch.testing.assert_close(norm(x)[:, c], expected)


def test_is_batch_norm_in_evaluation_without_epsilon():
    norm = frozen(6)
    reference = nn.BatchNorm2d(6, eps=1e-15).double().eval()  # torch 2.11 refuses an epsilon of zero
    reference.load_state_dict(norm.state_dict(), strict=False)
    x = torch.randn(2, 6, 5, 5, dtype=torch.float64)
    torch.testing.assert_close(norm(x), reference(x))


def test_has_only_buffers():
    norm = FrozenBatchNorm2d(3)
    assert not list(norm.parameters())
    assert list(norm.state_dict()) == ["weight", "bias", "running_mean", "running_var"]
    before = {key: value.clone() for key, value in norm.state_dict().items()}
    norm.train()(torch.randn(4, 3, 8, 8))
    assert all(torch.equal(before[key], value) for key, value in norm.state_dict().items())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_keeps_the_type_of_the_map(dtype):
    assert frozen(3, torch.float32)(torch.randn(1, 3, 2, 2, dtype=dtype)).dtype == dtype


@pytest.mark.parametrize(
    "conv",
    [
        nn.Conv2d(4, 6, 3, stride=2, padding=1, bias=False),
        nn.Conv2d(4, 6, 3, padding=2, dilation=2, groups=2),
        nn.Conv2d(4, 6, 3, padding=1, padding_mode="reflect"),
        nn.Conv2d(4, 6, 1),
    ],
    ids=["plain", "grouped", "reflect", "bias"],
)
@pytest.mark.parametrize("norm", [frozen(6), nn.GroupNorm(3, 6).double()], ids=["frozen", "group"])
def test_conv_norm_is_the_composition(conv, norm):
    conv = conv.double()
    x = torch.randn(2, 4, 9, 7, dtype=torch.float64, requires_grad=True)
    actual, expected = conv_norm(x, conv, norm), norm(conv(x))
    torch.testing.assert_close(actual, expected)
    grad = torch.randn_like(actual)
    inputs = [x, *conv.parameters()]
    gradients = [torch.autograd.grad(y, inputs, grad) for y in (actual, expected)]
    for a, b in zip(*gradients, strict=True):
        torch.testing.assert_close(a, b)


def test_conv_norm_leaves_other_modules_alone():
    x = torch.randn(1, 4, 5, 5, dtype=torch.float64)
    norm = frozen(4)
    assert torch.equal(conv_norm(x, nn.Identity(), norm), norm(x))


@pytest.mark.parametrize(
    "change",
    [
        lambda norm: norm.weight.mul_(2),
        lambda norm: norm.load_state_dict({name: value + 1 for name, value in norm.state_dict().items()}),
        lambda norm: norm.register_buffer("running_mean", torch.full((3,), 5.0)),
        lambda norm: norm.double(),
        lambda norm: (norm.bias.data.fill_(7), norm.eval()),
        lambda norm: (norm.running_var.data.fill_(4), norm.train()),
    ],
    ids=["in place", "loaded", "replaced", "another type", "data, eval", "data, train"],
)
def test_what_is_kept_of_a_norm_follows_its_buffers(change):
    norm, x = FrozenBatchNorm2d(3), torch.randn(2, 3, 4, 5)
    with torch.inference_mode():
        before = norm(x)
    change(norm)
    x = x.to(norm.weight.dtype)
    scale = norm.weight / norm.running_var.sqrt()
    expected = (x - norm.running_mean[:, None, None]) * scale[:, None, None] + norm.bias[:, None, None]
    torch.testing.assert_close(norm(x), expected)
    assert not torch.equal(norm(x).float(), before) or norm.weight.dtype == torch.float64
    y = conv_norm(
        x.requires_grad_(), torch.nn.Conv2d(3, 3, 1, bias=False).to(x.dtype), norm
    )  # made in inference, used in training
    y.sum().backward()


def test_scaled_weights_are_made_again_for_the_backward_pass():
    torch.manual_seed(0)
    conv, norm = nn.Conv2d(3, 4, 3, padding=1, bias=False).double(), frozen(4)
    x = torch.randn(1, 3, 5, 6, dtype=torch.float64, requires_grad=True)
    inputs = (x, *conv.parameters())
    assert torch.autograd.gradcheck(lambda x, _: conv_norm(x, conv, norm), inputs)
    assert torch.autograd.gradgradcheck(lambda x, _: conv_norm(x, conv, norm), inputs)
    saved = []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: saved.append(t) or t, lambda t: t):
        y = conv_norm(x, conv, norm)
    own = conv.weight.data_ptr()
    assert sum(t.shape == conv.weight.shape and t.data_ptr() != own for t in saved) == 0
    y.sum().backward()
    y = conv_norm(x, conv, norm)
    with torch.no_grad():
        conv.weight.mul_(2)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


@pytest.mark.parametrize("padding", ["same", "valid", (1, 0)])
@pytest.mark.parametrize("shape", [(2, 3, 6, 7), (3, 6, 7)], ids=["batch", "one image"])
def test_a_padding_by_name_and_a_single_image(padding, shape):
    conv, norm = nn.Conv2d(3, 4, 3, padding=padding, bias=False).double(), frozen(4)
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    inputs = [x, conv.weight]
    found, expected = conv_norm(x, conv, norm), norm(conv(x))
    torch.testing.assert_close(found, expected)
    gradients = [torch.autograd.grad(y.square().sum(), inputs) for y in (found, expected)]
    torch.testing.assert_close(*gradients)


def test_a_checkpointed_block_keeps_nothing_inside():
    """torch.utils.checkpoint works through the hooks of saved tensors; hooks of our own inside it would take its place."""
    conv, norm, kept = nn.Conv2d(3, 3, 1, bias=False).double(), frozen(3), []

    def block(x):
        for _ in range(2):
            x = conv_norm(x, conv, norm)
            kept.append(weakref.ref(x))
        return x.square()

    x = torch.randn(1, 3, 5, 6, dtype=torch.float64, requires_grad=True)
    y = checkpoint(block, x, use_reentrant=False)
    assert [reference() for reference in kept] == [None, None]
    found = torch.autograd.grad(y.sum(), [x, conv.weight])
    torch.testing.assert_close(found, torch.autograd.grad(block(x).sum(), [x, conv.weight]))


def test_nothing_is_kept_of_a_transform_that_ends():
    norm, x = FrozenBatchNorm2d(4), torch.randn(1, 4, 3, 3)
    expected = frozen(4, torch.float32)(x)
    norm.load_state_dict(frozen(4).state_dict())
    for _ in range(2):
        torch.func.hessian(lambda z: norm(z).pow(3).sum())(x)
    norm._kept = None
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        norm(mode.from_tensor(x))
    assert type(norm(x)) is torch.Tensor
    torch.testing.assert_close(norm(x), expected)


@pytest.mark.parametrize("conv, norm", [(torch.bfloat16, torch.float32), (torch.float32, torch.float64)])
def test_types_that_differ_are_composed(conv, norm):
    conv, norm = nn.Conv2d(3, 4, 3).to(conv), FrozenBatchNorm2d(4).to(norm)
    x = torch.randn(1, 3, 5, 5).to(conv.weight.dtype)
    assert torch.equal(conv_norm(x, conv, norm), norm(conv(x)))


def test_a_parametrized_weight_is_computed_once():
    class Counted(nn.Module):
        calls = 0

        def forward(self, weight):
            self.calls += 1
            return 2 * weight

    conv, counted = nn.Conv2d(3, 4, 3), Counted()
    nn.utils.parametrize.register_parametrization(conv, "weight", counted)
    counted.calls = 0
    conv_norm(torch.randn(1, 3, 5, 5), conv, FrozenBatchNorm2d(4)).sum().backward()
    assert counted.calls == 1


def test_functional_transforms_go_through():
    conv, norm = nn.Conv2d(3, 4, 3, padding=1, bias=False).double(), frozen(4)
    x = torch.randn(2, 1, 3, 5, 6, dtype=torch.float64)

    def loss(x, call):
        return call(x).square().sum()

    of_each = torch.vmap(torch.func.grad(loss), in_dims=(0, None))
    found, expected = of_each(x, lambda x: conv_norm(x, conv, norm)), of_each(x, lambda x: norm(conv(x)))
    torch.testing.assert_close(found, expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_cuda_graph_computes_its_own_scale():
    norm, x = frozen(4).cuda(), torch.randn(1, 4, 5, 5, device="cuda", dtype=torch.float64)
    graph = torch.cuda.CUDAGraph()
    with torch.no_grad(), torch.cuda.graph(graph):
        y = norm(x)
    assert norm._kept is None  # nothing that the graph has not computed yet
    norm.weight.mul_(2)
    graph.replay()
    torch.testing.assert_close(y, norm(x))
