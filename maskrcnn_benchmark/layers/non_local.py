"""Non-local context modules for feature maps.

Wang et al., "Non-local Neural Networks" (CVPR 2018), and Levi and Ullman, "Efficient Coarse-to-Fine Non-Local Module for
the Detection of Small Objects" (BMVC 2019, arXiv 1811.12152), whose equations are named below.

Legend: B batch, C channels, D = C / reduction inner channels, N = H * W positions, K frequencies along an axis.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskrcnn_benchmark.layers.enl import Weights, efficient_non_local
from maskrcnn_benchmark.layers.enl.dct import dct_low_pass, dct_tables
from maskrcnn_benchmark.layers.layout import any_layout

NON_LOCAL_TYPES = ("nl", "nl_dot", "enl")


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


def _without_autocast(x: Tensor) -> AbstractContextManager:
    """Nothing where autocast is off, so that an exported program does not mention it, or unknown, as on the meta device."""
    is_on = not x.is_meta and torch.is_autocast_enabled(x.device.type)
    return torch.autocast(x.device.type, enabled=False) if is_on else nullcontext()


class PairWeights(NamedTuple):
    """What one position of a map takes of every other: the factors of g in y, three Tensor[H, W].

    appearance: of equation 6 (for "nl" the softmax); position: of the DCT term; total: their sum, equation 9.
    """

    appearance: Tensor
    position: Tensor
    total: Tensor


@any_layout
class NonLocal2d(nn.Module):
    """x + out(y) with y one of

    - "nl": the embedded Gaussian (equations 1 to 4), quadratic in H * W;
    - "nl_dot": the dot product (equation 5), quadratic;
    - "enl": the dot product regrouped plus, with `position` "dct", the low-frequency part of g (equation 9), linear;
      with `position` "" equation 6 alone.

    `literal` computes "nl" and "enl" in the paper's order, through maps of theta, phi and g and, for "nl", the N x N matrix:
    the same values, for comparing costs. Otherwise "nl" is PyTorch's attention and "enl" one operator that keeps x alone.

    theta, phi, g and out are 1 x 1 convolutions with bias, C -> C / reduction and back; weights start as
    N(0, init_std^2), biases as zero (supplement of the paper). `out_init_std` is for out alone: with 0 the module
    starts as the identity.

    Shape: Tensor[B, C, H, W] -> Tensor[B, C, H, W].
    """

    def __init__(
        self,
        channels: int,
        type: str = "enl",
        position: str = "dct",
        dct_size: int = 9,
        reduction: int = 2,
        init_std: float = 0.01,
        out_init_std: float | None = None,
        literal: bool = False,
    ):
        super().__init__()
        if type not in NON_LOCAL_TYPES:
            raise ValueError(f"The type of a non-local module is one of {', '.join(NON_LOCAL_TYPES)}; got {type!r}.")
        if position not in ("", "dct"):
            raise ValueError(f"The position term of a non-local module is 'dct' or ''; got {position!r}.")
        if reduction < 1 or channels % reduction:
            raise ValueError(f"reduction must divide the {channels} channels; got {reduction}.")
        if dct_size < 1:
            raise ValueError(f"dct_size counts frequencies and is at least 1; got {dct_size}.")
        self.kind, self.position, self.dct_size, self.literal = type, position, dct_size, literal
        inner = channels // reduction
        self.theta = nn.Conv2d(channels, inner, 1)
        self.phi = nn.Conv2d(channels, inner, 1)
        self.g = nn.Conv2d(channels, inner, 1)
        self.out = nn.Conv2d(inner, channels, 1)
        for conv in (self.theta, self.phi, self.g, self.out):
            own = init_std if conv is not self.out or out_init_std is None else out_init_std
            nn.init.normal_(conv.weight, std=own)
            if conv.bias is not None:
                nn.init.zeros_(conv.bias)

    def forward(self, x: Tensor) -> Tensor:
        if self.kind == "enl" and not self.literal:
            weights = Weights.of(self.theta, self.phi, self.g, self.out)
            return efficient_non_local(x, weights, self.dct_size if self.position == "dct" else 0)
        theta, phi, g = self.theta(x), self.phi(x), self.g(x)
        if self.kind == "nl":
            attend = literal_embedded_gaussian if self.literal else embedded_gaussian
            return x + self.out(attend(theta, phi, g))
        # Sums over all positions overflow float16 and round badly in bfloat16.
        with _without_autocast(x):
            wide = torch.promote_types(g.dtype, torch.float32)
            theta, phi, g = theta.to(wide), phi.to(wide), g.to(wide)
            y = dot_product(theta, phi, g) if self.kind == "nl_dot" else regrouped_dot_product(theta, phi, g)
            if self.kind == "enl" and self.position == "dct":
                y = y + dct_low_pass(g, self.dct_size)
        return x + self.out(y.to(x.dtype))

    @torch.no_grad()
    def pair_weights(self, x: Tensor, row: int, column: int) -> PairWeights:
        """The row of the matrix that multiplies g (equations 1 to 9) for the position (row, column) of a map [C, H, W]."""
        _, height, width = x.shape
        if not (0 <= row < height and 0 <= column < width):
            raise ValueError(f"The map has {height} rows and {width} columns; got row {row}, column {column}.")
        similarity = torch.einsum("d,dhw->hw", self.theta(x)[:, row, column], self.phi(x)).float()
        if self.kind == "nl":
            appearance = similarity.flatten().softmax(0).view_as(similarity)
        else:
            appearance = similarity / similarity.numel()
        position = torch.zeros_like(appearance)
        if self.kind == "enl" and self.position == "dct":
            rows, columns = dct_tables(height, width, self.dct_size, appearance.dtype, x.device)
            position = torch.outer(rows @ rows[row], columns @ columns[column])
        return PairWeights(appearance, position, appearance + position)

    def extra_repr(self) -> str:
        position = f", position={self.position!r}, dct_size={self.dct_size}" if self.kind == "enl" else ""
        return f"type={self.kind!r}{position}{', literal=True' if self.literal else ''}"
