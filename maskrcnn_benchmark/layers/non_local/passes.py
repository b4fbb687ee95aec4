"""The two passes over a map that ENL needs, in tensor form: for the CPU, and for a GPU without Triton.

A map Tensor[B, C, H, W] is read as it lies, contiguous or channels_last, as a matrix of C rows and N = H * W columns.
E is the N x K matrix of DCT frequencies, E[(h, w), (i, j)] = rows[h, i] * columns[w, j] with K = K_h * K_w; it is never formed,
as maps are transformed along one axis after the other.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .algebra import contract, first_half

__all__ = ["contract", "is_channels_last", "mix", "position_sums"]

_BLOCK = 2048  # positions at a time of a narrow map: 2 MB of float32 in a 256-channel map, what a cache holds


def position_sums(u: Tensor, x: Tensor, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """u x^T and u E, summed over the positions of each image.

    Args:
        u, x: Tensor[B, C, H, W] of one dtype; given the same tensor, only half of the (symmetric) product is computed.
        rows, columns: Tensor[H, K_h], Tensor[W, K_w] in the dtype of the sums.

    Returns:
        Tensor[B, C, C] and Tensor[B, C, K] in float32 (float64 for float64).
    """
    gram, spectrum = [], []
    for block in _blocks(u, rows):
        a, b = u[:, :, block], x[:, :, block]
        gram.append(_products(_factor(a), None if x is u else _factor(b)).to(rows.dtype))
        spectrum.append(_transform(_convert(a, rows.dtype), rows[block], columns))
    return _total(gram), _total(spectrum)


def mix(
    x: Tensor,
    weight: Tensor,
    spectrum: Tensor,
    rows: Tensor,
    columns: Tensor,
    other: Tensor | None = None,
    other_weight: Tensor | None = None,
) -> Tensor:
    """x + weight x + spectrum E^T, plus other_weight other.

    Args:
        x, other: Tensor[B, C, H, W] of one dtype.
        weight, other_weight: Tensor[B, C, C], spectrum: Tensor[B, C, K], all in the dtype of `rows` and `columns`.

    Returns:
        Tensor[B, C, H, W] in the dtype and memory format of x.
    """
    spectrum = spectrum.unflatten(2, (rows.shape[1], columns.shape[1]))  # B x C x K_h x K_w
    if x.dtype != torch.float16:
        return _weighted(x, weight, spectrum, rows, columns, other, other_weight).add_(x)
    out = torch.empty_like(x)
    for block in _blocks(x, rows):
        part = _convert(x[:, :, block], rows.dtype)
        source = None if other is None else _convert(other[:, :, block], rows.dtype)
        out[:, :, block] = part + _weighted(part, weight, spectrum, rows[block], columns, source, other_weight)
    return out


def _blocks(x: Tensor, rows: Tensor) -> list[slice]:
    """Rows of the map that are computed together: all of a wide one, some of a narrow one, which is widened in passing."""
    if x.dtype == rows.dtype:
        return [slice(0, len(rows))]
    step = max(_BLOCK // x.shape[3], 1)
    return [slice(top, top + step) for top in range(0, len(rows), step)]


def _total(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.stack(parts).sum(0)


def is_channels_last(x: Tensor) -> bool:
    """Of a dense map, or of rows of one."""
    return not x.is_contiguous() and x.stride(1) == 1


def _convert(x: Tensor, dtype: torch.dtype) -> Tensor:
    format = torch.channels_last if is_channels_last(x) else torch.contiguous_format
    return x if x.dtype == dtype else x.to(dtype, memory_format=format)


def _factor(x: Tensor) -> Tensor:
    """The map as a factor of a matrix product, Tensor[B, C, N].

    bfloat16 stays: its products have units of their own, sum in float32 and round once a block. float16 is widened, as it
    would overflow.
    """
    x = _convert(x, torch.float32) if x.dtype == torch.float16 else x
    return x.permute(0, 2, 3, 1).flatten(1, 2).transpose(1, 2) if is_channels_last(x) else x.flatten(2)


def _products(a: Tensor, b: Tensor | None) -> Tensor:
    """a b^T of Tensor[B, C, N]; without b a a^T, whose upper right quarter is the mirror of the lower left one."""
    if b is not None:
        return a @ b.transpose(1, 2)
    channels, half = a.shape[1], first_half(a.shape[1])
    gram = a.new_empty(a.shape[0], channels, channels)
    first, second = a[:, :half], a[:, half:]
    gram[:, :, :half] = a @ first.transpose(1, 2)
    gram[:, half:, half:] = second @ second.transpose(1, 2)
    gram[:, :half, half:] = gram[:, half:, :half].transpose(1, 2)
    return gram


def _transform(u: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """u E: Tensor[B, C, H, W] -> Tensor[B, C, K], first along the axis that lies closer together."""
    if is_channels_last(u):
        along_width = columns.T @ u.permute(0, 2, 3, 1)  # B x H x K_w x C
        spectrum = rows.T @ along_width.flatten(2)  # B x K_h x (K_w * C)
        return spectrum.unflatten(2, along_width.shape[2:]).permute(0, 3, 1, 2).flatten(2)
    return (rows.T @ (u @ columns)).flatten(2)


def _weighted(
    x: Tensor,
    weight: Tensor,
    spectrum: Tensor,
    rows: Tensor,
    columns: Tensor,
    other: Tensor | None,
    other_weight: Tensor | None,
) -> Tensor:
    """weight x + spectrum E^T + other_weight other, in the dtype and memory format of x."""
    batch, channels, height, width = x.shape
    weight = weight.to(x.dtype)
    rows_first = is_channels_last(x)
    if rows_first:
        z = _factor(x).transpose(1, 2) @ weight.transpose(1, 2)  # B x N x C
    else:
        z = weight @ _factor(x)  # B x C x N
    if other is not None and other_weight is not None:
        if rows_first:
            z.baddbmm_(_factor(other).transpose(1, 2), other_weight.transpose(1, 2).to(x.dtype))
        else:
            z.baddbmm_(other_weight.to(x.dtype), _factor(other))
    columns = columns.to(x.dtype)
    if rows_first:
        along_height = rows @ spectrum.permute(0, 2, 3, 1).flatten(2)  # B x H x (K_w * C)
        lines = z.view(batch * height, width, channels)
        lines.baddbmm_(
            columns.expand(batch * height, -1, -1), along_height.to(x.dtype).view(batch * height, -1, channels)
        )
        return z.view(batch, height, width, channels).permute(0, 3, 1, 2)
    along_height = rows @ spectrum  # B x C x H x K_w
    z.view(-1, width).addmm_(along_height.to(x.dtype).flatten(0, 2), columns.T)
    return z.view(x.shape)
