"""What a detector found, as annotations in the forms that other programs read."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

import pycocotools.mask as mask_utils

from maskrcnn_benchmark.data import formats
from maskrcnn_benchmark.data.formats import Content
from maskrcnn_benchmark.data.formats.content import inside
from maskrcnn_benchmark.utils.files import check_folder

FORMS = tuple(name for name in formats.written_forms() if name != "lvis")  # which is COCO's, but for its categories


def as_content(folder: str) -> Content:
    """The images.json and predictions.json of a folder of results, with their ids; detections have a "score" beside COCO's
    keys, and boxes `inside` their images."""
    with open(os.path.join(folder, "images.json"), encoding="utf-8") as file:
        described = json.load(file)
    with open(os.path.join(folder, "predictions.json"), encoding="utf-8") as file:
        detections = json.load(file)
    paths = [os.path.abspath(image["file_name"]) for image in described["images"] if "://" not in image["file_name"]]
    root = os.path.commonpath([os.path.dirname(path) for path in paths]) if paths else os.getcwd()
    content = Content(root, categories=described["categories"])
    known = {category["id"] for category in content.categories}
    unnamed = dict.fromkeys(found["category_id"] for found in detections if found["category_id"] not in known)
    content.categories += [{"id": id, "name": f"class {id}"} for id in unnamed]
    for image in described["images"]:
        name = image["file_name"]
        is_file = "://" not in name
        content.images.append({**image, "file_name": Path(os.path.relpath(name, root)).as_posix() if is_file else name})
    images = {image["id"]: image for image in content.images}
    for number, found in enumerate(detections, start=1):
        rle, keypoints = found.get("segmentation"), found.get("keypoints")
        box = inside(found["bbox"], images[found["image_id"]])
        area = float(mask_utils.area(rle)) if rle else box[2] * box[3]
        entry = {"id": number, **found, "bbox": box, "area": round(area, 4), "iscrowd": 0}
        if keypoints:
            entry["num_keypoints"] = sum(v > 0 for v in keypoints[2::3])
        content.annotations.append(entry)
    return content


def write_forms(folder: str, forms: Sequence[str]) -> dict[str, tuple[str, list[str]]]:
    """Write the results in a folder in these forms too, each to the folder of its name; returns by form what was written where,
    and what did not fit."""
    said: dict[str, tuple[str, list[str]]] = {}
    for form in forms:
        content = as_content(folder)
        _leave_frames_out(content)
        out = os.path.join(folder, form)
        check_folder(out, f"The folder for {form}")
        written = formats.write(content, form, out)
        said[form] = written + formats.place_of_images(content, form), content.notes.sentences()
    return said


def _leave_frames_out(content: Content) -> None:
    frames = {image["id"]: image for image in content.images if "frame" in image}
    for image in frames.values():
        content.notes.add("frames of videos, which predictions.json alone holds, left out", image["file_name"])
    content.images = [image for image in content.images if image["id"] not in frames]
    content.annotations = [a for a in content.annotations if a["image_id"] not in frames]
