from collections import defaultdict
from typing import Any

import torch
from torch import nn
from yacs.config import CfgNode

from maskrcnn_benchmark.config.options import options
from maskrcnn_benchmark.layers.non_local import NonLocal
from maskrcnn_benchmark.solver.lr_scheduler import WarmupMultiStepLR
from maskrcnn_benchmark.solver.warmup import WarmupCosineLR


def make_optimizer(cfg: CfgNode, model: nn.Module) -> torch.optim.SGD:
    """SGD with momentum; biases have their own learning rate and weight decay, and non-local modules may learn faster."""
    solver, non_local_factor = cfg.SOLVER, options(cfg).SOLVER.NON_LOCAL_LR_FACTOR
    trainable = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
    # A factor of 1 leaves two groups, as in the checkpoints of maskrcnn-benchmark.
    apart = [m for m in model.modules() if isinstance(m, NonLocal)] if non_local_factor != 1.0 else []
    non_local = {id(p) for m in apart for p in m.parameters()}
    members: dict[tuple[bool, bool], list[tuple[str, nn.Parameter]]] = defaultdict(list)
    for name, p in trainable:
        members[id(p) in non_local, "bias" in name].append((name, p))  # names: how upstream's momentum is placed
    groups = [
        {
            "params": members[new, bias],
            "lr": solver.BASE_LR * (non_local_factor if new else 1.0) * (solver.BIAS_LR_FACTOR if bias else 1.0),
            "weight_decay": solver.WEIGHT_DECAY_BIAS if bias else solver.WEIGHT_DECAY,
        }
        for new, bias in sorted(members)  # the rate of the first group is the one that is logged
    ]
    # The fused step can be told on the device to leave everything as it is (see engine.trainer). A step skipped that way
    # would leave fresh momentum uninitialised, so it starts here, with the strides of its parameter.
    optimizer = torch.optim.SGD(groups, lr=solver.BASE_LR, momentum=solver.MOMENTUM, fused=True)
    if solver.MOMENTUM:
        for _, parameter in trainable:
            optimizer.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return optimizer


def make_lr_scheduler(cfg: CfgNode, optimizer: torch.optim.Optimizer) -> WarmupMultiStepLR | WarmupCosineLR:
    solver = cfg.SOLVER
    warmup: dict[str, Any] = {
        "warmup_factor": solver.WARMUP_FACTOR,
        "warmup_iters": solver.WARMUP_ITERS,
        "warmup_method": solver.WARMUP_METHOD,
    }
    schedule = options(cfg).SOLVER.LR_SCHEDULE
    if schedule == "multistep":
        return WarmupMultiStepLR(optimizer, solver.STEPS, solver.GAMMA, **warmup)
    if schedule == "cosine":
        return WarmupCosineLR(optimizer, solver.MAX_ITER, **warmup)
    raise ValueError(f"SOLVER.LR_SCHEDULE must be 'multistep' or 'cosine'; got {schedule!r}.")
