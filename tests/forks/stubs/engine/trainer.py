"""A fork's own training loop, with the arguments of maskrcnn-benchmark's last version."""

import logging

import torch
import torch.distributed as dist

from maskrcnn_benchmark.data import make_data_loader
from maskrcnn_benchmark.engine.inference import inference
from maskrcnn_benchmark.utils.comm import get_world_size, synchronize
from maskrcnn_benchmark.utils.metric_logger import MetricLogger


def reduce_loss_dict(loss_dict):
    if get_world_size() < 2:
        return loss_dict
    names = sorted(loss_dict)
    with torch.no_grad():
        values = torch.stack([loss_dict[name] for name in names])
        dist.reduce(values, dst=0)
        return dict(zip(names, values / get_world_size(), strict=True))


def do_train(
    cfg,
    model,
    data_loader,
    data_loader_val,
    optimizer,
    scheduler,
    checkpointer,
    device,
    checkpoint_period,
    test_period,
    arguments,
):
    logger = logging.getLogger("maskrcnn_benchmark.trainer")
    meters = MetricLogger(delimiter="  ")
    last = len(data_loader)
    tasks = ["bbox"] + ["segm"] * cfg.MODEL.MASK_ON + ["keypoints"] * cfg.MODEL.KEYPOINT_ON
    model.train()
    for iteration, (images, targets, _) in enumerate(data_loader, arguments["iteration"] + 1):
        arguments["iteration"] = iteration
        losses = model(images.to(device), [target.to(device) for target in targets])
        optimizer.zero_grad()
        sum(losses.values()).backward()
        optimizer.step()
        scheduler.step()
        reduced = reduce_loss_dict(losses)
        meters.update(loss=sum(reduced.values()), **reduced)
        logger.info("fork's loop, iteration %d: %s", iteration, meters)
        if iteration % checkpoint_period == 0:
            checkpointer.save(f"model_{iteration:07d}", **arguments)
        if data_loader_val is not None and test_period > 0 and iteration % test_period == 0:
            synchronize()
            loader = make_data_loader(cfg, is_train=False, is_distributed=get_world_size() > 1, is_for_period=True)
            inference(model, loader, dataset_name="[Validation]", iou_types=tuple(tasks), device=cfg.MODEL.DEVICE)
            model.train()
        if iteration == last:
            checkpointer.save("model_final", **arguments)
