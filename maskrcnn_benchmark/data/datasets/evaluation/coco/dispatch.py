from collections.abc import Sequence
from typing import Any

from maskrcnn_benchmark.data.datasets.abstract import AbstractDataset
from maskrcnn_benchmark.data.datasets.evaluation.coco import coco_eval, coco_eval_wrapper
from maskrcnn_benchmark.data.datasets.evaluation.coco.coco_eval import COCOResults
from maskrcnn_benchmark.structures.bounding_box import BoxList


def coco_evaluation(
    dataset: Any,
    predictions: list[BoxList],
    output_folder: str | None,
    box_only: bool,
    iou_types: Sequence[str],
    expected_results: Sequence = (),
    expected_results_sigma_tol: float = 4,
    evaluator: str = "pycocotools",
) -> tuple[COCOResults, dict[str, list]]:
    """COCO's metrics, for a data set in COCO format or an AbstractDataset; see `do_coco_evaluation`."""
    if isinstance(dataset, AbstractDataset):
        evaluation = coco_eval_wrapper.do_coco_evaluation
    elif hasattr(dataset, "coco"):
        evaluation = coco_eval.do_coco_evaluation
    else:
        raise ValueError(
            f"COCO's metrics need a data set with COCO annotations (COCODataset) or an AbstractDataset; got a "
            f"{type(dataset).__name__}."
        )
    return evaluation(
        dataset,
        predictions,
        box_only,
        output_folder,
        iou_types,
        expected_results,
        expected_results_sigma_tol,
        evaluator,
    )
