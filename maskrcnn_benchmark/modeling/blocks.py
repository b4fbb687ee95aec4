"""Convolutions and fully connected layers with the normalisation and initialisation that the models use."""

from collections.abc import Callable

from torch import Tensor, nn

from maskrcnn_benchmark.config.node import ConfigError
from maskrcnn_benchmark.layers.convolution import Conv2d
from maskrcnn_benchmark.layers.group_norm import GroupNorm

ConvBlock = Callable[..., nn.Module]


def check_pooled(x: Tensor, group: str) -> None:
    """Raise ConfigError unless these are maps of regions, Tensor[K, C, R, R], of which a head can make masks or heatmaps."""
    if x.dim() != 4:
        raise ConfigError(
            f"MODEL.{group}.SHARE_BOX_FEATURE_EXTRACTOR is True, and the box head computes vectors, {list(x.shape)}, where "
            "this head needs maps. Set it to False."
        )


def get_group_gn(dim: int, dim_per_gp: int, num_groups: int) -> int:
    """How many groups `dim` channels make; exactly one of `dim_per_gp` and `num_groups` is positive."""
    if (dim_per_gp > 0) == (num_groups > 0):
        raise ValueError(
            "Group normalisation takes either MODEL.GROUP_NORM.DIM_PER_GP or NUM_GROUPS, the other being -1; "
            f"got {dim_per_gp} and {num_groups}."
        )
    size = dim_per_gp if dim_per_gp > 0 else num_groups
    if dim % size:
        raise ValueError(f"{dim} channels cannot be divided into groups: MODEL.GROUP_NORM asks for {size}.")
    return dim // dim_per_gp if dim_per_gp > 0 else num_groups


def group_norm(
    out_channels: int,
    affine: bool = True,
    divisor: int = 1,
    dim_per_gp: int = -1,
    num_groups: int = 32,
    eps: float = 1e-5,
) -> GroupNorm:
    """Group normalisation; the group settings are divided by `divisor`."""
    groups = get_group_gn(out_channels // divisor, dim_per_gp // divisor, num_groups // divisor)
    return GroupNorm(groups, out_channels, eps, affine)


def group_norm_options(cfg) -> dict:
    """The MODEL.GROUP_NORM keys as arguments of `group_norm`."""
    gn = cfg.MODEL.GROUP_NORM
    return {"dim_per_gp": gn.DIM_PER_GP, "num_groups": gn.NUM_GROUPS, "eps": gn.EPSILON}


def _with_norm(
    layer: nn.Conv2d | nn.Linear, out_channels: int, use_gn: bool, use_relu: bool, gn: dict | None
) -> nn.Module:
    """`layer`, or a Sequential of it with what follows (which gives upstream's parameter names)."""
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    following: list[nn.Module] = []
    if use_gn:
        following.append(group_norm(out_channels, **(gn or {})))
    if use_relu:
        following.append(nn.ReLU(inplace=True))
    return nn.Sequential(layer, *following) if following else layer


def make_conv3x3(
    in_channels: int,
    out_channels: int,
    dilation: int = 1,
    stride: int = 1,
    use_gn: bool = False,
    use_relu: bool = False,
    kaiming_init: bool = True,
    gn: dict | None = None,
) -> nn.Module:
    conv = Conv2d(in_channels, out_channels, 3, stride, dilation, dilation, bias=not use_gn)
    if kaiming_init:
        nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
    else:
        nn.init.normal_(conv.weight, std=0.01)
    return _with_norm(conv, out_channels, use_gn, use_relu, gn)


def make_fc(dim_in: int, hidden_dim: int, use_gn: bool = False, gn: dict | None = None) -> nn.Module:
    fc = nn.Linear(dim_in, hidden_dim, bias=not use_gn)
    nn.init.kaiming_uniform_(fc.weight, a=1)
    return _with_norm(fc, hidden_dim, use_gn, False, gn)


def conv_with_kaiming_uniform(use_gn: bool = False, use_relu: bool = False, gn: dict | None = None) -> ConvBlock:
    """A maker of convolutions: make(in_channels, out_channels, kernel_size, stride=1, dilation=1)."""

    def make_conv(
        in_channels: int, out_channels: int, kernel_size: int, stride: int = 1, dilation: int = 1
    ) -> nn.Module:
        padding = dilation * (kernel_size - 1) // 2
        conv = Conv2d(in_channels, out_channels, kernel_size, stride, padding, dilation, bias=not use_gn)
        nn.init.kaiming_uniform_(conv.weight, a=1)
        return _with_norm(conv, out_channels, use_gn, use_relu, gn)

    return make_conv
