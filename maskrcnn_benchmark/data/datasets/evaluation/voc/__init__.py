import logging
from typing import Any

from maskrcnn_benchmark.data.datasets.evaluation.coco.coco_eval_wrapper import do_coco_evaluation
from maskrcnn_benchmark.data.datasets.evaluation.evaluator import check_expected
from maskrcnn_benchmark.data.datasets.evaluation.voc.voc_eval import do_voc_evaluation
from maskrcnn_benchmark.structures.bounding_box import BoxList

__all__ = ["do_voc_evaluation", "voc_evaluation"]

logger = logging.getLogger("maskrcnn_benchmark.inference")


def voc_evaluation(
    dataset: Any, predictions: list[BoxList], output_folder: str | None, box_only: bool = False, **options: Any
) -> Any:
    """Evaluate detections by VOC's AP, or with `box_only` proposals by COCO's recall.

    Returns:
        What `do_voc_evaluation` returns, or the evaluation of proposals.
    """
    if box_only:
        logger.info("VOC has no metric of proposals: COCO's recall is measured.")
        return do_coco_evaluation(dataset, predictions, True, output_folder, ("bbox",), (), 4)
    if set(options.get("iou_types", ())) - {"bbox"}:
        logger.info("VOC's boxes alone are evaluated.")
    result = do_voc_evaluation(dataset, predictions, output_folder, logger)
    if result and options.get("expected_results"):
        found = {"bbox": {"AP50": result["map"]}}
        check_expected(found, options["expected_results"], options.get("expected_results_sigma_tol", 4))
    return result


voc_evaluation.__dict__["is_own"] = True
