from collections.abc import Iterator, Sized

import torch
from torch.utils.data import Sampler

from maskrcnn_benchmark.utils import distributed


class SeededSampler(Sampler):
    """Every process's share of a data set, in an order that depends on the seed and the epoch alone.

    Shuffled shares are equally long: the first images are repeated. In testing (`shuffle` False) each process takes a
    contiguous share and nothing is repeated, so that no image is evaluated twice.
    """

    def __init__(
        self,
        dataset: Sized,
        num_replicas: int | None = None,
        rank: int | None = None,
        shuffle: bool = True,
        seed: int = 0,
    ):
        self.dataset = dataset
        self.num_replicas = distributed.get_world_size() if num_replicas is None else num_replicas
        self.rank = distributed.get_rank() if rank is None else rank
        self.shuffle = shuffle
        self.seed = seed
        self.epoch = 0

    def __iter__(self) -> Iterator[int]:
        n = len(self.dataset)
        if not self.shuffle:
            return iter(range(self.rank * n // self.num_replicas, (self.rank + 1) * n // self.num_replicas))
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        order = torch.randperm(n, generator=generator)
        padded = order.repeat(-(-len(self) * self.num_replicas // max(n, 1)))[: len(self) * self.num_replicas]
        return iter(padded[self.rank :: self.num_replicas].tolist())

    def __len__(self) -> int:
        n = len(self.dataset)
        if not self.shuffle:
            return (self.rank + 1) * n // self.num_replicas - self.rank * n // self.num_replicas
        return -(-n // self.num_replicas)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch
