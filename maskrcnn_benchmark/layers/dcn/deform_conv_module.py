"""Deformable convolution (v1) and modulated deformable convolution (v2) as modules."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.modules.utils import _pair

from maskrcnn_benchmark.layers.dcn.deform_conv_func import deform_conv, modulated_deform_conv
from maskrcnn_benchmark.layers.layout import any_layout
from maskrcnn_benchmark.ops.deform_conv import split_offset_mask


@any_layout
class _DeformableLayer(nn.Module):
    """Settings and parameters that the modules share; weights start uniform in +-1 / sqrt(C kh kw), the bias at zero."""

    bias: Tensor | None

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int],
        padding: int | tuple[int, int],
        dilation: int | tuple[int, int],
        groups: int,
        deformable_groups: int,
        bias: bool,
    ) -> None:
        super().__init__()
        if in_channels % groups or out_channels % groups:
            raise ValueError(
                f"{type(self).__name__}: in_channels={in_channels} and out_channels={out_channels} must be multiples of "
                f"groups={groups}."
            )
        self.in_channels = in_channels
        self.out_channels = out_channels
        self.kernel_size = _pair(kernel_size)
        self.stride = _pair(stride)
        self.padding = _pair(padding)
        self.dilation = _pair(dilation)
        self.groups = groups
        self.deformable_groups = deformable_groups
        self.with_bias = bias
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels // groups, *self.kernel_size))
        if bias:
            self.bias = nn.Parameter(torch.empty(out_channels))
        else:
            self.register_parameter("bias", None)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        bound = 1 / math.sqrt(self.in_channels * self.kernel_size[0] * self.kernel_size[1])
        nn.init.uniform_(self.weight, -bound, bound)
        if self.bias is not None:
            nn.init.zeros_(self.bias)

    def extra_repr(self) -> str:
        settings = ("kernel_size", "stride", "padding", "dilation", "groups", "deformable_groups")
        values = ", ".join(f"{name}={getattr(self, name)}" for name in settings)
        return f"{self.in_channels}, {self.out_channels}, {values}, bias={self.bias is not None}"


@any_layout
class DeformConv(_DeformableLayer):
    """Module form of `deform_conv`: (input, offset) -> output. It has no bias, as upstream."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        deformable_groups: int = 1,
        bias: bool = False,
    ) -> None:
        if bias:
            raise ValueError(
                "DeformConv has no bias, got bias=True: use ModulatedDeformConv, or add the bias afterwards."
            )
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, deformable_groups, bias=False
        )

    def forward(self, input: Tensor, offset: Tensor) -> Tensor:
        return deform_conv(
            input, offset, self.weight, self.stride, self.padding, self.dilation, self.groups, self.deformable_groups
        )


@any_layout
class ModulatedDeformConv(_DeformableLayer):
    """Module form of `modulated_deform_conv`: (input, offset, mask) -> output."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        deformable_groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, deformable_groups, bias
        )

    def forward(self, input: Tensor, offset: Tensor, mask: Tensor) -> Tensor:
        return modulated_deform_conv(
            input,
            offset,
            mask,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
            self.deformable_groups,
        )


@any_layout
class ModulatedDeformConvPack(ModulatedDeformConv):
    """`ModulatedDeformConv` that predicts its own offsets and masks by a convolution of its input.

    That convolution starts at zero: no offsets, and masks of sigmoid(0) = 1/2.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int | tuple[int, int],
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        deformable_groups: int = 1,
        bias: bool = True,
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel_size, stride, padding, dilation, groups, deformable_groups, bias
        )
        self.conv_offset_mask = nn.Conv2d(
            in_channels,
            3 * deformable_groups * self.kernel_size[0] * self.kernel_size[1],
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
        )
        self.init_offset()

    def init_offset(self) -> None:
        nn.init.zeros_(self.conv_offset_mask.weight)
        assert self.conv_offset_mask.bias is not None
        nn.init.zeros_(self.conv_offset_mask.bias)

    def forward(self, input: Tensor) -> Tensor:  # type: ignore[override]
        return super().forward(input, *split_offset_mask(self.conv_offset_mask(input)))
