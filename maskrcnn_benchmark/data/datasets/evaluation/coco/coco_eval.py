"""COCO's metrics, by pycocotools or one of its faster successors."""

import contextlib
import io
import logging
import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from pycocotools.coco import COCO

from maskrcnn_benchmark.data.datasets.evaluation.coco.coco_api import COCO_DETECTIONS, chosen, chosen_coco_api
from maskrcnn_benchmark.data.datasets.evaluation.coco.coco_metrics import (
    KEYPOINT_METRICS,
    METRICS,
    PROPOSAL_METRICS,
    Evaluated,
    class_table,
    names_of,
    set_areas,
)
from maskrcnn_benchmark.data.datasets.evaluation.coco.coco_truth import Truth
from maskrcnn_benchmark.data.datasets.evaluation.evaluator import check_expected, metrics_table
from maskrcnn_benchmark.data.datasets.evaluation.rles import rles_of_detections
from maskrcnn_benchmark.data.datasets.facts import category_names, has_annotations
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.boxes import box_iou
from maskrcnn_benchmark.structures.boxlist_fields import resized
from maskrcnn_benchmark.utils.files import write_atomically, write_json
from maskrcnn_benchmark.utils.wording import counted

AREA_RANGES = {"all": (0, 1e10), "small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, 1e10)}

logger = logging.getLogger("maskrcnn_benchmark.inference")


class COCOResults:
    """Metrics of each task: `results["bbox"]["AP"]`, as fractions of one; -1 where nothing could be measured. `per_class` has the
    AP of each category, `per_class_metrics` all its metrics."""

    def __init__(self, *iou_types: str):
        unknown = set(iou_types) - {"box_proposal", "bbox", "segm", "keypoints"}
        if unknown:
            raise ValueError(f"COCO has no task {', '.join(sorted(unknown))}.")
        self.results: dict[str, dict[str, float]] = {}
        for task in iou_types:
            self.results[task] = dict.fromkeys(_metrics_of(task), -1.0)
        self.per_class: dict[str, dict[str, float]] = {}
        self.per_class_metrics: dict[str, dict[str, dict[str, float]]] = {}

    def update(self, coco_eval: Any) -> None:
        if coco_eval is None:
            return
        task = coco_eval.params.iouType
        metrics = getattr(coco_eval, "metrics", None)  # a COCOeval by itself has none
        if metrics is None:
            metrics = {n: float(value) for n, value in zip(_metrics_of(task), coco_eval.stats, strict=False)}
        self.results[task] = dict(metrics)

    def __str__(self) -> str:
        return metrics_table(self.results)


def _metrics_of(task: str) -> Sequence[str]:
    if task == "box_proposal":
        return PROPOSAL_METRICS
    return KEYPOINT_METRICS if task == "keypoints" else METRICS


def do_coco_evaluation(
    dataset: Any,
    predictions: list[BoxList],
    box_only: bool,
    output_folder: str | None,
    iou_types: Sequence[str],
    expected_results: Sequence = (),
    expected_results_sigma_tol: float = 4,
) -> tuple[COCOResults, dict[str, list]]:
    """Evaluate detections, or with `box_only` proposals.

    Writes to `output_folder`: the detections as COCO results (bbox.json, segm.json, keypoints.json) and the metrics
    (metrics.json, and the COCOResults as coco_results.pth, or box_proposals.pth for proposals). A data set without
    annotations gives the former only.

    Returns:
        The metrics, and the detections as COCO results by task.
    """
    if box_only:
        results = COCOResults("box_proposal")
        if has_annotations(dataset):
            results.results["box_proposal"] = _proposal_recall(predictions, dataset)
        return _finish(results, {}, output_folder, expected_results, expected_results_sigma_tol)

    makers = {
        "bbox": prepare_for_coco_detection,
        "segm": prepare_for_coco_segmentation,
        "keypoints": prepare_for_coco_keypoint,
    }
    coco_results = {task: makers[task](predictions, dataset) for task in iou_types}
    for task, entries in coco_results.items():
        if output_folder:
            write_json(os.path.join(output_folder, f"{task}.json"), entries)
    results = COCOResults(*iou_types)
    if not has_annotations(dataset):
        logger.info("The data set has no annotations: detections are written, nothing is measured.")
        return results, coco_results
    for task, entries in coco_results.items():
        coco_eval = evaluate_predictions_on_coco(dataset.coco, entries, None, task, getattr(dataset, "ids", None))
        results.update(coco_eval)
        results.per_class_metrics[task] = per_class_metrics(coco_eval, dataset)
        results.per_class[task] = {name: of["AP"] for name, of in results.per_class_metrics[task].items()}
    return _finish(results, coco_results, output_folder, expected_results, expected_results_sigma_tol)


do_coco_evaluation.__dict__["is_own"] = True


def _finish(results, coco_results, output_folder, expected_results, sigma_tol) -> tuple[COCOResults, dict]:
    for task, per_class in results.per_class_metrics.items():
        if per_class:
            logger.info("AP of each category, %s:\n%s", task, class_table(per_class))
    logger.info("Results in percent:\n%s", results)
    check_expected_results(results, expected_results, sigma_tol)
    if output_folder:
        content = {"per_class": results.per_class, "per_class_metrics": results.per_class_metrics}
        write_json(os.path.join(output_folder, "metrics.json"), {**results.results, **content})
        name = "box_proposals.pth" if "box_proposal" in results.results else "coco_results.pth"
        write_atomically(os.path.join(output_folder, name), lambda f: torch.save(results, f))
    return results, coco_results


def _image_id(dataset: Any, index: int) -> Any:
    """The id in the annotation file of the image at a position of the data set."""
    if hasattr(dataset, "id_to_img_map"):
        return dataset.id_to_img_map[index]
    return dataset.get_img_info(index)["id"]


def _results(predictions: list[BoxList], dataset: Any, key: str, values_of) -> list[dict]:
    entries = []
    for index, prediction in enumerate(predictions):
        if len(prediction) == 0:
            continue
        info, image_id = dataset.get_img_info(index), _image_id(dataset, index)
        prediction = resized(prediction, (info["width"], info["height"]))
        labels, scores = prediction.get_field("labels").tolist(), prediction.get_field("scores").tolist()
        for value, label, score in zip(values_of(prediction), labels, scores, strict=True):
            category = dataset.contiguous_category_id_to_json_id.get(label)
            if category is None:  # a class that this data set lacks
                continue
            entries.append({"image_id": image_id, "category_id": category, key: value, "score": score})
    return entries


def prepare_for_coco_detection(predictions: list[BoxList], dataset: Any) -> list[dict]:
    """COCO results with "bbox" (x, y, width, height) in pixels of the original images."""
    return _results(predictions, dataset, "bbox", lambda p: p.convert("xywh").bbox.tolist())


def prepare_for_coco_segmentation(predictions: list[BoxList], dataset: Any) -> list[dict]:
    """COCO results with "segmentation": from the field "rle", or from "mask" (Tensor[N, 1, M, M], pasted here)."""
    return _results(predictions, dataset, "segmentation", rles_of_detections)


def prepare_for_coco_keypoint(predictions: list[BoxList], dataset: Any) -> list[dict]:
    """COCO results with "keypoints" (x, y, 1 of each in turn) in pixels of the original images."""
    return _results(predictions, dataset, "keypoints", lambda p: p.get_field("keypoints").keypoints.flatten(1).tolist())


def evaluate_predictions_on_coco(
    coco_gt: COCO,
    coco_results: list[dict],
    json_result_file: str | None,
    iou_type: str = "bbox",
    image_ids: Sequence[int] | None = None,
) -> Any:
    """Run COCOeval on results in COCO's format, for all images or the named ones.

    Returns:
        The COCOeval, with "stats", "eval" and "metrics" (see Evaluated).
    """
    if json_result_file:
        write_json(json_result_file, coco_results)
    coco_class, eval_class = chosen_coco_api()
    with contextlib.redirect_stdout(io.StringIO()):
        truth = Truth(coco_gt, coco_class, iou_type)
        if coco_results:
            coco_dt = truth.coco.loadRes(truth.results(coco_results))
        else:
            coco_dt = coco_class()
            coco_dt.dataset = {"images": [], "annotations": [], "categories": []}
            coco_dt.createIndex()
        coco_eval = eval_class(truth.coco, coco_dt, iou_type)
        if iou_type == "keypoints":
            coco_eval.params.kpt_oks_sigmas = _sigmas(np.asarray(coco_eval.params.kpt_oks_sigmas), truth.keypoints)
        else:
            if chosen().detections > COCO_DETECTIONS:
                coco_eval.params.maxDets = [*coco_eval.params.maxDets, chosen().detections]
            set_areas(coco_eval.params, chosen().areas)
        if image_ids is not None:
            coco_eval.params.imgIds = sorted(map(truth.image_id, image_ids))
        coco_eval.evaluate()
        coco_eval.accumulate()
        evaluated = Evaluated(coco_eval, ("m", "l") if iou_type == "keypoints" else names_of(chosen().areas))
    evaluated.params.catIds = truth.known_categories(evaluated.params.catIds)
    evaluated.params.imgIds = truth.known_images(evaluated.params.imgIds)
    return evaluated


def _sigmas(of_person: np.ndarray, count: int) -> np.ndarray:
    """How exactly people mark each of `count` keypoints: float64 [count]."""
    given = chosen().sigmas
    if given:
        if len(given) != count:
            raise ValueError(
                f"TEST.KEYPOINT_OKS_SIGMAS has {counted(len(given), 'number')}, but objects have {counted(count, 'keypoint')}."
            )
        return np.array(given, np.float64)
    if count == len(of_person):
        return of_person
    logger.warning(
        "Keypoints: COCO measured how exactly people mark a person's keypoints only. For each of these %d OKS takes their mean, "
        "%.4f; TEST.KEYPOINT_OKS_SIGMAS gives others.",
        count,
        of_person.mean(),
    )
    return np.full(count, of_person.mean())


def per_class_metrics(evaluated: Evaluated, dataset: Any) -> dict[str, dict[str, float]]:
    """The metrics of each category by its name; -1 for one without objects. What is no class of the set's is left out."""
    names = category_names(dataset)
    pairs = zip(evaluated.params.catIds, evaluated.of_class, strict=True)
    return {names.get(id, str(id)): of for id, of in pairs if not names or id in names}


def _proposal_recall(predictions: list[BoxList], dataset: Any) -> dict[str, float]:
    areas = {"": "all", "s": "small", "m": "medium", "l": "large"}
    return {
        f"AR{suffix}@{limit}": evaluate_box_proposals(predictions, dataset, area=area, limit=limit)["ar"].item()
        for limit in (100, 1000)
        for suffix, area in areas.items()
    }


def evaluate_box_proposals(
    predictions: list[BoxList],
    dataset: Any,
    thresholds: torch.Tensor | None = None,
    area: str = "all",
    limit: int | None = None,
) -> dict[str, Any]:
    """Recall of objects by proposals, each object and each proposal used once, best overlaps first.

    Args:
        predictions: proposals of each image with the field "objectness".
        thresholds: IoU from which an object counts as found; default 0.5 to 0.95 in steps of 0.05.
        area: a key of AREA_RANGES, of the objects counted.
        limit: use this many proposals an image.

    Returns:
        "ar" (mean recall, -1 without objects), "recalls", "thresholds", "gt_overlaps" (sorted), "num_pos".
    """
    low, high = AREA_RANGES[area]
    overlaps = []
    truth = Truth(dataset.coco, COCO, "bbox")
    for index, prediction in enumerate(predictions):
        info = dataset.get_img_info(index)
        image_id = truth.image_id(_image_id(dataset, index))
        annotations = [a for a in truth.coco.imgToAnns.get(image_id, []) if not a.get("iscrowd", 0)]
        in_range = torch.tensor([low <= a["area"] <= high for a in annotations], dtype=torch.bool)
        boxes = torch.tensor([a["bbox"] for a in annotations], dtype=torch.float32).reshape(-1, 4)[in_range]
        objects = BoxList(boxes, (info["width"], info["height"]), mode="xywh").convert("xyxy").bbox
        prediction = resized(prediction, (info["width"], info["height"]))
        order = prediction.get_field("objectness").argsort(descending=True, stable=True)[:limit]
        overlaps.append(_greedy_overlaps(objects, prediction.bbox[order]))
    gt_overlaps = torch.cat(overlaps).sort().values if overlaps else torch.zeros(0)
    if thresholds is None:
        thresholds = torch.arange(0.5, 0.95 + 1e-5, 0.05)
    if len(gt_overlaps) == 0:
        recalls = torch.full_like(thresholds, -1.0)
    else:
        recalls = (gt_overlaps >= thresholds[:, None]).float().mean(dim=1)
    return {
        "ar": recalls.mean(),
        "recalls": recalls,
        "thresholds": thresholds,
        "gt_overlaps": gt_overlaps,
        "num_pos": len(gt_overlaps),
    }


def _greedy_overlaps(objects: torch.Tensor, proposals: torch.Tensor) -> torch.Tensor:
    """The IoU that each of M objects gets when the best pair is taken out again and again: Tensor[M]."""
    result = torch.zeros(len(objects))
    if len(objects) == 0 or len(proposals) == 0:
        return result
    iou = box_iou(proposals, objects)
    for i in range(min(len(objects), len(proposals))):
        best = iou.argmax()
        proposal, obj = divmod(int(best), len(objects))
        result[i] = iou[proposal, obj]
        iou[proposal] = -1
        iou[:, obj] = -1
    return result


def check_expected_results(results: Any, expected_results: Sequence, sigma_tol: float) -> None:
    """Compare with [task, metric, mean, standard deviation]; say what is further off than `sigma_tol` deviations."""
    check_expected(results.results, expected_results, sigma_tol)
