import bisect
from typing import Any

import numpy as np
from torch.utils.data import ConcatDataset as _ConcatDataset

from maskrcnn_benchmark.data.datasets.facts import image_sizes, labels_by_image


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

    def image_sizes(self) -> np.ndarray:
        """Height and width of each image in pixels, [len(self), 2]."""
        return np.concatenate([image_sizes(part) for part in self.datasets])

    def labels_by_image(self) -> tuple[np.ndarray, np.ndarray]:
        """Labels of the objects, image after image, [A], and where each image's begin, [len(self) + 1]."""
        parts = [labels_by_image(part) for part in self.datasets]
        counts = np.concatenate([np.diff(first) for _, first in parts])
        return np.concatenate([labels for labels, _ in parts]), np.concatenate(([0], np.cumsum(counts)))
