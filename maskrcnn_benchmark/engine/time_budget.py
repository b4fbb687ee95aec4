"""Training for so many minutes (SOLVER.MAX_TIME) instead of so many iterations."""

import time
from typing import Any

from maskrcnn_benchmark.config.options import options
from maskrcnn_benchmark.utils import distributed

PERIOD = 10  # iterations between two looks at the clock, which all processes take together


class TimeBudget:
    """How far a training has come that ends after some time.

    Its schedule keeps its shape: at a third of the time it is where it would be after a third of SOLVER.MAX_ITER. Everything
    between the first iteration and the last counts, tests and checkpoints too. The main process's clock is what counts for all.

    Args:
        limit: seconds.
        max_iter: iterations of the schedule as it is written.
        spent: seconds that the run took before it was resumed.
    """

    def __init__(self, limit: float, max_iter: int, spent: float = 0.0):
        self.limit, self.max_iter, self.spent = limit, max_iter, spent
        self._began = time.perf_counter()
        self._before = self._spent_at_look = spent
        self._iterations = self._looked = 0
        self._rate = 0.0  # seconds an iteration

    def advance(self) -> int:
        """Count an iteration. Returns the one of the written schedule that it stands for."""
        self._iterations += 1
        since = self._iterations - self._looked
        if self._iterations <= PERIOD or since == PERIOD:
            spent = distributed.broadcast_object(self._before + time.perf_counter() - self._began)
            self._rate, self._looked = (spent - self.spent) / since, self._iterations
            self.spent = self._spent_at_look = spent
        else:
            self.spent = self._spent_at_look + since * self._rate
        return min(int(self.max_iter * self.share), self.max_iter)

    @property
    def share(self) -> float:
        """Of the time that has passed, from 0 to 1."""
        return min(self.spent / self.limit, 1.0)

    @property
    def is_over(self) -> bool:
        return self.spent >= self.limit


class TimedSchedule:
    """A learning rate scheduler that goes by a TimeBudget."""

    def __init__(self, scheduler: Any, budget: TimeBudget):
        self.scheduler, self.budget = scheduler, budget

    def step(self) -> None:
        self.scheduler.last_epoch = self.budget.advance() - 1
        self.scheduler.step()


def make_time_budget(cfg: Any, spent: float = 0.0) -> TimeBudget | None:
    """What SOLVER.MAX_TIME describes; None where it is 0. `spent`: seconds of the run before it was resumed."""
    minutes = options(cfg).SOLVER.MAX_TIME
    return TimeBudget(60 * minutes, cfg.SOLVER.MAX_ITER, spent) if minutes > 0 else None
