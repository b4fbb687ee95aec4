"""A fork's own training loop, with the arguments that maskrcnn-benchmark's had in 2018."""

import logging

from maskrcnn_benchmark.utils.metric_logger import MetricLogger


def do_train(model, data_loader, optimizer, scheduler, checkpointer, device, checkpoint_period, arguments):
    meters = MetricLogger(delimiter="  ")
    model.train()
    for iteration, (images, targets, _) in enumerate(data_loader, arguments["iteration"]):
        arguments["iteration"] = iteration
        scheduler.step()
        losses = model(images.to(device), [target.to(device) for target in targets])
        optimizer.zero_grad()
        loss = sum(losses.values())
        loss.backward()
        optimizer.step()
        meters.update(loss=loss, **losses)
        logging.getLogger("maskrcnn_benchmark.trainer").info("fork's loop, iteration %d: %s", iteration, meters)
        if iteration % checkpoint_period == 0 and iteration > 0:
            checkpointer.save(f"model_{iteration:07d}", **arguments)
    checkpointer.save(f"model_{iteration:07d}", **arguments)
