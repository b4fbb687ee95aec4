from collections.abc import Sequence
from typing import Any

from maskrcnn_benchmark.structures.image_list import ImageList, to_image_list


class BatchCollator:
    """[(image, target, index), ...] -> (ImageList, targets, indices).

    Entries that are None (images that could not be read, in testing) are left out; a batch of nothing else is None.
    """

    def __init__(self, size_divisible: int = 0):
        self.size_divisible = size_divisible

    def __call__(self, batch: Sequence[Any]) -> tuple[ImageList, tuple, tuple] | None:
        batch = [sample for sample in batch if sample is not None]
        if not batch:
            return None
        images, targets, indices = zip(*batch, strict=True)
        return to_image_list(images, self.size_divisible), targets, indices


class BBoxAugCollator:
    """[(image, target, index), ...] -> (images, targets, indices), the images as they are; None as in BatchCollator.

    For test-time augmentation, which scales and batches them itself.
    """

    def __call__(self, batch: Sequence[Any]) -> tuple[tuple, tuple, tuple] | None:
        batch = [sample for sample in batch if sample is not None]
        if not batch:
            return None
        images, targets, indices = zip(*batch, strict=True)
        return images, targets, indices
