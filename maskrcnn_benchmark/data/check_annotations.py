"""What is wrong with the annotations of a COCO file."""

from typing import Any

import numpy as np
import pycocotools.mask as mask_utils

from maskrcnn_benchmark.data.check_report import Report
from maskrcnn_benchmark.data.datasets.coco_entries import (
    annotation_entry,
    area_is_sound,
    box_of,
    crowd_of,
    keypoints_of,
    matching_id,
)
from maskrcnn_benchmark.data.datasets.coco_index import shown_id
from maskrcnn_benchmark.data.datasets.coco_keypoints import expected_keypoints
from maskrcnn_benchmark.data.datasets.coco_masks import to_rle, usable_mask

# A box may leave its image by this much, pixels: annotations are rounded.
SLACK = 1.0
# So many boxes are taken for corners or centres where such a share of them leaves their image by COCO's meaning, and by the other
# nearly all lie within it.
LEAST_BOXES, LEAST_BEYOND, NEARLY_ALL = 5, 0.1, 0.99
# A mask is taken for another object's where its extent and the box share less of their union and lie farther apart, pixels: small
# objects' are rounded.
LEAST_SHARED, APART = 0.25, 2.0


def check_annotations(annotations: list, images: dict, categories: dict, report: Report) -> list[dict]:
    """The annotations that training and testing can use, made sound, "image_id" and "category_id" as keys of the given entries.

    Args:
        images, categories: entries by `matching_id`.
    """
    ids: set = set()
    seen: set = set()
    usable = []
    for place, annotation in enumerate(annotations):
        if not isinstance(annotation, dict):
            report.add("annotation_form", f"entry {place}")
            continue
        name = _check_id(annotation, place, ids, report)
        keys = {key: matching_id(annotation.get(key)) for key in ("image_id", "category_id")}
        image, category = images.get(keys["image_id"]), categories.get(keys["category_id"])
        for word, entry in (("image", image), ("category", category)):
            if entry is None:
                report.add(f"{word}_unknown", name)
            elif annotation[f"{word}_id"] != entry["id"]:
                report.add("id_form", f"{word}_id of {name}")
        box = box_of(annotation.get("bbox"))
        kind = "box_form" if box is None else box_defect(box, image or {})
        is_text = kind is None and any(isinstance(v, str) for v in annotation["bbox"])
        if is_text:
            report.add("box_text", name)
        if kind is not None:
            report.add(kind, name)
        if crowd_of(annotation.get("iscrowd")) is None or isinstance(annotation["iscrowd"], str):
            report.add("iscrowd", name)
        if box is None or image is None or category is None or kind not in (None, "box_beyond"):
            continue
        sound = annotation_entry(annotation, box, keys["image_id"], keys["category_id"])
        area: Any = sound.get("area")
        if not area_is_sound(area, box[2], box[3]):
            if not (is_text and isinstance(area, str)):  # which is said of its box
                report.add("area", name)
            area = box[2] * box[3]
        sound = {**sound, "area": float(area)}
        same = (sound["image_id"], sound["category_id"], *box)
        if same in seen and not sound["iscrowd"]:
            report.add("same_annotation", name)
        seen.add(same)
        usable.append(sound)
    _check_masks(usable, images, report)
    _check_keypoints(usable, list(categories.values()), report)
    if usable and all(0 <= min(a["bbox"]) and max(a["bbox"]) <= 1 for a in usable):
        report.withdraw("area")  # which is in pixels, as masks are
        report.withdraw("mask_elsewhere")
        report.add("box_fractions", f"{usable[0]['bbox']}")
    if usable and all(a["iscrowd"] for a in usable):
        report.add("crowds_alone", shown_id(usable[0].get("id")))
    meaning = other_meaning(usable, images)
    if meaning is not None:
        report.withdraw("box_beyond")
        report.withdraw("mask_elsewhere")
        report.add(meaning, f"{usable[0]['bbox']}")
    return usable


def _check_id(annotation: dict, place: int, ids: set, report: Report) -> Any:
    """What messages call the annotation."""
    id = annotation.get("id")
    if type(id) is not int or not 0 < id < 2**53:
        report.add("annotation_id_form", f"entry {place}" if id is None else shown_id(id))
    elif id in ids:
        report.add("annotation_id", id)
    if isinstance(id, (int, str)):
        ids.add(id)
    return f"entry {place}" if id is None else shown_id(id)


def box_defect(box: list[float], image: dict) -> str | None:
    """What is wrong with a box [x, y, width, height], pixels."""
    x, y, width, height = box
    if width <= 0 or height <= 0:
        return "box_empty"
    right, bottom = image.get("width", float("inf")), image.get("height", float("inf"))
    if x >= right or y >= bottom or x + width <= 0 or y + height <= 0:
        return "box_outside"
    if min(x, y) < -SLACK or x + width > right + SLACK or y + height > bottom + SLACK:
        return "box_beyond"
    return None


def other_meaning(annotations: list[dict], images: dict) -> str | None:
    """The kind of finding, "box_corners" or "box_centres", where boxes look like x1, y1, x2, y2 or like the middle and the size
    rather than x, y, width, height. `images`: entries by "image_id"."""
    sized = [(a["bbox"], i) for a in annotations if "width" in (i := images[a["image_id"]])]
    beyond = sum(box_defect(box, image) == "box_beyond" for box, image in sized)
    count = len(sized)
    if count < LEAST_BOXES or beyond < max(2, LEAST_BEYOND * count):
        return None
    meanings = {
        "box_corners": lambda x1, y1, x2, y2: (x1, y1, x2 - x1, y2 - y1),
        "box_centres": lambda x, y, width, height: (x - width / 2, y - height / 2, width, height),
    }
    for kind, corner_and_size in meanings.items():
        inside = sum(box_defect(list(corner_and_size(*box)), image) is None for box, image in sized)
        if inside >= NEARLY_ALL * count:
            return kind
    return None


def _is_elsewhere(box: list[float], extent: list[float], image: dict) -> bool:
    """Whether a mask, of the extent [x, y, width, height], is that of another box."""
    left, top = max(box[0], 0), max(box[1], 0)
    right, bottom = min(box[0] + box[2], image["width"]), min(box[1] + box[3], image["height"])
    corners = extent[0], extent[1], extent[0] + extent[2], extent[1] + extent[3]
    if all(abs(a - b) <= APART for a, b in zip((left, top, right, bottom), corners, strict=True)):
        return False
    shared = mask_utils.iou(np.array([[left, top, right - left, bottom - top]]), np.array([extent]), [0])
    return shared.item() < LEAST_SHARED


def _check_masks(annotations: list[dict], images: dict, report: Report) -> None:
    if not any(a.get("segmentation") for a in annotations):
        return
    for annotation in annotations:
        segmentation, image = annotation.get("segmentation"), images[annotation["image_id"]]
        name = shown_id(annotation.get("id"))
        if not segmentation:
            report.add("mask_missing", name)
            continue
        if "width" not in image:
            continue
        mask = usable_mask(segmentation, annotation["bbox"], image["height"], image["width"])
        if mask is None:
            report.add("mask_invalid", name)
            continue
        rle = to_rle(mask, image["height"], image["width"])
        if mask_utils.area(rle) == 0:
            report.add("mask_empty", name)
            continue
        if mask is not segmentation:
            report.add("mask_form", name)
        if _is_elsewhere(annotation["bbox"], mask_utils.toBbox(rle).tolist(), image):
            report.add("mask_elsewhere", name)


def _check_keypoints(annotations: list[dict], categories: list[dict], report: Report) -> None:
    found = [a for a in annotations if a.get("keypoints") is not None]
    lists = [a["keypoints"] for a in found if isinstance(a["keypoints"], list)]
    count = expected_keypoints(categories, map(len, lists))
    shown: dict[Any, list[bool]] = {}  # by image, whether each object has a visible keypoint
    for annotation in found:
        points = annotation["keypoints"]
        if points == []:
            continue
        if not isinstance(points, list) or len(points) != 3 * count or keypoints_of(points, count) is not points:
            report.add("keypoints_form", shown_id(annotation.get("id")))
        elif not annotation["iscrowd"]:
            shown.setdefault(annotation["image_id"], []).append(any(v > 0 for v in points[2::3]))
    unseen = {image for image, of_image in shown.items() if not any(of_image)}
    kind = "keypoints_none" if len(unseen) == len(shown) else "keypoints_unseen"
    for annotation in found if unseen else ():
        if annotation["image_id"] in unseen and not annotation["iscrowd"] and annotation["keypoints"]:
            report.add(kind, shown_id(annotation.get("id")))
