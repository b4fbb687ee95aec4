"""Deformable convolutions in the ResNet body (MODEL.RESNETS.STAGE_WITH_DCN and its companions)."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from maskrcnn_benchmark.config import cfg as defaults
from maskrcnn_benchmark.layers import Conv2d, DFConv2d
from maskrcnn_benchmark.modeling.backbone.resnet import BottleneckWithFixedBatchNorm, ResNet


def build(**resnets) -> ResNet:
    """A thin ResNet-50 in evaluation mode."""
    cfg = defaults.clone()
    cfg.MODEL.BACKBONE.CONV_BODY = "R-50-FPN"
    thin = {"STEM_OUT_CHANNELS": 8, "RES2_OUT_CHANNELS": 16, "WIDTH_PER_GROUP": 4}
    for key, value in {**thin, **resnets}.items():
        setattr(cfg.MODEL.RESNETS, key, value)
    return ResNet(cfg).eval()


def test_stages_that_ask_for_it_are_deformable() -> None:
    stages = (False, True, False, True)
    body = build(STAGE_WITH_DCN=stages, DEFORMABLE_GROUPS=2)
    for name, deformable in zip(body.stages, stages, strict=True):
        for block in getattr(body, name):
            assert type(block.conv2) is (DFConv2d if deformable else Conv2d)
    conv = body.layer2[0].conv2
    assert list(conv.offset.weight.shape) == [36, 8, 3, 3] and conv.conv.deformable_groups == 2


@pytest.mark.parametrize("modulated", [False, True])
@pytest.mark.parametrize(
    "resnets", [{}, {"STRIDE_IN_1X1": False}, {"NUM_GROUPS": 2}, {"RES5_DILATION": 2}], ids=lambda r: "".join(r)
)
def test_without_offsets_the_body_is_the_plain_one(modulated: bool, resnets: dict) -> None:
    plain = build(**resnets)
    body = build(STAGE_WITH_DCN=(False, True, True, True), WITH_MODULATED_DCN=modulated, **resnets)
    state = body.state_dict()
    for key, value in plain.state_dict().items():
        state[key if key in state else key.replace("conv2.weight", "conv2.conv.weight")].copy_(value)
    for module in body.modules():
        if isinstance(module, DFConv2d):
            nn.init.zeros_(module.offset.weight)
            if modulated:
                nn.init.constant_(module.offset.bias[18:], 100.0)  # masks of one
    x = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        for map, expected in zip(body(x), plain(x), strict=True):
            assert expected.abs().max() > 0
            torch.testing.assert_close(map, expected, rtol=1e-3, atol=1e-4 * expected.abs().max().item())


def test_block_takes_upstreams_dictionary() -> None:
    config = {"stage_with_dcn": True, "with_modulated_dcn": True, "deformable_groups": 1}
    block = BottleneckWithFixedBatchNorm(16, 8, 32, 1, True, 2, 1, config)
    assert isinstance(block.conv2, DFConv2d) and block.conv2.offset.out_channels == 27
    assert isinstance(BottleneckWithFixedBatchNorm(16, 8, 32, dcn_config={}).conv2, nn.Conv2d)


def test_bad_settings_are_named() -> None:
    with pytest.raises(ValueError, match=r"STAGE_WITH_DCN must hold four values.*got \(True,\)"):
        build(STAGE_WITH_DCN=(True,))
    cfg = defaults.clone()
    cfg.merge_from_list(["MODEL.BACKBONE.CONV_BODY", "R-18-FPN", "MODEL.RESNETS.RES2_OUT_CHANNELS", 64])
    cfg.merge_from_list(["MODEL.RESNETS.TRANS_FUNC", "BasicBlockWithFixedBatchNorm"])
    ResNet(cfg)
    cfg.MODEL.RESNETS.STAGE_WITH_DCN = (False, False, False, True)
    with pytest.raises(ValueError, match="ResNet-18 and -34 have no deformable convolutions"):
        ResNet(cfg)
