from collections.abc import Iterator
from typing import Any

from torch.utils.data import BatchSampler


class IterationBasedBatchSampler(BatchSampler):
    """Batches of as many epochs as it takes to reach `num_iterations`.

    Starting at `start_iter` yields what a run from the beginning would yield from there on: the batches before it are
    drawn but not loaded, so a resumed run goes on in the middle of an epoch.
    """

    def __init__(self, batch_sampler, num_iterations: int, start_iter: int = 0):
        self.batch_sampler = batch_sampler
        self.num_iterations = num_iterations
        self.start_iter = start_iter

    def __iter__(self) -> Iterator[list[int]]:
        iteration, epoch = 0, 0
        while iteration < self.num_iterations:
            # A BatchSampler of torch hands nothing on to the sampler of its indices.
            shuffled: Any
            for shuffled in (self.batch_sampler, getattr(self.batch_sampler, "sampler", None)):
                if hasattr(shuffled, "set_epoch"):
                    shuffled.set_epoch(epoch)
                    break
            before = iteration
            for batch in self.batch_sampler:
                if iteration >= self.num_iterations:
                    return
                if iteration >= self.start_iter:
                    yield batch
                iteration += 1
            if iteration == before:
                raise ValueError("The training data set yields no batch: it holds no image to train on.")
            epoch += 1

    def __len__(self) -> int:
        """The number of the last batch, whichever was the first."""
        return self.num_iterations
