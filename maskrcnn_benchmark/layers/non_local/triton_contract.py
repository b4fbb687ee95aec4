"""The small algebra between the two passes of triton_passes.py: from sums over the map and the weights to A and P.

Legend: B batch, C channels, D inner channels, N positions, K frequencies; G = gram, s = sum of x over the positions.

    M = (Wg G Wphi^T + (Wg s) bphi^T + bg (Wphi s)^T + N bg bphi^T) / N                       D x D
    A = Wo M Wtheta                                                                            C x C
    P = Wo (Wg spectrum + sqrt(N) bg e^T) + sqrt(N) (Wo M btheta + bo) e^T, e = (1, 0, .., 0)  C x K

The second term of P is a constant over the map, written as a multiple of E's first column, which is 1 / sqrt(N)
everywhere; s is sqrt(N) times the spectrum's first column. Without position P has the second term alone.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

from . import triton_kernels as kernels
from .algebra import Weights

COLUMNS = 16  # of A and P that one program computes


@triton.jit
def _product(
    weight, row_stride, column_stride, thin, row, ROWS: tl.constexpr, INNER: tl.constexpr,
    PRECISION: tl.constexpr, BLOCK_R: tl.constexpr, BLOCK_Q: tl.constexpr, BLOCK_J: tl.constexpr,
):  # fmt: skip
    """These rows of the matrix [ROWS, INNER] times the thin matrix [INNER, BLOCK_J]."""
    j = tl.arange(0, BLOCK_J)
    total = tl.zeros((BLOCK_R, BLOCK_J), tl.float32)
    for start in range(0, INNER, BLOCK_Q):
        q = start + tl.arange(0, BLOCK_Q)
        inside = (row[:, None] < ROWS) & (q[None, :] < INNER)
        left = tl.load(weight + row[:, None] * row_stride + q[None, :] * column_stride, mask=inside, other=0.0)
        right = tl.load(thin + q[:, None] * BLOCK_J + j[None, :], mask=q[:, None] < INNER, other=0.0)
        total = tl.dot(left, right, total, input_precision=PRECISION)
    return total


@triton.jit
def contract_kernel(
    gram,  # [B, C, C]
    spectrum,  # [B, C, K]
    theta_w,  # [D, C]
    theta_b,  # [D]
    phi_w,  # [D, C]
    phi_b,  # [D]
    g_w,  # [D, C]
    g_b,  # [D]
    out_w,  # [C, D]
    out_b,  # [C]
    a,  # [B, C, C]
    p,  # [B, C, K]
    scratch,  # [B, programs, 2, max(C, D), BLOCK_J]
    count,
    root,
    C: tl.constexpr,
    D: tl.constexpr,
    K: tl.constexpr,
    POSITION: tl.constexpr,
    PRECISION: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_D: tl.constexpr,
    BLOCK_Q: tl.constexpr,
    BLOCK_J: tl.constexpr,
):
    """BLOCK_J columns of A or of P: a chain of products of thin matrices, T1 to T4, kept in scratch memory.

    T1 = columns of Wtheta, or (btheta, 0, ..) for the first columns of P, T2 = Wphi^T T1, T3 = G T2 + s (bphi^T T1),
    T4 = Wg T3 + bg (s^T T2 + N bphi^T T1), and Wo T4 / N are columns of A. Columns of P join as T3 with their spectrum.
    """
    WIDEST: tl.constexpr = C if C > D else D
    A_TILES: tl.constexpr = (C + BLOCK_J - 1) // BLOCK_J
    tile, image = tl.program_id(0), tl.program_id(1).to(tl.int64)
    in_p = tile >= A_TILES
    j = tl.arange(0, BLOCK_J)
    column = (tile - tl.where(in_p, A_TILES, 0)) * BLOCK_J + j
    constant = in_p & (column == 0)
    gram += image * C * C
    spectrum += image * C * K
    even = scratch + (image * tl.num_programs(0) + tile) * 2 * WIDEST * BLOCK_J
    odd = even + WIDEST * BLOCK_J
    scale = tl.where(in_p, root, 1.0) / count

    phi_t1 = tl.zeros((BLOCK_J,), tl.float32)  # bphi^T T1
    s_t2 = tl.zeros((BLOCK_J,), tl.float32)
    chain = tile <= A_TILES
    if chain:
        for start in range(0, D, BLOCK_D):
            d = start + tl.arange(0, BLOCK_D)
            inside = d[:, None] < D
            weight = tl.load(theta_w + d[:, None] * C + column[None, :], mask=inside & (column < C)[None, :], other=0.0)
            bias = tl.load(theta_b + d, mask=d < D, other=0.0)
            t1 = tl.where(in_p, tl.where(constant[None, :], bias[:, None], 0.0), weight)
            tl.store(odd + d[:, None] * BLOCK_J + j[None, :], t1, mask=inside)
            phi_t1 += tl.sum(tl.load(phi_b + d, mask=d < D, other=0.0)[:, None] * t1, axis=0)
        tl.debug_barrier()
        for start in range(0, C, BLOCK_C):
            c = start + tl.arange(0, BLOCK_C)
            t2 = _product(phi_w, 1, C, odd, c, C, D, PRECISION, BLOCK_C, BLOCK_Q, BLOCK_J)
            tl.store(even + c[:, None] * BLOCK_J + j[None, :], t2, mask=c[:, None] < C)
            s = tl.load(spectrum + c * K, mask=c < C, other=0.0) * root
            s_t2 += tl.sum(s[:, None] * t2, axis=0)
        tl.debug_barrier()

    for start in range(0, C, BLOCK_C):
        c = start + tl.arange(0, BLOCK_C)
        t3 = tl.zeros((BLOCK_C, BLOCK_J), tl.float32)
        if chain:
            t3 = _product(gram, C, 1, even, c, C, C, PRECISION, BLOCK_C, BLOCK_Q, BLOCK_J)
            s = tl.load(spectrum + c * K, mask=c < C, other=0.0) * root
            t3 = (t3 + s[:, None] * phi_t1[None, :]) * scale
        if POSITION:
            inside = (c[:, None] < C) & (in_p & (column < K))[None, :]
            t3 += tl.load(spectrum + c[:, None] * K + column[None, :], mask=inside, other=0.0)
        tl.store(odd + c[:, None] * BLOCK_J + j[None, :], t3, mask=c[:, None] < C)
    tl.debug_barrier()

    bias_scale = (s_t2 + count * phi_t1) * scale
    if POSITION:
        bias_scale += tl.where(constant, root, 0.0)
    for start in range(0, D, BLOCK_D):
        d = start + tl.arange(0, BLOCK_D)
        t4 = _product(g_w, C, 1, odd, d, D, C, PRECISION, BLOCK_D, BLOCK_Q, BLOCK_J)
        t4 += tl.load(g_b + d, mask=d < D, other=0.0)[:, None] * bias_scale[None, :]
        tl.store(even + d[:, None] * BLOCK_J + j[None, :], t4, mask=d[:, None] < D)
    tl.debug_barrier()

    target = tl.where(in_p, p + image * C * K, a + image * C * C)
    width = tl.where(in_p, K, C)
    for start in range(0, C, BLOCK_C):
        c = start + tl.arange(0, BLOCK_C)
        result = _product(out_w, D, 1, even, c, C, D, PRECISION, BLOCK_C, BLOCK_Q, BLOCK_J)
        bias = tl.load(out_b + c, mask=c < C, other=0.0)
        result += bias[:, None] * tl.where(constant, root, 0.0)[None, :]
        inside = (c[:, None] < C) & (column < width)[None, :]
        tl.store(target + c[:, None] * width + column[None, :], result, mask=inside)


def contract(
    gram: Tensor,
    spectrum: Tensor,
    positions: int,
    weights: Weights,
    position: bool,
) -> tuple[Tensor, Tensor]:
    """A and P of the module's docstring in one launch: `algebra.contract` for a GPU.

    gram: Tensor[B, C, C], symmetric; spectrum: Tensor[B, C, K], both contiguous; everything float32.
    Returns A: Tensor[B, C, C] and P: Tensor[B, C, K].
    """
    batch, channels, frequencies = spectrum.shape
    inner = len(weights.theta_weight)
    a, p = torch.empty_like(gram), torch.empty_like(spectrum)
    programs = triton.cdiv(channels, COLUMNS) + triton.cdiv(frequencies, COLUMNS)
    scratch = gram.new_empty((batch, programs, 2, max(channels, inner), COLUMNS))
    precision = kernels.float32_precision()
    with torch.cuda.device_of(gram):
        contract_kernel[(programs, batch)](
            gram, spectrum, *(w.contiguous() for w in weights), a, p, scratch, float(positions), math.sqrt(positions),
            C=channels, D=inner, K=frequencies, POSITION=position, PRECISION=precision,
            BLOCK_C=kernels.block_size(channels, 256),
            BLOCK_D=kernels.block_size(inner, 128),
            BLOCK_Q=32, BLOCK_J=COLUMNS, num_warps=8, num_stages=3 if kernels.wide_tiles(gram.device) else 2,
        )  # fmt: skip
    return a, p
