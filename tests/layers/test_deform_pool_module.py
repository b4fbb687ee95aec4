"""The modules of deformable RoI pooling against the function."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from maskrcnn_benchmark.layers.dcn.deform_pool_func import DeformRoIPoolingFunction, deform_roi_pooling
from maskrcnn_benchmark.layers.dcn.deform_pool_module import (
    DeformRoIPooling,
    DeformRoIPoolingPack,
    ModulatedDeformRoIPoolingPack,
)

SCALE = 0.27


def random_case(channels: int, count: int, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    """Two images of 9 x 11 pixels at SCALE, RoIs [count, 5] and offsets [count, 2, 3, 3]."""
    generator = torch.Generator().manual_seed(0)
    data = torch.randn(2, channels, 9, 11, generator=generator, dtype=torch.float64)
    corner = torch.rand(count, 2, generator=generator) * torch.tensor([25.0, 20.0])
    size = torch.rand(count, 2, generator=generator) * 20
    image = torch.randint(0, 2, (count, 1), generator=generator).float()
    offset = torch.randn(count, 2, 3, 3, generator=generator, dtype=torch.float64)
    return data.to(dtype), torch.cat([image, corner, corner + size], 1).to(dtype), offset.to(dtype)


def test_function_class_and_module_are_the_function() -> None:
    data, rois, offset = random_case(8, 5)
    expected = deform_roi_pooling(data, rois, offset, SCALE, 3, 2, False, 2, None, 3, 0.1)
    assert torch.equal(
        DeformRoIPoolingFunction.apply(data, rois, offset, SCALE, 3, 2, False, 2, None, 3, 0.1), expected
    )
    assert torch.equal(DeformRoIPooling(SCALE, 3, 2, False, 2, None, 3, 0.1)(data, rois, offset), expected)
    unmoved = deform_roi_pooling(data, rois, torch.zeros_like(offset), SCALE, 3, 2, False, 2)
    torch.testing.assert_close(DeformRoIPooling(SCALE, 3, 2, True, 2)(data, rois, offset), unmoved)


@pytest.mark.parametrize("modulated", [False, True])
def test_pack_predicts_its_offsets(modulated: bool) -> None:
    torch.manual_seed(0)
    kind = ModulatedDeformRoIPoolingPack if modulated else DeformRoIPoolingPack
    data, rois, _ = random_case(4, 5, torch.float32)
    pack = kind(SCALE, 3, 4, False, trans_std=0.3, deform_fc_channels=6)
    shapes = {key: tuple(value.shape) for key, value in pack.state_dict().items()}
    linear = {"offset_fc.0": (6, 36), "offset_fc.2": (6, 6), "offset_fc.4": (18, 6)}
    if modulated:
        linear |= {"mask_fc.0": (6, 36), "mask_fc.2": (9, 6)}
    expected = {f"{key}.weight": shape for key, shape in linear.items()}
    assert shapes == expected | {f"{key}.bias": shape[:1] for key, shape in linear.items()}

    plain = deform_roi_pooling(data, rois, data.new_empty(0), SCALE, 3, 4, True)
    torch.testing.assert_close(pack(data, rois), plain * (0.5 if modulated else 1.0))
    torch.nn.init.normal_(pack.offset_fc[4].weight)
    offset = pack.offset_fc(plain.flatten(1)).view(5, 2, 3, 3)
    moved = deform_roi_pooling(data, rois, offset, SCALE, 3, 4, False, trans_std=0.3)
    if modulated:
        torch.nn.init.normal_(pack.mask_fc[2].weight)
        moved = moved * pack.mask_fc(plain.flatten(1)).view(5, 1, 3, 3)
    pooled = pack(data, rois)
    torch.testing.assert_close(pooled, moved)
    assert not torch.allclose(pooled, plain)
    pooled.sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in pack.parameters())
    assert pack(data, rois[:0]).shape == (0, 4, 3, 3)


@pytest.mark.parametrize("kind", [DeformRoIPoolingPack, ModulatedDeformRoIPoolingPack])
def test_pack_without_offsets(kind: type[DeformRoIPoolingPack]) -> None:
    data, rois, _ = random_case(4, 5)
    pack = kind(SCALE, 3, 4, True)
    assert not pack.state_dict()
    assert torch.equal(pack(data, rois), deform_roi_pooling(data, rois, data.new_empty(0), SCALE, 3, 4, True))
    with pytest.raises(ValueError, match="part_size must be None or out_size = 3, got 2"):
        kind(SCALE, 3, 4, False, part_size=2)
