"""Upstream's autograd functions of deformable convolution and pooling against the functions of this package."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from maskrcnn_benchmark.layers import deform_conv, deform_roi_pooling, modulated_deform_conv
from maskrcnn_benchmark.layers.dcn.deform_conv_func import DeformConvFunction, ModulatedDeformConvFunction
from maskrcnn_benchmark.layers.dcn.deform_pool_func import DeformRoIPoolingFunction

SETTINGS = (2, 2, 1, 2, 3)


def arguments(
    stride: int = 1, padding: int = 0, dilation: int = 1, groups: int = 1, deformable_groups: int = 1
) -> list[Tensor]:
    """input, offset, mask, weight and bias of a 3 x 3 convolution."""
    size = [(length + 2 * padding - 2 * dilation - 1) // stride + 1 for length in (7, 8)]
    shapes = [(2, 6, 7, 8), (2, 18 * deformable_groups, *size), (2, 9 * deformable_groups, *size)]
    shapes += [(6, 6 // groups, 3, 3), (6,)]
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(s, generator=generator, requires_grad=True) for s in shapes]


@pytest.mark.parametrize("settings", [(), (1, 1, 1, 1, 1), (2, 2, 1, 2, 3)])
def test_upstreams_functions_are_the_operator(settings: tuple) -> None:
    tensors = arguments(*settings)
    input, offset, mask, weight, bias = tensors
    pairs = [(ModulatedDeformConvFunction.apply(*tensors, *settings), modulated_deform_conv(*tensors, *settings))]
    if settings:
        plain = DeformConvFunction.apply(input, offset, weight, *settings, 64)
    else:
        plain = DeformConvFunction.apply(input, offset, weight)
        without_bias = (input, offset, mask, weight)
        pairs.append((ModulatedDeformConvFunction.apply(*without_bias), modulated_deform_conv(*without_bias)))
    pairs.append((plain, deform_conv(input, offset, weight, *settings)))
    for actual, expected in pairs:
        assert torch.equal(actual, expected)
        grads = (torch.autograd.grad(y.sin().sum(), tensors, allow_unused=True) for y in (actual, expected))
        for ours, theirs in zip(*grads, strict=True):
            assert (ours is None) == (theirs is None) and (ours is None or torch.equal(ours, theirs))


def test_upstreams_functions_take_part_in_autograd() -> None:
    tensors = arguments(*SETTINGS)
    output = ModulatedDeformConvFunction.apply(*tensors, *SETTINGS)
    first, second = (torch.autograd.grad(output.sum(), tensors[3:], retain_graph=True) for _ in range(2))
    assert all(map(torch.equal, first, second))
    (grad,) = torch.autograd.grad(output.square().sum(), tensors[:1], create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        grad.sum().backward()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        output = ModulatedDeformConvFunction.apply(*tensors, *SETTINGS)
    assert output.dtype == torch.bfloat16
    output.float().sum().backward()
    assert all(t.grad is not None and t.grad.dtype == t.dtype for t in tensors)
    with torch.no_grad():
        assert not ModulatedDeformConvFunction.apply(*tensors, *SETTINGS).requires_grad


def test_a_function_built_on_upstreams() -> None:
    class Doubled(DeformConvFunction):
        @staticmethod
        def forward(ctx, input, offset, weight, *settings):
            return 2 * DeformConvFunction.forward(ctx, input, offset, weight, *settings)

        @staticmethod
        def backward(ctx, grad_output):
            return DeformConvFunction.backward(ctx, 2 * grad_output)

    input, offset, _, weight, _ = arguments(*SETTINGS)
    outputs = [f(input, offset, weight, *SETTINGS) for f in (Doubled.apply, deform_conv)]
    torch.testing.assert_close(outputs[0], 2 * outputs[1])
    grads = [torch.autograd.grad(y.sum(), (input, offset, weight)) for y in outputs]
    for doubled, plain in zip(*grads, strict=True):
        torch.testing.assert_close(doubled, 2 * plain)


@pytest.mark.parametrize("no_trans", [False, True])
def test_pooling(no_trans: bool) -> None:
    generator = torch.Generator().manual_seed(0)
    data = torch.randn(2, 8, 9, 11, generator=generator, requires_grad=True)
    offset = torch.randn(3, 2, 3, 3, generator=generator, requires_grad=True)
    rois = torch.tensor([[0.0, 1, 2, 20, 14], [1, 5, 5, 30, 21], [0, 0, 0, 33, 6]])
    settings = (0.27, 3, 2, no_trans, 2, None, 3, 0.1)
    outputs = [f(data, rois, offset, *settings) for f in (DeformRoIPoolingFunction.apply, deform_roi_pooling)]
    assert torch.equal(*outputs)
    grads = [torch.autograd.grad(y.sin().sum(), (data, offset)) for y in outputs]
    assert grads[0][0].any() and grads[0][1].any() != no_trans
    assert all(map(torch.equal, *grads))
    assert DeformRoIPoolingFunction.apply(data, rois, offset, 0.27, 3, 8, no_trans).shape == (3, 8, 3, 3)
