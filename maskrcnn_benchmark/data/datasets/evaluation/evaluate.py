"""Which evaluation belongs to a data set."""

from typing import Any

from maskrcnn_benchmark.data.datasets.abstract import AbstractDataset
from maskrcnn_benchmark.data.datasets.coco import COCODataset
from maskrcnn_benchmark.data.datasets.evaluation.cityscapes import abs_cityscapes_evaluation
from maskrcnn_benchmark.data.datasets.evaluation.coco import coco_evaluation
from maskrcnn_benchmark.data.datasets.evaluation.voc import voc_evaluation
from maskrcnn_benchmark.data.datasets.voc import PascalVOCDataset
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.utils.registry import Registry

EVALUATORS = Registry({"coco": coco_evaluation, "voc": voc_evaluation, "cityscapes": abs_cityscapes_evaluation})


def evaluate(dataset: Any, predictions: list[BoxList], output_folder: str | None, **kwargs: Any) -> Any:
    """Evaluate one BoxList an image, in the order of the data set.

    How, its attribute `evaluator` names (a key of EVALUATORS); a data set without one, of a fork, is evaluated by its class:
    COCODataset or whatever has COCO annotations, PascalVOCDataset, AbstractDataset.
    """
    name = getattr(dataset, "evaluator", None) or _by_class(dataset)
    if name is None:
        raise ValueError(
            f"{type(dataset).__name__} does not name its evaluation: give it an attribute `evaluator`, one of "
            f"{', '.join(sorted(EVALUATORS))}."
        )
    return EVALUATORS[name](dataset=dataset, predictions=predictions, output_folder=output_folder, **kwargs)


def _by_class(dataset: Any) -> str | None:
    if isinstance(dataset, COCODataset) or hasattr(dataset, "coco"):
        return "coco"
    if isinstance(dataset, PascalVOCDataset):
        return "voc"
    return "cityscapes" if isinstance(dataset, AbstractDataset) else None
