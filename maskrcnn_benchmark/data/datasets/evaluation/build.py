"""Which evaluation belongs to a data set."""

from collections.abc import Sequence
from typing import Any

from maskrcnn_benchmark.data.datasets.abstract import AbstractDataset
from maskrcnn_benchmark.data.datasets.evaluation.evaluator import Evaluator, check_expected, evaluated
from maskrcnn_benchmark.data.datasets.evaluation.functions import FunctionEvaluator
from maskrcnn_benchmark.data.datasets.voc import PascalVOCDataset
from maskrcnn_benchmark.data.registries import EVALUATORS
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.utils.registered import registered


def make_evaluator(
    dataset: Any, output_folder: str | None = None, tasks: Sequence[str] = ("bbox",), proposals: bool = False
) -> Evaluator:
    """The evaluator that the data set names in its attribute `evaluator` (a key of EVALUATORS); a data set without one, of a
    fork, is evaluated by its class: whatever has COCO annotations (an attribute `coco`), PascalVOCDataset, AbstractDataset.
    """
    return _evaluator_class(dataset)(dataset, output_folder, tasks, proposals)


def evaluate(dataset: Any, predictions: list[BoxList], output_folder: str | None, **kwargs: Any) -> Any:
    """Evaluate one BoxList an image, in the order of the data set, as `make_evaluator` says; maskrcnn-benchmark's way to ask for
    it. New programs take `make_evaluator`.

    Args:
        kwargs: box_only, iou_types, expected_results, expected_results_sigma_tol.

    Returns:
        For COCO, VOC and Cityscapes what their function returns, for others an EvaluationResult.
    """
    kind = _evaluator_class(dataset)
    if isinstance(kind, type) and issubclass(kind, FunctionEvaluator):
        return kind.function(dataset=dataset, predictions=predictions, output_folder=output_folder, **kwargs)
    evaluator = kind(dataset, output_folder, kwargs.get("iou_types", ("bbox",)), kwargs.get("box_only", False))
    result = evaluated(evaluator, predictions)
    check_expected(result.metrics, kwargs.get("expected_results", ()), kwargs.get("expected_results_sigma_tol", 4))
    return result


def _evaluator_class(dataset: Any) -> Any:
    name = getattr(dataset, "evaluator", None) or _by_class(dataset)
    if name is None:
        raise ValueError(
            f"{type(dataset).__name__} does not name its evaluation: give it an attribute `evaluator`, one of "
            f"{', '.join(sorted(EVALUATORS))}."
        )
    return registered(EVALUATORS, name, f"{type(dataset).__name__}.evaluator")


def _by_class(dataset: Any) -> str | None:
    if hasattr(dataset, "coco"):
        return "coco"
    if isinstance(dataset, PascalVOCDataset):
        return "voc"
    return "cityscapes" if isinstance(dataset, AbstractDataset) else None
