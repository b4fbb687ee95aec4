"""The Triton kernels behind triton_passes.py: two passes over a feature map and the small algebra between them.

Legend: C channels, N = H * W positions, D inner channels, K = KH * KW frequencies. E[N, K] holds products of two small
tables, E[(h, w), (i, j)] = rows[h, i] * columns[w, j], and is made where it is used. Every kernel multiplies it by
`root` = sqrt(N) and divides the other factor or the sum by it: the constant column of a DCT is then 1, which no dtype
rounds, and none of its values is subnormal in float16.

A kernel is compiled anew for every C and for every alignment of rows of positions, not for every size of a map: N is
passed as n_units * ALIGN, which tells the compiler how wide its loads may be.

INTERPRETED is set under TRITON_INTERPRET=1, whose `dot` multiplies the bit patterns of bfloat16.
"""

import torch
import triton
import triton.language as tl

INTERPRETED = triton.knobs.runtime.interpret


def wide_tiles(device: torch.device) -> bool:
    """Whether tensor cores read shared memory and blocks have 227 KB of it, as on Hopper: larger tiles fit then."""
    return device.type != "cuda" or torch.cuda.get_device_capability(device)[0] in (9, 10)


def block_size(size: int, largest: int) -> int:
    """The power of two that covers a size, between the least that a dot takes and the largest."""
    return min(max(triton.next_power_of_2(size), 16), largest)


def float32_precision() -> str:
    """How float32 factors are multiplied: in TF32 where the user allows it to PyTorch's own products, otherwise in three TF32
    products, which keep float32's precision and still run on tensor cores."""
    return "tf32" if torch.backends.cuda.matmul.fp32_precision == "tf32" else "tf32x3"


@triton.jit
def _dot(a, b, total, DTYPE: tl.constexpr, PRECISION: tl.constexpr, INTERPRETED: tl.constexpr):
    """total + a b with the factors rounded to DTYPE and float32 sums."""
    a, b = a.to(DTYPE), b.to(DTYPE)
    if INTERPRETED:
        a, b = a.to(tl.float32), b.to(tl.float32)
    return tl.dot(a, b, total, input_precision=PRECISION)


@triton.jit
def _load(image, channel, position, N, C: tl.constexpr, CHANNELS_LAST: tl.constexpr):
    """The map's values at a column of channels and a row of positions, zero outside of the map."""
    if CHANNELS_LAST:
        offset = position.to(tl.int64) * C + channel
    else:
        offset = channel.to(tl.int64) * N + position
    return tl.load(image + offset, mask=(channel < C) & (position < N), other=0.0)


@triton.jit
def _basis(rows, columns, root, position, k, N, W, KH: tl.constexpr, KW: tl.constexpr):
    """sqrt(N) E at these positions and frequencies, one of them a row and one a column; outside, values at the border.

    Whatever these are multiplied by is zero there or leads to an element that is not stored.
    """
    position, k = tl.minimum(position, N - 1), tl.minimum(k, KH * KW - 1)
    h, i = position // W, k // KW
    waves = (position + k).to(tl.float32)
    # Always so. What is loaded under a condition is not prefetched, and these gathers would take more shared memory
    # than the map.
    if root > 0:
        row = tl.load(rows + h * KH + i)
        column = tl.load(columns + (position - h * W) * KW + (k - i * KW))
        waves = row * column * root
    return waves


@triton.jit
def _tile_of(index, TILES: tl.constexpr, SYMMETRIC: tl.constexpr):
    """The row and column of a tile of the TILES x TILES matrix, of its lower triangle if SYMMETRIC."""
    if SYMMETRIC:
        row = 0
        for r in tl.static_range(1, TILES):
            row += (index >= r * (r + 1) // 2).to(tl.int32)
        column = index - row * (row + 1) // 2
    else:
        row = index // TILES
        column = index - row * TILES
    return row, column


@triton.jit(do_not_specialize=["n_units", "W", "chunk_blocks"])
def sums_kernel(
    u,  # [B, C, N]
    x,  # [B, C, N]
    rows,  # [H, KH]
    columns,  # [W, KW]
    workspace,  # [B, splits, SIZE], see `position_sums`
    root,
    n_units,
    W,
    chunk_blocks,
    C: tl.constexpr,
    KH: tl.constexpr,
    KW: tl.constexpr,
    K_STRIDE: tl.constexpr,
    ALIGN: tl.constexpr,
    U_LAST: tl.constexpr,
    X_LAST: tl.constexpr,
    SYMMETRIC: tl.constexpr,
    DTYPE: tl.constexpr,
    PRECISION: tl.constexpr,
    INTERPRETED: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """One tile of u x^T, and on the diagonal these rows of u E, over one chunk of positions."""
    N = n_units * ALIGN
    TILES: tl.constexpr = (C + BLOCK_C - 1) // BLOCK_C
    GRAM: tl.constexpr = TILES * (TILES + 1) // 2 if SYMMETRIC else TILES * TILES
    SIZE: tl.constexpr = (GRAM * BLOCK_C + TILES * K_STRIDE) * BLOCK_C
    tile, split, image = tl.program_id(0), tl.program_id(1), tl.program_id(2).to(tl.int64)
    i, j = _tile_of(tile, TILES, SYMMETRIC)
    u += image * C * N
    x += image * C * N
    workspace += (image * tl.num_programs(1) + split) * SIZE
    chunk = chunk_blocks * BLOCK_N
    first = split * chunk
    last = tl.minimum(first + chunk, N)

    local = tl.arange(0, BLOCK_C)
    gram = tl.zeros((BLOCK_C, BLOCK_C), tl.float32)
    if i == j:
        k = tl.arange(0, BLOCK_K)[None, :]
        spectrum = tl.zeros((BLOCK_C, BLOCK_K), tl.float32)
        for start in range(first, last, BLOCK_N):
            n = start + tl.arange(0, BLOCK_N)
            left = _load(u, (i * BLOCK_C + local)[:, None], n[None, :], N, C, U_LAST)
            if SYMMETRIC:
                right = left
            else:
                right = _load(x, (j * BLOCK_C + local)[:, None], n[None, :], N, C, X_LAST)
            gram = _dot(left, tl.trans(right), gram, DTYPE, PRECISION, INTERPRETED)
            waves = _basis(rows, columns, root, n[:, None], k, N, W, KH, KW)
            spectrum = _dot(left, waves, spectrum, DTYPE, PRECISION, INTERPRETED)
        target = workspace + GRAM * BLOCK_C * BLOCK_C + (i * BLOCK_C + local)[:, None] * K_STRIDE
        tl.store(target + k, spectrum, mask=k < K_STRIDE)
        # More frequencies than one block holds are rare enough to read the chunk again.
        for k0 in range(BLOCK_K, K_STRIDE, BLOCK_K):
            spectrum = tl.zeros((BLOCK_C, BLOCK_K), tl.float32)
            for start in range(first, last, BLOCK_N):
                n = start + tl.arange(0, BLOCK_N)
                left = _load(u, (i * BLOCK_C + local)[:, None], n[None, :], N, C, U_LAST)
                waves = _basis(rows, columns, root, n[:, None], k0 + k, N, W, KH, KW)
                spectrum = _dot(left, waves, spectrum, DTYPE, PRECISION, INTERPRETED)
            tl.store(target + k0 + k, spectrum, mask=k0 + k < K_STRIDE)
    else:
        for start in range(first, last, BLOCK_N):
            n = start + tl.arange(0, BLOCK_N)
            left = _load(u, (i * BLOCK_C + local)[:, None], n[None, :], N, C, U_LAST)
            right = _load(x, (j * BLOCK_C + local)[:, None], n[None, :], N, C, X_LAST)
            gram = _dot(left, tl.trans(right), gram, DTYPE, PRECISION, INTERPRETED)
    tl.store(workspace + (tile * BLOCK_C + local)[:, None] * BLOCK_C + local[None, :], gram)


@triton.jit(do_not_specialize=["splits"])
def reduce_kernel(
    workspace,  # [B, splits, SIZE]
    gram,  # [B, C, C]
    spectrum,  # [B, C, K]
    splits,
    inverse_root,
    C: tl.constexpr,
    K: tl.constexpr,
    K_STRIDE: tl.constexpr,
    SYMMETRIC: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_S: tl.constexpr,
):
    """16 x 16 elements of the sums over all chunks, always in the same order."""
    TILES: tl.constexpr = (C + BLOCK_C - 1) // BLOCK_C
    GRAM: tl.constexpr = TILES * (TILES + 1) // 2 if SYMMETRIC else TILES * TILES
    SIZE: tl.constexpr = (GRAM * BLOCK_C + TILES * K_STRIDE) * BLOCK_C
    EDGE: tl.constexpr = BLOCK_C // 16
    part, image = tl.program_id(0), tl.program_id(1).to(tl.int64)
    in_gram = part < GRAM * EDGE * EDGE
    tile = part // (EDGE * EDGE)
    within = part - tl.where(in_gram, tile, GRAM) * EDGE * EDGE
    width = tl.where(in_gram, EDGE, K_STRIDE // 16)
    element = tl.arange(0, 256)
    row = within // width * 16 + element // 16
    column = within % width * 16 + element % 16
    start = tl.where(in_gram, tile, GRAM) * BLOCK_C * BLOCK_C

    source = workspace + image * splits * SIZE + start + row * width * 16 + column
    total = tl.zeros((256,), tl.float32)
    for first in range(0, splits, BLOCK_S):
        split = (first + tl.arange(0, BLOCK_S))[:, None]
        values = tl.load(source[None, :] + split.to(tl.int64) * SIZE, mask=split < splits, other=0.0)
        total += tl.sum(values, axis=0)

    if in_gram:
        i, j = _tile_of(tile, TILES, SYMMETRIC)
        r, c = i * BLOCK_C + row, j * BLOCK_C + column
        inside = (r < C) & (c < C)
        gram += image * C * C
        tl.store(gram + r * C + c, total, mask=inside)
        if SYMMETRIC:
            tl.store(gram + c * C + r, total, mask=inside & (i != j))
    else:
        inside = (row < C) & (column < K)
        tl.store(spectrum + image * C * K + row * K + column, total * inverse_root, mask=inside)


@triton.jit
def _times_map(
    total, matrix, image, channels, n, N, C: tl.constexpr, CHANNELS_LAST: tl.constexpr,
    DTYPE: tl.constexpr, PRECISION: tl.constexpr, INTERPRETED: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """total + these rows of the matrix [C, C] times the map at these positions."""
    for start in range(0, C, BLOCK_C):
        c = start + tl.arange(0, BLOCK_C)
        weights = tl.load(
            matrix + channels[:, None] * C + c[None, :], mask=(channels[:, None] < C) & (c[None, :] < C), other=0.0
        )
        values = _load(image, c[:, None], n[None, :], N, C, CHANNELS_LAST)
        total = _dot(weights, values, total, DTYPE, PRECISION, INTERPRETED)
    return total


@triton.jit(do_not_specialize=["n_units", "W"])
def mix_kernel(
    x,  # [B, C, N]
    a,  # [B, C, C]
    p,  # [B, C, K]
    rows,  # [H, KH]
    columns,  # [W, KW]
    other,  # [B, C, N] if HAS_OTHER
    other_weight,  # [B, C, C] if HAS_OTHER
    z,  # [B, C, N], the format of x
    root,
    inverse_root,
    n_units,
    W,
    C: tl.constexpr,
    KH: tl.constexpr,
    KW: tl.constexpr,
    ALIGN: tl.constexpr,
    X_LAST: tl.constexpr,
    OTHER_LAST: tl.constexpr,
    HAS_OTHER: tl.constexpr,
    DTYPE: tl.constexpr,
    PRECISION: tl.constexpr,
    INTERPRETED: tl.constexpr,
    BLOCK_M: tl.constexpr,
    BLOCK_N: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_K: tl.constexpr,
):
    """z = x + A x + P E^T (+ S other) for BLOCK_M channels and BLOCK_N positions."""
    N = n_units * ALIGN
    K: tl.constexpr = KH * KW
    CHANNEL_BLOCKS: tl.constexpr = (C + BLOCK_M - 1) // BLOCK_M
    # Neighbours in the grid share positions: the second one finds them in the cache.
    block = tl.program_id(0) // CHANNEL_BLOCKS
    channels = (tl.program_id(0) - block * CHANNEL_BLOCKS) * BLOCK_M + tl.arange(0, BLOCK_M)
    n = block * BLOCK_N + tl.arange(0, BLOCK_N)
    image = tl.program_id(1).to(tl.int64)
    x += image * C * N

    total = tl.zeros((BLOCK_M, BLOCK_N), tl.float32)
    total = _times_map(
        total, a + image * C * C, x, channels, n, N, C, X_LAST, DTYPE, PRECISION, INTERPRETED, BLOCK_C
    )  # fmt: skip
    if HAS_OTHER:
        total = _times_map(
            total, other_weight + image * C * C, other + image * C * N, channels, n, N, C, OTHER_LAST,
            DTYPE, PRECISION, INTERPRETED, BLOCK_C,
        )  # fmt: skip
    p += image * C * K
    for start in range(0, K, BLOCK_K):
        k = start + tl.arange(0, BLOCK_K)
        weights = tl.load(
            p + channels[:, None] * K + k[None, :], mask=(channels[:, None] < C) & (k[None, :] < K), other=0.0
        )
        waves = _basis(rows, columns, root, n[None, :], k[:, None], N, W, KH, KW)
        total = _dot(weights * inverse_root, waves, total, DTYPE, PRECISION, INTERPRETED)

    total += _load(x, channels[:, None], n[None, :], N, C, X_LAST).to(tl.float32)
    inside = (channels[:, None] < C) & (n[None, :] < N)
    if X_LAST:
        offset = n[None, :].to(tl.int64) * C + channels[:, None]
    else:
        offset = channels[:, None].to(tl.int64) * N + n[None, :]
    tl.store(z + image * C * N + offset, total.to(z.dtype.element_ty), mask=inside)
