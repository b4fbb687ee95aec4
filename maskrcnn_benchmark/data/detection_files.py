"""Detections in COCO's format, as a test, a prediction or another program wrote them, read back."""

import logging
import os
from typing import Any

from pycocotools.coco import COCO

from maskrcnn_benchmark.config.node import shown
from maskrcnn_benchmark.data.datasets.coco_entries import box_of, matching_id, number
from maskrcnn_benchmark.utils.files import read_json
from maskrcnn_benchmark.utils.wording import counted

logger = logging.getLogger(__name__)

SLACK = 1e-3  # by which rounding takes a score out of 0 to 1


def read_detections(source: str, coco: COCO, threshold: float = 0.0) -> dict[Any, list[dict]]:
    """Detections by the ids of their images, of a file in COCO's format of results, with the masks and keypoints of the files
    beside a bbox.json.

    Args:
        source: the file, or a folder with bbox.json (OUTPUT_DIR/inference/NAME) or predictions.json (the folder of a prediction).
        coco: the annotations that were tested on. Detections of other images are left out, with a warning.
        threshold: the least score.

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
    if name == "predictions.json":
        _check_numbers(path, os.path.join(folder, "images.json"), coco)
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


def _check_numbers(path: str, images: str, coco: COCO) -> None:
    """Raise ValueError where a prediction, which lists its `images`, numbered them itself: other images have these ids."""
    content = read_json(images) if os.path.isfile(images) else {}
    entries = content.get("images") if isinstance(content, dict) else None
    names = {matching_id(id): image.get("file_name") for id, image in coco.imgs.items()}
    for image in entries if isinstance(entries, list) else []:
        if not isinstance(image, dict):
            continue
        theirs, ours = str(image.get("file_name")), names.get(matching_id(image.get("id")))
        if ours and os.path.basename(theirs) != os.path.basename(ours):
            raise ValueError(
                f"{path}: its image {image['id']} is {theirs}, and that of the annotations is {ours}. Predict with --ann-file, "
                "so that the ids are theirs."
            )


def _entries(path: str) -> list[dict]:
    content = read_json(path)
    if not isinstance(content, list) or not all(isinstance(entry, dict) for entry in content):
        raise ValueError(f"{path} holds no detections in COCO's format, a list of objects. Test again.")
    return content
