"""Evaluators whose numbers a function with maskrcnn-benchmark's arguments computes: this package's, or the one of a fork that
has another file in its place."""

import math
import os
from collections.abc import Callable, Collection, Sequence
from typing import Any, ClassVar

from maskrcnn_benchmark.data.datasets.evaluation.cityscapes import abs_cityscapes_evaluation
from maskrcnn_benchmark.data.datasets.evaluation.cityscapes.cityscapes_eval import do_cityscapes_evaluation
from maskrcnn_benchmark.data.datasets.evaluation.coco import coco_evaluation
from maskrcnn_benchmark.data.datasets.evaluation.coco.coco_eval import do_coco_evaluation
from maskrcnn_benchmark.data.datasets.evaluation.coco.coco_metrics import metric_names
from maskrcnn_benchmark.data.datasets.evaluation.evaluator import ByTask, EvaluationResult, Evaluator
from maskrcnn_benchmark.data.datasets.evaluation.voc import voc_evaluation
from maskrcnn_benchmark.data.datasets.evaluation.voc.voc_eval import do_voc_evaluation
from maskrcnn_benchmark.data.datasets.facts import class_names, has_annotations
from maskrcnn_benchmark.data.registries import EVALUATORS


class FunctionEvaluator(Evaluator):
    """By `function(dataset, predictions, output_folder, box_only, iou_types, ...)`."""

    function: ClassVar[Callable[..., Any]]
    parts: ClassVar[tuple[Callable[..., Any], ...]] = ()  # functions of files that a fork may have replaced
    logs = True

    @classmethod
    def metric_names(cls, tasks: Sequence[str], proposals: bool) -> Collection[str] | None:
        own = next((kind for kind in OWN if issubclass(cls, kind)), None)
        is_own = own is not None and cls.evaluate is own.evaluate and cls.function is own.function
        if not is_own or not all(getattr(part, "is_own", False) for part in cls.parts):
            return None
        return cls._names(tasks, proposals)

    @classmethod
    def _names(cls, tasks: Sequence[str], proposals: bool) -> Collection[str]:
        return metric_names(tasks, proposals)

    def evaluate(self) -> EvaluationResult:
        before = _stamps(self.output_folder)
        returned = type(self).function(
            dataset=self.dataset,
            predictions=self.predictions,
            output_folder=self.output_folder,
            box_only=self.proposals,
            iou_types=self.tasks,
            expected_results=(),
            expected_results_sigma_tol=4,
        )
        result = result_of(returned)
        if not has_annotations(self.dataset):
            result.metrics = {}  # COCO's would be there, each as not measured
        changed = set(_stamps(self.output_folder).items()) - set(before.items())
        result.files |= {os.path.basename(path): path for path, _ in sorted(changed)}
        return result


@EVALUATORS.register("coco")
class COCOEvaluator(FunctionEvaluator):
    """COCO's metrics, of a data set with COCO annotations or an AbstractDataset."""

    function = staticmethod(coco_evaluation)
    parts = (coco_evaluation, do_coco_evaluation)


@EVALUATORS.register("voc")
class VOCEvaluator(FunctionEvaluator):
    """Pascal VOC's average precision at IoU 0.5; of proposals COCO's recall."""

    function = staticmethod(voc_evaluation)
    parts = (voc_evaluation, do_voc_evaluation)

    @classmethod
    def _names(cls, tasks: Sequence[str], proposals: bool) -> Collection[str]:
        return metric_names(tasks, proposals) if proposals else ["bbox/AP50"]

    def evaluate(self) -> EvaluationResult:
        result = super().evaluate()
        names = class_names(self.dataset)
        by_label = result.per_class.get("bbox", {})
        if by_label:
            result.per_class["bbox"] = {names.get(int(k), k): ap for k, ap in by_label.items() if k != "0"}
        return result


@EVALUATORS.register("cityscapes")
class CityscapesEvaluator(FunctionEvaluator):
    """Cityscapes' average precision of boxes and masks; of proposals COCO's recall."""

    function = staticmethod(abs_cityscapes_evaluation)
    parts = (abs_cityscapes_evaluation, do_cityscapes_evaluation)

    @classmethod
    def _names(cls, tasks: Sequence[str], proposals: bool) -> Collection[str]:
        names = [f"{task}/{name}" for task in tasks for name in ("AP", "AP50")]
        return metric_names(tasks, proposals) if proposals else names


OWN = (COCOEvaluator, VOCEvaluator, CityscapesEvaluator)


def result_of(returned: Any) -> EvaluationResult:
    """What an evaluation of maskrcnn-benchmark's kind returned: (COCOResults, detections), VOC's {"ap", "map"}, or something of
    a fork's own, of which the attribute `results` counts."""
    found = returned[0] if isinstance(returned, tuple) and returned else returned
    if isinstance(found, EvaluationResult):
        return found
    if isinstance(found, dict) and "map" in found:
        aps = {str(label): float(ap) for label, ap in enumerate(found.get("ap", ()))}
        return EvaluationResult({"bbox": {"AP50": float(found["map"])}}, {"bbox": aps})
    result = EvaluationResult(_measured(getattr(found, "results", {})), _measured(getattr(found, "per_class", {})))
    result.per_class_metrics = {task: _measured(of) for task, of in getattr(found, "per_class_metrics", {}).items()}
    return result


def _measured(values: dict[str, dict[str, float]]) -> ByTask:
    """COCO's -1 as NaN."""
    return {task: {k: float(v) if v >= 0 else math.nan for k, v in of.items()} for task, of in values.items()}


def _stamps(folder: str | None) -> dict[str, int]:
    """When the files of a folder were last changed, in nanoseconds."""
    if not folder or not os.path.isdir(folder):
        return {}
    return {entry.path: entry.stat().st_mtime_ns for entry in os.scandir(folder) if entry.is_file()}
