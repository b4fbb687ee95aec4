"""The backbones that MODEL.BACKBONE.CONV_BODY may name."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

from torch import nn

from maskrcnn_benchmark.config.options import options
from maskrcnn_benchmark.modeling import forks, registries
from maskrcnn_benchmark.modeling.backbone import fbnet as fbnet  # registers its names
from maskrcnn_benchmark.modeling.backbone import fpn as fpn_module
from maskrcnn_benchmark.modeling.backbone import resnet
from maskrcnn_benchmark.modeling.backbone.retinanet_levels import LastLevelP6P7
from maskrcnn_benchmark.modeling.blocks import conv_with_kaiming_uniform, group_norm_options
from maskrcnn_benchmark.modeling.non_local import check_is_there, make_non_local
from maskrcnn_benchmark.utils.registered import maker


@registries.BACKBONES.register("R-50-C4")
@registries.BACKBONES.register("R-50-C5")
@registries.BACKBONES.register("R-101-C4")
@registries.BACKBONES.register("R-101-C5")
def build_resnet_backbone(cfg) -> Any:
    """The body alone: Tensor[B, 3, H, W] -> one map, stride 16 (C4) or 32 (C5)."""
    model: Any = nn.Sequential(OrderedDict([("body", _body(cfg))]))
    model.out_channels = forks.body_channels(cfg)
    return model


@registries.BACKBONES.register("R-50-FPN")
@registries.BACKBONES.register("R-101-FPN")
@registries.BACKBONES.register("R-152-FPN")
def build_resnet_fpn_backbone(cfg) -> Any:
    """Body and pyramid: Tensor[B, 3, H, W] -> five maps, strides 4 to 64."""
    return _with_pyramid(cfg, _stage_channels(cfg), fpn_module.LastLevelMaxPool())


@registries.BACKBONES.register("R-50-FPN-RETINANET")
@registries.BACKBONES.register("R-101-FPN-RETINANET")
def build_resnet_fpn_p3p7_backbone(cfg) -> Any:
    """Body and RetinaNet's pyramid: Tensor[B, 3, H, W] -> five maps, strides 8 to 128."""
    channels = _stage_channels(cfg)
    out_channels = forks.body_channels(cfg)
    in_channels = channels[-1] if cfg.MODEL.RETINANET.USE_C5 else out_channels
    top_blocks = getattr(fpn_module, "LastLevelP6P7", LastLevelP6P7)(in_channels, out_channels)
    return _with_pyramid(cfg, [0, *channels[1:]], top_blocks)


def _basic(build: Callable[[Any], Any], name: str) -> Callable[[Any], Any]:
    """A builder of a body of basic blocks, also from a configuration that is meant for another body.

    Programs build every name of the registry with the default configuration, as maskrcnn-benchmark's own tests do.
    """

    def build_named(cfg) -> Any:
        if name != cfg.MODEL.BACKBONE.CONV_BODY:
            cfg = cfg.clone()
            cfg.defrost()
            cfg.MODEL.BACKBONE.CONV_BODY = name
            cfg.MODEL.RESNETS.TRANS_FUNC = cfg.MODEL.RESNETS.TRANS_FUNC.replace("Bottleneck", "BasicBlock")
        return build(cfg)

    return build_named


for _name in ("R-18-FPN", "R-34-FPN"):
    registries.BACKBONES.register(_name, _basic(build_resnet_fpn_backbone, _name))
for _name in ("R-18-FPN-RETINANET", "R-34-FPN-RETINANET"):
    registries.BACKBONES.register(_name, _basic(build_resnet_fpn_p3p7_backbone, _name))


def _stage_channels(cfg) -> list[int]:
    return [cfg.MODEL.RESNETS.RES2_OUT_CHANNELS * 2**i for i in range(4)]


def _body(cfg) -> nn.Module:
    body = resnet.ResNet(cfg)
    bottom_up = options(cfg).MODEL.NON_LOCAL.BOTTOM_UP
    if bottom_up.TYPE:
        check_is_there(body, "MODEL.NON_LOCAL.BOTTOM_UP", bottom_up.STAGES)
    return body


def _with_pyramid(cfg, in_channels_list: list[int], top_blocks: nn.Module) -> Any:
    out_channels = forks.body_channels(cfg)
    body = _body(cfg)
    fpn = forks.call(
        fpn_module.FPN,
        in_channels_list=in_channels_list,
        out_channels=out_channels,
        conv_block=conv_with_kaiming_uniform(cfg.MODEL.FPN.USE_GN, cfg.MODEL.FPN.USE_RELU, group_norm_options(cfg)),
        top_blocks=top_blocks,
    )
    _add_context(options(cfg).MODEL.NON_LOCAL, fpn, out_channels)
    model: Any = nn.Sequential(OrderedDict([("body", body), ("fpn", fpn)]))
    model.out_channels = out_channels
    return model


def _add_context(non_local, fpn: Any, channels: int) -> None:
    """Put the non-local modules of MODEL.NON_LOCAL.TOP_DOWN into the slots of a pyramid."""
    if not non_local.TOP_DOWN.TYPE:
        return
    if hasattr(fpn, "set_context"):
        for stage in non_local.TOP_DOWN.STAGES:
            fpn.set_context(stage, make_non_local(non_local, "TOP_DOWN", channels))
    check_is_there(fpn, "MODEL.NON_LOCAL.TOP_DOWN", non_local.TOP_DOWN.STAGES)


def build_backbone(cfg) -> Any:
    """A module from Tensor[B, 3, H, W] to a sequence of maps, with the attribute `out_channels`."""
    return maker(registries.BACKBONES, cfg.MODEL.BACKBONE.CONV_BODY, "MODEL.BACKBONE.CONV_BODY")(cfg)


_BACKBONES = registries.BACKBONES  # its name until 2019, for forks
