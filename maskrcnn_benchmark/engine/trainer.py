"""The training loop."""

import contextlib
import logging
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from maskrcnn_benchmark.engine.progress import Progress
from maskrcnn_benchmark.utils import comm
from maskrcnn_benchmark.utils.seed import derive_seed, seed_everything
from maskrcnn_benchmark.utils.timer import get_time_str

# Where torch's fused optimizer steps look for a flag that tells them to leave everything as it is; a loss scaler uses it too.
FOUND_INF = "found_inf"

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


class NonFiniteLossError(FloatingPointError):
    """A loss that is infinite or not a number; the message names the losses and the images, of all processes."""


class TrainingInterrupted(SystemExit):
    """A signal ended the training; a checkpoint was saved. The exit status is 128 and the signal's number."""

    def __init__(self, signal_number: int, iteration: int):
        super().__init__(128 + signal_number)
        self.message = (
            f"Stopped by {signal.Signals(signal_number).name} after iteration {iteration}; a checkpoint was saved, and the "
            "same command goes on from there."
        )


def autocast(cfg, device: torch.device) -> torch.autocast:
    """The arithmetic that DTYPE asks for: weights stay float32."""
    if cfg.DTYPE not in DTYPES:
        raise ValueError(f"DTYPE must be one of {', '.join(DTYPES)}; got {cfg.DTYPE!r}.")
    return torch.autocast(device.type, dtype=DTYPES[cfg.DTYPE], enabled=cfg.DTYPE != "float32")


def reduce_loss_dict(loss_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """The mean of each loss over all processes, on the main one."""
    return comm.reduce_dict({name: loss.detach() for name, loss in loss_dict.items()})


class StepWatch:
    """Watches for losses that are not finite and for signals that ask to stop, without waiting for the device.

    All processes agree on both through one small reduction on the device. After a bad loss the optimizer changes nothing
    (FOUND_INF); the host learns of it one iteration later, when the answer has long arrived.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self, optimizer: torch.optim.Optimizer):
        self.optimizer = optimizer
        self.received: int | None = None
        self._handlers: dict[int, Any] = {}
        self._last: tuple[int, dict[str, Tensor], list, Tensor] | None = None

    def __enter__(self) -> "StepWatch":
        if threading.current_thread() is threading.main_thread():
            self._handlers = {s: signal.signal(s, self._receive) for s in self.SIGNALS}
        return self

    def __exit__(self, *exc: Any) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: Any) -> None:
        if self.received is not None:  # the second time: at once
            raise KeyboardInterrupt
        self.received = number

    def watch(self, iteration: int, losses: dict[str, Tensor], total: Tensor, image_ids: list) -> None:
        """Note a step's losses; to be called by all processes before the optimizer's step."""
        bad = (~torch.isfinite(total.detach())).float()
        flags = comm.all_reduce_max(torch.stack((bad, torch.full_like(bad, float(self.received or 0)))))
        setattr(self.optimizer, FOUND_INF, flags[0])
        named = {**losses, "their sum": total}
        self._last = iteration, {name: loss.detach() for name, loss in named.items()}, image_ids, flags

    def check(self) -> int:
        """The signal to stop for, as of the last step watched; 0 for none.

        Raises NonFiniteLossError on all processes if that step was bad on any.
        """
        if self._last is None:
            return 0
        iteration, losses, image_ids, flags = self._last
        bad, stop = flags.tolist()
        if not bad:
            return int(stop)
        values = {name: value.item() for name, value in losses.items() if not torch.isfinite(value)}
        if len(values) > 1:
            values.pop("their sum", None)
        reports = comm.all_gather((comm.get_rank(), values, image_ids))
        details = "; ".join(f"rank {rank}: {values}, images {ids}" for rank, values, ids in reports if values)
        raise NonFiniteLossError(
            f"The loss of iteration {iteration} is not finite ({details}). Lower SOLVER.BASE_LR or lengthen "
            "SOLVER.WARMUP_ITERS, and look at the annotations of these images."
        )


def _image_ids(loader: Any, indices: tuple) -> list:
    dataset = getattr(loader.dataset, "dataset", loader.dataset)
    return [dataset.get_img_info(i).get("id", i) for i in indices]


def _check_strides(model: nn.Module) -> None:
    """The fused optimizer step reads gradients in the order of their parameters in memory."""
    for name, parameter in model.named_parameters():
        if parameter.grad is not None and parameter.grad.stride() != parameter.stride():
            raise RuntimeError(
                f"The gradient of {name} has the strides {parameter.grad.stride()}, not its parameter's."
            )


def do_train(
    cfg,
    model: nn.Module,
    data_loader,
    data_loader_val,
    optimizer: torch.optim.Optimizer,
    scheduler: torch.optim.lr_scheduler.LRScheduler,
    checkpointer,
    device: torch.device,
    checkpoint_period: int,
    test_period: int,
    arguments: dict[str, Any],
    evaluate: Callable[[], Any] | None = None,
) -> None:
    """Train from arguments["iteration"] to SOLVER.MAX_ITER.

    What is drawn at random in an iteration depends on SEED, the iteration and the rank alone, so a resumed run goes on
    exactly as it would have without the interruption. `arguments` is saved with each checkpoint; "scaler", the state of the
    loss scaler of float16, is taken from it and kept up to date in it. Every `test_period` iterations `evaluate` is called.
    """
    logger = logging.getLogger("maskrcnn_benchmark.trainer")
    start_iter, max_iter = arguments["iteration"], cfg.SOLVER.MAX_ITER
    scaler = torch.amp.GradScaler(device.type, enabled=cfg.DTYPE == "float16")
    if arguments.get("scaler"):
        scaler.load_state_dict(arguments["scaler"])
    progress = Progress(cfg, start_iter)
    logger.info("Training from iteration %d to %d", start_iter, max_iter)
    model.train()
    began = end = time.perf_counter()
    with StepWatch(optimizer) as watch, contextlib.closing(progress):
        try:
            for iteration, (images, targets, indices) in enumerate(data_loader, start=start_iter + 1):
                waited = time.perf_counter() - end
                seed_everything(derive_seed(cfg.SEED, iteration, comm.get_rank()))
                images = images.to(device, non_blocking=True)
                targets = [target.to(device, non_blocking=True) for target in targets]
                with autocast(cfg, device):
                    losses = model(images, targets)
                    total = torch.stack(list(losses.values())).sum()
                # The last step's verdict: on a GPU this one's work is queued already.
                stop = watch.check()
                if stop:
                    break
                optimizer.zero_grad()
                scaler.scale(total).backward()
                if iteration == start_iter + 1:
                    _check_strides(model)
                watch.watch(iteration, losses, total, _image_ids(data_loader, indices))
                if scaler.is_enabled():
                    delattr(optimizer, FOUND_INF)  # an overflow in float16 is the scaler's business
                scaler.step(optimizer)
                scaler.update()
                scheduler.step()

                arguments["iteration"] = iteration
                if scaler.is_enabled():
                    arguments["scaler"] = scaler.state_dict()
                progress.step(losses, total, time.perf_counter() - end, waited)
                is_last = iteration == max_iter
                saves = checkpoint_period > 0 and iteration % checkpoint_period == 0 and not is_last
                tests = test_period > 0 and iteration % test_period == 0 and not is_last
                if progress.is_due(iteration) or saves or tests:
                    watch.check()
                if progress.is_due(iteration):
                    scale = {"scale": scaler.get_scale()} if scaler.is_enabled() else {}
                    progress.report(iteration, optimizer.param_groups[0]["lr"], device, **scale)
                if saves:
                    checkpointer.save(f"model_{iteration:07d}", **arguments)
                if tests and evaluate is not None:
                    evaluate()
                    model.train()
                end = time.perf_counter()
            else:
                stop = watch.check() if arguments["iteration"] < max_iter else 0
        except NonFiniteLossError:
            # Nothing of the bad step reached the weights. A resumed run starts from the checkpoint before.
            checkpointer.save("model_nonfinite", tag=False, **arguments)
            raise
    if stop:
        checkpointer.save(f"model_{arguments['iteration']:07d}", **arguments)
        raise TrainingInterrupted(stop, arguments["iteration"])
    checkpointer.save("model_final", **arguments)
    seconds = time.perf_counter() - began
    count = max(max_iter - start_iter, 1)
    logger.info("Training took %s (%.4f s an iteration)", get_time_str(seconds), seconds / count)
