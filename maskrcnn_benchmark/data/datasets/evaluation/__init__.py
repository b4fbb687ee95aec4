from maskrcnn_benchmark.data.datasets.evaluation.cityscapes import abs_cityscapes_evaluation
from maskrcnn_benchmark.data.datasets.evaluation.coco import coco_evaluation
from maskrcnn_benchmark.data.datasets.evaluation.evaluate import EVALUATORS, evaluate
from maskrcnn_benchmark.data.datasets.evaluation.voc import voc_evaluation

__all__ = ["EVALUATORS", "abs_cityscapes_evaluation", "coco_evaluation", "evaluate", "voc_evaluation"]
