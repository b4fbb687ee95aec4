"""A fork's own feature pyramid."""

import torch.nn.functional as F
from torch import nn


class FPN(nn.Module):
    def __init__(self, in_channels_list, out_channels, conv_block, top_blocks=None):
        super().__init__()
        self.inner_blocks = []
        self.layer_blocks = []
        for idx, in_channels in enumerate(in_channels_list, 1):
            if in_channels == 0:
                continue
            self.inner_blocks.append(f"fpn_inner{idx}")
            self.layer_blocks.append(f"fpn_layer{idx}")
            self.add_module(self.inner_blocks[-1], conv_block(in_channels, out_channels, 1))
            self.add_module(self.layer_blocks[-1], conv_block(out_channels, out_channels, 3, 1))
        self.top_blocks = top_blocks

    def forward(self, x):
        results = []
        inner = None
        for level in range(-1, -1 - len(self.inner_blocks), -1):
            lateral = getattr(self, self.inner_blocks[level])(x[level])
            inner = lateral if inner is None else lateral + F.interpolate(inner, scale_factor=2, mode="nearest")
            results.insert(0, getattr(self, self.layer_blocks[level])(inner))
        if isinstance(self.top_blocks, LastLevelP6P7):
            results.extend(self.top_blocks(x[-1], results[-1]))
        elif isinstance(self.top_blocks, LastLevelMaxPool):
            results.extend(self.top_blocks(results[-1]))
        return tuple(results)


class LastLevelMaxPool(nn.Module):
    def forward(self, x):
        return [F.max_pool2d(x, 1, 2, 0)]


class LastLevelP6P7(nn.Module):
    def __init__(self, in_channels, out_channels):
        super().__init__()
        self.p6 = nn.Conv2d(in_channels, out_channels, 3, 2, 1)
        self.p7 = nn.Conv2d(out_channels, out_channels, 3, 2, 1)
        self.use_P5 = in_channels == out_channels

    def forward(self, c5, p5):
        p6 = self.p6(p5 if self.use_P5 else c5)
        return [p6, self.p7(F.relu(p6))]
