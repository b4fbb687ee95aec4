"""Running values of a training, read from the device only when they are printed."""

import json
import statistics
from collections import deque
from typing import Any

import torch
from torch import Tensor


class SmoothedValue:
    """The last `window_size` values of a series, and the mean of all of them."""

    def __init__(self, window_size: int = 20):
        self.window: deque[float] = deque(maxlen=window_size)
        self.total = 0.0
        self.count = 0
        self._pending: list[Tensor] = []

    def update(self, value: float | Tensor) -> None:
        """Add a number or a scalar tensor; a tensor is not read before it is needed."""
        if isinstance(value, Tensor):
            self._pending.append(value.detach())
        else:
            self._settle()
            self._add(float(value))

    def _add(self, value: float) -> None:
        self.window.append(value)
        self.total += value
        self.count += 1

    def _settle(self) -> None:
        if self._pending:
            values, self._pending = torch.stack(self._pending).float().tolist(), []
            for value in values:
                self._add(value)

    @property
    def median(self) -> float:
        self._settle()
        return statistics.median(self.window) if self.window else float("nan")

    @property
    def avg(self) -> float:
        """Mean of the window."""
        self._settle()
        return statistics.fmean(self.window) if self.window else float("nan")

    @property
    def global_avg(self) -> float:
        self._settle()
        return self.total / self.count if self.count else float("nan")


class MetricLogger:
    """Series by name; printed as "name: median (mean of all)"."""

    def __init__(self, delimiter: str = "\t"):
        self.meters: dict[str, SmoothedValue] = {}
        self.delimiter = delimiter

    def update(self, **kwargs: float | Tensor) -> None:
        for name, value in kwargs.items():
            self.meters.setdefault(name, SmoothedValue()).update(value)

    def __getattr__(self, name: str) -> SmoothedValue:
        meters = self.__dict__.get("meters", {})
        if name in meters:
            return meters[name]
        raise AttributeError(f"MetricLogger has no series {name!r}.")

    def __str__(self) -> str:
        return self.delimiter.join(f"{n}: {m.median:.4f} ({m.global_avg:.4f})" for n, m in self.meters.items())


class MetricWriter:
    """Appends one JSON object a line to a file and, if asked to, scalars to TensorBoard."""

    def __init__(self, path: str, tensorboard_dir: str | None = None):
        self._file = open(path, "a", encoding="utf-8")  # noqa: SIM115 (closed in close)
        self._tensorboard = None
        if tensorboard_dir is not None:
            try:
                from torch.utils.tensorboard import SummaryWriter
            except ImportError:
                raise ImportError("TENSORBOARD is True, but the package is missing: pip install tensorboard.") from None
            self._tensorboard = SummaryWriter(tensorboard_dir)

    def write(self, iteration: int, values: dict[str, Any]) -> None:
        self._file.write(json.dumps({"iteration": iteration, **values}) + "\n")
        self._file.flush()
        if self._tensorboard is not None:
            for name, value in values.items():
                if isinstance(value, (int, float)):
                    self._tensorboard.add_scalar(name, value, iteration)

    def close(self) -> None:
        self._file.close()
        if self._tensorboard is not None:
            self._tensorboard.close()
