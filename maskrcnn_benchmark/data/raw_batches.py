"""Batches of images as they are."""

from collections.abc import Sequence
from typing import Any


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
