"""How trainings and tests end early."""

import signal


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
    """The evaluation of detections failed, on the main process alone; its cause says why. The processes are together still."""
