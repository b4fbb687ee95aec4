"""Stems and residual blocks of ResNets (He et al. 2016), plain, grouped (Xie et al. 2017) or deformable (Dai et al. 2017)."""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from maskrcnn_benchmark.layers import FrozenBatchNorm2d
from maskrcnn_benchmark.layers.convolution import Conv2d
from maskrcnn_benchmark.layers.deformable import DFConv2d
from maskrcnn_benchmark.layers.frozen_batch_norm import conv_norm, is_watched
from maskrcnn_benchmark.layers.fused import add_conv_norm_relu, conv_norm_relu
from maskrcnn_benchmark.layers.layout import any_layout
from maskrcnn_benchmark.modeling.blocks import group_norm, group_norm_options
from maskrcnn_benchmark.utils.registry import Registry


class StageSpec(NamedTuple):
    """index: 1 for res2; block_count: its residual blocks; return_features: whether its output leaves the body."""

    index: int  # type: ignore[assignment]  # upstream's name, in place of tuple's method
    block_count: int
    return_features: bool


NO_DCN: Mapping[str, Any] = MappingProxyType({})


def _conv(in_channels: int, out_channels: int, kernel: int, stride: int = 1, dilation: int = 1, groups: int = 1):
    padding = dilation * (kernel // 2)
    conv = Conv2d(in_channels, out_channels, kernel, stride, padding, dilation, groups, bias=False)
    nn.init.kaiming_uniform_(conv.weight, a=1)
    return conv


@any_layout
class BaseStem(nn.Module):
    """7 x 7 convolution and pooling: Tensor[B, 3, H, W] -> Tensor[B, STEM_OUT_CHANNELS, H / 4, W / 4]."""

    def __init__(self, cfg, norm_func: Callable[[int], nn.Module]):
        super().__init__()
        channels = cfg.MODEL.RESNETS.STEM_OUT_CHANNELS
        self.conv1 = _conv(3, channels, 7, stride=2)
        self.bn1 = norm_func(channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.max_pool2d(conv_norm_relu(x, self.conv1, self.bn1), kernel_size=3, stride=2, padding=1)


@any_layout
class StemWithFixedBatchNorm(BaseStem):
    def __init__(self, cfg):
        super().__init__(cfg, norm_func=FrozenBatchNorm2d)


@any_layout
class StemWithBatchNorm(BaseStem):
    def __init__(self, cfg):
        super().__init__(cfg, norm_func=nn.BatchNorm2d)


@any_layout
class StemWithGN(BaseStem):
    def __init__(self, cfg):
        super().__init__(cfg, norm_func=partial(group_norm, **group_norm_options(cfg)))


@any_layout
class ResidualBlock(nn.Module):
    """relu(shortcut(x) + norm(conv(hidden(x)))); the shortcut is a 1 x 1 convolution where the shape changes.

    owns_input: whether x is nobody else's, so that the sum may be written into it; `modeling.optimize` knows where.
    """

    owns_input = False

    def __init__(self, in_channels: int, out_channels: int, stride: int, norm_func: Callable[[int], nn.Module]):
        super().__init__()
        self.out_channels = out_channels
        self.downsample = None
        if in_channels != out_channels or stride != 1:
            self.downsample = nn.Sequential(_conv(in_channels, out_channels, 1, stride), norm_func(out_channels))

    def hidden(self, x: Tensor) -> Tensor:
        """What the last convolution takes."""
        raise NotImplementedError

    def last(self) -> tuple[nn.Module, nn.Module]:
        """The last convolution and its norm."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        hidden, total = self.hidden(x), self._shortcut(x)
        if total is x and not self.owns_input:  # to be left as it is
            return F.relu_(conv_norm(hidden, *self.last()).add_(x))
        return add_conv_norm_relu(total, hidden, *self.last())

    def _shortcut(self, x: Tensor) -> Tensor:
        if self.downsample is None:
            return x
        is_plain = type(self.downsample) is nn.Sequential and len(self.downsample) == 2
        if not is_plain or is_watched(self.downsample):
            return self.downsample(x)
        return conv_norm(x, *self.downsample)


@any_layout
class Bottleneck(ResidualBlock):
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

    def hidden(self, x: Tensor) -> Tensor:
        return conv_norm_relu(conv_norm_relu(x, self.conv1, self.bn1), self.conv2, self.bn2)

    def last(self) -> tuple[nn.Module, nn.Module]:
        return self.conv3, self.bn3


@any_layout
class BasicBlock(ResidualBlock):
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

    def hidden(self, x: Tensor) -> Tensor:
        return conv_norm_relu(x, self.conv1, self.bn1)

    def last(self) -> tuple[nn.Module, nn.Module]:
        return self.conv2, self.bn2


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

    return any_layout(type(name, (block,), {"__init__": __init__, "__module__": __name__, "__doc__": block.__doc__}))


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


def make_stage(
    block: Callable[..., nn.Module],
    in_channels: int,
    bottleneck_channels: int,
    out_channels: int,
    block_count: int,
    stride: int,
    num_groups: int = 1,
    stride_in_1x1: bool = True,
    dilation: int = 1,
    dcn_config: Mapping[str, Any] = NO_DCN,
) -> nn.Sequential:
    """Residual blocks one after another; the first of them has the stride."""
    deformable = (
        {"dcn_config": dcn_config} if dcn_config else {}
    )  # blocks of forks before 2019-06 know no such argument
    blocks = []
    for i in range(block_count):
        blocks.append(
            block(
                in_channels if i == 0 else out_channels,
                bottleneck_channels,
                out_channels,
                num_groups,
                stride_in_1x1,
                stride=stride if i == 0 else 1,
                dilation=dilation,
                **deformable,
            )
        )
    return nn.Sequential(*blocks)


def configured_block(cfg) -> Callable[..., nn.Module]:
    """The residual block that MODEL.RESNETS names, with the group normalisation of the configuration."""
    resnets, body = cfg.MODEL.RESNETS, cfg.MODEL.BACKBONE.CONV_BODY
    block: Any = _TRANSFORMATION_MODULES[resnets.TRANS_FUNC]
    if not isinstance(block, type):  # a function that makes one, of someone's own
        return block
    if body.startswith(("R-18", "R-34")) != issubclass(block, BasicBlock):
        raise ValueError(
            f"MODEL.BACKBONE.CONV_BODY {body} does not go with MODEL.RESNETS.TRANS_FUNC {resnets.TRANS_FUNC}: ResNet-18 and "
            "-34 are made of BasicBlockWith... (and RES2_OUT_CHANNELS 64), the deeper ones of BottleneckWith..."
        )
    if issubclass(block, (BottleneckWithGN, BasicBlockWithGN)):
        with_gn: Any = block
        return partial(with_gn, norm_func=partial(group_norm, **group_norm_options(cfg)))
    return block  # type: ignore[return-value]
