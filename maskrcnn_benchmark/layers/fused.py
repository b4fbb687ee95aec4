"""Convolutions with what follows them, in one pass over the map where a detector that only detects has layers for it."""

from typing import TypeGuard

import torch.nn.functional as F
from torch import Tensor, nn

from maskrcnn_benchmark.layers.frozen_batch_norm import conv_norm, is_watched
from maskrcnn_benchmark.ops.onednn import OneDnnConv2d
from maskrcnn_benchmark.ops.winograd import WinogradConv2d


def conv_relu(x: Tensor, conv: nn.Module) -> Tensor:
    """relu(conv(x))."""
    if isinstance(conv, (OneDnnConv2d, WinogradConv2d)) and not is_watched(conv):
        return conv(x, relu=True)
    return F.relu_(conv(x))


def conv_norm_relu(x: Tensor, conv: nn.Module, norm: nn.Module) -> Tensor:
    """relu(norm(conv(x)))."""
    if _is_folded(norm):
        return conv_relu(x, conv)
    return F.relu_(conv_norm(x, conv, norm))


def add_conv(total: Tensor, x: Tensor, conv: nn.Module) -> Tensor:
    """conv(x) + total, written into `total`: another map takes as long to allocate as to compute."""
    if _can_add(conv):
        return conv.add_to(total, x)
    y = conv(x)
    return total.add_(y) if total.dtype == y.dtype else total + y


def add_conv_norm_relu(total: Tensor, x: Tensor, conv: nn.Module, norm: nn.Module) -> Tensor:
    """relu(norm(conv(x)) + total), which layers for detection alone write into `total`."""
    if _is_folded(norm) and _can_add(conv):
        return conv.add_to(total, x, relu=True)
    return F.relu_(conv_norm(x, conv, norm).add_(total))


def _can_add(conv: nn.Module) -> TypeGuard[OneDnnConv2d]:
    return isinstance(conv, OneDnnConv2d) and not is_watched(conv)


def _is_folded(norm: nn.Module) -> bool:
    return type(norm) is nn.Identity and not is_watched(norm)
