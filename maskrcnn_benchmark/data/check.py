"""What is in a data set of COCO format, and what is wrong with it."""

import hashlib
import json
import math
import os
from collections import Counter, defaultdict
from collections.abc import Iterable
from typing import Any

import cv2
import numpy as np
import pycocotools.mask as mask_utils
from tqdm import tqdm

from maskrcnn_benchmark.data.check_report import Report
from maskrcnn_benchmark.data.datasets.coco_tree import to_rle
from maskrcnn_benchmark.data.datasets.images import BrokenImageError, read_rgb
from maskrcnn_benchmark.visualization import draw_annotations, make_sheet

SMALL, MEDIUM = 32**2, 96**2  # square pixels: COCO's limits of small and medium objects
# A box may leave its image by this much, pixels: annotations are rounded.
SLACK = 1.0


def load(ann_file: str) -> dict:
    """The content of an annotation file. Raises FileNotFoundError or ValueError with a sentence."""
    if not os.path.isfile(ann_file):
        raise FileNotFoundError(f"There is no annotation file {ann_file!r}.")
    try:
        with open(ann_file, encoding="utf-8") as f:
            content = json.load(f)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{ann_file} is not a JSON file: {error}") from None
    for key in ("images", "categories"):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise ValueError(f'{ann_file} is not in COCO format: it has no list "{key}".')
    return content


def check(content: dict, img_dir: str, name: str, read_images: bool = True) -> Report:
    """Check a data set.

    Args:
        content: of the annotation file, as `load` returns it.
        img_dir: folder of the images.
        name: of the data set, for the report.
        read_images: decode every image file; otherwise only look whether it is there.
    """
    report = Report(name)
    images = _check_images(content["images"], report)
    categories = _check_categories(content["categories"], report)
    annotations = content.get("annotations", [])
    usable = _check_annotations(annotations, images, categories, report)
    _check_masks(usable, images, report)
    _check_files(images.values(), img_dir, read_images, report)
    seen = {a["image_id"] for a in usable if not a.get("iscrowd")}
    for image_id in images if annotations else ():
        if image_id not in seen:
            report.add("no_objects", image_id)
    _summarise(images, categories, annotations, usable, report)
    return report


def _check_images(entries: list, report: Report) -> dict[Any, dict]:
    images: dict[Any, dict] = {}
    names: set = set()
    for place, image in enumerate(entries):
        if not isinstance(image, dict) or image.get("id") is None or not image.get("file_name"):
            report.add("image_fields", f"entry {place}")
            continue
        if image["id"] in images:
            report.add("image_id", image["id"])
        if image["file_name"] in names:
            report.add("same_file_name", image["file_name"])
        names.add(image["file_name"])
        images[image["id"]] = image
    return images


def _check_categories(entries: list, report: Report) -> dict[Any, str]:
    categories: dict[Any, str] = {}
    for place, category in enumerate(entries):
        usable = isinstance(category, dict) and category.get("id") is not None and category.get("name")
        if not usable or category["id"] in categories:
            report.add("category_fields", f"entry {place}")
            continue
        if category["name"] in categories.values():
            report.add("category_name", category["name"])
        categories[category["id"]] = category["name"]
    numbers = [c for c in categories if isinstance(c, int)]
    for number in range(min(numbers, default=0), max(numbers, default=0)):
        if number not in categories:
            report.add("category_gaps", number)
    return categories


def _check_annotations(annotations: list, images: dict, categories: dict, report: Report) -> list[dict]:
    """The annotations that training and testing can use."""
    ids: set = set()
    seen: set = set()
    usable = []
    for place, annotation in enumerate(annotations):
        name = annotation.get("id", f"entry {place}")
        if "id" in annotation and name in ids:
            report.add("annotation_id", name)
        ids.add(name)
        image = images.get(annotation.get("image_id"))
        if image is None:
            report.add("image_unknown", name)
        if annotation.get("category_id") not in categories:
            report.add("category_unknown", name)
        kind = _box_defect(annotation.get("bbox"), image or {})
        if kind is not None:
            report.add(kind, name)
        if image is None or annotation.get("category_id") not in categories or kind not in (None, "box_beyond"):
            continue
        key = (annotation["image_id"], annotation["category_id"], *annotation["bbox"])
        if key in seen and not annotation.get("iscrowd"):
            report.add("same_annotation", name)
        seen.add(key)
        usable.append(annotation)
    return usable


def _box_defect(box: Any, image: dict) -> str | None:
    """What is wrong with a box [x, y, width, height], pixels."""
    numbers = isinstance(box, list) and len(box) == 4 and all(type(v) in (int, float) for v in box)
    if not numbers or not all(map(math.isfinite, box)):
        return "box_form"
    x, y, width, height = box
    if width <= 0 or height <= 0:
        return "box_empty"
    right, bottom = image.get("width", math.inf), image.get("height", math.inf)
    if x >= right or y >= bottom or x + width <= 0 or y + height <= 0:
        return "box_outside"
    if min(x, y) < -SLACK or x + width > right + SLACK or y + height > bottom + SLACK:
        return "box_beyond"
    return None


def _check_masks(annotations: list[dict], images: dict, report: Report) -> None:
    if not any(a.get("segmentation") for a in annotations):
        return
    for annotation in annotations:
        segmentation, image = annotation.get("segmentation"), images[annotation["image_id"]]
        if not segmentation:
            report.add("mask_missing", annotation.get("id"))
            continue
        if "height" not in image or "width" not in image:
            continue
        size = [image["height"], image["width"]]
        try:
            rle = to_rle(segmentation, *size)
            area = mask_utils.area(rle)
        except Exception:  # pycocotools raises anything for what it cannot read
            report.add("mask_invalid", annotation.get("id"))
            continue
        if list(rle["size"]) != size:
            report.add("mask_invalid", annotation.get("id"))
        elif area == 0:
            report.add("mask_empty", annotation.get("id"))


def _check_files(images: Iterable[dict], img_dir: str, read_images: bool, report: Report) -> None:
    by_digest: dict[bytes, str] = {}
    for image in tqdm(list(images), desc="images", disable=None):
        name = image["file_name"]
        path = os.path.join(img_dir, name)
        if not os.path.isfile(path):
            report.add("missing_file", name)
            continue
        if not read_images:
            continue
        try:
            size = read_rgb(path).size
        except BrokenImageError:
            report.add("broken_file", name)
            continue
        if size != (image.get("width", size[0]), image.get("height", size[1])):
            report.add("image_size", name)
        with open(path, "rb") as f:
            digest = hashlib.blake2b(f.read(), digest_size=16).digest()
        if by_digest.setdefault(digest, name) != name:
            report.add("same_picture", name)


def _summarise(images: dict, categories: dict, annotations: list, usable: list[dict], report: Report) -> None:
    objects = [a for a in usable if not a.get("iscrowd")]
    counts = Counter(a["category_id"] for a in objects)
    for category, name in categories.items():
        if annotations and not counts[category]:
            report.add("category_unused", name)
    areas = np.array([a.get("area") or a["bbox"][2] * a["bbox"][3] for a in objects], np.float64)
    of_image = Counter(a["image_id"] for a in objects)
    sides = [(i["width"], i["height"]) for i in images.values() if "width" in i and "height" in i]
    report.summary = {"images": len(images), "annotations": len(annotations), "objects": len(objects)}
    report.summary["crowds"] = len(usable) - len(objects)
    report.summary["categories"] = len(categories)
    report.summary["num_classes"] = len(categories) + 1  # what MODEL.ROI_BOX_HEAD.NUM_CLASSES must be
    if sides:
        shorter, longer = np.sort(np.array(sides), axis=1).T
        report.summary["shorter_sides"] = _spread(shorter)
        report.summary["longer_sides"] = _spread(longer)
    if len(objects):
        parts = {"small": areas < SMALL, "medium": (areas >= SMALL) & (areas < MEDIUM), "large": areas >= MEDIUM}
        report.summary["sizes_of_objects"] = {name: f"{part.mean():.1%}" for name, part in parts.items()}
        report.summary["objects_an_image"] = _spread(np.array([of_image[i] for i in images]))
        report.summary["objects_of_category"] = {categories[c]: n for c, n in counts.most_common()}


def _spread(values: np.ndarray) -> dict[str, float]:
    return {"least": float(values.min()), "median": float(np.median(values)), "most": float(values.max())}


def contact_sheet(content: dict, img_dir: str, count: int = 12, columns: int = 3) -> np.ndarray | None:
    """Images with their annotations, evenly chosen over the file: uint8 [H, W, 3], BGR. None where no image can be read."""
    by_image = defaultdict(list)
    categories = {c["id"]: c for c in content["categories"]}
    for annotation in content.get("annotations", []):
        drawable = annotation.get("category_id") in categories
        if drawable and _box_defect(annotation.get("bbox"), {}) in (None, "box_beyond"):
            by_image[annotation["image_id"]].append(annotation)
    images = content["images"]
    pictures = []
    for place in np.unique(np.linspace(0, len(images) - 1, min(count, len(images))).astype(int)):
        image = cv2.imread(os.path.join(img_dir, images[place]["file_name"]))
        if image is not None:
            pictures.append(draw_annotations(image, by_image[images[place]["id"]], categories))
    return make_sheet(pictures, columns, 600) if pictures else None
