"""The layers of blocks.py with the group normalisation of the global configuration, as maskrcnn-benchmark makes them."""

from torch import nn

from maskrcnn_benchmark.config.whole import cfg
from maskrcnn_benchmark.modeling import blocks
from maskrcnn_benchmark.modeling.blocks import get_group_gn

__all__ = ["conv_with_kaiming_uniform", "get_group_gn", "group_norm", "make_conv3x3", "make_fc"]


def group_norm(out_channels: int, affine: bool = True, divisor: int = 1) -> nn.GroupNorm:
    """Group normalisation; the group settings are divided by `divisor`."""
    return blocks.group_norm(out_channels, affine, divisor, **blocks.group_norm_options(cfg))


def make_conv3x3(
    in_channels: int,
    out_channels: int,
    dilation: int = 1,
    stride: int = 1,
    use_gn: bool = False,
    use_relu: bool = False,
    kaiming_init: bool = True,
) -> nn.Module:
    gn = blocks.group_norm_options(cfg)
    return blocks.make_conv3x3(in_channels, out_channels, dilation, stride, use_gn, use_relu, kaiming_init, gn)


def make_fc(dim_in: int, hidden_dim: int, use_gn: bool = False) -> nn.Module:
    return blocks.make_fc(dim_in, hidden_dim, use_gn, blocks.group_norm_options(cfg))


def conv_with_kaiming_uniform(use_gn: bool = False, use_relu: bool = False) -> blocks.ConvBlock:
    """A maker of convolutions: make(in_channels, out_channels, kernel_size, stride=1, dilation=1)."""
    return blocks.conv_with_kaiming_uniform(use_gn, use_relu, blocks.group_norm_options(cfg))
