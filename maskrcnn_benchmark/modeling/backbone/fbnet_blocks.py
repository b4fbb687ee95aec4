"""The blocks that FBNets are made of (Wu et al. 2019, https://arxiv.org/abs/1812.03443)."""

import math
import re
from collections import OrderedDict
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskrcnn_benchmark.layers import FrozenBatchNorm2d
from maskrcnn_benchmark.layers.layout import any_layout

NormType = str | tuple[str, int] | list | None


def _py2_round(x: float) -> int:
    """The nearest integer, halves away from zero."""
    return math.floor(x + 0.5) if x >= 0 else math.ceil(x - 0.5)


def _get_divisible_by(num: float, divisible_by: int, min_val: int) -> int:
    """The nearest multiple of `divisible_by`; what would be nearest to none becomes `min_val` times it.

    With min_val = divisible_by that is its square: upstream's, on which the shapes of its checkpoints depend.
    """
    if divisible_by <= 0 or num % divisible_by == 0:
        return int(num)
    return (_py2_round(num / divisible_by) or min_val) * divisible_by


def get_divisible_by(number: int, divisor: int) -> int:
    return _get_divisible_by(number, divisor, divisor)


def _norm(bn_type: NormType, channels: int) -> nn.Module:
    if isinstance(bn_type, (tuple, list)) and len(bn_type) == 2 and bn_type[0] == "gn":
        return nn.GroupNorm(bn_type[1], channels)
    if bn_type == "bn":
        return nn.BatchNorm2d(channels)
    if bn_type == "af":
        return FrozenBatchNorm2d(channels)
    raise ValueError(f"MODEL.FBNET.BN_TYPE must be 'bn', 'af' (frozen) or 'gn'; got {bn_type!r}.")


@any_layout
class ConvBNRelu(nn.Sequential):
    """Convolution, norm layer (`bn_type`: "bn", "af", ("gn", groups), None) and ReLU (`use_relu`: "relu", None)."""

    def __init__(
        self,
        input_depth: int,
        output_depth: int,
        kernel: int,
        stride: int,
        pad: int,
        no_bias: bool,
        use_relu: str | None,
        bn_type: NormType,
        group: int = 1,
        *args: Any,
        **kwargs: Any,
    ):
        super().__init__()
        options: dict[str, Any] = {"groups": group, "bias": not no_bias, **kwargs}
        conv = nn.Conv2d(input_depth, output_depth, kernel, stride, pad, *args, **options)
        nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
        if conv.bias is not None:
            nn.init.zeros_(conv.bias)
        self.add_module("conv", conv)
        if bn_type is not None:
            self.add_module("bn", _norm(bn_type, output_depth))
        if use_relu == "relu":
            self.add_module("relu", nn.ReLU(inplace=True))


@any_layout
class Identity(nn.Module):
    """Nothing, or a 1 x 1 convolution where the shape changes."""

    def __init__(self, C_in: int, C_out: int, stride: int):
        super().__init__()
        self.output_depth = C_out
        self.conv = None
        if C_in != C_out or stride != 1:
            self.conv = ConvBNRelu(C_in, C_out, 1, stride, 0, True, "relu", "bn")

    def forward(self, x: Tensor) -> Tensor:
        return x if self.conv is None else self.conv(x)


@any_layout
class CascadeConv3x3(nn.Sequential):
    """Two 3 x 3 convolutions, added to the input where the shape stays."""

    def __init__(self, C_in: int, C_out: int, stride: int):
        super().__init__(
            nn.Conv2d(C_in, C_in, 3, stride, 1, bias=False),
            nn.BatchNorm2d(C_in),
            nn.ReLU(inplace=True),
            nn.Conv2d(C_in, C_out, 3, 1, 1, bias=False),
            nn.BatchNorm2d(C_out),
        )
        self.output_depth = C_out
        self.res_connect = stride == 1 and C_in == C_out

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return y + x if self.res_connect else y


@any_layout
class ChannelShuffle(nn.Module):
    """Deals the channels of `groups` groups out in turn (Zhang et al. 2018)."""

    def __init__(self, groups: int):
        super().__init__()
        self.groups = groups

    def forward(self, x: Tensor) -> Tensor:
        if x.shape[1] % self.groups:
            raise ValueError(f"{x.shape[1]} channels do not divide into {self.groups} groups.")
        return x.unflatten(1, (self.groups, -1)).transpose(1, 2).flatten(1, 2)


@any_layout
class Shift(nn.Module):
    """Moves each channel by a fixed step: a convolution per channel whose kernel holds a single 1 (Wu et al. 2018).

    The channels are dealt out evenly, in order, to the places of the kernel in row-major order; those that are left over join
    the ones at its centre, which stay where they are.
    """

    def __init__(self, C: int, kernel_size: int, stride: int, padding: int):
        super().__init__()
        if stride not in (1, 2):
            raise ValueError(f"The stride of a shift is 1 or 2; got {stride}.")
        self.C, self.kernel_size, self.stride, self.padding = C, kernel_size, stride, padding
        places = kernel_size**2
        counts = torch.full((places,), C // places)
        counts[kernel_size // 2 * (kernel_size + 1)] += C % places
        place = torch.repeat_interleave(torch.arange(places), counts)
        kernel = F.one_hot(place, places).float().view(C, 1, kernel_size, kernel_size)
        self.kernel = nn.Parameter(kernel, requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """Tensor[N, C, H, W] -> Tensor[N, C, H', W'], sizes as after a convolution."""
        return F.conv2d(x, self.kernel, None, self.stride, self.padding, groups=self.C)


@any_layout
class ShiftBlock5x5(nn.Sequential):
    """1 x 1 convolution to `expansion` times the channels, shift by up to two pixels, 1 x 1 back; added to the input where the
    shape stays."""

    def __init__(self, C_in: int, C_out: int, expansion: float, stride: int):
        middle = _get_divisible_by(C_in * expansion, 8, 8)
        super().__init__(
            nn.Conv2d(C_in, middle, 1, bias=False),
            nn.BatchNorm2d(middle),
            nn.ReLU(inplace=True),
            Shift(middle, 5, stride, 2),
            nn.Conv2d(middle, C_out, 1, bias=False),
            nn.BatchNorm2d(C_out),
        )
        self.output_depth = C_out
        self.res_connect = stride == 1 and C_in == C_out

    def forward(self, x: Tensor) -> Tensor:
        y = super().forward(x)
        return y + x if self.res_connect else y


@any_layout
class SEModule(nn.Module):
    """Squeeze and excitation (Hu et al. 2018)."""

    reduction = 4

    def __init__(self, C: int):
        super().__init__()
        middle = max(C // self.reduction, 8)
        self.op = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(C, middle, 1),
            nn.ReLU(inplace=True),
            nn.Conv2d(middle, C, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x * self.op(x)


@any_layout
class Upsample(nn.Module):
    """Enlarges maps by a factor, or by one for the height and one for the width."""

    def __init__(self, scale_factor: float | tuple[float, float], mode: str, align_corners: bool | None = None):
        super().__init__()
        self.scale, self.mode, self.align_corners = scale_factor, mode, align_corners

    def forward(self, x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=self.scale, mode=self.mode, align_corners=self.align_corners)


def _get_upsample_op(stride: int | tuple[int, int]) -> tuple[Upsample | None, int]:
    """What enlarges maps for a negative stride (or one for height and one for width), and the stride that is left."""
    if isinstance(stride, tuple):
        return Upsample((-stride[0], -stride[1]), "nearest"), 1
    return (Upsample(-stride, "nearest"), 1) if stride < 0 else (None, stride)


@any_layout
class IRFBlock(nn.Module):
    """Inverted residual: 1 x 1 convolution to more channels, one per channel, 1 x 1 back (Sandler et al. 2018).

    Args:
        expansion: the channels in between are this many times the input's.
        stride: negative to enlarge by nearest neighbours instead; a tuple of two such for height and width.
        kernel: of the convolution per channel; 1 for none.
        width_divisor: the channels in between are a multiple of it.
        shuffle_type: "mid" to shuffle the channels of `pw_group` groups after the first convolution.
        se: squeeze and excitation at the end.
        cdw: two convolutions per channel instead of one.
        dw_skip_bn, dw_skip_relu: no norm layer, no ReLU after the convolution per channel.
    """

    def __init__(
        self,
        input_depth: int,
        output_depth: int,
        expansion: float,
        stride: int | tuple[int, int],
        bn_type: NormType = "bn",
        kernel: int = 3,
        width_divisor: int = 1,
        shuffle_type: str | None = None,
        pw_group: int = 1,
        se: bool = False,
        cdw: bool = False,
        dw_skip_bn: bool = False,
        dw_skip_relu: bool = False,
    ):
        super().__init__()
        if kernel not in (1, 3, 5, 7):
            raise ValueError(f"The kernel of an inverted residual is 1, 3, 5 or 7; got {kernel}.")
        self.output_depth = output_depth
        self.use_res_connect = stride == 1 and input_depth == output_depth
        middle = get_divisible_by(int(input_depth * expansion), width_divisor)
        self.pw = ConvBNRelu(input_depth, middle, 1, 1, 0, True, "relu", bn_type, group=pw_group)
        self.upscale, stride = _get_upsample_op(stride)

        def per_channel(stride: int, skip_bn: bool, skip_relu: bool) -> ConvBNRelu:
            norm, relu = None if skip_bn else bn_type, None if skip_relu else "relu"
            return ConvBNRelu(middle, middle, kernel, stride, kernel // 2, True, relu, norm, group=middle)

        self.dw: nn.Module
        if kernel == 1:
            self.dw = nn.Sequential()
        elif cdw:
            first, second = per_channel(stride, False, False), per_channel(1, dw_skip_bn, dw_skip_relu)
            self.dw = nn.Sequential(OrderedDict([("dw1", first), ("dw2", second)]))
        else:
            self.dw = per_channel(stride, dw_skip_bn, dw_skip_relu)
        self.pwl = ConvBNRelu(middle, output_depth, 1, 1, 0, True, None, bn_type, group=pw_group)
        self.shuffle_type = shuffle_type
        self.shuffle = ChannelShuffle(pw_group) if shuffle_type == "mid" else None
        self.se4 = SEModule(output_depth) if se else nn.Sequential()

    def forward(self, x: Tensor) -> Tensor:
        y = self.pw(x)
        if self.shuffle is not None:
            y = self.shuffle(y)
        if self.upscale is not None:
            y = self.upscale(y)
        y = self.pwl(self.dw(y))
        return self.se4(y + x if self.use_res_connect else y)


_NAMED_BLOCK = re.compile(
    r"ir_k(?P<kernel>1|3|5|7|33)(?P<sep>_sep)?(_(?P<letter>[es])(?P<number>\d+))?(?P<se>_se)?",
)


def make_block(name: str, C_in: int, C_out: int, expansion: float, stride: int, **kwargs: Any) -> Any:
    """A block by name, with the attribute `output_depth`.

    Args:
        name: skip, basic_block, shift_5x5, shuffle, or an inverted residual, ir_kK[_sep][_eE or _sG][_se]. K: the kernel of the
            convolution per channel, 1, 3, 5 or 7 (33: two of 3); _sep: two of them; E: the expansion, in place of
            `expansion`; G: groups, with a shuffle, and an expansion of 4 for 4 groups and of 1 for others; _se: squeeze and
            excitation at the end.
        C_in, C_out: channels of input and output.
        expansion: of an inverted residual whose name has neither _e nor _s, of shift_5x5 and of shuffle.
        stride: as of `IRFBlock`.
        kwargs: more arguments of `IRFBlock`.

    Raises ValueError for any other name.
    """
    if name == "skip":
        return Identity(C_in, C_out, stride)
    if name == "basic_block":
        return CascadeConv3x3(C_in, C_out, stride)
    if name == "shift_5x5":
        return ShiftBlock5x5(C_in, C_out, expansion, stride)
    if name == "shuffle":
        return IRFBlock(C_in, C_out, expansion, stride, shuffle_type="mid", pw_group=4, **kwargs)
    found = _NAMED_BLOCK.fullmatch(name)
    if found is None:
        raise ValueError(
            f"There is no FBNet block {name!r}; the names are skip, basic_block, shift_5x5, shuffle and "
            "ir_kK[_sep][_eE|_sG][_se]."
        )
    number = int(found["number"] or 0)
    if found["letter"] == "e":
        expansion = number
    elif found["letter"] == "s":
        expansion = 4 if number == 4 else 1
        kwargs.update(shuffle_type="mid", pw_group=number)
    kernel = 3 if found["kernel"] == "33" else int(found["kernel"])
    twice = found["kernel"] == "33" or found["sep"] is not None
    kwargs.update(kernel=kernel, cdw=twice, se=bool(found["se"]))
    return IRFBlock(C_in, C_out, expansion, stride, **kwargs)
