"""Loops over the models: training, testing, predicting."""

from typing import Any

__all__ = ["Predictor"]


def __getattr__(name: str) -> Any:
    """`Predictor` when it is first asked for: who imports a module of this folder alone does not need it."""
    if name == "Predictor":
        from maskrcnn_benchmark.engine.predictor import Predictor

        return Predictor
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
