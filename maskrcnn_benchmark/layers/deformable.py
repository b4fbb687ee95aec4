"""Deformable convolutions (Dai et al. 2017, Zhu et al. 2019) that predict their own offsets."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn.modules.utils import _pair

from maskrcnn_benchmark.layers.dcn.deform_conv_module import DeformConv, ModulatedDeformConv
from maskrcnn_benchmark.layers.layout import any_layout
from maskrcnn_benchmark.ops.deform_conv import split_offset_mask


@any_layout
class DFConv2d(nn.Module):
    """A convolution that predicts its own offsets, and with_modulated_dcn its masks: Tensor[N, C, H, W] -> [N, O, OH, OW].

    Padded by half the kernel's extent, so with stride 1 an odd kernel keeps the size. `offset` predicts, `conv` is the
    deformable convolution.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        with_modulated_dcn: bool = True,
        kernel_size: int | tuple[int, int] = 3,
        stride: int | tuple[int, int] = 1,
        groups: int = 1,
        dilation: int | tuple[int, int] = 1,
        deformable_groups: int = 1,
        bias: bool = False,
    ) -> None:
        super().__init__()
        kernel, spacing = _pair(kernel_size), _pair(dilation)
        padding = (spacing[0] * (kernel[0] - 1) // 2, spacing[1] * (kernel[1] - 1) // 2)
        self.with_modulated_dcn = with_modulated_dcn
        self.kernel_size = kernel_size
        self.stride = stride
        self.padding = padding if isinstance(kernel_size, (tuple, list)) else padding[0]
        self.dilation = dilation
        numbers = 3 if with_modulated_dcn else 2  # per sample: y, x and the mask
        self.offset = nn.Conv2d(
            in_channels, numbers * deformable_groups * kernel[0] * kernel[1], kernel, stride, padding, spacing
        )
        nn.init.kaiming_uniform_(self.offset.weight, a=1)
        assert self.offset.bias is not None
        nn.init.zeros_(self.offset.bias)
        layer = ModulatedDeformConv if with_modulated_dcn else DeformConv
        self.conv = layer(
            in_channels, out_channels, kernel, stride, padding, spacing, groups, deformable_groups, bias=bias
        )

    def forward(self, x: Tensor) -> Tensor:
        prediction = self.offset(x)
        if not self.with_modulated_dcn:
            return self.conv(x, prediction)
        return self.conv(x, *split_offset_mask(prediction))
