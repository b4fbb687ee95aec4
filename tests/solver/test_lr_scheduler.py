"""Learning rates against the formula written out, iteration by iteration."""

import pytest
import torch

from maskrcnn_benchmark.config import cfg
from maskrcnn_benchmark.solver import WarmupCosineLR, WarmupMultiStepLR, make_lr_scheduler, make_optimizer


def rates(scheduler: WarmupMultiStepLR, iterations: int) -> list[list[float]]:
    """The rate of each group in iterations 0, 1, 2, ..."""
    seen = []
    for _ in range(iterations):
        seen.append([group["lr"] for group in scheduler.optimizer.param_groups])
        scheduler.optimizer.step()
        scheduler.step()
    return seen


def optimizer(*base_rates: float) -> torch.optim.SGD:
    return torch.optim.SGD([{"params": [torch.zeros(1, requires_grad=True)], "lr": lr} for lr in base_rates])


@pytest.mark.parametrize("method", ["linear", "constant"])
@pytest.mark.parametrize("milestones", [(), (4,), (10, 30), (12, 12, 40)])
@pytest.mark.parametrize("warmup_iters", [0, 1, 11])
def test_rates(method, milestones, warmup_iters):
    scheduler = WarmupMultiStepLR(
        optimizer(0.02, 0.04), milestones, 0.1, warmup_factor=0.25, warmup_iters=warmup_iters, warmup_method=method
    )
    for i, seen in enumerate(rates(scheduler, 50)):
        share = 1.0
        if i < warmup_iters:
            share = 0.25 if method == "constant" else 0.25 + 0.75 * i / warmup_iters
        for milestone in milestones:
            share *= 0.1 if i >= milestone else 1.0
        assert seen == pytest.approx([0.02 * share, 0.04 * share], rel=1e-12), i


def test_the_usual_schedule():
    config = cfg.clone()
    config.merge_from_list(["SOLVER.BASE_LR", 0.02, "SOLVER.STEPS", (600, 800)])
    model = torch.nn.Linear(2, 2)
    scheduler = make_lr_scheduler(config, make_optimizer(config, model))
    seen = rates(scheduler, 900)
    weights = {0: 0.02 / 3, 250: 0.02 * 2 / 3, 499: 0.02 * (1 / 3 + 2 / 3 * 0.998), 500: 0.02, 600: 0.002, 800: 0.0002}
    for iteration, rate in weights.items():
        assert seen[iteration] == pytest.approx([rate, 2 * rate], rel=1e-9), iteration


def test_bad_schedules_are_named():
    with pytest.raises(ValueError, match=r"SOLVER.STEPS must be increasing; got \(3, 2\)"):
        WarmupMultiStepLR(optimizer(1.0), (3, 2))
    with pytest.raises(ValueError, match="'constant' or 'linear'; got 'cosine'"):
        WarmupMultiStepLR(optimizer(1.0), (), warmup_method="cosine")


def test_half_a_cosine_after_the_warm_up():
    """Against torch's own, which has no warm-up."""
    ours, theirs = (torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.2) for _ in range(2))
    schedule = WarmupCosineLR(ours, 50, warmup_factor=0.1, warmup_iters=10)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(theirs, 50)
    for iteration in range(50):
        warmth = 1.0 if iteration >= 10 else 0.1 + 0.9 * iteration / 10
        assert ours.param_groups[0]["lr"] == pytest.approx(warmth * theirs.param_groups[0]["lr"], rel=1e-9)
        for step in (ours, theirs, schedule, reference):
            step.step()
    assert ours.param_groups[0]["lr"] == pytest.approx(0, abs=1e-12)
