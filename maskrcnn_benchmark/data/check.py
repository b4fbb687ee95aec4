"""What is in a data set of COCO format, and what is wrong with it.

Whatever the loader mends or leaves out is named here; nothing that a file may hold stops the check.
"""

from collections import Counter
from typing import Any

import numpy as np

from maskrcnn_benchmark.data.check_annotations import check_annotations
from maskrcnn_benchmark.data.check_files import check_files
from maskrcnn_benchmark.data.check_files import contact_sheet as contact_sheet
from maskrcnn_benchmark.data.check_report import Report
from maskrcnn_benchmark.data.datasets.coco_categories import has_placeholder
from maskrcnn_benchmark.data.datasets.coco_entries import (
    MOST_PIXELS,
    file_name,
    image_entry,
    is_huge_id,
    matching_id,
    plain_id,
)
from maskrcnn_benchmark.data.datasets.coco_index import shown_id
from maskrcnn_benchmark.data.datasets.coco_keypoints import (
    expected_keypoints,
    keypoint_names,
    repeated_names,
    told_flips,
)
from maskrcnn_benchmark.data.datasets.coco_tree import read_json
from maskrcnn_benchmark.utils.wording import odd_name

SMALL, MEDIUM = 32**2, 96**2  # square pixels: COCO's limits of small and medium objects
DENSE = 100  # objects of an image: COCO's metrics count as many detections


def load(ann_file: str) -> dict:
    """The content of an annotation file. Raises FileNotFoundError or ValueError with a sentence."""
    content = read_json(ann_file)
    if not isinstance(content, dict):
        content = {}
    if content.get("annotations", []) is None:
        del content["annotations"]
    for key in ("images", "categories", "annotations"):
        if not isinstance({"annotations": [], **content}.get(key), list):  # COCO's own test sets have no annotations
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
    annotations = content.get("annotations") or []
    if "annotations" not in content:
        report.add("not_annotated", name)
    elif not annotations:
        report.add("nothing", "annotations")
    if not isinstance(content.get("info", {}), dict):
        report.add("info_form", "info")
    images = _check_images(content["images"], report)
    categories = _check_categories(content["categories"], annotations, report)
    usable = check_annotations(annotations, images, categories, report)
    check_files(images, img_dir, name, read_images, report)
    seen = {a["image_id"] for a in usable if not a["iscrowd"]}
    for key, image in images.items():
        if annotations and key not in seen:
            report.add("no_objects", image["id"])
    _summarise(images, categories, annotations, usable, report)
    return report


def _check_images(entries: list, report: Report) -> dict[Any, dict]:
    """Sound entries of the images by `matching_id`."""
    images: dict[Any, dict] = {}
    names: set = set()
    kinds: Counter = Counter()
    for place, entry in enumerate(entries):
        if not isinstance(entry, dict) or plain_id(entry.get("id")) is None or file_name(entry) is None:
            report.add("image_fields", f"entry {place}")
            continue
        image = image_entry(entry)
        key, shown = matching_id(entry["id"]), shown_id(entry["id"])
        kinds[type(image["id"])] += 1
        if is_huge_id(entry["id"]):
            report.add("id_huge", f"image {shown}")
        elif type(entry["id"]) is not type(image["id"]) or kinds[type(image["id"])] < sum(kinds.values()):
            report.add("id_form", f"image {shown!r}")
        if image["file_name"] != entry.get("file_name"):
            report.add("file_name_form", shown)
        if any(image.get(side) != entry.get(side) or type(entry.get(side)) is not int for side in ("width", "height")):
            report.add("image_size_form", shown)
        if image.get("width", 1) * image.get("height", 1) > MOST_PIXELS:
            report.add("image_huge", shown)
            image = {k: v for k, v in image.items() if k not in ("width", "height")}
        if key in images:
            report.add("image_id", shown)
        if image["file_name"] in names:
            report.add("same_file_name", image["file_name"])
        names.add(image["file_name"])
        images[key] = image
    return images


def _check_categories(entries: list, annotations: list, report: Report) -> dict[Any, dict]:
    """Entries by `matching_id`, with sound names; without the category that stands for no class (`has_placeholder`)."""
    categories: dict[Any, dict] = {}
    for place, entry in enumerate(entries):
        name = entry.get("name") if isinstance(entry, dict) else None
        key = matching_id(entry.get("id")) if isinstance(entry, dict) else None
        if key is None or key in categories or name is None or name == "":
            report.add("category_fields", f"entry {place}")
            continue
        if not isinstance(name, str):
            report.add("category_name_form", f"entry {place}")
        if is_huge_id(entry["id"]):
            report.add("id_huge", f"category {shown_id(entry['id'])}")
        elif type(entry["id"]) is not type(plain_id(entry["id"])) or type(plain_id(entry["id"])) is not type(
            _first_id(categories, entry)
        ):
            report.add("id_form", f"category {shown_id(entry['id'])!r}")
        if odd := odd_name([str(name)]):
            report.add("category_text", f"category {shown_id(entry['id'])}: {odd}")
        categories[key] = {**entry, "name": odd or str(name)}
    used = {matching_id(a.get("category_id")) for a in annotations if isinstance(a, dict)}
    if has_placeholder(list(categories.values()), used):
        report.add("category_placeholder", categories.pop(0)["name"])
    for name, count in Counter(c["name"] for c in categories.values()).items():
        if count > 1:
            report.add("category_name", name)
    spellings: dict[str, set[str]] = {}
    for category in categories.values():
        spellings.setdefault("".join(category["name"].split()).casefold(), set()).add(category["name"])
    for names in spellings.values():
        if len(names) > 1:
            report.add("category_spelling", ", ".join(map(repr, sorted(names))))
    numbers = [c for c in categories if isinstance(c, int)]
    low, high = min(numbers, default=0), max(numbers, default=0)
    for number in range(low, min(high, low + 10_000)):
        if number not in categories:
            report.add("category_gaps", number)
    _check_keypoint_names(categories, annotations, report)
    return categories


def _first_id(categories: dict[Any, dict], entry: dict) -> Any:
    return plain_id(next(iter(categories.values()), entry)["id"])


def _check_keypoint_names(categories: dict[Any, dict], annotations: list, report: Report) -> None:
    points = (a.get("keypoints") for a in annotations if isinstance(a, dict))
    count = expected_keypoints(list(categories.values()), (len(p) for p in points if isinstance(p, list)))
    for category in categories.values():
        for repeated in repeated_names(
            keypoint_names([category], count)[0] if keypoint_names([category], count) else ()
        ):
            report.add("keypoints_names", repeated)
    if count and told_flips(list(categories.values()), count) is None:
        report.add("keypoints_mirror", next(iter(categories.values()), {"name": "?"})["name"])


def _told_apart(names: list[str]) -> list[str]:
    """With a number behind a name that another before it has too, as data sets show it."""
    seen: Counter[str] = Counter()
    result = []
    for name in names:
        seen[name] += 1
        result.append(name if seen[name] == 1 else f"{name} ({seen[name]})")
    return result


def _summarise(images: dict, categories: dict, annotations: list, usable: list[dict], report: Report) -> None:
    objects = [a for a in usable if not a["iscrowd"]]
    counts = Counter(a["category_id"] for a in objects)
    for key, category in categories.items():
        if annotations and not counts[key]:
            report.add("category_unused", category["name"])
    of_image = Counter(a["image_id"] for a in objects)
    for key, count in of_image.items():
        if count > DENSE:
            report.add("dense", f"image {images[key]['id']}: {count}")
    for what, entries in {"images": images, "categories": categories}.items():
        if not entries:
            report.add("nothing", what)
    sides = [(i["width"], i["height"]) for i in images.values() if "width" in i]
    report.summary = {"images": len(images), "annotations": len(annotations), "objects": len(objects)}
    report.summary["crowds"] = len(usable) - len(objects)
    report.summary["categories"] = len(categories)
    report.summary["num_classes"] = len(categories) + 1  # what MODEL.ROI_BOX_HEAD.NUM_CLASSES must be
    if sides:
        shorter, longer = np.sort(np.array(sides), axis=1).T
        report.summary["shorter_sides"] = _spread(shorter)
        report.summary["longer_sides"] = _spread(longer)
    if len(objects):
        areas = np.array([a["area"] for a in objects], np.float64)
        parts = {"small": areas < SMALL, "medium": (areas >= SMALL) & (areas < MEDIUM), "large": areas >= MEDIUM}
        report.summary["sizes_of_objects"] = {name: f"{part.mean():.1%}" for name, part in parts.items()}
        report.summary["objects_an_image"] = _spread(np.array([of_image[key] for key in images]))
        names = dict(zip(categories, _told_apart([c["name"] for c in categories.values()]), strict=True))
        report.summary["objects_of_category"] = {names[key]: count for key, count in counts.most_common()}


def _spread(values: np.ndarray) -> dict[str, float]:
    return {"least": float(values.min()), "median": float(np.median(values)), "most": float(values.max())}
