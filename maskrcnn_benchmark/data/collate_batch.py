from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import get_worker_info

from maskrcnn_benchmark.data.raw_batches import BBoxAugCollator
from maskrcnn_benchmark.structures.image_list import ImageList, to_image_list

__all__ = ["BBoxAugCollator", "BatchCollator"]


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
        if get_worker_info() is not None and all(type(i) is Tensor and i.ndim == 3 for i in images):
            return _shared_image_list(images, self.size_divisible), targets, indices
        return to_image_list(images, self.size_divisible), targets, indices


def _shared_image_list(images: Sequence[Tensor], size_divisible: int) -> ImageList:
    """`to_image_list` into memory that the main process shares: what a worker puts elsewhere is copied there on its way."""
    height, width = (max(i.shape[d] for i in images) for d in (1, 2))
    if size_divisible > 0:
        height, width = (-(-n // size_divisible) * size_divisible for n in (height, width))
    shape = (len(images), images[0].shape[0], height, width)
    numbers = len(images) * images[0].shape[0] * height * width
    storage = torch.UntypedStorage._new_shared(numbers * images[0].element_size())  # zeros, as the system gives it
    batch = images[0].new_empty(0).set_(storage, 0, (numbers,), (1,)).view(shape)
    for image, slot in zip(images, batch, strict=True):
        slot[:, : image.shape[1], : image.shape[2]].copy_(image)
    return ImageList(batch, [torch.Size(i.shape[-2:]) for i in images])
