"""The package's Conv2d: PyTorch's values, and Winograd's filtering where gradients go through."""

from __future__ import annotations

from unittest import mock

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from maskrcnn_benchmark import layers
from maskrcnn_benchmark.layers import convolution
from maskrcnn_benchmark.layers.convolution import Conv2d, is_plain
from maskrcnn_benchmark.layers.frozen_batch_norm import FrozenBatchNorm2d, conv_norm


@pytest.fixture
def fast():
    with mock.patch.object(convolution, "conv3x3", wraps=convolution.conv3x3) as called:
        yield called


def make(**options) -> tuple[Conv2d, torch.Tensor]:
    torch.manual_seed(0)
    return Conv2d(64, 96, **{"kernel_size": 3, "padding": 1, **options}), torch.randn(1, 64, 32, 33)


def test_it_is_what_layers_names():
    assert layers.Conv2d is Conv2d and issubclass(Conv2d, nn.Conv2d)
    conv, _ = make()
    assert (
        list(conv.state_dict()) == ["weight", "bias"]
        and conv.extra_repr() == nn.Conv2d(64, 96, 3, padding=1).extra_repr()
    )


def test_a_training_goes_by_winograd(fast):
    conv, x = make()
    reference = nn.Conv2d(64, 96, 3, padding=1)
    reference.load_state_dict(conv.state_dict())
    y, expected = conv(x), reference(x)
    assert fast.call_count == 1
    torch.testing.assert_close(y, expected, rtol=0, atol=1e-5 * float(expected.detach().abs().max()))
    grad = torch.randn_like(y)
    y.backward(grad)
    expected.backward(grad)
    for one, other in zip(conv.parameters(), reference.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, rtol=0, atol=3e-5 * float(other.grad.abs().max()))


def test_what_is_only_looked_at_is_pytorchs_to_the_bit(fast):
    conv, x = make()
    with torch.no_grad():
        assert torch.equal(conv(x), F.conv2d(x, conv.weight, conv.bias, padding=1))
    conv.requires_grad_(False)
    assert torch.equal(conv(x), F.conv2d(x, conv.weight, conv.bias, padding=1))
    assert not fast.called


@pytest.mark.parametrize(
    "options",
    [{"kernel_size": 1, "padding": 0}, {"stride": 2}, {"groups": 2}, {"padding_mode": "reflect"}, {"dilation": 2}],
)
def test_other_kernels_are_pytorchs(options, fast):
    conv, x = make(**options)
    conv(x).sum().backward()
    assert not fast.called


def test_other_arithmetic_small_maps_and_narrow_ones_are_pytorchs(fast):
    conv, x = make()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert conv(x).dtype == torch.bfloat16
    conv(x[:, :, :16, :16])
    Conv2d(32, 64, 3, padding=1)(x[:, :32])
    conv.double()(x.double())
    assert not fast.called


def test_a_norm_is_folded_into_it(fast):
    conv, x = make(bias=False)
    norm = FrozenBatchNorm2d(96)
    norm.weight.uniform_(0.5, 2)
    norm.bias.normal_()
    y = conv_norm(x, conv, norm)
    assert fast.call_count == 1
    with torch.no_grad():
        torch.testing.assert_close(y, norm(conv(x)), rtol=0, atol=1e-4)


def test_subclasses_are_not_taken_for_it():
    class Scaled(Conv2d):
        def _conv_forward(self, input, weight, bias):
            return 2 * super()._conv_forward(input, weight, bias)

    class Named(Conv2d):
        pass

    assert is_plain(Conv2d(3, 4, 1)) and is_plain(nn.Conv2d(3, 4, 1)) and is_plain(Named(3, 4, 1))
    assert not is_plain(Scaled(3, 4, 1)) and not is_plain(nn.Linear(3, 4))


@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")
def test_functional_transforms_go_through():
    """Gradients of each image, as torch.func takes them, of a convolution that would be filtered."""
    conv, x = make()
    reference = nn.Conv2d(64, 96, 3, padding=1)
    reference.load_state_dict(conv.state_dict())

    def of_each(module, images):
        def loss(weights, image):
            return torch.func.functional_call(module, weights, (image[None],)).square().sum()

        weights = {name: value.detach() for name, value in module.named_parameters()}
        return torch.vmap(torch.func.grad(loss), in_dims=(None, 0))(weights, images)

    images = torch.cat([x, 2 * x])
    found, expected = of_each(conv, images), of_each(reference, images)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=3e-5 * float(value.abs().max()))


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")
def test_forward_mode_gradients_go_through():
    conv, x = make()
    weights = {name: value.detach() for name, value in conv.named_parameters()}

    def loss(image):
        return torch.func.functional_call(conv, weights, (image,)).square().sum()

    direction = torch.randn_like(x)
    found = torch.func.jvp(loss, (x,), (direction,))[1]
    with torch.autograd.forward_ad.dual_level():
        dual = loss(torch.autograd.forward_ad.make_dual(x.clone().requires_grad_(), direction))
        torch.testing.assert_close(torch.autograd.forward_ad.unpack_dual(dual).tangent, found)
    x = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(loss(x), x)
    torch.testing.assert_close(found, (gradient * direction).sum(), rtol=1e-4, atol=0)


@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")
def test_many_gradients_at_once():
    conv, x = make()
    x = x.clone().requires_grad_()
    out = conv(x)
    gradients = torch.randn(3, *out.shape)
    (found,) = torch.autograd.grad(out, x, gradients, retain_graph=True, is_grads_batched=True)
    for of_one, gradient in zip(found, gradients, strict=True):
        (expected,) = torch.autograd.grad(out, x, gradient, retain_graph=True)
        torch.testing.assert_close(of_one, expected, rtol=0, atol=3e-5 * float(expected.abs().max()))


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")
def test_a_traced_model_can_be_saved(tmp_path):
    """In training, where the convolution would be filtered."""

    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, x = make()
            self.example = x
            self.second, self.norm = nn.Conv2d(96, 8, 3, padding=1, bias=False), FrozenBatchNorm2d(8)

        def forward(self, x):
            return conv_norm(self.conv(x), self.second, self.norm)

    model = Model()
    x = model.example
    traced = torch.jit.trace(model, x)
    traced.save(tmp_path / "model.pt")
    torch.testing.assert_close(torch.jit.load(tmp_path / "model.pt")(2 * x), model(2 * x), rtol=0, atol=1e-4)
