"""DeformConv, ModulatedDeformConv, ModulatedDeformConvPack and DFConv2d: parameters, initial values and what they compute."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
import torchvision
from torch import Tensor, nn

from maskrcnn_benchmark.layers import DeformConv, DFConv2d, ModulatedDeformConv, ModulatedDeformConvPack


def shapes(module: nn.Module) -> dict[str, list[int]]:
    return {name: list(value.shape) for name, value in module.state_dict().items()}


def input_map(channels: int = 6) -> Tensor:
    return torch.randn(2, channels, 9, 8, generator=torch.Generator().manual_seed(0))


def randomise(module: nn.Module) -> None:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.normal_(std=0.3, generator=generator)


def test_parameters() -> None:
    assert shapes(DeformConv(6, 4, (3, 1), groups=2)) == {"weight": [4, 3, 3, 1]}
    assert shapes(ModulatedDeformConv(6, 4, 3)) == {"weight": [4, 6, 3, 3], "bias": [4]}
    assert shapes(ModulatedDeformConv(6, 4, 3, bias=False)) == {"weight": [4, 6, 3, 3]}
    assert shapes(ModulatedDeformConvPack(6, 4, 3, deformable_groups=2)) == {
        "weight": [4, 6, 3, 3],
        "bias": [4],
        "conv_offset_mask.weight": [54, 6, 3, 3],
        "conv_offset_mask.bias": [54],
    }
    for modulated, channels in ((True, 27), (False, 18)):
        assert shapes(DFConv2d(6, 4, with_modulated_dcn=modulated)) == {
            "offset.weight": [channels, 6, 3, 3],
            "offset.bias": [channels],
            "conv.weight": [4, 6, 3, 3],
        }


def test_initial_values() -> None:
    for layer in (DeformConv(32, 64, 3), ModulatedDeformConv(32, 64, 3), ModulatedDeformConvPack(32, 64, 3)):
        bound = 1 / math.sqrt(32 * 9)
        assert layer.weight.abs().max() <= bound
        torch.testing.assert_close(layer.weight.std(), torch.tensor(bound / math.sqrt(3)), rtol=0.05, atol=0)
        assert layer.bias is None or layer.bias.eq(0).all()
    pack = ModulatedDeformConvPack(32, 64, 3)
    assert all(parameter.eq(0).all() for parameter in pack.conv_offset_mask.parameters())
    offset = DFConv2d(32, 64).offset
    bound = math.sqrt(3 / (32 * 9))  # Kaiming uniform with a=1
    torch.testing.assert_close(offset.weight.std(), torch.tensor(bound / math.sqrt(3)), rtol=0.05, atol=0)
    assert offset.bias is not None and offset.bias.eq(0).all()


def test_modules_agree_with_torchvision() -> None:
    geometry = {"stride": (2, 1), "padding": (1, 0), "dilation": (1, 2)}
    plain = DeformConv(6, 4, 3, groups=2, deformable_groups=3, **geometry)
    modulated = ModulatedDeformConv(6, 4, 3, groups=2, deformable_groups=3, **geometry)
    randomise(plain)
    randomise(modulated)
    generator = torch.Generator().manual_seed(2)
    offset, mask = torch.randn(2, 54, 5, 4, generator=generator), torch.rand(2, 27, 5, 4, generator=generator)
    x = input_map()
    expected = torchvision.ops.deform_conv2d(x, offset, plain.weight, **geometry)
    torch.testing.assert_close(plain(x, offset), expected, rtol=1e-4, atol=1e-5)
    expected = torchvision.ops.deform_conv2d(x, offset, modulated.weight, modulated.bias, mask=mask, **geometry)
    torch.testing.assert_close(modulated(x, offset, mask), expected, rtol=1e-4, atol=1e-5)


def test_pack_starts_as_half_a_convolution() -> None:
    pack, x = ModulatedDeformConvPack(6, 4, 3, stride=2, padding=1), input_map()
    expected = 0.5 * F.conv2d(x, pack.weight, stride=2, padding=1)
    torch.testing.assert_close(pack(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("groups", [1, 2])
def test_pack_predicts_offsets_then_masks(groups: int) -> None:
    """The first two thirds of the prediction are offsets, the rest masks, whatever the number of groups."""
    pack, x = ModulatedDeformConvPack(6, 4, 3, padding=1, deformable_groups=groups), input_map()
    randomise(pack)
    prediction = F.conv2d(x, pack.conv_offset_mask.weight, pack.conv_offset_mask.bias, padding=1)
    offset, mask = prediction[:, : 18 * groups], prediction[:, 18 * groups :].sigmoid()
    expected = torchvision.ops.deform_conv2d(x, offset, pack.weight, pack.bias, padding=1, mask=mask)
    torch.testing.assert_close(pack(x), expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("modulated", [False, True])
@pytest.mark.parametrize(("kernel", "stride", "dilation"), [(3, 1, 1), (3, 2, 2), ((3, 5), (1, 2), (2, 1)), (1, 1, 1)])
def test_dfconv_agrees_with_torchvision(modulated: bool, kernel, stride, dilation) -> None:
    layer = DFConv2d(6, 4, modulated, kernel, stride, groups=2, dilation=dilation, deformable_groups=3)
    randomise(layer)
    x = input_map()
    padding = layer.offset.padding
    offset, mask = F.conv2d(x, layer.offset.weight, layer.offset.bias, stride, padding, dilation), None
    if modulated:
        samples = offset.shape[1] // 3
        offset, mask = offset[:, : 2 * samples], offset[:, 2 * samples :].sigmoid()
    geometry = {"stride": stride, "padding": padding, "dilation": dilation}
    expected = torchvision.ops.deform_conv2d(x, offset, layer.conv.weight, mask=mask, **geometry)
    torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-4)
    if stride == 1:
        assert layer(x).shape == (2, 4, 9, 8)


def test_gradients_reach_the_offsets() -> None:
    for modulated in (False, True):
        layer = DFConv2d(6, 4, modulated)
        layer(input_map()).square().sum().backward()
        assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in layer.parameters())


def test_no_images() -> None:
    for modulated in (False, True):
        assert DFConv2d(6, 4, modulated, stride=2)(torch.zeros(0, 6, 9, 8)).shape == (0, 4, 5, 4)


def test_bad_arguments_are_named() -> None:
    with pytest.raises(ValueError, match="DeformConv has no bias, got bias=True"):
        DeformConv(6, 4, 3, bias=True)
    with pytest.raises(ValueError, match="in_channels=6 and out_channels=4 must be multiples of groups=4"):
        ModulatedDeformConv(6, 4, 3, groups=4)


def test_repr_names_the_settings() -> None:
    assert repr(DeformConv(6, 4, 3, padding=1)) == (
        "DeformConv(6, 4, kernel_size=(3, 3), stride=(1, 1), padding=(1, 1), dilation=(1, 1), groups=1, "
        "deformable_groups=1, bias=False)"
    )
