from maskrcnn_benchmark.data.datasets.evaluation.build import evaluate
from maskrcnn_benchmark.data.datasets.evaluation.cityscapes import abs_cityscapes_evaluation
from maskrcnn_benchmark.data.datasets.evaluation.coco import coco_evaluation
from maskrcnn_benchmark.data.datasets.evaluation.voc import voc_evaluation

__all__ = ["abs_cityscapes_evaluation", "coco_evaluation", "evaluate", "voc_evaluation"]
