"""What is wrong with detections, and what each kind of error costs: the six types of TIDE (Bolya et al., ECCV 2020).

A detection is correct where it overlaps an object of its class that no better one has taken, at an IoU of FOREGROUND or more. Of
the others, in this order,

    localisation     an object of its class is overlapped at BACKGROUND to FOREGROUND
    classification   an object of another class is overlapped at FOREGROUND or more
    duplicate        an object of its class is overlapped at FOREGROUND or more, but was found already
    background       no object is overlapped at more than BACKGROUND
    both             an object of another class is overlapped, and not well

and an object is missed where it is neither found nor would be if an error of the first two types were mended.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pycocotools.mask as mask_utils

from maskrcnn_benchmark.config.areas import Areas

FOREGROUND, BACKGROUND = 0.5, 0.1
CORRECT, IGNORED = 0, -1
LOCALISATION, CLASSIFICATION, DUPLICATE, IN_BACKGROUND, BOTH, MISSED = range(1, 7)
NAMES = {
    CLASSIFICATION: "classification",
    LOCALISATION: "localisation",
    BOTH: "both",
    DUPLICATE: "duplicate",
    IN_BACKGROUND: "background",
    MISSED: "missed",
}
RECALLS = np.linspace(0, 1, 101)


@dataclasses.dataclass
class Detections:
    """D detections, those of an image together and the best first.

    `entries` are COCO's; `kind` is CORRECT, IGNORED or an error's; `object` the number of the object found or spoilt, -1 for
    none; `is_best` whether no better detection spoils it too.
    """

    entries: list[dict]
    category: np.ndarray
    score: np.ndarray
    area: np.ndarray
    kind: np.ndarray
    object: np.ndarray
    is_best: np.ndarray


@dataclasses.dataclass
class Objects:
    """O objects that count, without crowds. `entries` are COCO's annotations; `score` is that of the detection that found it, 0
    without one; `missed` as above."""

    entries: list[dict]
    category: np.ndarray
    area: np.ndarray
    score: np.ndarray
    missed: np.ndarray


@dataclasses.dataclass
class Errors:
    """What `find_errors` finds. `categories` are the data set's ids, in the order that "category" counts them in."""

    detections: Detections
    objects: Objects
    categories: list

    def ap(self) -> float:
        """Mean over the categories with objects of the AP at FOREGROUND, as COCO measures it."""
        found = self.detections
        counted = found.kind != IGNORED
        return _mean_ap(
            found.category[counted], found.score[counted], found.kind[counted] == CORRECT, self._objects_by_category()
        )

    def cost(self, kind: int, area: tuple[float, float] | None = None) -> float:
        """What AP would gain if the errors of a kind were mended; with `area`, [lowest, highest), those of this size alone."""
        found, objects = self.detections, self.objects
        category, correct, keep = found.category.copy(), found.kind == CORRECT, found.kind != IGNORED
        number = self._objects_by_category()
        if kind == MISSED:
            for gone in self.of_kind(MISSED, area):
                number[objects.category[gone]] -= 1
        else:
            mended = self.of_kind(kind, area)
            good = mended[found.is_best[mended]] if kind in (LOCALISATION, CLASSIFICATION) else mended[:0]
            keep[mended] = False
            keep[good] = correct[good] = True
            category[good] = objects.category[found.object[good]]
        return max(_mean_ap(category[keep], found.score[keep], correct[keep], number) - self.ap(), 0.0)

    def of_kind(self, kind: int, area: tuple[float, float] | None = None) -> np.ndarray:
        """Numbers of the detections with an error of this kind, or of the objects for MISSED. `area` is that of the object
        concerned, of the detection where there is none."""
        if kind == MISSED:
            chosen, areas = self.objects.missed, self.objects.area
        else:
            chosen, areas = self.detections.kind == kind, self.concerned_area()
        if area is not None:
            chosen = chosen & (areas >= area[0]) & (areas < area[1])
        return np.flatnonzero(chosen)

    def concerned_area(self) -> np.ndarray:
        found = self.detections
        if not len(self.objects.area):
            return found.area
        return np.where(found.object >= 0, self.objects.area[found.object], found.area)

    def best_threshold(self) -> float:
        """The score from which on F1 is largest, in the mean over the categories with objects; 0 without a correct detection."""
        found, number = self.detections, self._objects_by_category()
        correct = found.kind == CORRECT
        if not correct.any():
            return 0.0
        tried = np.unique(np.quantile(found.score[correct], np.linspace(0, 1, 201), method="nearest"))
        f1 = np.zeros((len(tried), len(number)))
        for k in range(len(number)):
            of_category = (found.category == k) & (found.kind != IGNORED)
            scores, hits = np.sort(found.score[of_category]), np.sort(found.score[of_category & correct])
            detected, right = (len(s) - np.searchsorted(s, tried, side="left") for s in (scores, hits))
            f1[:, k] = 2 * right / np.maximum(detected + number[k], 1)
        return float(tried[np.argmax(f1[:, number > 0].mean(axis=1))])

    def _objects_by_category(self) -> np.ndarray:
        return np.bincount(self.objects.category, minlength=len(self.categories))


def find_errors(truth: Any, results: Sequence[dict], task: str = "bbox") -> Errors:
    """Compare detections with annotations.

    Args:
        truth: pycocotools' tree of the annotations, as `load_coco` gives it.
        results: COCO results with "bbox" or, for the task "segm", "segmentation".
    """
    place = {id: number for number, id in enumerate(sorted(truth.cats, key=lambda c: (isinstance(c, str), c)))}
    found: list[tuple] = []
    objects: list[tuple] = []
    by_image: dict[Any, list[dict]] = {}
    for entry in results:
        by_image.setdefault(entry["image_id"], []).append(entry)
    for image_id in truth.imgs:
        annotations = truth.imgToAnns.get(image_id, [])
        true = [a for a in annotations if not a.get("iscrowd")]
        crowds = [a for a in annotations if a.get("iscrowd")]
        detected = sorted(by_image.get(image_id, []), key=lambda entry: -entry["score"])
        image = _Image(truth, detected, true, crowds, task)
        kinds, concerned, matches, is_best, missed = image.judge()
        first = len(objects)
        for i, entry in enumerate(detected):
            number = first + concerned[i] if concerned[i] >= 0 else -1
            found.append((entry, kinds[i], number, is_best[i], image.areas[i]))
        for k, annotation in enumerate(true):
            score = detected[matches[k]]["score"] if matches[k] >= 0 else 0.0
            objects.append((annotation, score, missed[k]))
    entries, kinds, numbers, best, areas = map(list, zip(*found, strict=True)) if found else ([], [], [], [], [])
    annotated, scores, gone = map(list, zip(*objects, strict=True)) if objects else ([], [], [])
    return Errors(
        Detections(
            entries,
            np.array([place[e["category_id"]] for e in entries], np.int64),
            np.array([e["score"] for e in entries], np.float64),
            np.array(areas, np.float64),
            np.array(kinds, np.int64),
            np.array(numbers, np.int64),
            np.array(best, bool),
        ),
        Objects(
            annotated,
            np.array([place[a["category_id"]] for a in annotated], np.int64),
            np.array([a["area"] for a in annotated], np.float64),
            np.array(scores, np.float64),
            np.array(gone, bool),
        ),
        list(place),
    )


class _Image:
    """The detections of an image, the best first, against its objects."""

    def __init__(self, truth: Any, detected: list[dict], true: list[dict], crowds: list[dict], task: str):
        if task == "bbox":
            shapes = [[entry["bbox"] for entry in of] for of in (detected, true, crowds)]
            self.areas = [w * h for *_, w, h in shapes[0]]
        else:
            shapes = [
                [entry["segmentation"] for entry in detected],
                *([truth.annToRLE(a) for a in of] for of in (true, crowds)),
            ]
            self.areas = [float(mask_utils.area(rle)) for rle in shapes[0]]
        self.iou = _overlaps(shapes[0], shapes[1], crowd=False)
        self.in_crowd = _overlaps(shapes[0], shapes[2], crowd=True)
        classes = [np.array([entry["category_id"] for entry in of]) for of in (detected, true, crowds)]
        self.same, self.same_crowd = ((classes[0][:, None] == of[None]) for of in classes[1:])
        self.scores = [entry["score"] for entry in detected]

    def judge(self) -> tuple[list[int], list[int], np.ndarray, list[bool], np.ndarray]:
        """Kind and object of each detection; the detection of each object, -1 for none; whether a detection is the best to
        be mended for its object; which objects are missed."""
        count, objects = self.iou.shape
        kinds, concerned = [CORRECT] * count, [-1] * count
        matches = np.full(objects, -1)
        left = self.iou * self.same
        for i in range(count):
            best = int(left[i].argmax()) if objects else -1
            if best >= 0 and left[i, best] >= FOREGROUND:
                concerned[i], matches[best] = best, i
                left[:, best] = 0
            else:
                kinds[i] = (
                    IGNORED if (self.in_crowd * self.same_crowd)[i].max(initial=0) > FOREGROUND else IN_BACKGROUND
                )
        for i in range(count):
            if kinds[i] == IN_BACKGROUND and objects:
                kinds[i], concerned[i] = self._error(i, matches >= 0)
        is_best, missed = [False] * count, matches < 0
        for i in range(count):  # from the best on
            k = concerned[i]
            if kinds[i] in (LOCALISATION, CLASSIFICATION) and missed[k]:
                is_best[i], missed[k] = True, False
        return kinds, concerned, matches, is_best, missed

    def _error(self, i: int, is_found: np.ndarray) -> tuple[int, int]:
        own, other = self.iou[i] * self.same[i], self.iou[i] * ~self.same[i]
        if BACKGROUND <= own.max() <= FOREGROUND:
            return LOCALISATION, int(own.argmax())
        if other.max() >= FOREGROUND:
            return CLASSIFICATION, int(other.argmax())
        if (own * is_found).max() >= FOREGROUND:
            return DUPLICATE, int((own * is_found).argmax())
        if self.iou[i].max() <= BACKGROUND:
            return IN_BACKGROUND, -1
        return BOTH, int(self.iou[i].argmax())


def _overlaps(detected: list, true: list, crowd: bool) -> np.ndarray:
    """IoU [D, O]; of crowds the share of each detection that lies in them."""
    if not detected or not true:
        return np.zeros((len(detected), len(true)))
    return np.asarray(mask_utils.iou(detected, true, [crowd] * len(true))).reshape(len(detected), len(true))


def _mean_ap(category: np.ndarray, score: np.ndarray, correct: np.ndarray, objects: np.ndarray) -> float:
    aps = []
    for number, count in enumerate(objects):
        if count <= 0:
            continue
        chosen = np.flatnonzero(category == number)
        order = chosen[np.argsort(-score[chosen], kind="stable")]
        hits = correct[order].cumsum()
        precision = np.maximum.accumulate((hits / np.arange(1, len(hits) + 1))[::-1])[::-1]
        places = np.searchsorted(hits / count, RECALLS, side="left")
        aps.append(np.append(precision, 0.0)[np.minimum(places, len(precision))].mean())
    return float(np.mean(aps)) if aps else float("nan")


def confusion_matrix(truth: Any, results: Sequence[dict], threshold: float, task: str = "bbox") -> np.ndarray:
    """What objects are taken for: int64 [K + 1, K + 1], rows the true categories and columns the detected ones in the order
    of their ids, the last ones standing for no object and no detection.

    Detections from `threshold` on, best first, each take the object of any category that they overlap best, at FOREGROUND or
    more.
    """
    place = {id: number for number, id in enumerate(sorted(truth.cats, key=lambda c: (isinstance(c, str), c)))}
    matrix = np.zeros((len(place) + 1, len(place) + 1), np.int64)
    by_image: dict[Any, list[dict]] = {}
    for entry in results:
        if entry["score"] >= threshold:
            by_image.setdefault(entry["image_id"], []).append(entry)
    for image_id in truth.imgs:
        annotations = truth.imgToAnns.get(image_id, [])
        true = [a for a in annotations if not a.get("iscrowd")]
        detected = sorted(by_image.get(image_id, []), key=lambda entry: -entry["score"])
        image = _Image(truth, detected, true, [a for a in annotations if a.get("iscrowd")], task)
        taken = np.zeros(len(true), bool)
        for i, entry in enumerate(detected):
            free = np.where(taken, 0, image.iou[i])
            best = int(np.argmax(free)) if len(true) else -1
            if best >= 0 and free[best] >= FOREGROUND:
                taken[best] = True
                matrix[place[true[best]["category_id"]], place[entry["category_id"]]] += 1
            elif image.in_crowd[i].max(initial=0) <= FOREGROUND:
                matrix[-1, place[entry["category_id"]]] += 1
        for annotation in [a for a, is_taken in zip(true, taken, strict=True) if not is_taken]:
            matrix[place[annotation["category_id"]], -1] += 1
    return matrix


def size_of(area: float, areas: Areas) -> str:
    """The name of the first range that an area lies in, "" for none."""
    return next((name for name, low, high in areas if low <= area < high), "")
