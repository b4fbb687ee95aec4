"""Evaluation of detections on Cityscapes."""

import logging
import os
from collections.abc import Sequence

from maskrcnn_benchmark.data.datasets.abstract import AbstractDataset
from maskrcnn_benchmark.data.datasets.evaluation.cityscapes import eval_instances as instances
from maskrcnn_benchmark.data.datasets.evaluation.evaluator import EvaluationResult, check_expected
from maskrcnn_benchmark.data.datasets.facts import class_names
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.utils.files import write_json

logger = logging.getLogger("maskrcnn_benchmark.inference")

EVALUATIONS = {"bbox": instances.evaluateBoxMatches, "segm": instances.evaluateMaskMatches}


def do_cityscapes_evaluation(
    dataset: AbstractDataset,
    predictions: list[BoxList],
    box_only: bool,
    output_folder: str | None,
    iou_types: Sequence[str],
    expected_results: Sequence = (),
    expected_results_sigma_tol: float = 4,
) -> EvaluationResult:
    """Average precision over IoU 0.5 to 0.95, and at 0.5, of boxes ("bbox") and masks ("segm").

    Writes to `output_folder` cityscapes_bbox.json and cityscapes_segm.json: averages, AP of each class and threshold.
    """
    if box_only:
        raise ValueError("Cityscapes has no metric of proposals; abs_cityscapes_evaluation measures COCO's recall.")
    args = instances.CArgs(labels=tuple(class_names(dataset).values()))
    matches = instances.matchGtsWithPreds(dataset, predictions)
    result = EvaluationResult()
    for task in iou_types:
        if task not in EVALUATIONS:
            raise ValueError(f"Cityscapes has no task {task!r}; it has {', '.join(EVALUATIONS)}.")
        aps = EVALUATIONS[task](matches, args)
        averages = instances.computeAverages(aps, args)
        logger.info("Cityscapes, %s, in percent", task)
        instances.printResults(averages, args)
        result.metrics[task] = {"AP": averages["allAp"], "AP50": averages["allAp50%"]}
        result.per_class[task] = {name: values["ap"] for name, values in averages["classes"].items()}
        if output_folder:
            content = instances.prepareJSONDataForResults(averages, aps, args)
            write_json(os.path.join(output_folder, f"cityscapes_{task}.json"), content)
    check_expected(result.metrics, expected_results, expected_results_sigma_tol)
    return result


do_cityscapes_evaluation.__dict__["is_own"] = True
