"""Random minibatches of boxes with a bounded share of positives."""

from typing import Any

import torch
from torch import Tensor

from maskrcnn_benchmark.utils.overriding import is_overridden, replaceable


@replaceable("__call__")
class BalancedPositiveNegativeSampler:
    """Draws `batch_size_per_image` boxes an image, at most the fraction `positive_fraction` of them positive.

    Labels are 1 and above for positives, 0 for negatives, -1 for boxes to leave out.
    """

    def __init__(self, batch_size_per_image: int, positive_fraction: float):
        self.batch_size_per_image = batch_size_per_image
        self.positive_fraction = positive_fraction

    def sample(self, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Draw from one image without waiting for the device.

        Args:
            labels: Tensor[N].

        Returns:
            index: int64 Tensor[K], positives first; K depends on N and the settings alone.
            valid: bool Tensor[K]; False where the image has too few boxes to draw from.
        """
        n = len(labels)
        max_positive = min(int(self.batch_size_per_image * self.positive_fraction), n)
        max_total = min(self.batch_size_per_image, n)
        key = torch.rand(n, device=labels.device)
        # Keys lie in [0, 1); 2 marks boxes that must not be drawn.
        positive_key, positive = torch.where(labels >= 1, key, 2.0).topk(max_positive, largest=False)
        negative_key, negative = torch.where(labels == 0, key, 2.0).topk(max_total, largest=False)
        is_positive = positive_key < 2
        room = max_total - is_positive.sum()
        is_negative = (negative_key < 2) & (torch.arange(max_total, device=labels.device) < room)
        return torch.cat((positive, negative)), torch.cat((is_positive, is_negative))

    def __call__(self, matched_idxs: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Masks of the drawn positives and negatives, bool Tensor[N], for each image."""
        positives, negatives = [], []
        for labels in matched_idxs:
            index, valid = self.sample(labels)
            # A sum, as an entry that is not valid may name a box that another one draws.
            drawn = torch.zeros_like(labels, dtype=torch.int64).index_add_(0, index, valid.long()) > 0
            positives.append(drawn & (labels >= 1))
            negatives.append(drawn & (labels == 0))
        return positives, negatives


def draw(sampler: Any, labels: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """What a sampler draws of each image: indices int64 Tensor[K], positives first, and which of them are valid, bool Tensor[K].

    The host does not wait for the device, unless the sampler is of another class, or has a `__call__` of its own: then its
    masks are read.
    """
    if isinstance(sampler, BalancedPositiveNegativeSampler):
        if not is_overridden(sampler, BalancedPositiveNegativeSampler, "__call__"):
            drawn = [sampler.sample(label) for label in labels]
            return [index for index, _ in drawn], [valid for _, valid in drawn]
    positive, negative = sampler(labels)
    indices = [
        torch.cat((torch.nonzero(p).squeeze(1), torch.nonzero(n).squeeze(1)))
        for p, n in zip(positive, negative, strict=True)
    ]
    return indices, [torch.ones_like(index, dtype=torch.bool) for index in indices]
