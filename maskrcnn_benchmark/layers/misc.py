"""Upstream's names for layers that needed workarounds for empty inputs; PyTorch's own handle those today."""

from torch.nn import BatchNorm2d, Conv2d, ConvTranspose2d
from torch.nn.functional import interpolate

__all__ = ["BatchNorm2d", "Conv2d", "ConvTranspose2d", "interpolate"]
