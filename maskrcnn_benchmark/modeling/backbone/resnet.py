"""ResNet and ResNeXt bodies (He et al. 2016, Xie et al. 2017), with optional deformable convolutions (Dai et al. 2017, Zhu
et al. 2019) and non-local modules in the stream.

Stages are called res2 to res5, their modules layer1 to layer4.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from maskrcnn_benchmark.layers import DFConv2d, FrozenBatchNorm2d, NonLocal2d, conv_norm
from maskrcnn_benchmark.modeling.make_layers import group_norm, group_norm_options
from maskrcnn_benchmark.utils.registry import Registry

STAGE_NAMES = ("res2", "res3", "res4", "res5")
NO_DCN: Mapping[str, Any] = MappingProxyType({})


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
        "R-152-FPN": _stages(3, 8, 36, 3, returned=(1, 2, 3, 4)),
    }
)


def _conv(in_channels: int, out_channels: int, kernel: int, stride: int = 1, dilation: int = 1, groups: int = 1):
    padding = dilation * (kernel // 2)
    conv = nn.Conv2d(in_channels, out_channels, kernel, stride, padding, dilation, groups, bias=False)
    nn.init.kaiming_uniform_(conv.weight, a=1)
    return conv


class BaseStem(nn.Module):
    """7 x 7 convolution and pooling: Tensor[B, 3, H, W] -> Tensor[B, STEM_OUT_CHANNELS, H / 4, W / 4]."""

    def __init__(self, cfg, norm_func: Callable[[int], nn.Module]):
        super().__init__()
        channels = cfg.MODEL.RESNETS.STEM_OUT_CHANNELS
        self.conv1 = _conv(3, channels, 7, stride=2)
        self.bn1 = norm_func(channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(F.relu_(conv_norm(x, self.conv1, self.bn1)), kernel_size=3, stride=2, padding=1)


class StemWithFixedBatchNorm(BaseStem):
    def __init__(self, cfg):
        super().__init__(cfg, norm_func=FrozenBatchNorm2d)


class StemWithBatchNorm(BaseStem):
    def __init__(self, cfg):
        super().__init__(cfg, norm_func=nn.BatchNorm2d)


class StemWithGN(BaseStem):
    def __init__(self, cfg):
        super().__init__(cfg, norm_func=partial(group_norm, **group_norm_options(cfg)))


class _ResidualBlock(nn.Module):
    """relu(shortcut(x) + residual(x)); the shortcut is a 1 x 1 convolution where the shape changes."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, norm_func: Callable[[int], nn.Module]):
        super().__init__()
        self.out_channels = out_channels
        self.downsample = None
        if in_channels != out_channels or stride != 1:
            self.downsample = nn.Sequential(_conv(in_channels, out_channels, 1, stride), norm_func(out_channels))

    def residual(self, x: Tensor) -> Tensor:
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        shortcut = x if self.downsample is None else conv_norm(x, *self.downsample)
        return F.relu_(self.residual(x).add_(shortcut))


class Bottleneck(_ResidualBlock):
    """1 x 1, 3 x 3, 1 x 1 convolutions with fewer channels in the middle; `stride_in_1x1` as in the MSRA models.

    dcn_config: with "stage_with_dcn" true the 3 x 3 convolution is a DFConv2d of these "deformable_groups", with masks if
    "with_modulated_dcn".
    """

    conv2: nn.Module

    def __init__(
        self,
        in_channels: int,
        bottleneck_channels: int,
        out_channels: int,
        num_groups: int,
        stride_in_1x1: bool,
        stride: int,
        dilation: int,
        norm_func: Callable[[int], nn.Module],
        dcn_config: Mapping[str, Any] = NO_DCN,
    ):
        # A dilated stage keeps its resolution: the dilation replaces the stride.
        stride = 1 if dilation > 1 else stride
        super().__init__(in_channels, out_channels, stride, norm_func)
        stride_1x1, stride_3x3 = (stride, 1) if stride_in_1x1 else (1, stride)
        self.conv1 = _conv(in_channels, bottleneck_channels, 1, stride_1x1)
        self.bn1 = norm_func(bottleneck_channels)
        if dcn_config.get("stage_with_dcn", False):
            self.conv2 = DFConv2d(
                bottleneck_channels,
                bottleneck_channels,
                dcn_config.get("with_modulated_dcn", False),
                stride=stride_3x3,
                groups=num_groups,
                dilation=dilation,
                deformable_groups=dcn_config.get("deformable_groups", 1),
            )
        else:
            self.conv2 = _conv(bottleneck_channels, bottleneck_channels, 3, stride_3x3, dilation, num_groups)
        self.bn2 = norm_func(bottleneck_channels)
        self.conv3 = _conv(bottleneck_channels, out_channels, 1)
        self.bn3 = norm_func(out_channels)

    def residual(self, x: Tensor) -> Tensor:
        x = F.relu_(conv_norm(x, self.conv1, self.bn1))
        x = F.relu_(conv_norm(x, self.conv2, self.bn2))
        return conv_norm(x, self.conv3, self.bn3)


class BasicBlock(_ResidualBlock):
    """Two 3 x 3 convolutions, the block of ResNet-18 and -34. Takes Bottleneck's arguments."""

    def __init__(
        self,
        in_channels: int,
        bottleneck_channels: int,
        out_channels: int,
        num_groups: int,
        stride_in_1x1: bool,
        stride: int,
        dilation: int,
        norm_func: Callable[[int], nn.Module],
        dcn_config: Mapping[str, Any] = NO_DCN,
    ):
        if num_groups != 1:
            raise ValueError(
                f"ResNet-18 and -34 have no grouped convolutions; MODEL.RESNETS.NUM_GROUPS is {num_groups}."
            )
        if dcn_config.get("stage_with_dcn", False):
            raise ValueError(
                "ResNet-18 and -34 have no deformable convolutions; set MODEL.RESNETS.STAGE_WITH_DCN to four times False."
            )
        stride = 1 if dilation > 1 else stride
        super().__init__(in_channels, out_channels, stride, norm_func)
        self.conv1 = _conv(in_channels, out_channels, 3, stride, dilation)
        self.bn1 = norm_func(out_channels)
        self.conv2 = _conv(out_channels, out_channels, 3)
        self.bn2 = norm_func(out_channels)

    def residual(self, x: Tensor) -> Tensor:
        x = F.relu_(conv_norm(x, self.conv1, self.bn1))
        return conv_norm(x, self.conv2, self.bn2)


def _with_norm(block: Any, norm: Callable[[int], nn.Module], name: str) -> type:
    """A block class whose norm layer has a default, under the name that configurations use."""

    def __init__(
        self,
        in_channels,
        bottleneck_channels,
        out_channels,
        num_groups=1,
        stride_in_1x1=True,
        stride=1,
        dilation=1,
        dcn_config=NO_DCN,
        norm_func=norm,
    ):
        block.__init__(
            self,
            in_channels,
            bottleneck_channels,
            out_channels,
            num_groups,
            stride_in_1x1,
            stride,
            dilation,
            norm_func,
            dcn_config,
        )

    return type(name, (block,), {"__init__": __init__, "__module__": __name__, "__doc__": block.__doc__})


BottleneckWithFixedBatchNorm = _with_norm(Bottleneck, FrozenBatchNorm2d, "BottleneckWithFixedBatchNorm")
BottleneckWithBatchNorm = _with_norm(Bottleneck, nn.BatchNorm2d, "BottleneckWithBatchNorm")
BottleneckWithGN = _with_norm(Bottleneck, group_norm, "BottleneckWithGN")
BasicBlockWithFixedBatchNorm = _with_norm(BasicBlock, FrozenBatchNorm2d, "BasicBlockWithFixedBatchNorm")
BasicBlockWithBatchNorm = _with_norm(BasicBlock, nn.BatchNorm2d, "BasicBlockWithBatchNorm")
BasicBlockWithGN = _with_norm(BasicBlock, group_norm, "BasicBlockWithGN")

_TRANSFORMATION_MODULES = Registry(
    (block.__name__, block)
    for block in (
        BottleneckWithFixedBatchNorm,
        BottleneckWithBatchNorm,
        BottleneckWithGN,
        BasicBlockWithFixedBatchNorm,
        BasicBlockWithBatchNorm,
        BasicBlockWithGN,
    )
)
_STEM_MODULES = Registry((stem.__name__, stem) for stem in (StemWithFixedBatchNorm, StemWithBatchNorm, StemWithGN))


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
            out_channels = resnets.RES2_OUT_CHANNELS * factor
            blocks = []
            for i in range(spec.block_count):
                blocks.append(
                    block(
                        in_channels,
                        resnets.NUM_GROUPS * resnets.WIDTH_PER_GROUP * factor,
                        out_channels,
                        resnets.NUM_GROUPS,
                        resnets.STRIDE_IN_1X1,
                        stride=2 if spec.index > 1 and i == 0 else 1,
                        dilation=resnets.RES5_DILATION if spec.index == 4 else 1,
                        dcn_config=_dcn_config(resnets, spec.index),
                    )
                )
                in_channels = out_channels
            name = f"layer{spec.index}"
            self.add_module(name, nn.Sequential(*blocks))
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
            blocks = getattr(self, stage)
            if stage in self.non_local_of_stage:
                x = getattr(self, self.non_local_of_stage[stage])(blocks[:-1](x))
                x = blocks[-1](x)
            else:
                x = blocks(x)
            if self.return_features[stage]:
                outputs.append(x)
        return outputs


def make_non_local(non_local, type: str, channels: int) -> NonLocal2d:
    """The module that the MODEL.NON_LOCAL keys describe, for maps of `channels` channels."""
    return NonLocal2d(
        channels,
        type=type,
        position=non_local.POSITION,
        dct_size=non_local.DCT_SIZE,
        reduction=non_local.REDUCTION,
        init_std=non_local.INIT_STD,
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
