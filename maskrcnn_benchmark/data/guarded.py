"""What the loader makes of a data set: unreadable images are replaced, and every item gets a seed."""

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset, Sampler

from maskrcnn_benchmark.data.datasets.images import BrokenImageError
from maskrcnn_benchmark.data.items import ItemError, last_words, place_of
from maskrcnn_benchmark.data.workers import start_worker
from maskrcnn_benchmark.utils.seed import derive_seed, seeded
from maskrcnn_benchmark.utils.wording import counted

# What says that an image file cannot be read: of the system, of Pillow, and (SyntaxError) of Pillow about damaged PNG files.
BROKEN = (OSError, SyntaxError, Image.DecompressionBombError)


class TooManyBrokenImagesError(OSError):
    """More image files cannot be read than DATALOADER.MAX_BROKEN_IMAGES allows."""

    def __init__(self, text: str):
        super().__init__(last_words(text, type(self)))


class GuardedDataset(Dataset):
    """A data set whose unreadable images are named and replaced, and whose items may carry a seed.

    Args:
        dataset: raises one of BROKEN for an image that cannot be read.
        max_broken: this many unreadable files are tolerated, in all worker processes together.
        replace: give the next image instead (training), or None (testing).
        names: what messages call the data set, or those that it is joined from.
        check: called with each item; raises ItemError.

    An item is an index, or (index, seed): then whatever is drawn at random for it depends on that seed alone.
    """

    def __init__(
        self,
        dataset: Any,
        max_broken: int,
        replace: bool,
        names: Sequence[str] = (),
        check: Callable[[Any], None] | None = None,
    ):
        self.dataset, self.max_broken, self.replace = dataset, max_broken, replace
        self.names, self.check = names, check
        self.broken = torch.zeros(len(dataset), dtype=torch.bool).share_memory_()

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, item: int | tuple[int, int]) -> Any:
        if isinstance(item, tuple):
            index, seed = item
            with seeded(seed):
                return self._read(index)
        return self._read(item)

    def _read(self, index: int) -> Any:
        while True:
            try:
                item = self.dataset[index]
                if self.check is not None:
                    self.check(item)
                return item
            except ItemError as error:
                raise ItemError(f"{place_of(self.dataset, self.names, index)}: {error}") from None
            except BROKEN as error:
                self._report(index, self._named(index, error))
                if not self.replace:
                    return None
                index = (index + 1) % len(self)

    def _named(self, index: int, error: Exception) -> str:
        if isinstance(error, BrokenImageError):
            return str(error)
        reason = str(error).rstrip(".") or type(error).__name__
        return f"{place_of(self.dataset, self.names, index)} cannot be read: {reason}"

    def _report(self, index: int, problem: str) -> None:
        if not self.broken[index]:
            self.broken[index] = True
            logging.getLogger(__name__).warning("%s. It is skipped.", problem)
        count = int(self.broken.sum())
        if count > self.max_broken or count == len(self):
            limit = f"more than DATALOADER.MAX_BROKEN_IMAGES = {self.max_broken}"
            raise TooManyBrokenImagesError(
                f"{counted(count, 'image')} could not be read, {limit if count > self.max_broken else 'and there is no other'}. "
                f"The last one: {problem}"
            ) from None


class GuardedLoader(DataLoader):
    """A DataLoader whose unreadable images are named and replaced; its attributes `dataset` and `batch_sampler` are plain ones,
    of which others can make a loader.

    Args:
        dataset: what the loader is asked about.
        batch_sampler: gives batches of indices.
        seed: see SeededBatches; None for items without seeds.
        source: what its items come from, if that is not the data set.
        max_broken, replace, names, check: see GuardedDataset.
        settings: of the DataLoader.
    """

    def __init__(
        self,
        dataset: Any,
        *,
        batch_sampler: Any,
        seed: int | None = None,
        source: Any = None,
        max_broken: int = 0,
        replace: bool = False,
        names: Sequence[str] = (),
        check: Callable[[Any], None] | None = None,
        **settings: Any,
    ):
        super().__init__(dataset, batch_sampler=batch_sampler, **settings, worker_init_fn=start_worker)
        guarded = GuardedDataset(dataset if source is None else source, max_broken, replace, names, check)
        batches = batch_sampler if seed is None else SeededBatches(batch_sampler, seed)
        self.reader: DataLoader = DataLoader(guarded, batch_sampler=batches, **settings, worker_init_fn=start_worker)

    def __iter__(self) -> Any:
        return iter(self.reader)


class SeededBatches(Sampler[list[tuple[int, int]]]):
    """Gives each member of each batch a seed of its own, made of the run's seed, the iteration and the index."""

    def __init__(self, batch_sampler: Any, seed: int):
        self.batch_sampler, self.seed = batch_sampler, seed

    @property
    def start_iter(self) -> int:
        """Batches that the next iteration over this one leaves out."""
        return self.batch_sampler.start_iter

    @start_iter.setter
    def start_iter(self, start_iter: int) -> None:
        self.batch_sampler.start_iter = start_iter

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        for iteration, batch in enumerate(self.batch_sampler, start=self.start_iter):
            yield [(index, derive_seed(self.seed, iteration, index)) for index in batch]

    def __len__(self) -> int:
        return len(self.batch_sampler)
