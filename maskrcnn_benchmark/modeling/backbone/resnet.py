"""ResNet and ResNeXt bodies (He et al. 2016, Xie et al. 2017), with optional deformable convolutions (Dai et al. 2017, Zhu
et al. 2019) and non-local modules in the stream.

Stages are called res2 to res5, their modules layer1 to layer4.
"""

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from maskrcnn_benchmark.config.options import options
from maskrcnn_benchmark.layers.layout import any_layout
from maskrcnn_benchmark.modeling.backbone.resnet_blocks import (
    _STEM_MODULES,
    _TRANSFORMATION_MODULES,
    NO_DCN,
    BaseStem,
    BasicBlock,
    BasicBlockWithBatchNorm,
    BasicBlockWithFixedBatchNorm,
    BasicBlockWithGN,
    Bottleneck,
    BottleneckWithBatchNorm,
    BottleneckWithFixedBatchNorm,
    BottleneckWithGN,
    StageSpec,
    StemWithBatchNorm,
    StemWithFixedBatchNorm,
    StemWithGN,
    configured_block,
    make_stage,
)
from maskrcnn_benchmark.modeling.backbone.resnet_head import ResNetHead
from maskrcnn_benchmark.modeling.non_local import make_non_local, with_context
from maskrcnn_benchmark.utils.registry import Registry

__all__ = [
    "_TRANSFORMATION_MODULES",
    "BaseStem",
    "BasicBlock",
    "BasicBlockWithBatchNorm",
    "BasicBlockWithFixedBatchNorm",
    "BasicBlockWithGN",
    "Bottleneck",
    "BottleneckWithBatchNorm",
    "BottleneckWithFixedBatchNorm",
    "BottleneckWithGN",
    "ResNet",
    "ResNetHead",
    "StageSpec",
    "StemWithBatchNorm",
    "StemWithFixedBatchNorm",
    "StemWithGN",
]

STAGE_NAMES = ("res2", "res3", "res4", "res5")


def _stages(*block_counts: int, returned: tuple[int, ...]) -> tuple[StageSpec, ...]:
    return tuple(StageSpec(i, n, i in returned) for i, n in enumerate(block_counts, start=1))


_STAGE_SPECS = Registry(
    {
        "R-50-C4": _stages(3, 4, 6, returned=(3,)),
        "R-50-C5": _stages(3, 4, 6, 3, returned=(4,)),
        "R-101-C4": _stages(3, 4, 23, returned=(3,)),
        "R-101-C5": _stages(3, 4, 23, 3, returned=(4,)),
        "R-18-FPN": _stages(2, 2, 2, 2, returned=(1, 2, 3, 4)),
        "R-34-FPN": _stages(3, 4, 6, 3, returned=(1, 2, 3, 4)),
        "R-50-FPN": _stages(3, 4, 6, 3, returned=(1, 2, 3, 4)),
        "R-101-FPN": _stages(3, 4, 23, 3, returned=(1, 2, 3, 4)),
        "R-18-FPN-RETINANET": _stages(2, 2, 2, 2, returned=(1, 2, 3, 4)),
        "R-34-FPN-RETINANET": _stages(3, 4, 6, 3, returned=(1, 2, 3, 4)),
        "R-50-FPN-RETINANET": _stages(3, 4, 6, 3, returned=(1, 2, 3, 4)),
        "R-101-FPN-RETINANET": _stages(3, 4, 23, 3, returned=(1, 2, 3, 4)),
        "R-152-FPN": _stages(3, 8, 36, 3, returned=(1, 2, 3, 4)),
    }
)


# The same stages by maskrcnn-benchmark's names, for forks.
ResNet50StagesTo5, ResNet50StagesTo4 = _STAGE_SPECS["R-50-C5"], _STAGE_SPECS["R-50-C4"]
ResNet101StagesTo5, ResNet101StagesTo4 = _STAGE_SPECS["R-101-C5"], _STAGE_SPECS["R-101-C4"]
ResNet50FPNStagesTo5, ResNet101FPNStagesTo5 = _STAGE_SPECS["R-50-FPN"], _STAGE_SPECS["R-101-FPN"]
ResNet152FPNStagesTo5 = _STAGE_SPECS["R-152-FPN"]


# How forks of 2018 name their own: register_stage_spec("MY-BODY", stages).
register_stage_spec = _STAGE_SPECS.register
register_transformation_module = _TRANSFORMATION_MODULES.register
register_stem_module = _STEM_MODULES.register


def _make_stage(
    transformation_module: Callable[..., nn.Module],
    in_channels: int,
    bottleneck_channels: int,
    out_channels: int,
    block_count: int,
    num_groups: int,
    stride_in_1x1: bool,
    first_stride: int,
    dilation: int = 1,
    dcn_config: Mapping[str, Any] = NO_DCN,
) -> nn.Sequential:
    """`make_stage` by maskrcnn-benchmark's order of arguments, for forks."""
    return make_stage(
        *(transformation_module, in_channels, bottleneck_channels, out_channels, block_count, first_stride),
        *(num_groups, stride_in_1x1, dilation, dcn_config),
    )


@any_layout
class ResNet(nn.Module):
    """The body of a detector: Tensor[B, 3, H, W] -> a list of maps, one for each returned stage, finest first.

    A non-local module of a stage (MODEL.NON_LOCAL.BOTTOM_UP) stands before its last residual block, as in Wang et al.
    2018; it is the attribute non_local_res4 and so on.
    """

    def __init__(self, cfg):
        super().__init__()
        resnets = cfg.MODEL.RESNETS
        stage_specs = _STAGE_SPECS[cfg.MODEL.BACKBONE.CONV_BODY]
        block = configured_block(cfg)
        self.stem = _STEM_MODULES[resnets.STEM_FUNC](cfg)
        self.stages: list[str] = []
        self.return_features: dict[str, bool] = {}
        in_channels = resnets.STEM_OUT_CHANNELS
        for spec in stage_specs:
            factor = 2 ** (spec.index - 1)
            stage = make_stage(
                block,
                in_channels,
                resnets.NUM_GROUPS * resnets.WIDTH_PER_GROUP * factor,
                resnets.RES2_OUT_CHANNELS * factor,
                spec.block_count,
                stride=2 if spec.index > 1 else 1,
                num_groups=resnets.NUM_GROUPS,
                stride_in_1x1=resnets.STRIDE_IN_1X1,
                dilation=resnets.RES5_DILATION if spec.index == 4 else 1,
                dcn_config=_dcn_config(resnets, spec.index),
            )
            in_channels = resnets.RES2_OUT_CHANNELS * factor
            name = f"layer{spec.index}"
            self.add_module(name, stage)
            self.stages.append(name)
            self.return_features[name] = spec.return_features
        self._add_non_local(options(cfg).MODEL.NON_LOCAL)
        self._freeze_backbone(cfg.MODEL.BACKBONE.FREEZE_CONV_BODY_AT)

    def _add_non_local(self, non_local) -> None:
        self.non_local_of_stage: dict[str, str] = {}
        if not non_local.BOTTOM_UP.TYPE:
            return
        for stage in non_local.BOTTOM_UP.STAGES:
            layer = f"layer{STAGE_NAMES.index(stage) + 1}" if stage in STAGE_NAMES else stage
            if layer not in self.stages:
                raise ValueError(
                    f"MODEL.NON_LOCAL.BOTTOM_UP.STAGES names {stage!r}; this body has "
                    f"{', '.join(STAGE_NAMES[: len(self.stages)])}."
                )
            channels = getattr(self, layer)[-1].out_channels
            self.add_module(f"non_local_{stage}", make_non_local(non_local, "BOTTOM_UP", channels))
            self.non_local_of_stage[layer] = f"non_local_{stage}"

    def _freeze_backbone(self, freeze_at: int) -> None:
        """Fix the parameters of the first `freeze_at` of stem, res2, res3, ..."""
        parts = ["stem", *self.stages]
        if freeze_at > len(parts):
            raise ValueError(
                f"MODEL.BACKBONE.FREEZE_CONV_BODY_AT is {freeze_at}; this body has no more to fix than stem, "
                f"{', '.join(STAGE_NAMES[: len(self.stages)])}."
            )
        for name in parts[: max(freeze_at, 0)]:
            getattr(self, name).requires_grad_(False)

    def forward(self, x: Tensor) -> list[Tensor]:
        outputs = []
        x = self.stem(x)
        for stage in self.stages:
            if stage in self.non_local_of_stage:
                *blocks, last = getattr(self, stage)
                for block in blocks:
                    x = block(x)
                x = last(with_context(getattr(self, self.non_local_of_stage[stage]), x))
            else:
                x = getattr(self, stage)(x)
            if self.return_features[stage]:
                outputs.append(x)
        return outputs


def _dcn_config(resnets, stage: int) -> Mapping[str, Any]:
    if len(resnets.STAGE_WITH_DCN) != len(STAGE_NAMES):
        raise ValueError(
            f"MODEL.RESNETS.STAGE_WITH_DCN must hold four values, for {', '.join(STAGE_NAMES)}; got "
            f"{resnets.STAGE_WITH_DCN}."
        )
    if not resnets.STAGE_WITH_DCN[stage - 1]:
        return NO_DCN
    return {
        "stage_with_dcn": True,
        "with_modulated_dcn": resnets.WITH_MODULATED_DCN,
        "deformable_groups": resnets.DEFORMABLE_GROUPS,
    }
