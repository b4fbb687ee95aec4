"""Training by a fork's own `do_train`, which knows maskrcnn-benchmark's arguments alone."""

import inspect
import logging
from collections.abc import Callable
from typing import Any

from maskrcnn_benchmark.config.node import ConfigError
from maskrcnn_benchmark.config.options import OPTIONS, options

# Keys that only this package's own loop heeds.
KEYS_OF_OUR_LOOP = ("CLIP_GRAD_NORM", "EMA", "EARLY_STOP", "LOG_PERIOD")


def call_do_train(do_train: Callable[..., None], cfg: Any, **arguments: Any) -> None:
    """Call `do_train` with those of the arguments that it has, by name: their number and order have changed over the years.

    Raises ConfigError if it wants others too, or if SOLVER.ACCUMULATE is on: its iterations would be parts of ours.
    """
    available = {"cfg": cfg, **arguments}
    parameters = inspect.signature(do_train).parameters.values()
    named = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    unknown = [p.name for p in named if p.name not in available and p.default is p.empty]
    if unknown:
        raise ConfigError(
            f"do_train of {inspect.getsourcefile(do_train)} wants {', '.join(unknown)}, which maskrcnn-benchmark's does not "
            "have: start the training by the tools/train_net.py that belongs to it."
        )
    solver = options(cfg).SOLVER
    if solver.ACCUMULATE != 1:
        raise ConfigError(
            f"SOLVER.ACCUMULATE is {solver.ACCUMULATE}, but do_train of {inspect.getsourcefile(do_train)} takes one batch an "
            "iteration: set it to 1."
        )
    ignored = [f"SOLVER.{key}" for key in KEYS_OF_OUR_LOOP if solver[key] != OPTIONS.SOLVER[key]]
    if ignored:
        logging.getLogger("maskrcnn_benchmark").warning(
            "%s: without effect in do_train of %s.", ", ".join(ignored), inspect.getsourcefile(do_train)
        )
    do_train(**{p.name: available[p.name] for p in named if p.name in available})
