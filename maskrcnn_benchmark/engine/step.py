"""One step of gradient descent."""

import contextlib
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from maskrcnn_benchmark.config.options import options
from maskrcnn_benchmark.engine.precision import autocast
from maskrcnn_benchmark.engine.step_watch import FOUND_INF, StepWatch
from maskrcnn_benchmark.utils import distributed
from maskrcnn_benchmark.utils.seed import derive_seed, seed_everything


def _order_in_memory(tensor: Tensor) -> list[int]:
    """The strides, without those of dimensions of size 1, which may be anything."""
    return [stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True) if size != 1]


def _check_strides(model: nn.Module) -> None:
    """The fused optimizer step reads gradients in the order of their parameters in memory."""
    for name, parameter in model.named_parameters():
        if parameter.grad is not None and _order_in_memory(parameter.grad) != _order_in_memory(parameter):
            raise RuntimeError(
                f"The gradient of {name} has the strides {parameter.grad.stride()}, not its parameter's."
            )


def _scalar(loss: Any) -> Tensor:
    """A loss as a tensor without dimensions, whatever a model of someone's own returns: a number, or Tensor[1]."""
    loss = torch.as_tensor(loss)
    return loss if loss.ndim == 0 else loss.sum()


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
        own = options(cfg)
        self.seed, self.max_norm = own.SEED, own.SOLVER.CLIP_GRAD_NORM
        # A fork's optimizer may not be able to leave out a step; then the host waits for each step's verdict.
        self.skips_bad_steps = watch.skips_bad_steps
        self.scaler = torch.amp.GradScaler(device.type, enabled=cfg.DTYPE == "float16")
        if scaler_state:
            self.scaler.load_state_dict(scaler_state)
        self.skipped = torch.zeros((), device=device)  # steps that the scaler left out
        if self.scaler.is_enabled() and self.skips_bad_steps:
            optimizer.register_step_pre_hook(self._count_skipped)
        self._first = True

    def __call__(self, iteration: int, batches: Sequence[tuple], image_ids: Sequence) -> dict[str, Tensor] | None:
        """Take a step on batches of (images, targets, ...).

        Returns:
            What was computed, scalars on the device by name, the sum of the losses as "loss"; None if the optimizer
            cannot leave out a bad step and this one's verdict says to stop: nothing was changed then.
        """
        if self.seed >= 0:
            seed_everything(derive_seed(self.seed, iteration, distributed.get_rank()))
        values: dict[str, Tensor] = {}
        for k, (images, targets, *_) in enumerate(batches):
            images = images.to(self.device, non_blocking=True)
            targets = [target.to(self.device) for target in targets]
            with self._apart(is_last=k == len(batches) - 1):
                with autocast(self.cfg, self.device):
                    losses = {name: _scalar(loss) for name, loss in self.model(images, targets).items()}
                    total = torch.stack(list(losses.values())).sum() / len(batches)
                if k == 0:
                    self.optimizer.zero_grad()
                self.scaler.scale(total).backward()
            for name, value in {**{n: v / len(batches) for n, v in losses.items()}, "loss": total}.items():
                values[name] = values[name] + value.detach() if k else value.detach()
        if self._first and self.skips_bad_steps:
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
        elif not self.skips_bad_steps and self.watch.check():
            return None
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
        scale = {"scale": self.scaler.get_scale()}
        return {**scale, "skipped": self.skipped.item()} if self.skips_bad_steps else scale

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds of this beside model, optimizer and schedule."""
        state: dict[str, Any] = {"scaler": self.scaler.state_dict()} if self.scaler.is_enabled() else {}
        return state if self.ema is None else {**state, "ema": self.ema.module.state_dict()}
