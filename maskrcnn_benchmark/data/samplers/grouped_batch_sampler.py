from collections.abc import Iterable, Iterator, Sequence

from torch.utils.data import Sampler


class GroupedBatchSampler(Sampler):
    """Batches whose members belong to one group, in the order in which a sampler completes them.

    Args:
        sampler: yields indices.
        group_ids: the group of each index.
        batch_size: members of a full batch.
        drop_uneven: leave out what does not fill a batch; otherwise it comes last, as smaller batches.
    """

    def __init__(self, sampler: Iterable[int], group_ids: Sequence[int], batch_size: int, drop_uneven: bool = False):
        self.sampler = sampler
        self.group_ids = [int(g) for g in group_ids]
        self.batch_size = batch_size
        self.drop_uneven = drop_uneven

    def __iter__(self) -> Iterator[list[int]]:
        waiting: dict[int, list[int]] = {}
        for index in self.sampler:
            batch = waiting.setdefault(self.group_ids[index], [])
            batch.append(index)
            if len(batch) == self.batch_size:
                yield waiting.pop(self.group_ids[index])
        if not self.drop_uneven:
            yield from waiting.values()

    def __len__(self) -> int:
        """The number of batches of the sampler's present epoch (which is run through for it)."""
        return sum(1 for _ in self)

    def set_epoch(self, epoch: int) -> None:
        if hasattr(self.sampler, "set_epoch"):
            self.sampler.set_epoch(epoch)
