"""Parts that RPN heads are made of."""

from collections.abc import Sequence

from torch import Tensor, nn

from maskrcnn_benchmark.layers.convolution import Conv2d
from maskrcnn_benchmark.layers.fused import conv_relu
from maskrcnn_benchmark.layers.layout import any_layout


def make_predictor(in_channels: int, out_channels: int, kernel: int = 1) -> nn.Conv2d:
    conv = Conv2d(in_channels, out_channels, kernel, padding=kernel // 2)
    nn.init.normal_(conv.weight, std=0.01)
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
    return conv


@any_layout
class RPNHeadConvRegressor(nn.Module):
    """Objectness and box offsets of each anchor, from maps that a head of its own has prepared."""

    def __init__(self, cfg, in_channels: int, num_anchors: int):
        super().__init__()
        self.cls_logits = make_predictor(in_channels, num_anchors)
        self.bbox_pred = make_predictor(in_channels, num_anchors * 4)

    def forward(self, x: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Tensor[B, C, H_l, W_l] for each level -> logits Tensor[B, A, H_l, W_l], offsets Tensor[B, A * 4, H_l, W_l]."""
        return [self.cls_logits(level) for level in x], [self.bbox_pred(level) for level in x]


@any_layout
class RPNHeadFeatureSingleConv(nn.Module):
    """The 3 x 3 convolution of RPNHead alone, to stand before an RPNHeadConvRegressor."""

    def __init__(self, cfg, in_channels: int):
        super().__init__()
        self.conv = make_predictor(in_channels, in_channels, kernel=3)
        self.out_channels = in_channels

    def forward(self, x: Sequence[Tensor]) -> list[Tensor]:
        return [conv_relu(level, self.conv) for level in x]
