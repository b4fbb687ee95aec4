"""Schedules for another number of images or processes than a configuration was written for."""

import logging

from yacs.config import CfgNode

from maskrcnn_benchmark.config.node import ConfigError
from maskrcnn_benchmark.config.options import options
from maskrcnn_benchmark.utils.wording import counted


def scale_to_batch(cfg: CfgNode, world_size: int) -> None:
    """Change the schedule of `cfg` from SOLVER.REFERENCE_IMS_PER_BATCH images to IMS_PER_BATCH, and say what changes.

    The linear scaling rule (Goyal et al. 2017): with k times the images an iteration, k times the learning rate and a k-th of
    the iterations, so that every image is seen as often. FPN_POST_NMS_TOP_N_TRAIN, the proposals that a process keeps of all
    its images, is scaled from REFERENCE_PROCESSES processes too, so that each image has as many.

    A configuration changed already is left as it is: its reference is then the batch in use.
    """
    solver, rpn = cfg.SOLVER, cfg.MODEL.RPN
    own = options(cfg).SOLVER
    if own.REFERENCE_IMS_PER_BATCH == 0:
        return
    if own.REFERENCE_IMS_PER_BATCH < 0 or own.REFERENCE_PROCESSES < 1:
        raise ConfigError(
            "SOLVER.REFERENCE_IMS_PER_BATCH must be 0 (no scaling) or the images of an iteration, and REFERENCE_PROCESSES the "
            f"processes, that the configuration was written for; got {own.REFERENCE_IMS_PER_BATCH} and "
            f"{own.REFERENCE_PROCESSES}."
        )
    ratio = solver.IMS_PER_BATCH / own.REFERENCE_IMS_PER_BATCH
    at_a_time = world_size * own.ACCUMULATE
    per_process = (solver.IMS_PER_BATCH / at_a_time) / (own.REFERENCE_IMS_PER_BATCH / own.REFERENCE_PROCESSES)
    changes = {
        "SOLVER.BASE_LR": solver.BASE_LR * ratio,
        "SOLVER.MAX_ITER": round(solver.MAX_ITER / ratio),
        "SOLVER.STEPS": tuple(round(step / ratio) for step in solver.STEPS),
        "SOLVER.WARMUP_ITERS": round(solver.WARMUP_ITERS / ratio),
    }
    for period in ("CHECKPOINT_PERIOD", "TEST_PERIOD"):
        if solver[period] > 0:
            changes[f"SOLVER.{period}"] = max(round(solver[period] / ratio), 1)
    if rpn.FPN_POST_NMS_PER_BATCH:
        changes["MODEL.RPN.FPN_POST_NMS_TOP_N_TRAIN"] = max(round(rpn.FPN_POST_NMS_TOP_N_TRAIN * per_process), 1)
    lines = []
    for key, value in changes.items():
        node, name = (solver if key.startswith("SOLVER") else rpn), key.rsplit(".", 1)[1]
        lines.append(f"  {key}: {node[name]} -> {value}")
        node[name] = value
    logging.getLogger("maskrcnn_benchmark").info(
        "The schedule was written for %s on %s; for %s on %d it becomes\n%s",
        counted(own.REFERENCE_IMS_PER_BATCH, "image"),
        counted(own.REFERENCE_PROCESSES, "process", "processes"),
        counted(solver.IMS_PER_BATCH, "image"),
        world_size,
        "\n".join(lines),
    )
    solver.REFERENCE_IMS_PER_BATCH, solver.REFERENCE_PROCESSES = solver.IMS_PER_BATCH, at_a_time
