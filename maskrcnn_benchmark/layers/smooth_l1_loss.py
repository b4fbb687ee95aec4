import torch.nn.functional as F
from torch import Tensor


def smooth_l1_loss(input: Tensor, target: Tensor, beta: float = 1.0 / 9, size_average: bool = True) -> Tensor:
    """Quadratic below `beta`, linear above; the mean over all entries, or their sum."""
    return F.smooth_l1_loss(input, target, beta=beta, reduction="mean" if size_average else "sum")
