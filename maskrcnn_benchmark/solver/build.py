from typing import Any

import torch
from torch import nn

from maskrcnn_benchmark.solver.lr_scheduler import WarmupCosineLR, WarmupMultiStepLR


def make_optimizer(cfg, model: nn.Module) -> torch.optim.SGD:
    """SGD with momentum; biases have their own learning rate and weight decay."""
    solver = cfg.SOLVER
    trainable = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    weights = [(name, p) for name, p in trainable if "bias" not in name]
    biases = [(name, p) for name, p in trainable if "bias" in name]
    bias_lr = solver.BASE_LR * solver.BIAS_LR_FACTOR
    groups = [
        {"params": weights, "lr": solver.BASE_LR, "weight_decay": solver.WEIGHT_DECAY},
        {"params": biases, "lr": bias_lr, "weight_decay": solver.WEIGHT_DECAY_BIAS},
    ]
    # The fused step can be told on the device to leave everything as it is (see engine.trainer). A step skipped that way
    # would leave fresh momentum uninitialised, so it starts here, with the strides of its parameter.
    optimizer = torch.optim.SGD(
        [g for g in groups if g["params"]], lr=solver.BASE_LR, momentum=solver.MOMENTUM, fused=True
    )
    if solver.MOMENTUM:
        for _, parameter in trainable:
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


def make_lr_scheduler(cfg, optimizer: torch.optim.Optimizer) -> WarmupMultiStepLR | WarmupCosineLR:
    solver = cfg.SOLVER
    warmup: dict[str, Any] = {
        "warmup_factor": solver.WARMUP_FACTOR,
        "warmup_iters": solver.WARMUP_ITERS,
        "warmup_method": solver.WARMUP_METHOD,
    }
    if solver.SCHEDULE == "multistep":
        return WarmupMultiStepLR(optimizer, solver.STEPS, solver.GAMMA, **warmup)
    if solver.SCHEDULE == "cosine":
        return WarmupCosineLR(optimizer, solver.MAX_ITER, **warmup)
    raise ValueError(f"SOLVER.SCHEDULE must be 'multistep' or 'cosine'; got {solver.SCHEDULE!r}.")
