from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from maskrcnn_benchmark.data.datasets.abstract import AbstractDataset
from maskrcnn_benchmark.data.datasets.evaluation.coco.coco_api import use_coco_evaluator
from maskrcnn_benchmark.data.datasets.evaluation.coco.coco_eval import do_coco_evaluation as do_orig_coco_evaluation
from maskrcnn_benchmark.data.datasets.evaluation.coco.coco_eval_wrapper import (
    do_coco_evaluation as do_wrapped_coco_evaluation,
)
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.utils.late_imports import late_imports

if TYPE_CHECKING:
    from maskrcnn_benchmark.data.datasets.coco import COCODataset

__all__ = [
    "AbstractDataset",
    "COCODataset",
    "coco_evaluation",
    "do_coco_evaluation",
    "do_orig_coco_evaluation",
    "do_wrapped_coco_evaluation",
]

# Upstream's name; late, as it takes torchvision, which takes as long to import as torch.
__getattr__ = late_imports(__name__, {"COCODataset": "..coco"})
do_coco_evaluation = do_orig_coco_evaluation  # its name until 2019


def coco_evaluation(
    dataset: Any,
    predictions: list[BoxList],
    output_folder: str | None,
    box_only: bool,
    iou_types: Sequence[str],
    expected_results: Sequence = (),
    expected_results_sigma_tol: float = 4,
    evaluator: str | None = None,
) -> Any:
    """COCO's metrics, for a data set with COCO annotations (an attribute `coco`) or an AbstractDataset.

    See `do_coco_evaluation`. `evaluator` is what computes them, as TEST.COCO_EVALUATOR names it; default: what was chosen around
    this call, or pycocotools.
    """
    if evaluator is not None:
        with use_coco_evaluator(evaluator):
            return coco_evaluation(
                dataset,
                predictions,
                output_folder,
                box_only,
                iou_types,
                expected_results,
                expected_results_sigma_tol,
            )
    if hasattr(dataset, "coco"):
        evaluation: Any = do_orig_coco_evaluation
    elif isinstance(dataset, AbstractDataset):
        evaluation = do_wrapped_coco_evaluation
    else:
        raise ValueError(
            f"COCO's metrics need a data set with COCO annotations (COCODataset) or an AbstractDataset; got a "
            f"{type(dataset).__name__}."
        )
    return evaluation(
        dataset=dataset,
        predictions=predictions,
        box_only=box_only,
        output_folder=output_folder,
        iou_types=iou_types,
        expected_results=expected_results,
        expected_results_sigma_tol=expected_results_sigma_tol,
    )


coco_evaluation.__dict__["is_own"] = True
