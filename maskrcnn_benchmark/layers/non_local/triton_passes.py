"""The Efficient Non-Local operator on GPUs: Triton kernels for its two passes over the map and what lies between.

Levi and Ullman (BMVC 2019, arXiv 1811.12152), equation 9, regrouped so that a pass over the map gathers its Gram matrix
and its lowest frequencies, small matrices follow from these and the weights, and a second pass applies them.

Legend: B batch, C channels, D inner channels, N = H * W positions, K = Kh * Kw frequencies;
E[(h, w), (i, j)] = rows[h, i] * columns[w, j]. Maps are float32, bfloat16 or float16, contiguous or channels_last (any
other layout is copied); matrices are float32 and contiguous. Sums are float32 and do not depend on timing.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from . import triton_kernels as kernels
from .triton_contract import contract

__all__ = ["contract", "mix", "position_sums"]

DTYPES = {torch.float32: tl.float32, torch.bfloat16: tl.bfloat16, torch.float16: tl.float16}


def _processors(device: torch.device) -> int:
    return torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 132


def _map(x: Tensor) -> tuple[Tensor, bool]:
    """A map in one of the two memory formats, and whether that is channels_last."""
    if x.is_contiguous():
        return x, False
    if x.is_contiguous(memory_format=torch.channels_last):
        return x, True
    return x.contiguous(), False


def _align(positions: int, channels_last: bool) -> int:
    """The alignment of rows of positions, as far as loads of 16 bytes profit; nothing does where channels lie inside."""
    return 1 if channels_last else math.gcd(positions, 8)


def _matrix(matrix: Tensor, shape: tuple[int, ...], name: str) -> Tensor:
    if matrix.dtype != torch.float32 or matrix.shape != shape:
        raise ValueError(f"{name} is float32 {shape}; got {matrix.dtype} {tuple(matrix.shape)}.")
    return matrix.contiguous()


def _check(x: Tensor, other: Tensor, name: str) -> None:
    if x.dtype not in DTYPES:
        raise ValueError(f"The map is float32, bfloat16 or float16; got {x.dtype}.")
    if other.shape != x.shape or other.dtype != x.dtype:
        raise ValueError(
            f"{name} has the shape and dtype of x, {tuple(x.shape)} {x.dtype}; got {tuple(other.shape)} {other.dtype}."
        )


def position_sums(u: Tensor, x: Tensor, rows: Tensor, columns: Tensor) -> tuple[Tensor, Tensor]:
    """Sums over the positions, u x^T and u E, in two launches.

    u, x: Tensor[B, C, H, W]; where u is x only one triangle of the symmetric product is computed.
    rows: Tensor[H, Kh], columns: Tensor[W, Kw].
    Returns gram: Tensor[B, C, C] and spectrum: Tensor[B, C, K], float32.
    """
    _check(x, u, "u")
    symmetric = u.data_ptr() == x.data_ptr() and u.stride() == x.stride()
    x, x_last = _map(x)
    u, u_last = (x, x_last) if symmetric else _map(u)
    batch, channels, height, width = x.shape
    kh, kw = rows.shape[1], columns.shape[1]
    rows, columns = _matrix(rows, (height, kh), "rows"), _matrix(columns, (width, kw), "columns")
    positions = height * width
    root = math.sqrt(positions)
    gram = x.new_empty((batch, channels, channels), dtype=torch.float32)
    spectrum = x.new_empty((batch, channels, kh * kw), dtype=torch.float32)

    precision = kernels.float32_precision()
    split = x.dtype == torch.float32 and precision == "tf32x3"
    hopper = kernels.wide_tiles(x.device)
    wide = hopper and not split
    block_c = kernels.block_size(channels, 128 if wide else 64)
    block_n = 64 if wide and x.dtype != torch.float32 else 16 if split and not hopper else 32
    block_k = kernels.block_size(kh * kw, 128)
    tiles = triton.cdiv(channels, block_c)
    gram_tiles = tiles * (tiles + 1) // 2 if symmetric else tiles * tiles
    k_stride = triton.cdiv(kh * kw, 16) * 16
    # One wave: as many chunks as give every multiprocessor one large tile or two small ones.
    blocks = triton.cdiv(positions, block_n)
    splits = max(1, min(blocks, _processors(x.device) * (1 if wide else 2) // (gram_tiles * batch)))
    chunk_blocks = triton.cdiv(blocks, splits)
    splits = triton.cdiv(blocks, chunk_blocks)
    # Of every image and chunk: the tiles of gram, then tiles * block_c rows of spectrum.
    size = (gram_tiles * block_c + tiles * k_stride) * block_c
    workspace = x.new_empty((batch, splits, size), dtype=torch.float32)
    align = _align(positions, u_last and x_last)

    with torch.cuda.device_of(x):
        kernels.sums_kernel[(gram_tiles, splits, batch)](
            u, x, rows, columns, workspace, root, positions // align, width, chunk_blocks,
            C=channels, KH=kh, KW=kw, K_STRIDE=k_stride, ALIGN=align, U_LAST=u_last, X_LAST=x_last, SYMMETRIC=symmetric,
            DTYPE=DTYPES[x.dtype], PRECISION=precision, INTERPRETED=kernels.INTERPRETED,
            BLOCK_C=block_c, BLOCK_N=block_n, BLOCK_K=block_k, num_warps=8, num_stages=3,
        )  # fmt: skip
        kernels.reduce_kernel[(size // 256, batch)](
            workspace, gram, spectrum, splits, 1 / root,
            C=channels, K=kh * kw, K_STRIDE=k_stride, SYMMETRIC=symmetric, BLOCK_C=block_c, BLOCK_S=16, num_warps=4,
        )  # fmt: skip
    return gram, spectrum


def mix(
    x: Tensor,
    a: Tensor,
    p: Tensor,
    rows: Tensor,
    columns: Tensor,
    other: Tensor | None = None,
    other_weight: Tensor | None = None,
) -> Tensor:
    """z = x + A x + P E^T, plus other_weight times other where given, in one launch.

    x, other: Tensor[B, C, H, W]; a, other_weight: Tensor[B, C, C]; p: Tensor[B, C, K];
    rows: Tensor[H, Kh], columns: Tensor[W, Kw].
    Returns Tensor[B, C, H, W] with the dtype and memory format of x, rounded once.
    """
    if (other is None) != (other_weight is None):
        raise ValueError("other and other_weight come together; got one of them.")
    _check(x, x if other is None else other, "other")
    x, x_last = _map(x)
    other, other_last = (None, False) if other is None else _map(other)
    z = torch.empty_like(x)
    batch, channels, height, width = x.shape
    positions = height * width
    root = math.sqrt(positions)
    kh, kw = rows.shape[1], columns.shape[1]
    rows, columns = _matrix(rows, (height, kh), "rows"), _matrix(columns, (width, kw), "columns")
    a, p = _matrix(a, (batch, channels, channels), "A"), _matrix(p, (batch, channels, kh * kw), "P")
    if other_weight is not None:
        other_weight = _matrix(other_weight, (batch, channels, channels), "other_weight")

    # A and P may leave the range of float16. TF32 has the range of float32 and the significand of float16, so float16
    # maps enter it unchanged; bfloat16 would cost them three bits.
    dtype, precision = (torch.float32, "tf32") if x.dtype == torch.float16 else (x.dtype, kernels.float32_precision())
    split = dtype == torch.float32 and precision == "tf32x3"
    block_m = kernels.block_size(channels, 64 if split else 128)
    block_n = kernels.block_size(positions, 64 if split else 128)
    block_c = kernels.block_size(channels, 32)
    rows_of_blocks = triton.cdiv(channels, block_m) * batch
    while block_n > 32 and rows_of_blocks * triton.cdiv(positions, block_n) < _processors(x.device):
        block_n //= 2
    channels_inside = x_last and (other is None or other_last)
    align = _align(positions, channels_inside)
    # On Hopper two blocks share a multiprocessor if registers are rationed. Narrow loads have too many pointers for that.
    ration = kernels.wide_tiles(x.device) and x.dtype != torch.float32 and (channels_inside or align == 8)
    grid = (triton.cdiv(channels, block_m) * triton.cdiv(positions, block_n), batch)
    with torch.cuda.device_of(x):
        kernels.mix_kernel[grid](
            x, a, p, rows, columns, other, other_weight, z, root, 1 / root, positions // align, width,
            C=channels, KH=kh, KW=kw, ALIGN=align, X_LAST=x_last, OTHER_LAST=other_last, HAS_OTHER=other is not None,
            DTYPE=DTYPES[dtype], PRECISION=precision, INTERPRETED=kernels.INTERPRETED,
            BLOCK_M=block_m, BLOCK_N=block_n, BLOCK_C=block_c, BLOCK_K=kernels.block_size(kh * kw, 32),
            num_warps=4 if split else 8, num_stages=3, maxnreg=128 if ration else None,
        )  # fmt: skip
    return z
