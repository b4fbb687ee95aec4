"""Equations 1 to 9 of the paper with dense N x N matrices, image after image: what the modules are compared with.

Levi and Ullman, "Efficient Coarse-to-Fine Non-Local Module for the Detection of Small Objects" (arXiv 1811.12152).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from maskrcnn_benchmark.layers.non_local import NON_LOCAL, NonLocal2d


def dct_matrix(height: int, width: int, size: int) -> Tensor:
    """E of equation 9, float64 [height * width, K]: column (u, v) is the DCT-II wave of these frequencies, normalised."""
    columns = []
    for u in range(min(size, height)):
        for v in range(min(size, width)):
            vertical = [math.cos(math.pi * (2 * y + 1) * u / (2 * height)) for y in range(height)]
            horizontal = [math.cos(math.pi * (2 * x + 1) * v / (2 * width)) for x in range(width)]
            wave = torch.tensor([a * b for a in vertical for b in horizontal], dtype=torch.float64)
            columns.append(wave / wave.norm())
    return torch.stack(columns, dim=1)


def pair_weights(module: NonLocal2d, x: Tensor, type: str, position: str) -> Tensor:
    """The matrix that multiplies g, [N, N], of one image [C, H, W]: row i holds what position i takes of every other."""
    columns = x.flatten(1)
    theta, phi = (_project(conv, columns) for conv in (module.theta, module.phi))
    pairs = theta.T @ phi
    if type == "nl":
        weights = torch.exp(pairs)
        return weights / weights.sum(dim=1, keepdim=True)  # equations 1 to 4
    weights = pairs / pairs.shape[0]  # equation 5, and 6, which is the same value
    if type == "enl" and position == "dct":
        basis = dct_matrix(*x.shape[-2:], module.dct_size).to(x)
        weights = weights + basis @ basis.T  # equation 9
    return weights


def dense_non_local(module: NonLocal2d, x: Tensor, type: str = "enl", position: str = "dct") -> Tensor:
    """z = x + out(y), y_i = 1/Z sum_j F_ij g_j: Tensor[B, C, H, W] -> the same shape."""
    results = []
    for image in x:
        columns = image.flatten(1)  # C x N
        y = (pair_weights(module, image, type, position) @ _project(module.g, columns).T).T
        results.append((columns + _project(module.out, y)).reshape(image.shape))
    return torch.stack(results)


def _project(conv: torch.nn.Conv2d, columns: Tensor) -> Tensor:
    assert conv.bias is not None
    return conv.weight[:, :, 0, 0] @ columns + conv.bias[:, None]


def module_of(type: str, position: str = "dct", channels: int = 8, **kwargs) -> NonLocal2d:
    """A float64 module with weights and biases large enough that every term shows."""
    torch.manual_seed(0)
    if type == "enl":
        kwargs = {"position": position, **kwargs}
    else:
        kwargs = {key: value for key, value in kwargs.items() if key == "init_std" or (key, type) == ("literal", "nl")}
    module = NON_LOCAL[type](channels, **{"init_std": 0.4, **kwargs}).double()
    for conv in (module.theta, module.phi, module.g, module.out):
        assert conv.bias is not None
        torch.nn.init.normal_(conv.bias, std=0.3)
    return module
