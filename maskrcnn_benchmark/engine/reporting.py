"""Reports at the end of trainings and tests, which never cost what they report on."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from typing import Any

from maskrcnn_benchmark.config.options import options
from maskrcnn_benchmark.data.datasets.evaluation.evaluator import EvaluationResult
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.utils import distributed

logger = logging.getLogger("maskrcnn_benchmark")


def report_training(cfg: Any) -> None:
    """Write OUTPUT_DIR/report.html, on the main process, unless REPORT is off."""

    def write() -> str:
        from maskrcnn_benchmark.reports.training import write_training_report

        return write_training_report(cfg)

    if options(cfg).REPORT and cfg.OUTPUT_DIR and distributed.is_main_process():
        _write(write, "training", os.path.join(cfg.OUTPUT_DIR))


def report_test(
    cfg: Any,
    name: str,
    folder: str | None,
    result: EvaluationResult | None,
    dataset: Any,
    predictions: Sequence[BoxList],
) -> None:
    """Write report.html to the folder of a test, where there are a result and a folder, unless REPORT is off."""
    if result is None or not folder:
        return

    def write() -> str:
        from maskrcnn_benchmark.reports.testing import write_test_report

        return write_test_report(cfg, name, folder, result, dataset, predictions)

    if options(cfg).REPORT and distributed.is_main_process():
        _write(write, f"test on {name}", folder)


def _write(write: Callable[[], str], what: str, folder: str) -> None:
    try:
        logger.info("Report of the %s: %s", what, write())
    except Exception as error:  # of whatever a fork or a data set brings along
        logger.warning("The report of the %s could not be written to %s: %s", what, folder, error)
        logger.debug("Where it failed", exc_info=True)  # into log.txt alone
