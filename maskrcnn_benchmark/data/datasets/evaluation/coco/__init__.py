from maskrcnn_benchmark.data.datasets.abstract import AbstractDataset
from maskrcnn_benchmark.data.datasets.coco import COCODataset
from maskrcnn_benchmark.data.datasets.evaluation.coco.coco_eval import do_coco_evaluation as do_orig_coco_evaluation
from maskrcnn_benchmark.data.datasets.evaluation.coco.coco_eval_wrapper import (
    do_coco_evaluation as do_wrapped_coco_evaluation,
)
from maskrcnn_benchmark.data.datasets.evaluation.coco.dispatch import coco_evaluation

__all__ = [
    "AbstractDataset",
    "COCODataset",
    "coco_evaluation",
    "do_orig_coco_evaluation",
    "do_wrapped_coco_evaluation",
]
