"""Random minibatches of boxes with a bounded share of positives."""

import torch
from torch import Tensor


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
