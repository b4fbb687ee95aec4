"""3 x 3 convolutions with a quarter of the multiplications, for processors."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from .library import ops

# F(4, 3) with the points 0, 1, -1, 2, -2 and infinity: six values of a row and three of a kernel give four outputs. What is
# done with them is in csrc/cpu/winograd.cpp.
_KERNEL = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
TILES = 256  # that are transformed and multiplied at a time for the gradient of the weights, so that they stay in the caches
PANEL = 16  # outputs whose weights lie together

# Of 3 x 3 convolutions with 32 channels Winograd's filtering saves a fifth, and with 16 its transforms cost more than it saves.
WINOGRAD_CHANNELS = 64


def has_winograds_form(conv: nn.Conv2d) -> bool:
    """Whether a convolution is of 3 x 3 pixels, with stride 1, and keeps the size of its map."""
    geometry = conv.kernel_size, conv.stride, conv.padding, conv.dilation
    return geometry == ((3, 3), (1, 1), (1, 1), (1, 1)) and conv.groups == 1 and conv.padding_mode == "zeros"


def filtered(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """F.conv2d(x, weight, bias, padding=1) of a 3 x 3 kernel, which is transformed at each call. `ops.convolution.conv3x3` has a
    derivative.
    """
    return ops.winograd_conv2d(x, _transformed(weight), bias, len(weight))


def filtered_gradients(
    grad: Tensor, x: Tensor, weight: Tensor, wanted: Sequence[bool]
) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
    """Of x, weight and bias, those that are wanted, where the gradient of the output is `grad`."""
    of_x = of_weight = of_bias = None
    if wanted[0]:  # a convolution too, with the kernels turned round and from outputs to inputs
        of_x = filtered(grad, weight.flip(2, 3).transpose(0, 1), None)
    if wanted[1]:
        of_weight = _weight_gradient(x, grad, weight)
    if wanted[2]:
        of_bias = grad.sum((0, 2, 3))
    return of_x, of_weight, of_bias


def _kernel_transform(like: Tensor) -> Tensor:
    """Both axes of _KERNEL at once: Tensor[36, 9]."""
    axis = torch.tensor(_KERNEL, dtype=torch.float64)
    return torch.kron(axis, axis).to(like.dtype)


def _transformed(weight: Tensor) -> Tensor:
    """Tensor[O, C, 3, 3] -> Tensor[36, ceil(O / PANEL), C, PANEL]."""
    outputs, channels = weight.shape[:2]
    panels = -(-outputs // PANEL)
    padded = nn.functional.pad(weight.flatten(2), (0, 0, 0, 0, 0, panels * PANEL - outputs))
    rows = padded.view(panels, PANEL, channels, 9).permute(3, 0, 2, 1).reshape(9, -1)
    return (_kernel_transform(weight) @ rows).view(36, panels, channels, PANEL)


def _weight_gradient(x: Tensor, grad: Tensor, weight: Tensor) -> Tensor:
    """Of the weights of a convolution of x, where that of its output is `grad`."""
    pixels, gradients = (map.permute(0, 2, 3, 1).contiguous() for map in (x, grad))
    batch, height, width, channels = pixels.shape
    outputs = gradients.shape[3]
    count = batch * -(-height // 4) * -(-width // 4)
    total = (pixels.new_empty if count else pixels.new_zeros)(36, channels, outputs)
    for first in range(0, count, TILES):
        size = min(count - first, TILES)
        of_inputs, of_outputs = _empty_tiles(size, channels, pixels), _empty_tiles(size, outputs, pixels)
        ops.winograd_inputs(pixels, first, of_inputs)
        ops.winograd_gradients(gradients, first, of_outputs)
        total.baddbmm_(of_inputs.transpose(1, 2), of_outputs, beta=int(first > 0))
    rows = _kernel_transform(x).T @ total.flatten(1)  # 9 x C O
    return rows.view(3, 3, channels, outputs).permute(3, 2, 0, 1).contiguous(memory_format=_format(weight))


def _format(weight: Tensor) -> torch.memory_format:
    is_last = not weight.is_contiguous() and weight.is_contiguous(memory_format=torch.channels_last)
    return torch.channels_last if is_last else torch.contiguous_format


class WinogradConv2d(nn.Module):
    """The values of a 3 x 3 convolution with stride 1 and padding 1, by Winograd's minimal filtering F(4 x 4, 3 x 3).

    Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (CVPR 2016). A tile of 4 x 4 outputs takes 36
    multiplications for each pair of channels in place of 144; rounding in float32 is some 1e-5 of the largest output. For
    CPUs, float32 and float64, and not for training. Maps of 16 bits are read and written as such and computed with in float32,
    to which narrower weights are widened.

    Shape: Tensor[B, C, H, W] -> Tensor[B, O, H, W] in the order of `layout`; the operator's own is channels_last.

    Raises:
        ValueError: `conv` is another kind of convolution; see `has_winograds_form`.
    """

    def __init__(self, conv: nn.Conv2d, layout: torch.memory_format = torch.channels_last):
        super().__init__()
        if not has_winograds_form(conv):
            raise ValueError(f"Winograd's filtering is for 3 x 3 convolutions of stride 1 and padding 1; got {conv}.")
        weight = _transformed(conv.weight.detach().double()).to(_wide(conv.weight.dtype))
        self.weight = nn.Parameter(weight, requires_grad=False)
        self.out_channels = conv.out_channels
        self.bias = conv.bias
        self.is_channels_last = layout == torch.channels_last  # a torch.memory_format cannot be saved

    def forward(self, x: Tensor, relu: bool = False) -> Tensor:
        layout = torch.channels_last if self.is_channels_last else torch.contiguous_format
        return ops.winograd_conv2d(x, self.weight, self.bias, self.out_channels, relu).contiguous(memory_format=layout)


def _conv2d(x: Tensor, weight: Tensor, bias: Tensor | None, outputs: int, relu: bool = False) -> Tensor:
    weight, bias = weight.to(_wide(weight.dtype)), None if bias is None else bias.to(_wide(bias.dtype))
    y = _output(x, outputs)  # no view of another tensor, so that what follows may change it in place
    ops.winograd_filter(x.permute(0, 2, 3, 1).contiguous(), weight, bias, relu, y.permute(0, 2, 3, 1))
    return y


def _wide(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def _empty_tiles(size: int, channels: int, like: Tensor) -> Tensor:
    """Tensor[36, size, channels]. One line of the cache lies between the 36: at steps of a power of two all of a tile's numbers
    would have to share the few places in the cache that such addresses have.
    """
    step = size * channels + 16
    return like.new_empty(36 * step).as_strided((36, size, channels), (step, channels, 1))


def _output(x: Tensor, outputs: int) -> Tensor:
    shape = (x.shape[0], outputs, *x.shape[2:])
    return torch.empty(shape, dtype=x.dtype, device=x.device, memory_format=torch.channels_last)


_library = torch.library.Library("maskrcnn_benchmark", "IMPL")
_library.impl("winograd_conv2d", _conv2d, "CPU")


@torch.library.register_fake("maskrcnn_benchmark::winograd_conv2d")
def _fake(x: Tensor, weight: Tensor, bias: Tensor | None, outputs: int, relu: bool = False) -> Tensor:
    return _output(x, outputs)
