"""Tests during training: the best model is kept, and training that brings nothing more ends."""

import logging
import math
import os
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from maskrcnn_benchmark.checkpoint.weights import load_file
from maskrcnn_benchmark.config.node import ConfigError
from maskrcnn_benchmark.config.options import options
from maskrcnn_benchmark.data.datasets.evaluation.evaluator import EvaluationResult, is_named
from maskrcnn_benchmark.engine.errors import EvaluationError
from maskrcnn_benchmark.engine.saving import Saver
from maskrcnn_benchmark.utils import distributed
from maskrcnn_benchmark.utils.files import write_atomically


def flat_metrics(names: Sequence[str], results: Sequence[EvaluationResult | None] | None) -> dict[str, float]:
    """The results on the named data sets: "NAME/bbox/AP" -> value, not finite where it could not be measured."""
    pairs = zip(names, results or (), strict=False)
    return {f"{name}/{metric}": v for name, found in pairs if found for metric, v in found.flat.items()}


def lower_is_better(names: Sequence[str], results: Sequence[EvaluationResult | None] | None) -> set[str]:
    """Which of the `flat_metrics` are better when they are lower."""
    pairs = zip(names, results or (), strict=False)
    return {f"{name}/{m}" for name, found in pairs if found for m in found.flat if found.is_better_when_lower(m)}


def keep_if_best(cfg, results: Sequence[EvaluationResult | None]) -> None:
    """Make model_final.pth model_best.pth too where its test, which follows a training, is better than all within it."""
    final = os.path.join(cfg.OUTPUT_DIR, "model_final.pth")
    if not (cfg.OUTPUT_DIR and os.path.isfile(final) and distributed.is_main_process()):
        return
    checkpoint = load_file(final)
    best = checkpoint.get("best")
    if not best:
        return
    value = flat_metrics(cfg.DATASETS.TEST, results).get(best["metric"], math.nan)
    sign = -1 if best["metric"] in lower_is_better(cfg.DATASETS.TEST, results) else 1
    if not sign * value > sign * best["value"]:  # not a number, too
        return
    logging.getLogger("maskrcnn_benchmark.trainer").info(
        "%s is %.4f at the end, better than the %.4f after iteration %d: model_best.pth is the last model",
        best["metric"],
        value,
        best["value"],
        best["iteration"],
    )
    checkpoint["best"] = {**best, "value": value, "iteration": checkpoint["iteration"], "tests_since": 0}
    for path in (os.path.join(cfg.OUTPUT_DIR, "model_best.pth"), final):  # what a resumed training has to surpass
        write_atomically(path, lambda f: torch.save(checkpoint, f))


class PeriodicTest:
    """Tests every so often.

    Args:
        evaluate: returns on the main process an EvaluationResult for each data set of DATASETS.TEST; called by all processes,
            with a dict that it may fill with pictures of detections, RGB by name.
        saver: writes model_best.pth, and where a test fails the checkpoint of its iteration.
        arguments: of the training; "best" in it is kept up to date: the metric, its value, its iteration, and the tests since.
        note: called with the iteration, the metrics and the pictures, on all processes.
    """

    def __init__(
        self,
        cfg,
        evaluate: Callable[[dict[str, np.ndarray]], Any],
        saver: Saver,
        arguments: dict[str, Any],
        note: Callable[[int, dict[str, float], dict[str, np.ndarray]], None],
    ):
        self.names, self.wanted = tuple(cfg.DATASETS.TEST), options(cfg).TEST.BEST_METRIC
        self.patience = options(cfg).SOLVER.EARLY_STOP
        self.evaluate, self.saver, self.arguments, self.note = evaluate, saver, arguments, note
        self.metric: str | None = None  # that chooses the best: the same one in all tests
        self.logger = logging.getLogger("maskrcnn_benchmark.trainer")

    def run(self, iteration: int) -> bool:
        """Test now. Returns whether training should end."""
        pictures: dict[str, np.ndarray] = {}
        results = self._evaluate(iteration, pictures)
        of_main = flat_metrics(self.names, results), lower_is_better(self.names, results), None not in (results or ())
        metrics, lower, is_whole = distributed.broadcast_object(of_main)
        self.note(iteration, {name: v for name, v in metrics.items() if math.isfinite(v)}, pictures)
        if self.metric is None:
            try:
                self.metric = self._chosen(metrics, is_whole)
            except ConfigError:
                self.saver.save(iteration, self.arguments)
                raise
        metric, best = self.metric, self.arguments.get("best")
        if metric is None:
            self.logger.warning(
                "This test measured nothing: no best model is kept%s.",
                ", and SOLVER.EARLY_STOP ends nothing" if self.patience else "",
            )
            return False
        value = metrics.get(metric, math.nan)
        if not math.isfinite(value):
            self.logger.info("%s could not be measured: this test does not count.", metric)
            return False
        sign = -1 if metric in lower else 1
        if best is None or best["metric"] != metric or sign * value > sign * best["value"]:
            self.arguments["best"] = {"metric": metric, "value": value, "iteration": iteration, "tests_since": 0}
            self.logger.info("%s is %.4f, the best so far", metric, value)
            if not self.saver.save_aside("model_best", self.arguments):
                self.arguments["best"] = best  # what model_best.pth holds; the next test that is better is saved
            return False
        best["tests_since"] += 1
        self.logger.info(
            "%s is %.4f; the best was %.4f after iteration %d", metric, value, best["value"], best["iteration"]
        )
        return 0 < self.patience <= best["tests_since"]

    def _evaluate(self, iteration: int, pictures: dict[str, np.ndarray]) -> Any:
        """The results, of a test that failed those of the other data sets: training goes on. Where the processes cannot go on
        together, a checkpoint is saved before they end."""
        try:
            return self.evaluate(pictures)
        except Exception as error:
            is_together = distributed.get_world_size() == 1 or isinstance(error, EvaluationError)
            if not is_together:
                self.saver.save(iteration, self.arguments)
                raise
            reason = error.__cause__ if isinstance(error, EvaluationError) and error.__cause__ else error
            self.logger.error(
                "The test after iteration %d failed (%s: %s). Training goes on, and the test at its end will fail likewise if "
                "nothing is mended.",
                iteration,
                type(reason).__name__,
                str(error).removesuffix("."),
            )
            self.logger.debug("Where it failed", exc_info=True)  # into log.txt alone
            return error.results if isinstance(error, EvaluationError) else None

    def _chosen(self, metrics: dict[str, float], is_whole: bool) -> str | None:
        """The metric of the best so far, so that a resumed training compares like with like, or the first that may choose it."""
        found = [name for name in metrics if not self.wanted or is_named(name, self.wanted)]
        if metrics and not found and is_whole:  # what failed may have it
            raise ConfigError(
                f"TEST.BEST_METRIC {self.wanted!r} is none of the metrics of this test: {', '.join(metrics)}."
            )
        best = self.arguments.get("best")
        return best["metric"] if best and best["metric"] in found else next(iter(found), None)
