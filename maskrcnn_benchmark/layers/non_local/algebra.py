"""What equation 9 needs besides the two passes over the map: products of small matrices, their gradients, and the count of
multiply-adds that chooses between this order and the paper's.

With x as a C x N matrix, G = x x^T, s = x 1 and X = x E (E: the N x K DCT basis, its first column 1 / sqrt(N)),

    phi g^T of equation 6, transposed:  N M = Wg G Wphi^T + Wg s bphi^T + bg (Wphi s)^T + N bg bphi^T      D x D
    E^T g of equation 9, transposed:      S = Wg X + sqrt(N) bg e_1^T                                        D x K
    z = x + Wo (M theta + S E^T) + bo 1^T = x + A x + P E^T
    A = Wo M Wtheta                                                                                          C x C
    P = Wo S + sqrt(N) (Wo M btheta + bo) e_1^T                                                              C x K

The biases are a last column of the weights, and the ones that go with them a last row and column of G. Without the position
term E is its first column alone, and Wo S is left out.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from .equations import dct_low_pass


class Weights(NamedTuple):
    """The four 1 x 1 convolutions: weights Tensor[D, C] or [D, C, 1, 1] (out: [C, D]), biases Tensor[D] (out: [C])."""

    theta_weight: Tensor
    theta_bias: Tensor
    phi_weight: Tensor
    phi_bias: Tensor
    g_weight: Tensor
    g_bias: Tensor
    out_weight: Tensor
    out_bias: Tensor

    @classmethod
    def of(cls, *convs: torch.nn.Conv2d) -> Weights:
        """From theta, phi, g and out."""
        return cls(*(tensor for conv in convs for tensor in (conv.weight, conv.bias) if tensor is not None))

    def to(self, dtype: torch.dtype) -> Weights:
        return Weights(*(t.to(dtype) for t in self))

    def joined(self) -> tuple[Tensor, Tensor, Tensor]:
        """theta, phi and g with the bias as the last column: three Tensor[D, C + 1]."""
        pairs = ((self[0], self[1]), (self[2], self[3]), (self[4], self[5]))
        theta, phi, g = (torch.cat((weight.flatten(1), bias[:, None]), 1) for weight, bias in pairs)
        return theta, phi, g

    @classmethod
    def split(cls, theta: Tensor, phi: Tensor, g: Tensor, out: Tensor, out_bias: Tensor) -> Weights:
        """From `joined` matrices, out [C, D] and its bias."""
        return cls(theta[:, :-1], theta[:, -1], phi[:, :-1], phi[:, -1], g[:, :-1], g[:, -1], out, out_bias)


class _Products(NamedTuple):
    """What `contract` and its gradient share."""

    gram: Tensor  # [B, C + 1, C + 1], of the map and a last row of ones
    spectrum: Tensor  # [B, C + 1, K]
    g_gram: Tensor  # Wg G, [B, D, C + 1]
    g_spectrum: Tensor  # S, [B, D, K]
    context: Tensor  # M, [B, D, D]
    out_context: Tensor  # Wo M, [B, C, D]


def _products(gram: Tensor, spectrum: Tensor, positions: int, phi: Tensor, g: Tensor, out: Tensor) -> _Products:
    root = math.sqrt(positions)
    total = root * spectrum[:, :, :1]  # s
    ones = total.new_full((len(gram), 1, 1), positions)
    gram = torch.cat((torch.cat((gram, total), 2), torch.cat((total.transpose(1, 2), ones), 2)), 1)
    spectrum = torch.nn.functional.pad(spectrum, (0, 0, 0, 1))
    spectrum[:, -1, 0] = root
    g_gram, g_spectrum = g @ gram, g @ spectrum
    context = g_gram @ phi.T / positions
    return _Products(gram, spectrum, g_gram, g_spectrum, context, out @ context)


def contract(gram: Tensor, spectrum: Tensor, positions: int, weights: Weights, position: bool) -> tuple[Tensor, Tensor]:
    """A and P from the sums over the map: [B, C, C] and [B, C, K] -> the same shapes, everything in one dtype."""
    theta, phi, g = weights.joined()
    out = weights.out_weight.flatten(1)
    p = _products(gram, spectrum, positions, phi, g, out)
    mixing = p.out_context @ theta
    low_pass = out @ p.g_spectrum if position else torch.zeros_like(spectrum)
    low_pass[:, :, 0] += math.sqrt(positions) * (mixing[:, :, -1] + weights.out_bias)
    return mixing[:, :, :-1], low_pass


def contract_backward(
    grad_gram: Tensor,
    grad_spectrum: Tensor,
    gram: Tensor,
    spectrum: Tensor,
    positions: int,
    weights: Weights,
    position: bool,
) -> tuple[Tensor, Tensor, Tensor, Weights]:
    """From u x^T and u E, u being the gradient of z, and the forward pass's x x^T and x E:

    A^T, R and Q of the gradient u + A^T u + R x + Q E^T with respect to x, and the gradients of the weights (summed over the
    images).
    """
    theta, phi, g = weights.joined()
    out = weights.out_weight.flatten(1)
    root = math.sqrt(positions)
    p = _products(gram, spectrum, positions, phi, g, out)
    mixing = p.out_context @ theta
    total = root * grad_spectrum[:, :, :1]
    grad_mixing = torch.cat((grad_gram, total), 2)  # C x (C + 1)
    grad_out_context = grad_mixing @ theta.T
    grad_context = out.T @ grad_out_context / positions
    grad_g_gram = grad_context @ phi
    grad_out = (grad_out_context @ p.context.transpose(1, 2)).sum(0)
    grad_g = (grad_g_gram @ p.gram).sum(0)
    back = g.T @ grad_g_gram  # (C + 1) x (C + 1)
    remix = back[:, :-1, :-1] + back[:, :-1, :-1].transpose(1, 2)
    if position:
        grad_g_spectrum = out.T @ grad_spectrum
        grad_out += (grad_spectrum @ p.g_spectrum.transpose(1, 2)).sum(0)
        grad_g += (grad_g_spectrum @ p.spectrum.transpose(1, 2)).sum(0)
        low_pass = (g.T @ grad_g_spectrum)[:, :-1]
    else:
        low_pass = torch.zeros_like(spectrum)
    low_pass[:, :, 0] += root * (back[:, :-1, -1] + back[:, -1, :-1])
    gradients = Weights.split(
        theta=(p.out_context.transpose(1, 2) @ grad_mixing).sum(0),
        phi=(grad_context.transpose(1, 2) @ p.g_gram).sum(0),
        g=grad_g,
        out=grad_out,
        out_bias=total.sum((0, 2)),
    )
    return mixing[:, :, :-1].transpose(1, 2), remix, low_pass, gradients


def literal_order(x: Tensor, weights: Weights, dct_size: int) -> Tensor:
    """Equation 9 in the paper's order, through maps of theta, phi and g: Tensor[B, C, H, W], all in one dtype."""
    columns, ones = _with_ones(x)
    theta, phi, g = (weight @ columns for weight in weights.joined())  # B x D x N
    context = g @ phi.transpose(1, 2) / ones.shape[-1]
    y = context @ theta + _low_pass(g, x, dct_size)
    out = weights.out_weight.flatten(1)
    return x + (out @ y + weights.out_bias[:, None]).reshape(x.shape)


def literal_order_backward(u: Tensor, x: Tensor, weights: Weights, dct_size: int) -> tuple[Tensor, Weights]:
    """Gradients of `literal_order` with respect to x and the weights; its maps are computed again."""
    columns, ones = _with_ones(x)
    joined = weights.joined()
    theta, phi, g = (weight @ columns for weight in joined)
    positions = ones.shape[-1]
    context = g @ phi.transpose(1, 2) / positions
    y = context @ theta + _low_pass(g, x, dct_size)
    grad_z = u.flatten(2)
    grad_y = weights.out_weight.flatten(1).T @ grad_z
    grad_context = grad_y @ theta.transpose(1, 2) / positions
    grads = (
        context.transpose(1, 2) @ grad_y,  # of theta
        grad_context.transpose(1, 2) @ g,  # of phi
        grad_context @ phi + _low_pass(grad_y, x, dct_size),  # of g
    )
    grad_columns = sum((weight[:, :-1].T @ grad for weight, grad in zip(joined, grads, strict=True)), grad_z)
    grad_theta, grad_phi, grad_g = ((grad @ columns.transpose(1, 2)).sum(0) for grad in grads)
    grad_out = (grad_z @ y.transpose(1, 2)).sum(0)
    return grad_columns.reshape(x.shape), Weights.split(grad_theta, grad_phi, grad_g, grad_out, grad_z.sum((0, 2)))


def _with_ones(x: Tensor) -> tuple[Tensor, Tensor]:
    """The map as Tensor[B, C + 1, N] with a last row of ones, and that row."""
    columns = torch.nn.functional.pad(x.flatten(2), (0, 0, 0, 1), value=1.0)
    return columns, columns[:, -1:]


def _low_pass(g: Tensor, x: Tensor, dct_size: int) -> Tensor | float:
    return dct_low_pass(g.unflatten(2, x.shape[2:]), dct_size).flatten(2) if dct_size else 0.0


class Count(NamedTuple):
    """Multiply-adds of the operator and of its gradient."""

    forward: int
    backward: int


def multiply_adds(shape: torch.Size, inner: int, dct_size: int) -> Count:
    """Of a map Tensor[B, C, H, W], in the order that is chosen for it."""
    sizes = (shape[1], inner, shape[2], shape[3], dct_size)
    chosen = regrouped(*sizes) if is_regrouped(shape, inner, dct_size) else literal(*sizes)
    return Count(shape[0] * chosen.forward, shape[0] * chosen.backward)


def is_regrouped(shape: torch.Size, inner: int, dct_size: int) -> bool:
    """Whether a map Tensor[B, C, H, W] is worth its Gram matrix."""
    sizes = (shape[1], inner, shape[2], shape[3], dct_size)
    return regrouped(*sizes).forward < literal(*sizes).forward


def regrouped(channels: int, inner: int, height: int, width: int, dct_size: int) -> Count:
    """One image through the Gram matrix of the map: two passes over it, and a few C x C matrices.

    The gradient keeps the forward pass's Gram matrix and makes its small products again.
    """
    k_rows, k_columns = min(max(dct_size, 1), height), min(max(dct_size, 1), width)
    positions, half = height * width, first_half(channels)
    gram = positions * (channels * half + (channels - half) ** 2)
    transform = 2 * _transform(channels, height, width, k_rows, k_columns)
    application = positions * channels * channels
    wide, spectrum = channels + 1, k_rows * k_columns  # biases are a last column
    products = inner * wide * (wide + spectrum) + inner * inner * wide + channels * inner * (inner + wide)
    gradients = 2 * inner * (channels * wide + wide * wide + channels * inner + inner * wide)
    out_spectrum = channels * inner * spectrum if dct_size else 0
    g_spectrum = inner * wide * spectrum if dct_size else 0
    forward = gram + transform + application + products + out_spectrum
    return Count(forward, 3 * application + transform + products + gradients + 2 * (out_spectrum + g_spectrum))


def literal(channels: int, inner: int, height: int, width: int, dct_size: int) -> Count:
    """One image in the paper's order: four 1 x 1 convolutions and two D x D products at every position.

    The gradient computes the maps again, then every product has two gradients.
    """
    positions = height * width
    position_term = 2 * _transform(inner, height, width, min(dct_size, height), min(dct_size, width))
    maps = 3 * inner * (channels + 1) + 2 * inner * inner
    gradients = 2 * channels * inner + 4 * inner * inner + 3 * inner * channels + 3 * inner * (channels + 1)
    forward = positions * (maps + channels * inner) + position_term
    return Count(forward, positions * (maps + gradients) + 2 * position_term)


def first_half(channels: int) -> int:
    """Columns of the Gram matrix whose products are all computed; the others need those of their own rows alone."""
    return (channels + 1) // 2


def _transform(channels: int, height: int, width: int, k_rows: int, k_columns: int) -> int:
    """To the lowest frequencies or back, one axis after the other."""
    return channels * height * k_columns * (width + k_rows)


def check_map(x: Tensor, taker: str) -> None:
    """Raise ValueError unless x is a map that `taker`, a kind of context, can take."""
    if x.dim() != 4 or not x.is_floating_point():
        raise ValueError(f"{taker} takes a floating-point map [B, C, H, W]; got {x.dtype} {list(x.shape)}.")
