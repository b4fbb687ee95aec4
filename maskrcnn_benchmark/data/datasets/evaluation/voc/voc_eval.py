"""Average precision as the Pascal VOC development kit computes it."""

import logging
import os
from typing import Any

import numpy as np

from maskrcnn_benchmark.data.datasets.facts import groundtruth, has_annotations
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.boxes import PIXEL
from maskrcnn_benchmark.structures.boxlist_fields import resized
from maskrcnn_benchmark.structures.boxlist_ops import boxlist_iou
from maskrcnn_benchmark.utils.files import write_text
from maskrcnn_benchmark.utils.wording import counted

# Of the classes 0 (background), 1, ...; None for one without objects.
Curves = list[np.ndarray | None]

IOU_THRESHOLD = 0.5


def do_voc_evaluation(
    dataset: Any,
    predictions: list[BoxList],
    output_folder: str | None,
    logger: logging.Logger,
    use_07_metric: bool = True,
) -> dict[str, Any]:
    """Evaluate detections and write mAP and each class's AP to result.txt.

    For a data set without annotations the detections are written instead, as comp4_det_SPLIT_CLASS.txt, the files that
    VOC's evaluation server takes.

    Returns:
        "ap": float64 [classes], the background first and NaN for a class without objects; "map": their mean. Empty
        without annotations.
    """
    sizes = [(info["width"], info["height"]) for info in map(dataset.get_img_info, range(len(predictions)))]
    predictions = [resized(p, size).convert("xyxy") for p, size in zip(predictions, sizes, strict=True)]
    if not has_annotations(dataset):
        logger.info("The data set has no annotations: detections are written, nothing is measured.")
        if output_folder:
            write_detections(dataset, predictions, output_folder)
        return {}
    ground_truth = [groundtruth(dataset, i) for i in range(len(predictions))]
    result = eval_detection_voc(predictions, ground_truth, IOU_THRESHOLD, use_07_metric)
    lines = [f"mAP: {result['map']:.4f}"]
    by_class = {
        dataset.map_class_id_to_class_name(label): float(ap) for label, ap in enumerate(result["ap"]) if label > 0
    }
    lines += [f"{name:<16}: {ap:.4f}" for name, ap in by_class.items()]
    logger.info("\n".join(lines))
    if output_folder:
        write_text(os.path.join(output_folder, "result.txt"), "\n".join(lines) + "\n")
    return result


def write_detections(dataset: Any, predictions: list[BoxList], output_folder: str) -> None:
    """A file for each class: image, score and the corners of a box, counted from pixel 1."""
    lines: dict[int, list[str]] = {label: [] for label in range(1, dataset.num_classes)}
    for image_id, prediction in zip(dataset.ids, predictions, strict=True):
        fields = (prediction.get_field("labels"), prediction.get_field("scores"), prediction.bbox + PIXEL)
        for label, score, box in zip(*(field.tolist() for field in fields), strict=True):
            lines[label].append(f"{image_id} {score:.6f} " + " ".join(f"{side:.2f}" for side in box))
    for label, entries in lines.items():
        name = f"comp4_det_{dataset.image_set}_{dataset.map_class_id_to_class_name(label)}.txt"
        write_text(os.path.join(output_folder, name), "".join(f"{entry}\n" for entry in entries))


def eval_detection_voc(
    pred_boxlists: list[BoxList],
    gt_boxlists: list[BoxList],
    iou_thresh: float = IOU_THRESHOLD,
    use_07_metric: bool = False,
) -> dict[str, Any]:
    """
    Args:
        pred_boxlists: detections of each image with "labels" and "scores".
        gt_boxlists: its objects with "labels" and perhaps "difficult": such an object counts neither when it is found nor
            when it is missed.
        iou_thresh: a detection finds an object from this IoU on.
        use_07_metric: the mean of eleven precisions, as until 2009, in place of the area below the curve.

    Returns:
        "ap": float64 [classes], NaN where nothing can be measured; "map": the mean of the others.
    """
    precision, recall = calc_detection_voc_prec_rec(gt_boxlists, pred_boxlists, iou_thresh)
    ap = calc_detection_voc_ap(precision, recall, use_07_metric)
    return {"ap": ap, "map": float(np.nanmean(ap)) if np.isfinite(ap).any() else float("nan")}


def calc_detection_voc_prec_rec(
    gt_boxlists: list[BoxList], pred_boxlists: list[BoxList], iou_thresh: float = IOU_THRESHOLD
) -> tuple[Curves, Curves]:
    """Precision and recall of each class after each of its detections, best score first."""
    if len(gt_boxlists) != len(pred_boxlists):
        raise ValueError(
            f"There are predictions of {counted(len(pred_boxlists), 'image')} for {counted(len(gt_boxlists), 'image')}."
        )
    scores: list[np.ndarray] = []
    labels: list[np.ndarray] = []
    verdicts: list[np.ndarray] = []  # 1 an object found, 0 none, -1 does not count
    positives: list[np.ndarray] = []  # labels of the objects to find
    for truth, prediction in zip(gt_boxlists, pred_boxlists, strict=True):
        difficult = truth.get_field("difficult").bool().numpy() if truth.has_field("difficult") else False
        positives.append(truth.get_field("labels").numpy()[~np.broadcast_to(difficult, len(truth))])
        prediction = prediction[prediction.get_field("scores").argsort(descending=True, stable=True)]
        scores.append(prediction.get_field("scores").numpy())
        labels.append(prediction.get_field("labels").numpy())
        verdicts.append(_verdicts(truth, prediction, np.broadcast_to(difficult, len(truth)), iou_thresh))
    counts = np.bincount(np.concatenate(positives or [np.zeros(0, np.int64)]))
    score, label, verdict = (np.concatenate(v) if v else np.zeros(0) for v in (scores, labels, verdicts))
    order = np.argsort(-score, kind="stable")
    label, verdict = label[order], verdict[order]
    num_classes = max(len(counts), int(label.max(initial=0)) + 1)
    precision: Curves = [None] * num_classes
    recall: Curves = [None] * num_classes
    for k in np.flatnonzero(counts):
        found = np.cumsum(verdict[label == k] == 1)
        wrong = np.cumsum(verdict[label == k] == 0)
        with np.errstate(invalid="ignore"):  # 0 / 0 as long as only difficult objects were found
            precision[k] = found / (found + wrong)
        recall[k] = found / counts[k]
    return precision, recall


def _verdicts(truth: BoxList, prediction: BoxList, difficult: np.ndarray, iou_thresh: float) -> np.ndarray:
    """For the detections of an image, best first: int64 [N], see above."""
    verdicts = np.zeros(len(prediction), np.int64)
    if len(truth) == 0 or len(prediction) == 0:
        return verdicts
    same_class = prediction.get_field("labels")[:, None] == truth.get_field("labels")
    iou = boxlist_iou(prediction, truth).masked_fill(~same_class, -1.0).numpy()
    taken = np.zeros(len(truth), bool)
    for i, obj in enumerate(iou.argmax(1)):
        if iou[i, obj] < iou_thresh:
            continue
        if difficult[obj]:
            verdicts[i] = -1
        elif not taken[obj]:
            verdicts[i] = 1
            taken[obj] = True
    return verdicts


def calc_detection_voc_ap(prec: Curves, rec: Curves, use_07_metric: bool = False) -> np.ndarray:
    """AP of each class, float64 [classes]; NaN for a class whose curves are None."""
    ap = np.full(len(prec), np.nan)
    for k, (precision, recall) in enumerate(zip(prec, rec, strict=True)):
        if precision is None or recall is None:
            continue
        # The best precision that is reached at this recall or a higher one; 0 beyond the last.
        reached = np.concatenate((np.nan_to_num(precision), [0.0]))
        envelope = np.maximum.accumulate(reached[::-1])[::-1]
        if use_07_metric:
            ap[k] = envelope[np.searchsorted(recall, np.arange(0.0, 1.1, 0.1))].mean()
        else:
            ap[k] = np.sum(np.diff(recall, prepend=0.0) * envelope[:-1])
    return ap


do_voc_evaluation.__dict__["is_own"] = True
