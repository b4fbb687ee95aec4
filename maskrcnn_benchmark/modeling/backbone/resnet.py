"""ResNet and ResNeXt bodies (He et al. 2016, Xie et al. 2017), with optional deformable convolutions (Dai et al. 2017, Zhu
et al. 2019) and non-local modules in the stream.

Stages are called res2 to res5, their modules layer1 to layer4.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import Tensor, nn

from maskrcnn_benchmark.layers.non_local import NonLocal2d
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
    StemWithBatchNorm,
    StemWithFixedBatchNorm,
    StemWithGN,
    make_stage,
)
from maskrcnn_benchmark.modeling.make_layers import group_norm, group_norm_options
from maskrcnn_benchmark.utils.registry import Registry

__all__ = [
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
    "make_non_local",
    "make_res5_head",
]

STAGE_NAMES = ("res2", "res3", "res4", "res5")


@dataclass(frozen=True)
class StageSpec:
    """index: 1 for res2; block_count: its residual blocks; return_features: whether its output leaves the body."""

    index: int
    block_count: int
    return_features: bool


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


class ResNet(nn.Module):
    """The body of a detector: Tensor[B, 3, H, W] -> a list of maps, one for each returned stage, finest first.

    A non-local module of a stage (MODEL.NON_LOCAL.BOTTOM_UP) stands before its last residual block, as in Wang et al.
    2018; it is the attribute non_local_res4 and so on.
    """

    def __init__(self, cfg):
        super().__init__()
        resnets = cfg.MODEL.RESNETS
        stage_specs = _STAGE_SPECS[cfg.MODEL.BACKBONE.CONV_BODY]
        block = _block(cfg)
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
        self._add_non_local(cfg.MODEL.NON_LOCAL)
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
            self.add_module(f"non_local_{stage}", make_non_local(non_local, non_local.BOTTOM_UP.TYPE, channels))
            self.non_local_of_stage[layer] = f"non_local_{stage}"

    def _freeze_backbone(self, freeze_at: int) -> None:
        """Fix the parameters of the first `freeze_at` of stem, res2, res3, ..."""
        for name in ["stem", *self.stages][: max(freeze_at, 0)]:
            getattr(self, name).requires_grad_(False)

    def forward(self, x: Tensor) -> list[Tensor]:
        outputs = []
        x = self.stem(x)
        for stage in self.stages:
            if stage in self.non_local_of_stage:
                *blocks, last = getattr(self, stage)
                for block in blocks:
                    x = block(x)
                x = last(getattr(self, self.non_local_of_stage[stage])(x))
            else:
                x = getattr(self, stage)(x)
            if self.return_features[stage]:
                outputs.append(x)
        return outputs


class ResNetHead(nn.Module):
    """Stages of a ResNet on pooled regions: Tensor[K, C, H, W] -> Tensor[K, out_channels, H', W'].

    Args:
        block_module: the residual block, or its name.
        stages: which stages; their `return_features` does not matter here.
        stride_init: stride of the first stage; None for the usual one (2, for res2 1).
    """

    def __init__(
        self,
        block_module: str | Callable[..., nn.Module],
        stages: Sequence[StageSpec],
        num_groups: int = 1,
        width_per_group: int = 64,
        stride_in_1x1: bool = True,
        stride_init: int | None = None,
        res2_out_channels: int = 256,
        dilation: int = 1,
        dcn_config: Mapping[str, Any] = NO_DCN,
    ):
        super().__init__()
        block = _TRANSFORMATION_MODULES[block_module] if isinstance(block_module, str) else block_module
        first = stages[0].index
        # Of res2 the input is the stem's output; further up it is half as deep as the stage's own.
        in_channels = res2_out_channels * 2 ** (first - 2) if first > 1 else res2_out_channels // 4
        self.stages = []
        for i, spec in enumerate(stages):
            factor = 2 ** (spec.index - 1)
            self.out_channels = res2_out_channels * factor
            stride = stride_init if i == 0 and stride_init else (2 if spec.index > 1 else 1)
            stage = make_stage(
                block,
                in_channels,
                num_groups * width_per_group * factor,
                self.out_channels,
                spec.block_count,
                stride,
                num_groups,
                stride_in_1x1,
                dilation,
                dcn_config,
            )
            in_channels = self.out_channels
            self.add_module(f"layer{spec.index}", stage)
            self.stages.append(f"layer{spec.index}")

    def forward(self, x: Tensor) -> Tensor:
        for stage in self.stages:
            x = getattr(self, stage)(x)
        return x


def make_res5_head(cfg) -> ResNetHead:
    """The last stage of the configured ResNet, for regions pooled from a C4 body's map."""
    resnets = cfg.MODEL.RESNETS
    return ResNetHead(
        _block(cfg),
        (StageSpec(4, 3, False),),
        resnets.NUM_GROUPS,
        resnets.WIDTH_PER_GROUP,
        resnets.STRIDE_IN_1X1,
        res2_out_channels=resnets.RES2_OUT_CHANNELS,
        dilation=resnets.RES5_DILATION,
    )


def make_non_local(non_local, type: str, channels: int) -> NonLocal2d:
    """The module that the MODEL.NON_LOCAL keys describe, for maps of `channels` channels."""
    return NonLocal2d(
        channels,
        type=type,
        position=non_local.POSITION,
        dct_size=non_local.DCT_SIZE,
        reduction=non_local.REDUCTION,
        init_std=non_local.INIT_STD,
        out_init_std=non_local.OUT_INIT_STD,
        literal=non_local.LITERAL,
    )


def _dcn_config(resnets, stage: int) -> dict[str, Any]:
    if len(resnets.STAGE_WITH_DCN) != len(STAGE_NAMES):
        raise ValueError(
            f"MODEL.RESNETS.STAGE_WITH_DCN must hold four values, for {', '.join(STAGE_NAMES)}; got "
            f"{resnets.STAGE_WITH_DCN}."
        )
    return {
        "stage_with_dcn": resnets.STAGE_WITH_DCN[stage - 1],
        "with_modulated_dcn": resnets.WITH_MODULATED_DCN,
        "deformable_groups": resnets.DEFORMABLE_GROUPS,
    }


def _block(cfg) -> Callable[..., nn.Module]:
    resnets, body = cfg.MODEL.RESNETS, cfg.MODEL.BACKBONE.CONV_BODY
    block = _TRANSFORMATION_MODULES[resnets.TRANS_FUNC]
    if body.startswith(("R-18", "R-34")) != issubclass(block, BasicBlock):
        raise ValueError(
            f"MODEL.BACKBONE.CONV_BODY {body} does not go with MODEL.RESNETS.TRANS_FUNC {resnets.TRANS_FUNC}: ResNet-18 and "
            "-34 are made of BasicBlockWith... (and RES2_OUT_CHANNELS 64), the deeper ones of BottleneckWith..."
        )
    if issubclass(block, (BottleneckWithGN, BasicBlockWithGN)):
        return partial(block, norm_func=partial(group_norm, **group_norm_options(cfg)))
    return block
