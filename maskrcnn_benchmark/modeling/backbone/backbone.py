"""The backbones that MODEL.BACKBONE.CONV_BODY may name."""

from collections import OrderedDict
from typing import Any

from torch import nn

from maskrcnn_benchmark.modeling import registry
from maskrcnn_benchmark.modeling.backbone import fbnet as fbnet  # registers its names
from maskrcnn_benchmark.modeling.backbone.fpn import FPN, LastLevelMaxPool, LastLevelP6P7
from maskrcnn_benchmark.modeling.backbone.resnet import ResNet, make_non_local
from maskrcnn_benchmark.modeling.make_layers import conv_with_kaiming_uniform, group_norm_options


@registry.BACKBONES.register("R-50-C4")
@registry.BACKBONES.register("R-50-C5")
@registry.BACKBONES.register("R-101-C4")
@registry.BACKBONES.register("R-101-C5")
def build_resnet_backbone(cfg) -> Any:
    """The body alone: Tensor[B, 3, H, W] -> one map, stride 16 (C4) or 32 (C5)."""
    model: Any = nn.Sequential(OrderedDict([("body", ResNet(cfg))]))
    model.out_channels = cfg.MODEL.RESNETS.BACKBONE_OUT_CHANNELS
    return model


@registry.BACKBONES.register("R-18-FPN")
@registry.BACKBONES.register("R-34-FPN")
@registry.BACKBONES.register("R-50-FPN")
@registry.BACKBONES.register("R-101-FPN")
@registry.BACKBONES.register("R-152-FPN")
def build_resnet_fpn_backbone(cfg) -> Any:
    """Body and pyramid: Tensor[B, 3, H, W] -> five maps, strides 4 to 64."""
    return _with_pyramid(cfg, _stage_channels(cfg), LastLevelMaxPool())


@registry.BACKBONES.register("R-18-FPN-RETINANET")
@registry.BACKBONES.register("R-34-FPN-RETINANET")
@registry.BACKBONES.register("R-50-FPN-RETINANET")
@registry.BACKBONES.register("R-101-FPN-RETINANET")
def build_resnet_fpn_p3p7_backbone(cfg) -> Any:
    """Body and RetinaNet's pyramid: Tensor[B, 3, H, W] -> five maps, strides 8 to 128."""
    channels = _stage_channels(cfg)
    out_channels = cfg.MODEL.RESNETS.BACKBONE_OUT_CHANNELS
    top_blocks = LastLevelP6P7(channels[-1] if cfg.MODEL.RETINANET.USE_C5 else out_channels, out_channels)
    return _with_pyramid(cfg, [0, *channels[1:]], top_blocks)


def _stage_channels(cfg) -> list[int]:
    return [cfg.MODEL.RESNETS.RES2_OUT_CHANNELS * 2**i for i in range(4)]


def _with_pyramid(cfg, in_channels_list: list[int], top_blocks: nn.Module) -> Any:
    out_channels = cfg.MODEL.RESNETS.BACKBONE_OUT_CHANNELS
    top_down = cfg.MODEL.NON_LOCAL.TOP_DOWN
    body = ResNet(cfg)
    fpn = FPN(
        in_channels_list=in_channels_list,
        out_channels=out_channels,
        conv_block=conv_with_kaiming_uniform(cfg.MODEL.FPN.USE_GN, cfg.MODEL.FPN.USE_RELU, group_norm_options(cfg)),
        top_blocks=top_blocks,
        non_local={
            stage: make_non_local(cfg.MODEL.NON_LOCAL, top_down.TYPE, out_channels)
            for stage in (top_down.STAGES if top_down.TYPE else ())
        },
    )
    model: Any = nn.Sequential(OrderedDict([("body", body), ("fpn", fpn)]))
    model.out_channels = out_channels
    return model


def build_backbone(cfg) -> Any:
    """A module from Tensor[B, 3, H, W] to a sequence of maps, with the attribute `out_channels`."""
    return registry.BACKBONES[cfg.MODEL.BACKBONE.CONV_BODY](cfg)
