"""COCO's metrics for data sets in other formats."""

import contextlib
import io
from collections.abc import Sequence

from pycocotools.coco import COCO

from maskrcnn_benchmark.data.datasets.abstract import AbstractDataset
from maskrcnn_benchmark.data.datasets.evaluation.coco import coco_eval
from maskrcnn_benchmark.data.datasets.evaluation.coco.abs_to_coco import convert_abstract_to_coco
from maskrcnn_benchmark.data.datasets.evaluation.coco.coco_eval import COCOResults
from maskrcnn_benchmark.data.datasets.facts import has_annotations
from maskrcnn_benchmark.structures.bounding_box import BoxList


class _AsCOCO:
    """What the evaluation asks a COCODataset for."""

    def __init__(self, dataset: AbstractDataset):
        self.coco = COCO()
        self.coco.dataset = convert_abstract_to_coco(dataset)
        with contextlib.redirect_stdout(io.StringIO()):
            self.coco.createIndex()
        self.has_annotations = has_annotations(dataset)
        self.ids = sorted(self.coco.imgs)
        self.categories = {c["id"]: c["name"] for c in self.coco.dataset["categories"]}
        self.contiguous_category_id_to_json_id = {label: label for label in self.categories}

    def get_img_info(self, index: int) -> dict:
        """Image ids are positions."""
        return self.coco.imgs[index]


def do_coco_evaluation(
    dataset: AbstractDataset,
    predictions: list[BoxList],
    box_only: bool,
    output_folder: str | None,
    iou_types: Sequence[str],
    expected_results: Sequence = (),
    expected_results_sigma_tol: float = 4,
) -> tuple[COCOResults, dict[str, list]]:
    """As coco_eval.do_coco_evaluation, for any AbstractDataset. Image ids are positions, category ids labels."""
    converted = _AsCOCO(dataset)
    annotated = converted.coco.dataset.get("annotations", [])
    if "segm" in iou_types and any("segmentation" not in a for a in annotated):
        raise ValueError(
            f"{type(dataset).__name__} has no masks to evaluate masks against: set MODEL.MASK_ON to False or evaluate boxes."
        )
    return coco_eval.do_coco_evaluation(
        converted,
        predictions,
        box_only,
        output_folder,
        iou_types,
        expected_results,
        expected_results_sigma_tol,
    )
