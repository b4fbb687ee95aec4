"""Non-local context modules for feature maps, by kind.

A kind of one's own is a subclass of NonLocal with one line, `NON_LOCAL.register("name", Kind)`: MODEL.NON_LOCAL then takes its
name at every place. It is made with the number of channels, or by its `from_config`.

Legend: C channels, D = C / reduction inner channels, N = H * W positions; equations are those of equations.py.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from maskrcnn_benchmark.layers.layout import any_layout
from maskrcnn_benchmark.utils.registry import Registry

from .algebra import Weights
from .equations import (
    dct_low_pass,
    dct_tables,
    dot_product,
    embedded_gaussian,
    literal_embedded_gaussian,
    regrouped_dot_product,
)
from .operator import efficient_non_local

# MODEL.NON_LOCAL.TOP_DOWN.TYPE and BOTTOM_UP.TYPE: subclasses of NonLocal, or functions from the number of channels to one.
NON_LOCAL = Registry()


class PairWeights(NamedTuple):
    """What one position of a map takes of every other: the factors of g in y, three Tensor[H, W].

    appearance: of equation 6 (for "nl" the softmax); position: of the DCT term; total: their sum, equation 9.
    """

    appearance: Tensor
    position: Tensor
    total: Tensor


class NonLocal(nn.Module):
    """A module in which every position of a map sees the others: Tensor[B, C, H, W] -> the same shape.

    channels: of the maps; one without parameters need not know.
    """

    def __init__(self, channels: int = 0):
        super().__init__()

    @classmethod
    def from_config(cls, non_local: Any, channels: int) -> "NonLocal":
        """The module that the MODEL.NON_LOCAL keys describe, for maps of `channels` channels."""
        return cls(channels)

    def pair_weights(self, x: Tensor, row: int, column: int) -> PairWeights:
        """What the position (row, column) of a map [C, H, W] takes of every other. Optional: pictures of the context need it."""
        raise ValueError(
            f"{type(self).__name__} has no method `pair_weights`, which says what a position takes of the others: pictures of "
            "the context need it, training and detection do not."
        )


class NonLocal2d(NonLocal):
    """x + out(y), where y is a sum over all positions of g, weighted by theta and phi. Subclasses say how.

    theta, phi, g and out are 1 x 1 convolutions with bias, C -> C / reduction and back; weights start as N(0, init_std^2),
    biases as zero (supplement of the paper). `out_init_std` is for out alone: with 0 the module starts as the identity.
    """

    def __init__(self, channels: int, reduction: int = 2, init_std: float = 0.01, out_init_std: float | None = None):
        super().__init__()
        if reduction < 1 or channels % reduction:
            raise ValueError(f"reduction must divide the {channels} channels; got {reduction}.")
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

    @classmethod
    def from_config(cls, non_local: Any, channels: int) -> "NonLocal2d":
        return cls(channels, **cls._options(non_local))

    @classmethod
    def _options(cls, non_local: Any) -> dict[str, Any]:
        return {
            "reduction": non_local.REDUCTION,
            "init_std": non_local.INIT_STD,
            "out_init_std": non_local.OUT_INIT_STD,
        }

    def attend(self, theta: Tensor, phi: Tensor, g: Tensor) -> Tensor:
        """y: three Tensor[B, D, H, W] -> Tensor[B, D, H, W]."""
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        return x + self.out(self.attend(self.theta(x), self.phi(x), self.g(x)).to(x.dtype))

    @torch.no_grad()
    def pair_weights(self, x: Tensor, row: int, column: int) -> PairWeights:
        """The row of the matrix that multiplies g (equations 1 to 9) for the position (row, column) of a map [C, H, W]."""
        check_point(x, row, column)
        similarity = torch.einsum("d,dhw->hw", self.theta(x)[:, row, column], self.phi(x)).float()
        appearance, position = self._normalised(similarity), self._position(similarity, row, column)
        return PairWeights(appearance, position, appearance + position)

    def _normalised(self, similarity: Tensor) -> Tensor:
        return similarity / similarity.numel()

    def _position(self, similarity: Tensor, row: int, column: int) -> Tensor:
        return torch.zeros_like(similarity)


@any_layout
class EmbeddedGaussian(NonLocal2d):
    """ "nl": the embedded Gaussian (equations 1 to 4), quadratic in H * W.

    `literal` computes it through the N x N matrix, at the paper's cost in memory; otherwise it is PyTorch's attention.
    """

    def __init__(self, channels: int, *, literal: bool = False, **options: Any):
        super().__init__(channels, **options)
        self.literal = literal

    @classmethod
    def _options(cls, non_local: Any) -> dict[str, Any]:
        return {**super()._options(non_local), "literal": non_local.LITERAL}

    def attend(self, theta: Tensor, phi: Tensor, g: Tensor) -> Tensor:
        return (literal_embedded_gaussian if self.literal else embedded_gaussian)(theta, phi, g)

    def _normalised(self, similarity: Tensor) -> Tensor:
        return similarity.flatten().softmax(0).view_as(similarity)

    def extra_repr(self) -> str:
        return "literal=True" if self.literal else ""


@any_layout
class DotProduct(NonLocal2d):
    """ "nl_dot": the dot product (equation 5), quadratic in H * W."""

    def attend(self, theta: Tensor, phi: Tensor, g: Tensor) -> Tensor:
        with without_autocast(g):
            return dot_product(*_wide(theta, phi, g))


@any_layout
class EfficientNonLocal(NonLocal2d):
    """ "enl": the dot product regrouped plus, with `position` "dct", the low-frequency part of g (equation 9), linear in H * W;
    with `position` "" equation 6 alone.

    `literal` computes it in the paper's order, through maps of theta, phi and g: the same values, for comparing costs.
    Otherwise it is one operator that keeps x alone.
    """

    def __init__(
        self, channels: int, position: str = "dct", dct_size: int = 9, *, literal: bool = False, **options: Any
    ):
        super().__init__(channels, **options)
        if position not in ("", "dct"):
            raise ValueError(f"The position term of a non-local module is 'dct' or ''; got {position!r}.")
        if dct_size < 1:
            raise ValueError(f"dct_size counts frequencies and is at least 1; got {dct_size}.")
        self.dct_size = dct_size if position else 0
        self.literal = literal

    @classmethod
    def _options(cls, non_local: Any) -> dict[str, Any]:
        own = {"position": non_local.POSITION, "dct_size": non_local.DCT_SIZE, "literal": non_local.LITERAL}
        return {**super()._options(non_local), **own}

    def forward(self, x: Tensor) -> Tensor:
        if self.literal:
            return super().forward(x)
        return efficient_non_local(x, Weights.of(self.theta, self.phi, self.g, self.out), self.dct_size)

    def attend(self, theta: Tensor, phi: Tensor, g: Tensor) -> Tensor:
        with without_autocast(g):
            theta, phi, g = _wide(theta, phi, g)
            y = regrouped_dot_product(theta, phi, g)
            return y + dct_low_pass(g, self.dct_size) if self.dct_size else y

    def _position(self, similarity: Tensor, row: int, column: int) -> Tensor:
        if not self.dct_size:
            return super()._position(similarity, row, column)
        height, width = similarity.shape
        rows, columns = dct_tables(height, width, self.dct_size, similarity.dtype, similarity.device)
        return torch.outer(rows @ rows[row], columns @ columns[column])

    def extra_repr(self) -> str:
        return f"dct_size={self.dct_size}{', literal=True' if self.literal else ''}"


NON_LOCAL.register("nl", EmbeddedGaussian)
NON_LOCAL.register("nl_dot", DotProduct)
NON_LOCAL.register("enl", EfficientNonLocal)


def check_point(x: Tensor, row: int, column: int) -> None:
    """Raise ValueError unless a map [C, H, W] has this position."""
    _, height, width = x.shape
    if not (0 <= row < height and 0 <= column < width):
        raise ValueError(f"The map has {height} rows and {width} columns; got row {row}, column {column}.")


def without_autocast(x: Tensor) -> AbstractContextManager:
    """Nothing where autocast is off, so that an exported program does not mention it, or unknown, as on the meta device."""
    is_on = not x.is_meta and torch.is_autocast_enabled(x.device.type)
    return torch.autocast(x.device.type, enabled=False) if is_on else nullcontext()


def _wide(*maps: Tensor) -> tuple[Tensor, ...]:
    """Sums over all positions overflow float16 and round badly in bfloat16."""
    return tuple(m.to(torch.promote_types(m.dtype, torch.float32)) for m in maps)
