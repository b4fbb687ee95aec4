from collections.abc import Iterable, Iterator, Sequence

from torch.utils.data import Sampler


class GroupedBatchSampler(Sampler):
    """Batches whose members belong to one group, in the order of their first members.

    Args:
        sampler: yields indices.
        group_ids: the group of each index.
        batch_size: members of a full batch.
        drop_uneven: leave out what does not fill a batch.
    """

    def __init__(self, sampler: Iterable[int], group_ids: Sequence[int], batch_size: int, drop_uneven: bool = False):
        self.sampler = sampler
        self.group_ids = [int(g) for g in group_ids]
        self.batch_size = batch_size
        self.drop_uneven = drop_uneven

    def _batches(self) -> list[list[int]]:
        """Of the sampler's present epoch."""
        batches: list[list[int]] = []
        waiting: dict[int, list[int]] = {}
        for index in self.sampler:
            group = self.group_ids[index]
            batch = waiting.get(group)
            if batch is None or len(batch) == self.batch_size:
                batch = waiting[group] = []
                batches.append(batch)
            batch.append(index)
        return [b for b in batches if not self.drop_uneven or len(b) == self.batch_size]

    def __iter__(self) -> Iterator[list[int]]:
        return iter(self._batches())

    def __len__(self) -> int:
        """The number of batches of the sampler's present epoch (which is run through for it)."""
        return len(self._batches())

    def set_epoch(self, epoch: int) -> None:
        if hasattr(self.sampler, "set_epoch"):
            self.sampler.set_epoch(epoch)
