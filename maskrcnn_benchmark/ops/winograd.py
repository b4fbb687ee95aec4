"""3 x 3 convolutions with a quarter of the multiplications, for processors."""

import torch
from torch import Tensor, nn

from .library import ops

# F(4, 3) with the points 0, 1, -1, 2, -2 and infinity: six values of a row and three of a kernel give four outputs. The
# transforms of inputs and outputs are in csrc/cpu/winograd.cpp.
_KERNEL = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
TILES = 128  # that are transformed and multiplied at a time, so that they stay in the caches


class WinogradConv2d(nn.Module):
    """The values of a 3 x 3 convolution with stride 1 and padding 1, by Winograd's minimal filtering F(4 x 4, 3 x 3).

    Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (CVPR 2016). A tile of 4 x 4 outputs takes 36
    multiplications for each pair of channels in place of 144; rounding in float32 is some 1e-5 of the largest output. For
    CPUs, float32 and float64, and not for training.

    Shape: Tensor[B, C, H, W] -> Tensor[B, O, H, W] in channels_last order.

    Raises:
        ValueError: `conv` is another kind of convolution; see `supports`.
    """

    def __init__(self, conv: nn.Conv2d):
        super().__init__()
        if not self.supports(conv):
            raise ValueError(f"Winograd's filtering is for 3 x 3 convolutions of stride 1 and padding 1; got {conv}.")
        transform = torch.tensor(_KERNEL, dtype=torch.float64)
        weight = torch.einsum("ik,jl,ockl->ijco", transform, transform, conv.weight.detach().double())
        self.weight = nn.Parameter(weight.flatten(0, 1).to(conv.weight.dtype).contiguous(), requires_grad=False)
        self.bias = conv.bias

    @staticmethod
    def supports(conv: nn.Module) -> bool:
        return (
            type(conv) is nn.Conv2d
            and (conv.kernel_size, conv.stride, conv.dilation, conv.groups) == ((3, 3), (1, 1), (1, 1), 1)
            and (conv.padding, conv.padding_mode) == ((1, 1), "zeros")
        )

    def forward(self, x: Tensor) -> Tensor:
        return ops.winograd_conv2d(x, self.weight, self.bias)


def _in_parts(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    pixels = x.permute(0, 2, 3, 1).contiguous()
    batch, height, width, channels = pixels.shape
    y = pixels.new_empty(batch, height, width, weight.shape[2])
    count = batch * -(-height // 4) * -(-width // 4)
    size = min(count, TILES)
    inputs, products = pixels.new_empty(36, size, channels), pixels.new_empty(36, size, weight.shape[2])
    for first in range(0, count, TILES):
        if count - first < size:
            size = count - first
            inputs, products = pixels.new_empty(36, size, channels), pixels.new_empty(36, size, weight.shape[2])
        ops.winograd_inputs(pixels, first, inputs)
        torch.bmm(inputs, weight, out=products)
        ops.winograd_outputs(products, bias, first, y)
    return y.permute(0, 3, 1, 2)


_library = torch.library.Library("maskrcnn_benchmark", "IMPL")
_library.impl("winograd_conv2d", _in_parts, "CPU")


@torch.library.register_fake("maskrcnn_benchmark::winograd_conv2d")
def _fake(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    batch, _, height, width = x.shape
    return x.new_empty(batch, height, width, weight.shape[2]).permute(0, 3, 1, 2)
