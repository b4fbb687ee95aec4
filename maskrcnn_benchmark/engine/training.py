"""The training loop."""

import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from yacs.config import CfgNode

from maskrcnn_benchmark.config.options import options
from maskrcnn_benchmark.config.unread import warn_of_unread
from maskrcnn_benchmark.config.whole import cfg as global_cfg
from maskrcnn_benchmark.engine.batches import Batches
from maskrcnn_benchmark.engine.errors import NonFiniteLossError, TrainingInterrupted
from maskrcnn_benchmark.engine.hang_watch import HangWatch
from maskrcnn_benchmark.engine.periodic_test import PeriodicTest
from maskrcnn_benchmark.engine.progress import Progress
from maskrcnn_benchmark.engine.saving import Saver
from maskrcnn_benchmark.engine.step import Step
from maskrcnn_benchmark.engine.step_watch import StepWatch
from maskrcnn_benchmark.engine.testing import evaluate_model
from maskrcnn_benchmark.engine.time_budget import TimedSchedule, make_time_budget
from maskrcnn_benchmark.utils import distributed
from maskrcnn_benchmark.utils.wording import counted, lasting


def reduce_loss_dict(loss_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """The mean of each loss over all processes, on the main one."""
    return distributed.reduce_dict({name: loss.detach() for name, loss in loss_dict.items()})


def _image_ids(loader: Any, indices: Any, count: int) -> list[Any]:
    """What names a batch's `count` images in a message: their ids, or whatever the loader gives beside them."""
    dataset = getattr(loader, "dataset", None)
    if not isinstance(indices, Sequence) or not hasattr(dataset, "get_img_info"):
        return list(indices) if isinstance(indices, Sequence) else [indices] * count
    return [dataset.get_img_info(i).get("id", i) for i in indices]  # type: ignore[union-attr]


def train(
    cfg: CfgNode,
    model: nn.Module,
    data_loader: Any,
    optimizer: torch.optim.Optimizer,
    scheduler: torch.optim.lr_scheduler.LRScheduler,
    checkpointer: Any,
    device: torch.device,
    checkpoint_period: int,
    test_period: int,
    arguments: dict[str, Any],
    evaluate: Callable[[dict[str, Any]], Any] | None = None,
    ema: AveragedModel | None = None,
) -> None:
    """Train from arguments["iteration"] to SOLVER.MAX_ITER, or for SOLVER.MAX_TIME minutes.

    What is drawn at random in an iteration depends on SEED, the iteration and the rank alone, so a resumed run goes on
    exactly as it would have without the interruption. `arguments` is saved with each checkpoint and kept up to date: beside
    "iteration" the state of the loss scaler of float16 ("scaler"), the averaged weights ("ema"), the best test ("best") and, with
    SOLVER.MAX_TIME, the seconds that it took ("seconds").

    Args:
        evaluate: called every `test_period` iterations, see PeriodicTest.
        ema: see `make_ema`.
    """
    logger = logging.getLogger("maskrcnn_benchmark.trainer")
    start_iter, max_iter = arguments["iteration"], cfg.SOLVER.MAX_ITER
    budget = make_time_budget(cfg, arguments.get("seconds", 0.0))
    progress = Progress(cfg, start_iter, budget)
    saver = Saver(checkpointer, checkpoint_period)
    tests = PeriodicTest(cfg, evaluate, saver, arguments, progress.note) if evaluate and test_period > 0 else None
    own = options(cfg)
    batches = Batches(data_loader, start_iter * own.SOLVER.ACCUMULATE, own.SOLVER.ACCUMULATE)
    if budget is None:
        logger.info("Training from iteration %d to %d", start_iter, max_iter)
    else:
        scheduler = TimedSchedule(scheduler, budget)  # type: ignore[assignment]
        logger.info("Training from iteration %d for %s", start_iter, lasting(budget.limit - budget.spent))
    model.train()
    end = time.perf_counter()
    stop, iteration = 0, start_iter
    with StepWatch(optimizer) as watch, HangWatch(own.TIMEOUT) as hang, contextlib.closing(progress):
        step = Step(cfg, model, optimizer, scheduler, device, watch, arguments.get("scaler"), ema)
        hang.beat(f"iteration {start_iter + 1}, loading images")
        warn_of_unread(cfg, is_train=True)
        try:
            for iteration, group in enumerate(batches, start=start_iter + 1):
                waited = time.perf_counter() - end
                hang.beat(f"iteration {iteration}, computing or waiting for the other processes to do so")
                ids = [i for _, targets, indices in group for i in _image_ids(data_loader, indices, len(targets))]
                values = step(iteration, group, ids)
                if values is None:
                    break
                arguments["iteration"] = iteration
                progress.step(values, len(ids), time.perf_counter() - end, waited)
                is_last = iteration == max_iter if budget is None else budget.is_over
                if budget is not None:
                    arguments["seconds"] = budget.spent
                saves = not is_last and (saver.is_due(iteration) or (saver.is_owed and progress.is_due(iteration)))
                is_tested = tests is not None and iteration % test_period == 0 and not is_last
                if progress.is_due(iteration) or saves or is_tested:
                    watch.check()
                    arguments.update(step.state())
                if progress.is_due(iteration):
                    progress.report(iteration, optimizer.param_groups[0]["lr"], device, **step.extra_values())
                if watch.check_earlier():  # on a GPU this step's work is queued already
                    break
                hang.pause()
                if saves:
                    saver.save(iteration, arguments)
                if is_tested and tests is not None:
                    arguments["early_stopped"] = tests.run(iteration)
                    model.train()
                    if arguments["early_stopped"]:
                        logger.info("No better result in %s: training ends.", counted(own.SOLVER.EARLY_STOP, "test"))
                        break
                    if saves:
                        saver.save(iteration, arguments)  # again, with what the test has found
                if is_last:
                    break
                end = time.perf_counter()
                hang.beat(f"iteration {iteration + 1}, loading images")
            is_done = arguments["iteration"] >= max_iter if budget is None else budget.is_over
            stop = 0 if is_done else watch.check()
        except NonFiniteLossError:
            # Nothing of the bad step reached the weights. A resumed run starts from the checkpoint before.
            saver.save_aside("model_nonfinite", arguments)
            raise
        hang.pause()
        arguments.update(step.state())
        if stop and not arguments.get("early_stopped"):
            saver.save_last(f"model_{arguments['iteration']:07d}", arguments)
            raise TrainingInterrupted(stop, arguments["iteration"])
        saver.save_last("model_final", arguments)
        progress.summary(arguments)


def do_train(
    cfg: Any = None,
    model: Any = None,
    data_loader: Any = None,
    data_loader_val: Any = None,
    optimizer: Any = None,
    scheduler: Any = None,
    checkpointer: Any = None,
    device: Any = None,
    checkpoint_period: Any = None,
    test_period: int = 0,
    arguments: Any = None,
) -> None:
    """`train` by maskrcnn-benchmark's arguments.

    With a `data_loader_val` the model is tested on its data set every `test_period` iterations. Without `cfg`, as calls of
    before June 2019, do_train(model, data_loader, optimizer, scheduler, checkpointer, device, checkpoint_period, arguments),
    the global configuration counts.
    """
    if isinstance(cfg, nn.Module):
        given = (cfg, model, data_loader, data_loader_val, optimizer, scheduler, checkpointer, device)
        model, data_loader, optimizer, scheduler, checkpointer, device, checkpoint_period, arguments = given
        cfg = data_loader_val = None
    if cfg is None:
        cfg = global_cfg

    def validate(pictures: dict[str, Any]) -> list[Any]:
        return [evaluate_model(cfg, getattr(model, "module", model), data_loader_val, "[Validation]", device)]

    train(
        *(cfg, model, data_loader, optimizer, scheduler, checkpointer, device),
        checkpoint_period,
        test_period,
        arguments,
        validate if data_loader_val is not None and test_period > 0 else None,
    )
