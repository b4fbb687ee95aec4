from bisect import bisect_right
from collections.abc import Sequence

import torch

from maskrcnn_benchmark.solver.warmup import WarmupLR


class WarmupMultiStepLR(WarmupLR):
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
        self.milestones = tuple(milestones)
        self.gamma = gamma
        super().__init__(optimizer, warmup_factor, warmup_iters, warmup_method, last_epoch)

    def factor(self, iteration: int) -> float:
        return self.gamma ** bisect_right(self.milestones, iteration)
