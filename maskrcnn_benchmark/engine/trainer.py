"""The training loop."""

import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from maskrcnn_benchmark.engine.batches import Batches
from maskrcnn_benchmark.engine.hang_watch import HangWatch
from maskrcnn_benchmark.engine.periodic_test import PeriodicTest
from maskrcnn_benchmark.engine.progress import Progress
from maskrcnn_benchmark.engine.step_watch import FOUND_INF, NonFiniteLossError, StepWatch, TrainingInterrupted
from maskrcnn_benchmark.utils import comm
from maskrcnn_benchmark.utils.seed import derive_seed, seed_everything

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def dtype_of(cfg) -> torch.dtype:
    """What DTYPE names."""
    if cfg.DTYPE not in DTYPES:
        raise ValueError(f"DTYPE must be one of {', '.join(DTYPES)}; got {cfg.DTYPE!r}.")
    return DTYPES[cfg.DTYPE]


def autocast(cfg, device: torch.device) -> torch.autocast:
    """The arithmetic that DTYPE asks for: weights stay float32."""
    return torch.autocast(device.type, dtype=dtype_of(cfg), enabled=cfg.DTYPE != "float32")


def reduce_loss_dict(loss_dict: dict[str, Tensor]) -> dict[str, Tensor]:
    """The mean of each loss over all processes, on the main one."""
    return comm.reduce_dict({name: loss.detach() for name, loss in loss_dict.items()})


def _image_ids(loader: Any, indices: Sequence[int]) -> list:
    dataset = getattr(loader.dataset, "dataset", loader.dataset)
    return [dataset.get_img_info(i).get("id", i) for i in indices]


def _check_strides(model: nn.Module) -> None:
    """The fused optimizer step reads gradients in the order of their parameters in memory."""
    for name, parameter in model.named_parameters():
        if parameter.grad is not None and parameter.grad.stride() != parameter.stride():
            raise RuntimeError(
                f"The gradient of {name} has the strides {parameter.grad.stride()}, not its parameter's."
            )


class Step:
    """One step of gradient descent, over one batch or several.

    Args:
        model: perhaps wrapped by DistributedDataParallel; returns losses by name.
        scaler_state: of the loss scaler of float16, to go on from.
        ema: averages the weights of the plain model.
    """

    def __init__(
        self,
        cfg,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        scheduler: torch.optim.lr_scheduler.LRScheduler,
        device: torch.device,
        watch: StepWatch,
        scaler_state: dict | None = None,
        ema: AveragedModel | None = None,
    ):
        self.cfg, self.model, self.optimizer, self.scheduler = cfg, model, optimizer, scheduler
        self.device, self.watch, self.ema = device, watch, ema
        self.plain_model: nn.Module = getattr(model, "module", model)
        self.max_norm = cfg.SOLVER.CLIP_GRAD_NORM
        self.scaler = torch.amp.GradScaler(device.type, enabled=cfg.DTYPE == "float16")
        if scaler_state:
            self.scaler.load_state_dict(scaler_state)
        self.skipped = torch.zeros((), device=device)  # steps that the scaler left out
        if self.scaler.is_enabled():
            optimizer.register_step_pre_hook(self._count_skipped)
        self._first = True

    def __call__(self, iteration: int, batches: Sequence[tuple], image_ids: Sequence) -> dict[str, Tensor] | None:
        """Take a step on batches of (images, targets, ...).

        Returns:
            What was computed, scalars on the device by name, the sum of the losses as "loss"; None if the step before this one,
            whose verdict is in by now, says to stop.
        """
        seed_everything(derive_seed(self.cfg.SEED, iteration, comm.get_rank()))
        values: dict[str, Tensor] = {}
        for k, (images, targets, *_) in enumerate(batches):
            images = images.to(self.device, non_blocking=True)
            targets = [target.to(self.device) for target in targets]
            with self._apart(is_last=k == len(batches) - 1):
                with autocast(self.cfg, self.device):
                    losses = self.model(images, targets)
                    total = torch.stack(list(losses.values())).sum() / len(batches)
                if k == 0:
                    # On a GPU this step's work is queued already.
                    if self.watch.check():
                        return None
                    self.optimizer.zero_grad()
                self.scaler.scale(total).backward()
            for name, value in {**{n: v / len(batches) for n, v in losses.items()}, "loss": total}.items():
                values[name] = values[name] + value.detach() if k else value.detach()
        if self._first:
            _check_strides(self.model)
            self._first = False
        norm = self._clip()
        watched = {name: value for name, value in values.items() if name != "loss"} | {"their sum": values["loss"]}
        if norm is not None:
            values["grad_norm"] = norm
            if not self.scaler.is_enabled():
                watched |= {"norm of the gradients": norm, "both": values["loss"] + norm}
        self.watch.watch(iteration, watched, image_ids)
        if self.scaler.is_enabled():
            self.watch.leave_to_scaler()
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.scheduler.step()
        if self.ema is not None:
            self.ema.update_parameters(self.plain_model)
        return values

    def _count_skipped(self, optimizer: Any, *_: Any) -> None:
        self.skipped.add_(getattr(optimizer, FOUND_INF))

    def _apart(self, is_last: bool) -> contextlib.AbstractContextManager:
        """Gradients of several batches are averaged over the processes once, with the last of them."""
        model = self.model
        if is_last or not isinstance(model, nn.parallel.DistributedDataParallel):
            return contextlib.nullcontext()
        return model.no_sync()

    def _clip(self) -> Tensor | None:
        """Shorten the gradients to SOLVER.CLIP_GRAD_NORM; returns their norm before."""
        if self.max_norm <= 0:
            return None
        self.scaler.unscale_(self.optimizer)
        parameters = [p for group in self.optimizer.param_groups for p in group["params"]]
        return torch.nn.utils.clip_grad_norm_(parameters, self.max_norm)

    def extra_values(self) -> dict[str, float]:
        """What only a report needs: reads the device."""
        if not self.scaler.is_enabled():
            return {}
        return {"scale": self.scaler.get_scale(), "skipped": self.skipped.item()}

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds of this beside model, optimizer and schedule."""
        state: dict[str, Any] = {"scaler": self.scaler.state_dict()} if self.scaler.is_enabled() else {}
        return state if self.ema is None else {**state, "ema": self.ema.module.state_dict()}


class Saver:
    """Numbered checkpoints; one that could not be written, for example on a full disk, is tried again until it can be."""

    def __init__(self, checkpointer: Any, period: int):
        self.checkpointer, self.period = checkpointer, period
        self.is_owed = False

    def is_due(self, iteration: int) -> bool:
        return self.period > 0 and iteration % self.period == 0

    def save(self, iteration: int, arguments: dict[str, Any]) -> None:
        try:
            self.checkpointer.save(f"model_{iteration:07d}", **arguments)
            self.is_owed = False
        except OSError as error:
            self.is_owed = True
            logging.getLogger("maskrcnn_benchmark.trainer").error(
                "The checkpoint of iteration %d could not be written (%s). Training goes on and tries again with the next "
                "progress line; until then the checkpoint before it is the last.",
                iteration,
                error,
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
    evaluate: Callable[[dict], Any] | None = None,
    ema: AveragedModel | None = None,
) -> None:
    """Train from arguments["iteration"] to SOLVER.MAX_ITER.

    What is drawn at random in an iteration depends on SEED, the iteration and the rank alone, so a resumed run goes on
    exactly as it would have without the interruption. `arguments` is saved with each checkpoint and kept up to date: beside
    "iteration" the state of the loss scaler of float16 ("scaler"), the averaged weights ("ema") and the best test ("best").

    Args:
        evaluate: called every `test_period` iterations, see PeriodicTest.
        ema: see `make_ema`.
    """
    logger = logging.getLogger("maskrcnn_benchmark.trainer")
    start_iter, max_iter = arguments["iteration"], cfg.SOLVER.MAX_ITER
    progress = Progress(cfg, start_iter)
    saver = Saver(checkpointer, checkpoint_period)
    tests = (
        PeriodicTest(cfg, evaluate, checkpointer, arguments, progress.note) if evaluate and test_period > 0 else None
    )
    batches = Batches(data_loader, start_iter * cfg.SOLVER.ACCUMULATE, cfg.SOLVER.ACCUMULATE)
    logger.info("Training from iteration %d to %d", start_iter, max_iter)
    model.train()
    end = time.perf_counter()
    stop, iteration = 0, start_iter
    with StepWatch(optimizer) as watch, HangWatch(cfg.TIMEOUT) as hang, contextlib.closing(progress):
        step = Step(cfg, model, optimizer, scheduler, device, watch, arguments.get("scaler"), ema)
        hang.beat(f"iteration {start_iter + 1}, loading images")
        try:
            for iteration, group in enumerate(batches, start=start_iter + 1):
                waited = time.perf_counter() - end
                hang.beat(f"iteration {iteration}, computing or waiting for the other processes to do so")
                values = step(iteration, group, [i for _, _, ids in group for i in _image_ids(data_loader, ids)])
                if values is None:
                    break
                arguments["iteration"] = iteration
                progress.step(values, sum(len(ids) for _, _, ids in group), time.perf_counter() - end, waited)
                is_last = iteration == max_iter
                saves = not is_last and (saver.is_due(iteration) or (saver.is_owed and progress.is_due(iteration)))
                is_tested = tests is not None and iteration % test_period == 0 and not is_last
                if progress.is_due(iteration) or saves or is_tested:
                    watch.check()
                    arguments.update(step.state())
                if progress.is_due(iteration):
                    progress.report(iteration, optimizer.param_groups[0]["lr"], device, **step.extra_values())
                hang.pause()
                if saves:
                    saver.save(iteration, arguments)
                if is_tested and tests is not None:
                    arguments["early_stopped"] = tests.run(iteration)
                    model.train()
                    if arguments["early_stopped"]:
                        logger.info("No better result in %d tests: training ends.", cfg.SOLVER.EARLY_STOP)
                        break
                end = time.perf_counter()
                hang.beat(f"iteration {iteration + 1}, loading images")
            stop = watch.check() if arguments["iteration"] < max_iter else 0
        except NonFiniteLossError:
            # Nothing of the bad step reached the weights. A resumed run starts from the checkpoint before.
            checkpointer.save("model_nonfinite", tag=False, **arguments)
            raise
        hang.pause()
        arguments.update(step.state())
        if stop and not arguments.get("early_stopped"):
            checkpointer.save(f"model_{arguments['iteration']:07d}", **arguments)
            raise TrainingInterrupted(stop, arguments["iteration"])
        checkpointer.save("model_final", **arguments)
        progress.summary(arguments)
