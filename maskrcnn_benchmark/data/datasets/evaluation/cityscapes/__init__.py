from collections.abc import Sequence
from typing import Any

from maskrcnn_benchmark.data.datasets.abstract import AbstractDataset
from maskrcnn_benchmark.data.datasets.evaluation.cityscapes.cityscapes_eval import do_cityscapes_evaluation
from maskrcnn_benchmark.data.datasets.evaluation.coco.coco_eval_wrapper import do_coco_evaluation
from maskrcnn_benchmark.structures.bounding_box import BoxList

__all__ = ["abs_cityscapes_evaluation", "do_cityscapes_evaluation"]


def abs_cityscapes_evaluation(
    dataset: Any,
    predictions: list[BoxList],
    box_only: bool,
    output_folder: str | None,
    iou_types: Sequence[str],
    expected_results: Sequence = (),
    expected_results_sigma_tol: float = 4,
) -> Any:
    """Cityscapes' AP for any AbstractDataset with masks; with `box_only`, COCO's recall of proposals."""
    if not isinstance(dataset, AbstractDataset):
        raise ValueError(f"Cityscapes' AP needs an AbstractDataset; got a {type(dataset).__name__}.")
    evaluation = do_coco_evaluation if box_only else do_cityscapes_evaluation
    return evaluation(
        dataset, predictions, box_only, output_folder, iou_types, expected_results, expected_results_sigma_tol
    )


abs_cityscapes_evaluation.__dict__["is_own"] = True
