import bisect
from typing import Any

from torch.utils.data import ConcatDataset as _ConcatDataset


class ConcatDataset(_ConcatDataset):
    """Data sets one after another. The index that an item carries is its index in the whole."""

    datasets: list[Any]

    def __getitem__(self, idx: int) -> tuple[Any, Any, int]:
        image, target, _ = super().__getitem__(idx)
        return image, target, idx

    def get_idxs(self, idx: int) -> tuple[int, int]:
        """Which data set, and which of its images, the index stands for."""
        dataset = bisect.bisect_right(self.cumulative_sizes, idx)
        return dataset, idx - (self.cumulative_sizes[dataset - 1] if dataset else 0)

    def get_img_info(self, idx: int) -> dict:
        dataset, index = self.get_idxs(idx)
        return self.datasets[dataset].get_img_info(index)
