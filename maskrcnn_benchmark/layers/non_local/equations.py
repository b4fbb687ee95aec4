"""The equations of non-local context modules, in the paper's order and regrouped.

Wang et al., "Non-local Neural Networks" (CVPR 2018), and Levi and Ullman, "Efficient Coarse-to-Fine Non-Local Module for
the Detection of Small Objects" (BMVC 2019, arXiv 1811.12152), whose equations are named below.

Legend: B batch, D inner channels, N = H * W positions, K frequencies along an axis.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


def embedded_gaussian(theta: Tensor, phi: Tensor, g: Tensor) -> Tensor:
    """softmax_j(theta_i . phi_j) g_j (equations 1 to 4): three Tensor[B, D, H, W] -> Tensor[B, D, H, W]."""
    # B x 1 x N x D. Other strides make PyTorch fall back to the N x N matrix.
    query, key, value = (t.flatten(2).transpose(1, 2).contiguous()[:, None] for t in (theta, phi, g))
    y = F.scaled_dot_product_attention(query, key, value, scale=1.0)
    return y[:, 0].transpose(1, 2).reshape(g.shape)


def literal_embedded_gaussian(theta: Tensor, phi: Tensor, g: Tensor) -> Tensor:
    """The value of `embedded_gaussian` with the N x N matrix of similarities, at the paper's cost in memory."""
    theta, phi, values = (t.flatten(2) for t in (theta, phi, g))  # B x D x N
    similarity = torch.softmax(theta.transpose(1, 2) @ phi, dim=-1)  # B x N x N
    return (values @ similarity.transpose(1, 2).to(values.dtype)).reshape(g.shape)


def dot_product(theta: Tensor, phi: Tensor, g: Tensor) -> Tensor:
    """1/N sum_j (theta_i . phi_j) g_j with the N x N matrix of similarities (equation 5)."""
    theta, phi, values = (t.flatten(2) for t in (theta, phi, g))  # B x D x N
    similarity = theta.transpose(1, 2) @ phi / theta.shape[-1]  # B x N x N
    return (values @ similarity.transpose(1, 2)).reshape(g.shape)


def regrouped_dot_product(theta: Tensor, phi: Tensor, g: Tensor) -> Tensor:
    """The value of `dot_product` with a D x D matrix instead of an N x N one (equation 6)."""
    theta, phi, values = (t.flatten(2) for t in (theta, phi, g))
    context = values @ phi.transpose(1, 2) / theta.shape[-1]  # B x D x D
    return (context @ theta).reshape(g.shape)


def dct_basis(length: int, count: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """The `count` lowest frequencies of the orthonormal DCT-II as columns: Tensor[length, min(count, length)]."""
    kept: Any = torch.sym_min(count, length)
    position = torch.arange(length, dtype=torch.float64, device=device) + 0.5
    frequency = torch.arange(kept, dtype=torch.float64, device=device)
    basis = torch.cos(math.pi / length * position[:, None] * frequency) * (2.0 / length) ** 0.5
    basis[:, 0] = (1.0 / length) ** 0.5
    return basis.to(dtype)


def dct_tables(height: int, width: int, count: int, dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    """The bases along both axes of a map. Kept: making them costs a GPU more launches than the module itself.

    Each of a GPU's streams has its own, since it does not wait for what another one makes. A CUDA graph makes its own at each
    replay: kept ones may be gone by then.
    """
    if device.type != "cuda":
        return _kept_tables(height, width, count, dtype, device, None)
    make = _make_tables if torch.cuda.is_current_stream_capturing() else _kept_tables
    return make(height, width, count, dtype, device, torch.cuda.current_stream(device))


def _make_tables(
    height: int, width: int, count: int, dtype: torch.dtype, device: torch.device, stream: Any
) -> tuple[Tensor, Tensor]:
    with torch.inference_mode(False):
        return dct_basis(height, count, dtype, device), dct_basis(width, count, dtype, device)


_kept_tables = functools.lru_cache(maxsize=512)(_make_tables)


def dct_low_pass(g: Tensor, dct_size: int) -> Tensor:
    """The position term of equation 9, E (E^T g) for every channel: Tensor[B, D, H, W] -> the same shape.

    E holds the dct_size x dct_size lowest frequencies over the grid. It is separable and never formed.
    """
    rows = dct_basis(g.shape[-2], dct_size, g.dtype, g.device)
    columns = dct_basis(g.shape[-1], dct_size, g.dtype, g.device)
    spectrum = rows.T @ (g @ columns)  # B x D x K x K
    return rows @ spectrum @ columns.T
