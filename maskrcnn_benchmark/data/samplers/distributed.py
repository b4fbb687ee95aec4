from collections.abc import Sized

from maskrcnn_benchmark.data.samplers.seeded import SeededSampler


class DistributedSampler(SeededSampler):
    """`SeededSampler` by maskrcnn-benchmark's arguments; the seed is its attribute `seed`, 0 at first."""

    def __init__(self, dataset: Sized, num_replicas: int | None = None, rank: int | None = None, shuffle: bool = True):
        super().__init__(dataset, num_replicas, rank, shuffle)
