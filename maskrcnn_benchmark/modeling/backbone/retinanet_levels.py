"""The levels that RetinaNet adds to a pyramid."""

import torch.nn.functional as F
from torch import Tensor, nn

from maskrcnn_benchmark.layers.layout import any_layout


@any_layout
class LastLevelP6P7(nn.Module):
    """RetinaNet's two further levels, from the body's last map or, where the channels agree, from the pyramid's."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.p6 = nn.Conv2d(in_channels, out_channels, 3, 2, 1)
        self.p7 = nn.Conv2d(out_channels, out_channels, 3, 2, 1)
        for conv in (self.p6, self.p7):
            nn.init.kaiming_uniform_(conv.weight, a=1)
            if conv.bias is not None:
                nn.init.zeros_(conv.bias)
        self.use_P5 = in_channels == out_channels

    def forward(self, c5: Tensor, p5: Tensor) -> list[Tensor]:
        p6 = self.p6(p5 if self.use_P5 else c5)
        return [p6, self.p7(F.relu(p6))]
