"""Loops over the models: training, testing, predicting."""

from typing import TYPE_CHECKING

from maskrcnn_benchmark.utils.late_imports import late_imports

if TYPE_CHECKING:
    from maskrcnn_benchmark.engine.predictor import Predictor

__all__ = ["Predictor"]
__getattr__ = late_imports(__name__, {"Predictor": "predictor"})
