"""Running values of a training, read from the device only when they are printed."""

import collections
import statistics
from array import array

import torch
from torch import Tensor


class SmoothedValue:
    """A series, the last `window_size` values of it, and its means.

    `median` is the lower of the two middle values where their number is even, as torch's.
    """

    def __init__(self, window_size: int = 20):
        self._window: collections.deque[float] = collections.deque(maxlen=window_size)
        self._series = array("d")
        self._total = 0.0
        self._pending: list[Tensor] = []

    def update(self, value: float | Tensor) -> None:
        """Add a number or a scalar tensor; a tensor is not read before it is needed."""
        if isinstance(value, Tensor):
            self._pending.append(value.detach())
        else:
            self._settle()
            self._add(float(value))

    def _add(self, value: float) -> None:
        self._window.append(value)
        self._series.append(value)
        self._total += value

    def _settle(self) -> None:
        if self._pending:
            values, self._pending = torch.stack(self._pending).float().tolist(), []
            for value in values:
                self._add(value)

    @property
    def deque(self) -> collections.deque:
        """The last values."""
        self._settle()
        return self._window

    @property
    def series(self) -> array:
        """All values."""
        self._settle()
        return self._series

    @property
    def total(self) -> float:
        self._settle()
        return self._total

    @property
    def count(self) -> int:
        self._settle()
        return len(self._series)

    @property
    def median(self) -> float:
        """Of the last values."""
        return statistics.median_low(self.deque) if self.deque else float("nan")

    @property
    def avg(self) -> float:
        """Mean of the last values."""
        return statistics.fmean(self.deque) if self.deque else float("nan")

    @property
    def global_avg(self) -> float:
        """Mean of all values."""
        return self.total / self.count if self.count else float("nan")


class MetricLogger:
    """Series by name; printed as "name: median (mean of all)"."""

    def __init__(self, delimiter: str = "\t"):
        self.meters: collections.defaultdict[str, SmoothedValue] = collections.defaultdict(SmoothedValue)
        self.delimiter = delimiter

    def update(self, **kwargs: float | Tensor) -> None:
        for name, value in kwargs.items():
            self.meters[name].update(value)

    def __getattr__(self, name: str) -> SmoothedValue:
        meters = self.__dict__.get("meters", {})
        if name in meters:
            return meters[name]
        raise AttributeError(f"MetricLogger has no series {name!r}.")

    def __str__(self) -> str:
        return self.delimiter.join(f"{n}: {m.median:.4f} ({m.global_avg:.4f})" for n, m in self.meters.items())
