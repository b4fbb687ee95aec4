"""The discrete cosine transform of equation 9's position term, by its separable one-dimensional bases."""

from __future__ import annotations

import functools
import math
from typing import Any

import torch
from torch import Tensor


def dct_basis(length: int, count: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The `count` lowest frequencies of the orthonormal DCT-II as columns: Tensor[length, min(count, length)]."""
    kept: Any = torch.sym_min(count, length)
    position = torch.arange(length, dtype=torch.float64, device=device) + 0.5
    frequency = torch.arange(kept, dtype=torch.float64, device=device)
    basis = torch.cos(math.pi / length * position[:, None] * frequency) * (2.0 / length) ** 0.5
    basis[:, 0] = (1.0 / length) ** 0.5
    return basis.to(dtype)


@functools.lru_cache(maxsize=512)
def dct_tables(height: int, width: int, count: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """The bases along both axes of a map. Kept: making them costs a GPU more launches than the module itself."""
    with torch.inference_mode(False):
        return dct_basis(height, count, dtype, device), dct_basis(width, count, dtype, device)


def dct_low_pass(g: Tensor, dct_size: int) -> Tensor:
    """The position term of equation 9, E (E^T g) for every channel: Tensor[B, D, H, W] -> the same shape.

    E holds the dct_size x dct_size lowest frequencies over the grid. It is separable and never formed.
    """
    rows = dct_basis(g.shape[-2], dct_size, g.dtype, g.device)
    columns = dct_basis(g.shape[-1], dct_size, g.dtype, g.device)
    spectrum = rows.T @ (g @ columns)  # B x D x K x K
    return rows @ spectrum @ columns.T
