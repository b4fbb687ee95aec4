"""Annotations and detections as COCO's evaluations take them: pycocotools and its successors read ids as numbers, take an
annotation with the id 0 for none, and stop at one that lacks a key."""

import contextlib
import io
import logging
from collections.abc import Sequence
from typing import Any

from maskrcnn_benchmark.data.datasets.coco_entries import keypoints_of
from maskrcnn_benchmark.data.datasets.coco_tree import sound_annotations, sound_images
from maskrcnn_benchmark.utils.wording import counted

logger = logging.getLogger("maskrcnn_benchmark.inference")


class Truth:
    """The annotations of a data set for one task.

    Args:
        known: pycocotools' COCO or one like it; it stays as it is.
        coco_class: what `coco`, made of it, must be an instance of.
        task: "bbox", "segm" or "keypoints".

    `keypoints` is the number of an object's keypoints, for that task.
    """

    def __init__(self, known: Any, coco_class: Any, task: str):
        content = known.dataset
        images, categories = sound_images(content["images"]), content["categories"]
        annotations = sound_annotations(content.get("annotations") or [], images, categories)
        self.keypoints = 0
        if task == "segm":
            annotations = _ignored_without_mask(annotations)
        elif task == "keypoints":
            self.keypoints = max((len(a["keypoints"]) for a in annotations if "keypoints" in a), default=0) // 3
            annotations = [_with_keypoints(a, self.keypoints) for a in annotations]
        self._image_ids = _numbers([image["id"] for image in images])
        self._category_ids = _numbers([category["id"] for category in categories])
        if self._image_ids or self._category_ids:
            images = [{**image, "id": self.image_id(image["id"])} for image in images]
            categories = [{**category, "id": self.category_id(category["id"])} for category in categories]
            annotations = [self._renamed(a) for a in annotations]
        parts = {"images": images, "categories": categories, "annotations": annotations}
        is_same = all(len(content.get(key) or []) == len(part) for key, part in parts.items()) and all(
            a is b for key, part in parts.items() for a, b in zip(content[key], part, strict=True)
        )
        if is_same and isinstance(known, coco_class) and isinstance(content.get("info"), dict):
            self.coco = known
            return
        info = content.get("info") if isinstance(content.get("info"), dict) else {}
        self.coco = coco_class()
        # Copies: evaluations write into annotations.
        self.coco.dataset = {**content, **parts, "info": info, "annotations": [dict(a) for a in annotations]}
        with contextlib.redirect_stdout(io.StringIO()):
            self.coco.createIndex()

    def image_id(self, id: Any) -> Any:
        return self._image_ids.get(id, id)

    def category_id(self, id: Any) -> Any:
        return self._category_ids.get(id, id)

    def known_categories(self, ids: Sequence) -> list:
        """The other way round."""
        back = {number: id for id, number in self._category_ids.items()}
        return [back.get(i, i) for i in ids]

    def known_images(self, ids: Sequence) -> list:
        back = {number: id for id, number in self._image_ids.items()}
        return [back.get(i, i) for i in ids]

    def results(self, entries: Sequence[dict]) -> list[dict]:
        """COCO results with the ids of `coco`, copied: loading writes into them."""
        return [self._renamed(entry) for entry in entries]

    def _renamed(self, entry: dict) -> dict:
        ids = {"image_id": self.image_id(entry["image_id"]), "category_id": self.category_id(entry["category_id"])}
        return {**entry, **ids}


def _numbers(ids: list) -> dict:
    """A number for each id, if they are text."""
    if all(isinstance(i, int) for i in ids):
        return {}
    return {id: number for number, id in enumerate(sorted(ids, key=str), start=1)}


def _with_keypoints(annotation: dict, count: int) -> dict:
    """An annotation with the entries that COCOeval needs; it ignores an object without labelled keypoints, which COCO writes as
    zeros."""
    if len(annotation.get("keypoints", ())) == 3 * count and "num_keypoints" in annotation:
        return annotation
    points = keypoints_of(annotation.get("keypoints"), count)
    return {**annotation, "keypoints": points, "num_keypoints": sum(v > 0 for v in points[2::3])}


def _ignored_without_mask(annotations: list[dict]) -> list[dict]:
    """Objects without a mask as crowds in their boxes: they count neither when they are found nor when they are missed."""
    without = [a for a in annotations if not a.get("segmentation")]
    if not without:
        return annotations
    logger.warning(
        'Left out of the evaluation of masks: %s without a usable "segmentation", for example id %s.',
        counted(len(without), "object"),
        without[0]["id"],
    )
    return [a if a.get("segmentation") else {**a, "iscrowd": 1, "segmentation": _box(a["bbox"])} for a in annotations]


def _box(box: list[float]) -> list[list[float]]:
    x, y, w, h = box
    return [[x, y, x + w, y, x + w, y + h, x, y + h]]
