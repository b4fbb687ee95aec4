"""Multiply-adds of ENL in its two orders: what chooses between them, and what FLOP counters report."""

from __future__ import annotations

import torch

from .passes import first_half


def is_regrouped(shape: torch.Size, inner: int, dct_size: int) -> bool:
    """Whether a map Tensor[B, C, H, W] is worth its Gram matrix."""
    _, channels, height, width = shape
    sizes = (channels, inner, height, width, dct_size)
    return regrouped(*sizes) < literal(*sizes)


def multiply_adds(shape: torch.Size, inner: int, dct_size: int) -> int:
    """Multiply-adds of the operator on Tensor[B, C, H, W]."""
    count = regrouped if is_regrouped(shape, inner, dct_size) else literal
    return shape[0] * count(shape[1], inner, shape[2], shape[3], dct_size)


def multiply_adds_backward(shape: torch.Size, inner: int, dct_size: int) -> int:
    """Multiply-adds of the operator's gradient."""
    count = regrouped_backward if is_regrouped(shape, inner, dct_size) else literal_backward
    return shape[0] * count(shape[1], inner, shape[2], shape[3], dct_size)


def regrouped(channels: int, inner: int, height: int, width: int, dct_size: int) -> int:
    """One image through the Gram matrix of the map: two passes over it, and a few C x C matrices."""
    k_rows, k_columns = min(max(dct_size, 1), height), min(max(dct_size, 1), width)
    gram, transform, application = _passes(channels, height, width, k_rows, k_columns)
    wide, spectrum = channels + 1, k_rows * k_columns  # biases are a last column
    algebra = inner * wide * (wide + spectrum) + inner * inner * wide + channels * inner * (inner + wide)
    if dct_size:
        algebra += channels * inner * spectrum
    return gram + 2 * transform + application + algebra


def regrouped_backward(channels: int, inner: int, height: int, width: int, dct_size: int) -> int:
    """The gradient of `regrouped`: the forward pass's Gram matrix is kept, its small products are made again."""
    k_rows, k_columns = min(max(dct_size, 1), height), min(max(dct_size, 1), width)
    _, transform, application = _passes(channels, height, width, k_rows, k_columns)
    wide, spectrum = channels + 1, k_rows * k_columns
    again = inner * wide * (wide + spectrum) + inner * inner * wide + channels * inner * (inner + wide)
    gradients = 2 * channels * inner * wide + 2 * inner * wide * wide + 2 * channels * inner * inner
    gradients += 2 * inner * inner * wide
    if dct_size:
        gradients += 2 * channels * inner * spectrum + 2 * inner * wide * spectrum
    return 3 * application + 2 * transform + again + gradients


def literal(channels: int, inner: int, height: int, width: int, dct_size: int) -> int:
    """One image in the paper's order: four 1 x 1 convolutions and two D x D products at every position."""
    positions = height * width
    position_term = 2 * _transform(inner, height, width, min(dct_size, height), min(dct_size, width))
    return positions * (3 * inner * (channels + 1) + 2 * inner * inner + channels * inner) + position_term


def literal_backward(channels: int, inner: int, height: int, width: int, dct_size: int) -> int:
    """The gradient of `literal`: its maps are computed again, then every product has two gradients."""
    positions = height * width
    position_term = 4 * _transform(inner, height, width, min(dct_size, height), min(dct_size, width))
    again = 3 * inner * (channels + 1) + 2 * inner * inner
    gradients = 2 * channels * inner + 4 * inner * inner + 3 * inner * channels + 3 * inner * (channels + 1)
    return positions * (again + gradients) + position_term


def _passes(channels: int, height: int, width: int, k_rows: int, k_columns: int) -> tuple[int, int, int]:
    positions, half = height * width, first_half(channels)
    gram = positions * (channels * half + (channels - half) ** 2)
    return gram, _transform(channels, height, width, k_rows, k_columns), positions * channels * channels


def _transform(channels: int, height: int, width: int, k_rows: int, k_columns: int) -> int:
    """To the lowest frequencies or back, one axis after the other."""
    return channels * height * k_columns * (width + k_rows)
