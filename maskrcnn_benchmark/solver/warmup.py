"""Learning rates that begin low."""

import math

import torch
from torch import Tensor


class WarmupLR(torch.optim.lr_scheduler.LRScheduler):
    """A schedule whose rates are less during the first `warmup_iters` iterations.

    Args:
        warmup_factor: what the rate starts at, relative to that of the schedule.
        warmup_method: "linear" growth up to the schedule's rate, or "constant".
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        warmup_factor: float,
        warmup_iters: int,
        warmup_method: str,
        last_epoch: int = -1,
    ):
        if warmup_method not in ("constant", "linear"):
            raise ValueError(f"SOLVER.WARMUP_METHOD must be 'constant' or 'linear'; got {warmup_method!r}.")
        self.warmup_factor = warmup_factor
        self.warmup_iters = warmup_iters
        self.warmup_method = warmup_method
        super().__init__(optimizer, last_epoch)

    def get_lr(self) -> list[float | Tensor]:
        factor = 1.0
        if self.last_epoch < self.warmup_iters:
            progress = self.last_epoch / self.warmup_iters if self.warmup_method == "linear" else 0.0
            factor = self.warmup_factor * (1 - progress) + progress
        factor *= self.factor(self.last_epoch)
        return [base_lr * factor for base_lr in self.base_lrs]

    def factor(self, iteration: int) -> float:
        """The rate relative to the base rate, without warm-up."""
        raise NotImplementedError


class WarmupCosineLR(WarmupLR):
    """Half a cosine from the base rate to 0 at `max_iters` (Loshchilov and Hutter 2017), after the same warm-up."""

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        max_iters: int,
        warmup_factor: float = 1.0 / 3,
        warmup_iters: int = 500,
        warmup_method: str = "linear",
        last_epoch: int = -1,
    ):
        self.max_iters = max_iters
        super().__init__(optimizer, warmup_factor, warmup_iters, warmup_method, last_epoch)

    def factor(self, iteration: int) -> float:
        return 0.5 * (1 + math.cos(math.pi * min(iteration / self.max_iters, 1)))
