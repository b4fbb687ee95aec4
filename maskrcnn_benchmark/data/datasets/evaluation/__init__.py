from maskrcnn_benchmark.data.datasets.evaluation.evaluate import EVALUATORS, evaluate

__all__ = ["EVALUATORS", "evaluate"]
