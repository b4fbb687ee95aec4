"""What forks call of apex.amp, over torch.amp: ported files import this module in place of apex's.

At opt_level O0, and with enabled=False, everything is as if it were not called. At O1 to O3 the model computes under
torch.autocast (float16 on a GPU, bfloat16 on a CPU) with float32 weights, losses are scaled, and a step whose gradients are
not finite is left out.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

_scaler: torch.amp.GradScaler | None = None  # apex keeps its state for the process, too


def _device_type(model: nn.Module) -> str:
    first = next(model.parameters(), None)
    return "cpu" if first is None else first.device.type


def _low_precision(device_type: str) -> torch.dtype:
    return torch.bfloat16 if device_type == "cpu" else torch.float16


def initialize(models, optimizers=None, enabled=True, opt_level="O1", **unused: Any):
    """Have the models compute in mixed precision, and the optimizers skip steps that overflowed.

    Args:
        models, optimizers: one, or a list; they come back in the same form, changed in place.
        unused: what tunes apex's own machinery (loss_scale, verbosity, keep_batchnorm_fp32, ...).
    """
    if enabled and opt_level != "O0":
        for model in _as_list(models):
            _wrap_forward(model)
        scaler = _shared_scaler(_device_type(_as_list(models)[0]))
        for optimizer in _as_list(optimizers):
            _wrap_step(optimizer, scaler)
    return models if optimizers is None else (models, optimizers)


def init(enabled=True, **unused: Any) -> None:
    """apex's older interface, which forks call before they test: autocast on the GPU from here on."""
    if enabled and torch.cuda.is_available():
        torch.set_autocast_enabled("cuda", True)


@contextlib.contextmanager
def scale_loss(loss: Tensor, optimizers, **unused: Any) -> Iterator[Tensor]:
    """Yields the loss to call backward of; afterwards gradients have their true size again."""
    if _scaler is None:
        yield loss
        return
    yield _scaler.scale(loss)
    for optimizer in _as_list(optimizers):
        _scaler.unscale_(optimizer)


def float_function(function: Callable) -> Callable:
    """The function in float32, whatever autocast would choose; works as a decorator."""

    @functools.wraps(function, assigned=("__module__", "__name__", "__doc__"), updated=())
    def in_float32(*args: Any, **kwargs: Any):
        tensors = [value for value in (*args, *kwargs.values()) if isinstance(value, Tensor)]
        if not any(torch.is_autocast_enabled(t.device.type) for t in tensors):
            return function(*args, **kwargs)
        with torch.autocast(tensors[0].device.type, enabled=False):
            return function(*map(_to_float32, args), **{name: _to_float32(value) for name, value in kwargs.items()})

    return in_float32


def half_function(function: Callable) -> Callable:
    """The function under autocast, which is what decides in torch."""
    return function


promote_function = half_function


def master_params(optimizer: torch.optim.Optimizer) -> Iterator[Tensor]:
    """The float32 weights: the parameters themselves."""
    return (parameter for group in optimizer.param_groups for parameter in group["params"])


def state_dict() -> dict:
    """Of the loss scaler; empty without mixed precision."""
    return {} if _scaler is None else _scaler.state_dict()


def load_state_dict(state: dict) -> None:
    """Take up the loss scaler of a run; the state that apex itself saved has another form and is left out."""
    if _scaler is not None and "scale" in state:
        _scaler.load_state_dict(state)


def register_float_function(module: Any, name: str) -> None:
    """Have `module.name` compute in float32."""
    setattr(module, name, float_function(getattr(module, name)))


def register_half_function(module: Any, name: str) -> None:
    """Nothing to do: under autocast torch decides for each operator."""


register_promote_function = register_half_function


def _as_list(value) -> list:
    return [] if value is None else list(value) if isinstance(value, (list, tuple)) else [value]


def _to_float32(value: Any) -> Any:
    return value.float() if isinstance(value, Tensor) and value.is_floating_point() else value


def _shared_scaler(device_type: str) -> torch.amp.GradScaler:
    global _scaler
    if _scaler is None:
        # bfloat16, which a CPU computes in, has float32's range: nothing to scale.
        _scaler = torch.amp.GradScaler(device_type, enabled=_low_precision(device_type) is torch.float16)
    return _scaler


def _wrap_forward(model: nn.Module) -> None:
    forward, device_type = model.forward, _device_type(model)

    @functools.wraps(forward)
    def in_mixed_precision(*args: Any, **kwargs: Any):
        with torch.autocast(device_type, dtype=_low_precision(device_type)):
            return forward(*args, **kwargs)

    model.forward = in_mixed_precision  # type: ignore[method-assign]


def _wrap_step(optimizer: torch.optim.Optimizer, scaler: torch.amp.GradScaler) -> None:
    step = optimizer.step

    @functools.wraps(step)
    def step_unless_overflow(*args: Any, **kwargs: Any):
        optimizer.step = step  # type: ignore[method-assign]
        try:
            result = scaler.step(optimizer, *args, **kwargs)
        finally:
            optimizer.step = step_unless_overflow  # type: ignore[method-assign]
        scaler.update()
        return result

    optimizer.step = step_unless_overflow  # type: ignore[method-assign]
