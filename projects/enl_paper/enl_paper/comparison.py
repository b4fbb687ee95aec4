"""Several models trained with the same seeds: differences between them, how sure they are, and what could have been seen."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


@functools.cache
def t_quantile(p: float, freedom: int) -> float:
    """The value below which Student's t with `freedom` degrees of freedom lies with probability p."""
    if not 0 < p < 1 or freedom < 1:
        raise ValueError(f"p must lie between 0 and 1 and freedom be at least 1; got {p} and {freedom}.")
    if p < 0.5:
        return -t_quantile(1 - p, freedom)
    # t = sqrt(freedom) * tan(a) turns the density into cos(a) ** (freedom - 1) on a finite interval.
    angles = np.linspace(0, math.pi / 2, 200_001)[:-1]
    mass = np.cumsum(np.cos(angles + (angles[1] - angles[0]) / 2) ** (freedom - 1))
    return math.sqrt(freedom) * math.tan(angles[np.searchsorted(mass, 2 * (p - 0.5) * mass[-1])])


@dataclass(frozen=True)
class Comparison:
    """One metric of several models, each trained with the same seeds.

    Attributes:
        mean, deviation: of each model, over seeds.
        interval: half of the 95 % confidence interval of a difference between two models' means.
        detectable: the true difference that this experiment would call significant (5 %, two-sided) with probability 0.8.
    """

    mean: Mapping[str, float]
    deviation: Mapping[str, float]
    interval: float
    detectable: float

    def difference(self, model: str, other: str) -> float:
        return self.mean[model] - self.mean[other]

    def significant(self, model: str, other: str) -> bool:
        return abs(self.difference(model, other)) > self.interval


def compare(values: Mapping[str, Sequence[float]]) -> Comparison:
    """Of values[model][seed]. A seed orders the data alike for all models, so its effect is taken out (two-way analysis of
    variance without replication); what is left over, pooled over all models, is the noise of a run.

    Raises ValueError unless there are two models with the same number of seeds, two at least.
    """
    table = (
        np.array(list(values.values()), np.float64) if len({len(v) for v in values.values()}) == 1 else np.empty((0, 0))
    )
    models, seeds = table.shape if table.ndim == 2 else (0, 0)
    if models < 2 or seeds < 2:
        raise ValueError("A comparison needs two models, and of each the same two seeds at least.")
    residual = table - table.mean(1, keepdims=True) - table.mean(0, keepdims=True) + table.mean()
    freedom = (models - 1) * (seeds - 1)
    error = math.sqrt(2 / seeds * float((residual**2).sum()) / freedom)  # of a difference of two means
    return Comparison(
        mean={m: float(row.mean()) for m, row in zip(values, table, strict=True)},
        deviation={m: float(row.std(ddof=1)) for m, row in zip(values, table, strict=True)},
        interval=t_quantile(0.975, freedom) * error,
        detectable=(t_quantile(0.975, freedom) + t_quantile(0.8, freedom)) * error,
    )
