from bisect import bisect_right
from collections.abc import Sequence

import torch
from torch import Tensor


class WarmupMultiStepLR(torch.optim.lr_scheduler.LRScheduler):
    """The base rate times `gamma` for each milestone passed, and less during the first `warmup_iters` iterations.

    Args:
        milestones: increasing iterations.
        warmup_factor: what the rate starts at, relative to the base rate.
        warmup_method: "linear" growth up to the base rate, or "constant".
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        milestones: Sequence[int],
        gamma: float = 0.1,
        warmup_factor: float = 1.0 / 3,
        warmup_iters: int = 500,
        warmup_method: str = "linear",
        last_epoch: int = -1,
    ):
        if list(milestones) != sorted(milestones):
            raise ValueError(f"SOLVER.STEPS must be increasing; got {tuple(milestones)}.")
        if warmup_method not in ("constant", "linear"):
            raise ValueError(f"SOLVER.WARMUP_METHOD must be 'constant' or 'linear'; got {warmup_method!r}.")
        self.milestones = tuple(milestones)
        self.gamma = gamma
        self.warmup_factor = warmup_factor
        self.warmup_iters = warmup_iters
        self.warmup_method = warmup_method
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float | Tensor]:
        factor = 1.0
        if self.last_epoch < self.warmup_iters:
            progress = self.last_epoch / self.warmup_iters if self.warmup_method == "linear" else 0.0
            factor = self.warmup_factor * (1 - progress) + progress
        factor *= self.gamma ** bisect_right(self.milestones, self.last_epoch)
        return [base_lr * factor for base_lr in self.base_lrs]
