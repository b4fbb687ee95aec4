"""The worst misses and false positives of a test, as crops, from a sample of its images."""

from __future__ import annotations

import contextlib
import io
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools.coco import COCO

from maskrcnn_benchmark.analysis.errors import CORRECT, MISSED, NAMES, Errors, find_errors
from maskrcnn_benchmark.config.areas import Areas
from maskrcnn_benchmark.data.datasets.evaluation.coco.abs_to_coco import process_single_image
from maskrcnn_benchmark.data.datasets.facts import class_names, has_annotations
from maskrcnn_benchmark.data.pictures import to_bgr
from maskrcnn_benchmark.reports.charts import chart
from maskrcnn_benchmark.reports.page import SIZES, Markup, joined, paragraph, picture, section, subtitle, table
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.utils.wording import counted
from maskrcnn_benchmark.visualization.crops import Crop, cut_out

SAMPLE = 200  # images that are looked at
MOST_DETECTIONS = 20_000  # in these together, about
MOST_CROPS = 12  # of misses, and of false positives
SECONDS = 4.0  # for reading images


def worst_errors(dataset: Any, predictions: Sequence[BoxList], areas: Areas) -> Markup | None:
    """A section of a page; None where there is nothing to compare with.

    Args:
        dataset: any kind; its images are shown where they can be read singly (`read_image`).
        predictions: of all its images in their order, in pixels of the network's input, with "labels" and "scores".
        areas: the sizes that have a curve of their own.
    """
    if not len(predictions) or not has_annotations(dataset) or not all(p.has_field("labels") for p in predictions):
        return None
    if not hasattr(dataset, "get_groundtruth") and not hasattr(dataset, "json_category_id_to_contiguous_id"):
        return None  # its objects come with its images alone
    chosen = _sample(predictions)
    truth, results = _as_coco(dataset, predictions, chosen)
    if not truth.anns:
        return None
    errors = find_errors(truth, results)
    threshold = errors.best_threshold()
    said = "all images" if len(chosen) == len(predictions) else f"{len(chosen)} of {counted(len(predictions), 'image')}"
    parts = [
        paragraph(
            f"Boxes in {said}, at IoU 0.5; a detection counts from a score of {threshold:.2f} on, where F1 is largest."
        ),
        _kinds(errors),
        joined([_precision_by_recall(errors, areas)], "grid"),
    ]
    names = class_names(dataset)
    read = Reader(dataset)
    crops = [
        ("Objects that are missed", _missed(errors, threshold, names)),
        ("False positives", _wrong(errors, threshold, names)),
    ]
    for title, found in crops:
        shown = [made for made in (read.crop(crop, errors, threshold) for crop in found) if made is not None]
        if shown:
            parts += [subtitle(title), joined(shown, "crops")]
    if read.has_shown:
        said = "Annotated objects are blue, detections orange; the one that a crop is about is pink."
        parts.append(paragraph(said, soft=True))
    return section("Errors", *parts)


def _sample(predictions: Sequence[BoxList]) -> list[int]:
    """Places of images spread evenly, fewer of them where images have very many detections."""
    mean = max(sum(map(len, predictions)) / len(predictions), 1)
    count = max(min(len(predictions), SAMPLE, int(MOST_DETECTIONS / mean)), 1)
    return sorted({i * len(predictions) // count for i in range(count)})


def _as_coco(dataset: Any, predictions: Sequence[BoxList], chosen: Sequence[int]) -> tuple[COCO, list[dict]]:
    images, annotations, results = [], [], []
    for index in chosen:
        image, objects = _objects(dataset, index)
        images.append(image)
        annotations += objects
        found = predictions[index].resize((image["width"], image["height"])).convert("xywh")
        columns = (found.bbox.tolist(), found.get_field("scores").tolist(), found.get_field("labels").tolist())
        for box, score, label in zip(*columns, strict=True):
            results.append({"image_id": index, "category_id": label, "bbox": box, "score": score})
    known = set(class_names(dataset)) | {entry["category_id"] for entry in (*annotations, *results)}
    truth = COCO()
    truth.dataset = {
        "images": images,
        "categories": [{"id": label, "name": str(label)} for label in sorted(known)],
        "annotations": [{"id": i, **a} for i, a in enumerate(annotations, start=1)],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
    return truth, results


def _objects(dataset: Any, index: int) -> tuple[dict, list[dict]]:
    """COCO's entry of an image and those of its objects without their ids, "category_id" being the label. The image itself is not
    read."""
    if hasattr(dataset, "get_groundtruth"):
        return process_single_image((dataset, index))
    info, labels = dataset.get_img_info(index), dataset.json_category_id_to_contiguous_id
    objects = []
    for entry in dataset.coco.imgToAnns.get(dataset.ids[index], []):
        if entry["category_id"] in labels:
            *_, width, height = entry["bbox"]
            kept = {
                "bbox": entry["bbox"],
                "area": entry.get("area", width * height),
                "iscrowd": entry.get("iscrowd", 0),
            }
            objects.append({"image_id": index, "category_id": labels[entry["category_id"]], **kept})
    return {"id": index, "width": info["width"], "height": info["height"]}, objects


def _kinds(errors: Errors) -> Markup:
    rows = [
        (label, f"{len(errors.of_kind(kind)):,}", f"{100 * errors.cost(kind):.1f}") for kind, label in NAMES.items()
    ]
    rows.sort(key=lambda row: -float(row[2]))
    return table(("Kind of error", "How many", "Points of AP50 that they cost"), rows)


def _precision_by_recall(errors: Errors, areas: Areas) -> Markup:
    """Of all classes together, and of each size; in percent."""
    found, objects, sizes = errors.detections, errors.objects, errors.concerned_area()
    lines = []
    for name, low, high in (("all", 0.0, np.inf), *areas):
        count = int(((objects.area >= low) & (objects.area < high)).sum())
        chosen = np.flatnonzero((found.kind >= CORRECT) & (sizes >= low) & (sizes < high))
        if not count or not len(chosen):
            continue
        hits = (found.kind[chosen[np.argsort(-found.score[chosen], kind="stable")]] == CORRECT).cumsum()
        precision = hits / np.arange(1, len(hits) + 1)
        lines.append((SIZES.get(name, name), 100 * hits / count, 100 * precision))
    return chart("precision in percent", lines, across="recall in percent") if lines else Markup("")


def _missed(errors: Errors, threshold: float, names: dict[int, str]) -> list[Crop]:
    objects = errors.objects
    missed = np.flatnonzero((objects.score < threshold) | (objects.score == 0))
    order = missed[np.lexsort((-objects.area[missed], objects.score[missed]))]
    return [
        _crop(
            objects.entries[i], names, f"found at {objects.score[i]:.2f}" if objects.score[i] else NAMES[MISSED], True
        )
        for i in order[:MOST_CROPS].tolist()
    ]


def _wrong(errors: Errors, threshold: float, names: dict[int, str]) -> list[Crop]:
    found = errors.detections
    wrong = np.flatnonzero((found.kind > CORRECT) & (found.score >= threshold))
    order = wrong[np.argsort(-found.score[wrong], kind="stable")]
    return [
        _crop(found.entries[i], names, f"{found.score[i]:.2f}, {NAMES[found.kind[i]]}", False)
        for i in order[:MOST_CROPS].tolist()
    ]


def _crop(entry: dict, names: dict[int, str], remark: str, is_object: bool) -> Crop:
    name = names.get(entry["category_id"], f"class {entry['category_id']}")
    return Crop(entry["image_id"], entry["bbox"], name, remark, is_object=is_object)


class Reader:
    """Reads images for crops, as many as there is time for."""

    def __init__(self, dataset: Any):
        self.dataset, self.end, self.has_shown = dataset, time.monotonic() + SECONDS, False
        self._images: dict[Any, np.ndarray] = {}

    def crop(self, crop: Crop, errors: Errors, threshold: float) -> Markup | None:
        """A figure; None where the image cannot be had."""
        if not hasattr(self.dataset, "read_image") or time.monotonic() > self.end:
            return None
        if crop.image_id not in self._images:
            try:
                self._images = {crop.image_id: to_bgr(self.dataset.read_image(crop.image_id).convert("RGB"))}
            except (OSError, ValueError):  # a broken image, of which the test has said so
                return None
        crop.true = [e["bbox"] for e in errors.objects.entries if self._is_beside(e, crop)]
        found = zip(errors.detections.entries, errors.detections.score, strict=True)
        crop.found = [e["bbox"] for e, score in found if score >= threshold and self._is_beside(e, crop)]
        self.has_shown = True
        *_, width, height = crop.box
        caption = f"{crop.title} {crop.remark}, {width:.0f} × {height:.0f} px"
        return picture(cut_out(crop, self._images[crop.image_id]), caption)

    @staticmethod
    def _is_beside(entry: dict, crop: Crop) -> bool:
        return entry["image_id"] == crop.image_id and entry["bbox"] is not crop.box
