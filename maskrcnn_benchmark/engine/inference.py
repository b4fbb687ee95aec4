from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from maskrcnn_benchmark.data.datasets.evaluation import evaluate
from maskrcnn_benchmark.data.datasets.evaluation.coco.coco_eval import (  # noqa: F401 (they stood here until November 2018)
    COCOResults,
    check_expected_results,
    evaluate_box_proposals,
    evaluate_predictions_on_coco,
    prepare_for_coco_detection,
    prepare_for_coco_segmentation,
)
from maskrcnn_benchmark.engine import detection
from maskrcnn_benchmark.engine.detection import (  # noqa: F401
    _accumulate_predictions_from_multiple_gpus,
    compute_on_dataset,
)


def inference(
    model: nn.Module,
    data_loader,
    dataset_name: str = "",
    iou_types: Sequence[str] = ("bbox",),
    box_only: bool = False,
    bbox_aug: bool = False,
    device: str | torch.device = "cuda",
    expected_results: Sequence = (),
    expected_results_sigma_tol: float = 4,
    output_folder: str | None = None,
) -> Any:
    """Detect on a data set and evaluate, with maskrcnn-benchmark's arguments; see `engine.testing.evaluate_model`.

    Returns:
        What `evaluate` returns, on the main process; None on the others.
    """
    gathered = detection.detect_on(model, data_loader, dataset_name, bbox_aug, torch.device(device), output_folder)
    if gathered is None:
        return None
    return evaluate(
        dataset=data_loader.dataset,
        predictions=gathered,
        output_folder=output_folder,
        box_only=box_only,
        iou_types=tuple(iou_types),
        expected_results=expected_results,
        expected_results_sigma_tol=expected_results_sigma_tol,
    )


# What tells it from a fork's, which then does the whole test; see engine/testing.py.
inference.__dict__["is_own"] = True
