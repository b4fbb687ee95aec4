"""Average precision of instances as Cityscapes' evaluation defines it.

At each overlap, an object is found by the detections of its class whose IoU with it is greater; the best of them counts
as right and the others as wrong. Objects of fewer than `minRegionSize` square pixels need not be found, and detections that
lie by more than the overlap on such objects or on what the data set says to ignore are not wrong. AP is the area below the
curve of precision over recall by the trapezoidal rule.

Legend: G objects and P detections of an image, C classes, T overlaps.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pycocotools.mask as mask_utils

from maskrcnn_benchmark.data.datasets.evaluation.rles import rles_of_detections, rles_of_objects
from maskrcnn_benchmark.data.datasets.facts import groundtruth
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.boxes import PIXEL, box_area
from maskrcnn_benchmark.structures.boxlist_fields import resized

Box = Sequence[float]  # x1, y1, x2, y2, both corners inclusive
# What is known of an object or a detection: "labelID", "box", "boxArea", "pixelCount"; of a detection "confidence" too.
Instance = dict[str, Any]
Match = dict[str, Any]  # of an image, see matchGtWithPred

logger = logging.getLogger("maskrcnn_benchmark.inference")


@dataclass
class CArgs:
    """How to evaluate.

    Attributes:
        overlaps: IoU thresholds, float64 [T].
        minRegionSize: square pixels from which an object has to be found.
        labels: names of the classes 1, 2, ..., C.
    """

    overlaps: np.ndarray = field(default_factory=lambda: np.linspace(0.5, 0.95, 10))
    minRegionSize: float = 100
    labels: Sequence[str] = ()


defaultArgs = CArgs()


def isOverlapping(box1: Box, box2: Box) -> bool:
    """Whether two boxes share a pixel."""
    return all(max(box1[i], box2[i]) - min(box1[i + 2], box2[i + 2]) < PIXEL for i in (0, 1))


def getIntersectionBox(box1: Box, box2: Box) -> Box:
    """The box that two boxes share; its corners are in the wrong order if they do not overlap."""
    return [*(max(box1[i], box2[i]) for i in (0, 1)), *(min(box1[i], box2[i]) for i in (2, 3))]


def getUnionBox(box1: Box, box2: Box) -> Box:
    """The smallest box around two boxes."""
    return [*(min(box1[i], box2[i]) for i in (0, 1)), *(max(box1[i], box2[i]) for i in (2, 3))]


def computeBoxIntersection(gt: Instance, pred: Instance) -> float:
    """Square pixels that the boxes of an object and a detection share."""
    if not isOverlapping(gt["box"], pred["box"]):
        return 0.0
    x1, y1, x2, y2 = getIntersectionBox(gt["box"], pred["box"])
    return (x2 - x1 + PIXEL) * (y2 - y1 + PIXEL)


def computeMaskIntersection(gt: Instance, gtMask: Any, pred: Instance, predMask: Any) -> float:
    """Pixels that the masks of an object and a detection share; each a COCO RLE or a bitmap [height, width]."""
    if not gt["pixelCount"] or not pred["pixelCount"]:
        return 0.0
    return float(mask_utils.area(mask_utils.merge([_rle(gtMask), _rle(predMask)], intersect=True)))


def _rle(mask: Any) -> dict:
    return mask if isinstance(mask, dict) else mask_utils.encode(np.asfortranarray(mask, dtype=np.uint8))


def _instances(boxlist: BoxList, rles: list[dict] | None) -> list[Instance]:
    boxlist = boxlist.convert("xyxy")
    columns = {
        "labelID": boxlist.get_field("labels").tolist(),
        "box": boxlist.bbox.tolist(),
        "boxArea": box_area(boxlist.bbox.double()).tolist(),
        "pixelCount": [0.0] * len(boxlist) if rles is None else [float(mask_utils.area(rle)) for rle in rles],
    }
    if boxlist.has_field("scores"):
        columns["confidence"] = boxlist.get_field("scores").tolist()
    return [dict(zip(columns, values, strict=True)) for values in zip(*columns.values(), strict=True)]


def prepareGtImage(dataset: Any, idx: int) -> tuple[list[Instance], list[dict] | None]:
    """The objects of an image and, where there are masks, their RLEs."""
    objects = groundtruth(dataset, idx)
    rles = rles_of_objects(objects)
    return _instances(objects, rles), rles


def preparePredImage(dataset: Any, predictions: list[BoxList], idx: int) -> tuple[list[Instance], list[dict] | None]:
    """The detections of an image in its own pixels and, from the field "rle" or "mask", their RLEs."""
    info = dataset.get_img_info(idx)
    prediction = resized(predictions[idx], (info["width"], info["height"]))
    rles = rles_of_detections(prediction)
    return _instances(prediction, rles), rles


def matchGtWithPred(dataset: Any, predictions: list[BoxList], idx: int) -> Match:
    """The objects and detections of an image and what those of the same class share.

    Returns:
        "groundTruth", "prediction": lists of Instances; "boxIntersection", "maskIntersection": float64 [G, P], square
        pixels, the latter None without masks; "boxIgnored", "maskIgnored": float64 [P], what lies on ignored regions.
    """
    objects, object_rles = prepareGtImage(dataset, idx)
    detections, detection_rles = preparePredImage(dataset, predictions, idx)
    boxes = np.zeros((len(objects), len(detections)))
    masks = None if object_rles is None or detection_rles is None else np.zeros_like(boxes)
    for g, gt in enumerate(objects):
        for p, pred in enumerate(detections):
            if gt["labelID"] != pred["labelID"]:
                continue
            boxes[g, p] = computeBoxIntersection(gt, pred)
            if masks is not None and object_rles is not None and detection_rles is not None:
                masks[g, p] = computeMaskIntersection(gt, object_rles[g], pred, detection_rles[p])
    ignored = dataset.ignored_regions(idx) if hasattr(dataset, "ignored_regions") else {}
    return {
        "groundTruth": objects,
        "prediction": detections,
        "boxIntersection": boxes,
        "maskIntersection": masks,
        "boxIgnored": np.array([_ignored_by_box(pred, ignored) for pred in detections]),
        "maskIgnored": _ignored_by_masks(detections, detection_rles, ignored),
    }


def _ignored_by_box(pred: Instance, ignored: dict[int, np.ndarray]) -> float:
    if pred["labelID"] not in ignored:
        return 0.0
    x1, y1, x2, y2 = (max(round(side), 0) for side in pred["box"])
    return float(ignored[pred["labelID"]][y1 : y2 + PIXEL, x1 : x2 + PIXEL].sum())


def _ignored_by_masks(
    detections: list[Instance], rles: list[dict] | None, ignored: dict[int, np.ndarray]
) -> np.ndarray:
    pixels = np.zeros(len(detections))
    present = {pred["labelID"] for pred in detections}
    regions = {label: _rle(region) for label, region in ignored.items() if label in present}
    for p, (pred, rle) in enumerate(zip(detections, rles or (), strict=False)):
        if pred["labelID"] in regions:
            region = regions[pred["labelID"]]
            pixels[p] = mask_utils.area(mask_utils.merge([region, rle], intersect=True))
    return pixels


def matchGtsWithPreds(dataset: Any, predictions: list[BoxList]) -> list[Match]:
    """`matchGtWithPred` of every image."""
    return [matchGtWithPred(dataset, predictions, idx) for idx in range(len(predictions))]


def evaluateBoxMatches(matches: list[Match], args: CArgs) -> np.ndarray:
    """AP of the boxes, float64 [C, T]; NaN for a class without objects."""
    return _evaluate(matches, args, "box", "boxArea")


def evaluateMaskMatches(matches: list[Match], args: CArgs) -> np.ndarray:
    """AP of the masks, float64 [C, T]; NaN for a class without objects."""
    if any(match["maskIntersection"] is None for match in matches):
        raise ValueError("There are no masks to evaluate: the data set or the model has none (MODEL.MASK_ON).")
    return _evaluate(matches, args, "mask", "pixelCount")


def _evaluate(matches: list[Match], args: CArgs, kind: str, size: str) -> np.ndarray:
    aps = np.full((len(args.labels), len(args.overlaps)), np.nan)
    for c in range(len(args.labels)):
        images = [_of_class(match, c + 1, kind, size) for match in matches]
        for t, overlap in enumerate(args.overlaps):
            verdicts = [_verdicts(*image, overlap, args.minRegionSize) for image in images]
            right, wrong, missed = (sum((v[k] for v in verdicts), []) for k in range(3))
            if right or missed:
                aps[c, t] = _average_precision(np.array(right), np.array(wrong), len(missed))
    return aps


def _of_class(
    match: Match, label: int, kind: str, size: str
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Shared areas [G, P], areas of the objects [G] and of the detections [P], ignored areas [P], confidences [P]."""
    gt = [i for i, instance in enumerate(match["groundTruth"]) if instance["labelID"] == label]
    pred = [i for i, instance in enumerate(match["prediction"]) if instance["labelID"] == label]
    return (
        match[f"{kind}Intersection"][np.ix_(gt, pred)],
        np.array([match["groundTruth"][i][size] for i in gt]),
        np.array([match["prediction"][i][size] for i in pred]),
        match[f"{kind}Ignored"][pred],
        np.array([match["prediction"][i]["confidence"] for i in pred]),
    )


def _verdicts(
    shared: np.ndarray,
    gt_size: np.ndarray,
    pred_size: np.ndarray,
    ignored: np.ndarray,
    score: np.ndarray,
    overlap: float,
    min_size: float,
) -> tuple[list[float], list[float], list[int]]:
    """Scores of the right and the wrong detections of an image, and the objects that nothing found."""
    right, wrong, missed = [], [], []
    union = gt_size[:, None] + pred_size - shared
    found = shared > overlap * union  # [G, P]; false where both are empty
    counts = gt_size >= min_size
    for g in np.flatnonzero(counts):
        scores = np.sort(score[found[g]])
        if len(scores):
            right.append(scores[-1])
            wrong += scores[:-1].tolist()
        else:
            missed.append(int(g))
    excused = ignored + shared[~counts].sum(0)
    wrong += score[~found.any(0) & (excused <= overlap * pred_size)].tolist()
    return right, wrong, missed


def _average_precision(right: np.ndarray, wrong: np.ndarray, missed: int) -> float:
    """Area below precision over recall; the curve has a point for each score, and begins at recall 0 with precision 1."""
    scores = np.concatenate((right, wrong))
    if not len(scores):
        return 0.0
    is_right = np.concatenate((np.ones(len(right)), np.zeros(len(wrong))))
    order = np.argsort(-scores, kind="stable")
    last_of_score = np.append(np.diff(scores[order]) != 0, True)
    hits = np.cumsum(is_right[order])[last_of_score]
    precision = np.append(1.0, hits / (np.flatnonzero(last_of_score) + 1))
    recall = np.append(0.0, hits / (len(right) + missed))
    return float(np.sum(np.diff(recall) * (precision[1:] + precision[:-1]) / 2))


def computeAverages(aps: np.ndarray, args: CArgs) -> dict[str, Any]:
    """Means of AP [C, T] over what could be measured: "allAp", "allAp50%", and "classes": name -> "ap", "ap50%"."""
    at_half = int(np.flatnonzero(np.isclose(args.overlaps, 0.5))[0])
    by_class = {
        name: {"ap": _mean(values), "ap50%": float(values[at_half])}
        for name, values in zip(args.labels, aps, strict=True)
    }
    return {"allAp": _mean(aps), "allAp50%": _mean(aps[:, at_half]), "classes": by_class}


def _mean(values: np.ndarray) -> float:
    measured = values[~np.isnan(values)]
    return float(measured.mean()) if measured.size else float("nan")


def prepareJSONDataForResults(avgDict: dict, aps: np.ndarray, args: CArgs) -> dict[str, Any]:
    """What is written to a file; None stands for what could not be measured."""

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: plain(v) for key, v in value.items()}
        if isinstance(value, list):
            return [plain(v) for v in value]
        return None if isinstance(value, float) and np.isnan(value) else value

    return {
        "averages": plain(avgDict),
        "overlaps": args.overlaps.tolist(),
        "minRegionSize": args.minRegionSize,
        "instLabels": list(args.labels),
        "resultApMatrix": plain(aps.tolist()),
    }


def printResults(avgDict: dict, args: CArgs) -> None:
    """Log AP and AP at 0.5 of each class and their means, in percent."""
    rows = [(name, values["ap"], values["ap50%"]) for name, values in avgDict["classes"].items()]
    rows.append(("average", avgDict["allAp"], avgDict["allAp50%"]))
    lines = [f"{'class':<12} {'AP':>6} {'AP50':>6}"]
    lines += [f"{name:<12} {100 * ap:>6.2f} {100 * ap50:>6.2f}" for name, ap, ap50 in rows]
    logger.info("AP over IoU %.2f to %.2f:\n%s", args.overlaps[0], args.overlaps[-1], "\n".join(lines))
