from maskrcnn_benchmark.engine.predictor import Predictor

__all__ = ["Predictor"]
