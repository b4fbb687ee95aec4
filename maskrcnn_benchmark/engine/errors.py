"""How trainings and tests end early."""

from __future__ import annotations

import signal
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # a command that needs no evaluation starts without it
    from maskrcnn_benchmark.data.datasets.evaluation.evaluator import EvaluationResult


class NonFiniteLossError(FloatingPointError):
    """A loss that is infinite or not a number; the message names the losses and the images, of all processes."""


class TrainingInterrupted(SystemExit):
    """A signal ended the training; a checkpoint was saved. The exit status is 128 and the signal's number."""

    def __init__(self, signal_number: int, iteration: int):
        super().__init__(128 + signal_number)
        self.message = (
            f"Stopped by {signal.Signals(signal_number).name} after iteration {iteration}; a checkpoint was saved, and the "
            "same command goes on from there."
        )


class NoSetupError(FileNotFoundError, ValueError):
    """What TORCH_DETECTRON_ENV_MODULE names is no file, or has no setup_environment()."""


class EvaluationError(RuntimeError):
    """The evaluation of detections failed, on the main process alone; its cause says why. The processes are together still.

    `results`: what was measured, one for each data set, None for those that failed.
    """

    results: Sequence[EvaluationResult | None] = ()
