"""Detections in COCO's format, as a test, a prediction or another program wrote them, read back."""

import logging
import os
import re
from typing import Any

from pycocotools.coco import COCO

from maskrcnn_benchmark.config.node import shown
from maskrcnn_benchmark.data.datasets.coco_entries import box_of, matching_id, number
from maskrcnn_benchmark.data.detection_images import PredictedImages, check_mask_size
from maskrcnn_benchmark.utils.files import read_json
from maskrcnn_benchmark.utils.wording import counted

logger = logging.getLogger(__name__)

SLACK = 1e-3  # by which rounding takes a score out of 0 to 1


def read_detections(source: str, coco: COCO, threshold: float = 0.0, img_dir: str = "") -> dict[Any, list[dict]]:
    """Detections by the ids of their images, of a file in COCO's format of results, with the masks and keypoints of the files
    beside a bbox.json.

    Args:
        source: the file, or a folder with bbox.json (OUTPUT_DIR/inference/NAME) or predictions.json (the folder of a prediction).
        coco: the annotations that were tested on. Detections of other images are left out, with a warning.
        threshold: the least score.
        img_dir: the folder of the annotated images, with whose files those of a prediction are compared.

    Each has "bbox", "score" and the "category_id" of the annotations. Raises FileNotFoundError or ValueError with a sentence.
    """
    tries = [source, *(os.path.join(source, name) for name in ("bbox.json", "predictions.json"))]
    path = next((name for name in tries if os.path.isfile(name)), "")
    if not path:
        raise FileNotFoundError(
            f"There is no {os.path.join(source, 'bbox.json')}; `mrb test` writes it to OUTPUT_DIR/inference/NAME, and `mrb "
            f"predict` a predictions.json to --out. A file {source} in COCO's format of results is not there either."
        )
    folder, name = os.path.split(path)
    detections = _entries(path)
    predicted = None
    if name == "predictions.json":
        predicted = _predicted_images(path, os.path.join(folder, "images.json"), coco, img_dir)
    beside = {"segm.json": "segmentation", "keypoints.json": "keypoints"} if name == "bbox.json" else {}
    for file, field in beside.items():
        more_path = os.path.join(folder, file)
        if not os.path.isfile(more_path):
            continue
        more = _entries(more_path)
        if len(more) != len(detections):
            raise ValueError(
                f"{more_path} holds {counted(len(more), 'detection')} and bbox.json {len(detections)}: they are of different "
                "tests. Test again."
            )
        detections = [
            {**entry, field: one[field]} if field in one else entry for entry, one in zip(detections, more, strict=True)
        ]
    images, categories = ({matching_id(id): id for id in entries} for entries in (coco.imgs, coco.cats))
    found: dict[Any, list[dict]] = {}
    others = 0
    for place, entry in enumerate(detections):
        if name == "keypoints.json" and "bbox" not in entry:
            raise ValueError(f"{path} has keypoints without boxes: name the folder, where bbox.json is beside it.")
        box, score = box_of(entry.get("bbox")), number(entry.get("score"))
        if box is None or score is None:
            raise ValueError(
                f"{path}: entry {place} is no detection, which has a 'bbox' of four numbers and a 'score': {shown(entry)}. "
                "Test again."
            )
        if not -SLACK <= score <= 1 + SLACK:
            raise ValueError(
                f"{path}: entry {place} has the score {score:g}; scores are from 0 to 1. Divide those in percent by 100, and "
                "make probabilities of logits."
            )
        category = matching_id(entry.get("category_id"))
        if category not in categories:
            raise ValueError(
                f"{path}: entry {place} is of category {shown(entry.get('category_id'))}, which the annotations do not "
                "have: they are of another set."
            )
        image = matching_id(entry.get("image_id"))
        if predicted is not None:
            if image in predicted.others:
                continue  # which is said
            image = matching_id(predicted.id_of.get(image, image))
        if image in images:
            check_mask_size(path, place, entry, coco.imgs[images[image]])
        if image not in images:
            others += 1
        elif score >= threshold:
            detection = {
                **entry,
                "bbox": box,
                "score": score,
                "image_id": images[image],
                "category_id": categories[category],
            }
            found.setdefault(images[image], []).append(detection)
    if others and others == len(detections):
        raise ValueError(
            f"{path}: none of its detections is of an image of the annotations; they are of another set, or of a prediction "
            "without --ann-file."
        )
    if others:
        logger.warning(
            "%s: %s of images that the annotations do not have.",
            path,
            counted(others, "detection is", "detections are"),
        )
    return found


def _predicted_images(path: str, images: str, coco: COCO, img_dir: str) -> PredictedImages:
    """Of a prediction, which lists its `images` and categories. Raises ValueError where its numbers mean others."""
    content = read_json(images) if os.path.isfile(images) else {}
    content = content if isinstance(content, dict) else {}
    lists = {key: content.get(key) for key in ("images", "categories")}
    entries, categories = (value if isinstance(value, list) else [] for value in lists.values())
    names = {matching_id(id): str(category.get("name")) for id, category in coco.cats.items()}
    for category in categories:
        if not isinstance(category, dict):
            continue
        theirs, ours = str(category.get("name")), names.get(matching_id(category.get("id")))
        is_named = not re.fullmatch(r"class \d+", theirs)  # a model whose classes nobody named
        if ours and is_named and theirs.strip().casefold() != ours.strip().casefold():
            raise ValueError(
                f"{path}: its category {category['id']} is {theirs}, and that of the annotations is {ours}. Predict with "
                "--ann-file, so that the ids are theirs."
            )
    if lists["images"] == []:
        raise ValueError(f"{images} lists no image: none of what was predicted on could be used. Predict again.")
    return PredictedImages(path, entries, coco, img_dir)


def _entries(path: str) -> list[dict]:
    content = read_json(path)
    if not isinstance(content, list) or not all(isinstance(entry, dict) for entry in content):
        raise ValueError(f"{path} holds no detections in COCO's format, a list of objects. Test again.")
    return content
