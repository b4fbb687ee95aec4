"""A fork's own backbones."""

from collections import OrderedDict

from torch import nn

from maskrcnn_benchmark.modeling import registry
from maskrcnn_benchmark.modeling.make_layers import conv_with_kaiming_uniform

from . import fpn as fpn_module
from . import resnet


@registry.BACKBONES.register("R-50-C4")
@registry.BACKBONES.register("R-50-C5")
@registry.BACKBONES.register("R-101-C4")
@registry.BACKBONES.register("R-101-C5")
def build_resnet_backbone(cfg):
    model = nn.Sequential(OrderedDict([("body", resnet.ResNet(cfg))]))
    model.out_channels = cfg.MODEL.RESNETS.BACKBONE_OUT_CHANNELS
    return model


def _with_fpn(cfg, in_channels, top_blocks):
    out_channels = cfg.MODEL.RESNETS.BACKBONE_OUT_CHANNELS
    conv_block = conv_with_kaiming_uniform(cfg.MODEL.FPN.USE_GN, cfg.MODEL.FPN.USE_RELU)
    fpn = fpn_module.FPN(
        in_channels_list=in_channels, out_channels=out_channels, conv_block=conv_block, top_blocks=top_blocks
    )
    model = nn.Sequential(OrderedDict([("body", resnet.ResNet(cfg)), ("fpn", fpn)]))
    model.out_channels = out_channels
    return model


@registry.BACKBONES.register("R-50-FPN")
@registry.BACKBONES.register("R-101-FPN")
@registry.BACKBONES.register("R-152-FPN")
def build_resnet_fpn_backbone(cfg):
    first = cfg.MODEL.RESNETS.RES2_OUT_CHANNELS
    return _with_fpn(cfg, [first, first * 2, first * 4, first * 8], fpn_module.LastLevelMaxPool())


@registry.BACKBONES.register("R-50-FPN-RETINANET")
@registry.BACKBONES.register("R-101-FPN-RETINANET")
def build_resnet_fpn_p3p7_backbone(cfg):
    first = cfg.MODEL.RESNETS.RES2_OUT_CHANNELS
    out_channels = cfg.MODEL.RESNETS.BACKBONE_OUT_CHANNELS
    top_channels = first * 8 if cfg.MODEL.RETINANET.USE_C5 else out_channels
    return _with_fpn(cfg, [0, first * 2, first * 4, first * 8], fpn_module.LastLevelP6P7(top_channels, out_channels))


def build_backbone(cfg):
    return registry.BACKBONES[cfg.MODEL.BACKBONE.CONV_BODY](cfg)
