"""What parts of models were given and told before March 2019, for forks of that time.

Then classes and builders took the configuration alone, from which each worked out how many channels its input has.
"""

import inspect
from collections.abc import Callable
from typing import Any


def body_channels(cfg) -> int:
    """Channels of the backbone's maps."""
    backbone = cfg.MODEL.BACKBONE
    return backbone.OUT_CHANNELS if "OUT_CHANNELS" in backbone else cfg.MODEL.RESNETS.BACKBONE_OUT_CHANNELS


def box_feature_channels(cfg) -> int:
    """Channels of the box head's features."""
    pooled = cfg.MODEL.ROI_BOX_HEAD.PREDICTOR == "FastRCNNPredictor"
    return cfg.MODEL.RESNETS.RES2_OUT_CHANNELS * 8 if pooled else cfg.MODEL.ROI_BOX_HEAD.MLP_HEAD_DIM


def mask_feature_channels(cfg) -> int:
    """Channels of the mask head's features."""
    with_fpn = cfg.MODEL.ROI_HEADS.USE_FPN
    return cfg.MODEL.ROI_MASK_HEAD.CONV_LAYERS[-1] if with_fpn else cfg.MODEL.RESNETS.RES2_OUT_CHANNELS * 8


def keypoint_feature_channels(cfg) -> int:
    """Channels of the keypoint head's features."""
    return cfg.MODEL.ROI_KEYPOINT_HEAD.CONV_LAYERS[-1]


def build(maker: Callable[..., Any], cfg, *numbers: int) -> Any:
    """maker(cfg, *numbers), or with as many of them as it takes."""
    parameters = inspect.signature(maker).parameters.values()
    if not any(p.kind is p.VAR_POSITIONAL for p in parameters):
        places = sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters)
        numbers = numbers[: places - 1]
    return maker(cfg, *numbers)


def call(maker: Callable[..., Any], **arguments: Any) -> Any:
    """maker(**arguments), or with those that it knows."""
    parameters = inspect.signature(maker).parameters
    if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        arguments = {name: value for name, value in arguments.items() if name in parameters}
    return maker(**arguments)
