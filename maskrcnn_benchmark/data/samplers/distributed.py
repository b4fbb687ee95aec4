from collections.abc import Sized

from maskrcnn_benchmark.data.samplers.seeded import SeededSampler


class DistributedSampler(SeededSampler):
    """`SeededSampler` by maskrcnn-benchmark's arguments; the seed is its attribute `seed`, 0 at first.

    Attributes:
        num_samples: the images of a share, all of which are equally long; samplers of forks compute with it.
        total_size: the images of all shares together, those that are repeated among them.
    """

    def __init__(self, dataset: Sized, num_replicas: int | None = None, rank: int | None = None, shuffle: bool = True):
        super().__init__(dataset, num_replicas, rank, shuffle)
        self.num_samples = -(-len(dataset) // self.num_replicas)
        self.total_size = self.num_samples * self.num_replicas

    def __len__(self) -> int:
        return self.num_samples if self.shuffle else super().__len__()
