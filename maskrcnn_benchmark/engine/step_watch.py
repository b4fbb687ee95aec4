"""What can go wrong in a training step, and how all processes learn of it together."""

import signal
import threading
from collections import deque
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from maskrcnn_benchmark.engine.errors import NonFiniteLossError
from maskrcnn_benchmark.utils import distributed

# Where torch's fused optimizer steps look for a flag that tells them to leave everything as it is; a loss scaler uses it too.
FOUND_INF = "found_inf"


class _Arriving:
    """A small tensor on its way to the host, which waits only if it asks before the tensor is there."""

    def __init__(self, tensor: Tensor):
        self.is_on_its_way = tensor.is_cuda
        self.tensor, self.arrival = tensor, None
        stream = torch.cuda.current_stream(tensor.device) if tensor.is_cuda else None
        # None where something stands in for a GPU; the tensor is read from there when it is asked for
        if stream is not None:
            self.tensor = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
            self.tensor.copy_(tensor, non_blocking=True)
            self.arrival = stream.record_event()

    def read(self) -> list[float]:
        if self.arrival is not None:
            self.arrival.synchronize()
        return self.tensor.tolist()


class StepWatch:
    """Watches for losses that are not finite and for signals that ask to stop, without waiting for the device.

    All processes agree on both through one small reduction on the device. After a bad loss the optimizer changes nothing
    (FOUND_INF); the host learns of it one iteration later, when the answer has long arrived (`check_earlier`). For an optimizer
    that cannot be told so, ask `check` before each step.

    SIGUSR1 is what batch systems send before they take a node away.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)

    def __init__(self, optimizer: torch.optim.Optimizer):
        self.optimizer = optimizer
        # Whether the optimizer's steps heed FOUND_INF: torch's fused ones do, the others refuse it.
        self.skips_bad_steps = bool(getattr(optimizer, "_step_supports_amp_scaling", False))
        self.received: int | None = None
        self._handlers: dict[int, Any] = {}
        self._verdicts: deque[tuple[int, dict[str, Tensor], Sequence, _Arriving]] = deque()
        self._stop = 0

    def __enter__(self) -> "StepWatch":
        if threading.current_thread() is threading.main_thread():
            self._handlers = {s: signal.signal(s, self._receive) for s in self.SIGNALS}
        return self

    def __exit__(self, *exc: Any) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)

    def _receive(self, number: int, frame: Any) -> None:
        if self.received is not None and number == signal.SIGINT:  # Ctrl-C for the second time: at once
            raise KeyboardInterrupt
        self.received = number

    def watch(self, iteration: int, values: dict[str, Tensor], image_ids: Sequence) -> None:
        """Note what a step computed, scalars by name; to be called by all processes before the optimizer's step.

        The step counts as bad if the last of the values is not finite.
        """
        total = list(values.values())[-1].detach()
        bad = (~torch.isfinite(total)).float()
        flags = distributed.all_reduce_max(torch.stack((bad, torch.full_like(bad, float(self.received or 0)))))
        if self.skips_bad_steps:
            setattr(self.optimizer, FOUND_INF, flags[0])
        named = {name: value.detach() for name, value in values.items()}
        self._verdicts.append((iteration, named, image_ids, _Arriving(flags)))

    def leave_to_scaler(self) -> None:
        """Let the optimizer's flag be set by a loss scaler: an overflow in float16 is its business."""
        if self.skips_bad_steps:
            delattr(self.optimizer, FOUND_INF)

    def check_earlier(self) -> int:
        """`check` of the steps whose verdicts are in: on a GPU of all but the last one watched, on a CPU of all."""
        is_queued = bool(self._verdicts) and self._verdicts[-1][-1].is_on_its_way
        return self._check(leave=1 if is_queued else 0)

    def check(self) -> int:
        """The signal to stop for, as of the steps watched; 0 for none.

        Raises NonFiniteLossError on all processes if a step was bad on any.
        """
        return self._check(leave=0)

    def _check(self, leave: int) -> int:
        while len(self._verdicts) > leave:
            self._stop = self._judge(*self._verdicts.popleft()) or self._stop
        return self._stop

    def _judge(self, iteration: int, named: dict[str, Tensor], image_ids: Sequence, flags: _Arriving) -> int:
        bad, stop = flags.read()
        if not bad:
            return int(stop)
        values = {name: value.item() for name, value in named.items() if not torch.isfinite(value)}
        if len(values) > 1:
            values.pop(list(named)[-1], None)
        reports = distributed.all_gather((distributed.get_rank(), values, list(image_ids)))
        details = "; ".join(f"rank {rank}: {values}, images {ids}" for rank, values, ids in reports if values)
        raise NonFiniteLossError(
            f"The loss of iteration {iteration} is not finite ({details}). Lower SOLVER.BASE_LR or lengthen "
            "SOLVER.WARMUP_ITERS, and look at the annotations of these images."
        )
