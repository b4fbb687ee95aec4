"""Images of rare categories more often than once an epoch (Gupta et al. 2019, LVIS, section A.1, arXiv 1908.03195)."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from maskrcnn_benchmark.data.samplers.seeded import SeededSampler


def repeat_factors(labels: np.ndarray, first: np.ndarray, threshold: float) -> Tensor:
    """How often each image is to come, on average, an epoch.

    A category c in the fraction f_c of all images has r_c = max(1, sqrt(threshold / f_c)), an image the largest r_c of its
    categories, and 1 without any.

    Args:
        labels: integers [A], the categories of the objects, image after image.
        first: integers [I + 1], the objects of image i are first[i] to first[i + 1].
        threshold: categories in a smaller fraction of the images are repeated.

    Returns:
        float64 Tensor[I].
    """
    images = len(first) - 1
    owner = np.repeat(np.arange(images), np.diff(first))
    pairs = np.unique(np.stack((owner, labels)), axis=1)  # each category once an image
    counts = np.bincount(pairs[1], minlength=1)
    of_category = np.maximum(1.0, np.sqrt(threshold * images / np.maximum(counts, 1)))
    factors = np.ones(images)
    np.maximum.at(factors, pairs[0], of_category[pairs[1]])
    return torch.from_numpy(factors)


class RepeatFactorSampler(SeededSampler):
    """Every process's share of a data set whose images come as often as their factors say.

    The fraction of a factor is rounded up or down at random anew each epoch, so an epoch's length varies. Order and rounding
    depend on the seed and the epoch alone: however many processes share them, together they draw the same.

    Args:
        factors: float Tensor[N], 1 or more, as `repeat_factors` gives them.
        num_replicas, rank: of the processes; those of torch.distributed if not given.
    """

    def __init__(self, factors: Tensor, num_replicas: int | None = None, rank: int | None = None, seed: int = 0):
        super().__init__(range(len(factors)), num_replicas, rank, shuffle=True, seed=seed)
        self.factors = factors

    def _order(self) -> Tensor:
        """All processes' indices of the present epoch, int64."""
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        whole = self.factors.floor()
        up = torch.rand(len(whole), generator=generator, dtype=torch.float64) < self.factors - whole
        indices = torch.arange(len(whole)).repeat_interleave(whole.long() + up)
        return indices[torch.randperm(len(indices), generator=generator)]

    def __iter__(self) -> Iterator[int]:
        order = self._order()
        length = -(-len(order) // self.num_replicas) * self.num_replicas
        padded = order.repeat(-(-length // max(len(order), 1)))[:length]
        return iter(padded[self.rank :: self.num_replicas].tolist())

    def __len__(self) -> int:
        """Of the present epoch."""
        return -(-len(self._order()) // self.num_replicas)
