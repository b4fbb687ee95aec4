"""What is wrong with the image files of a COCO data set, and a sheet of some of them."""

import hashlib
import os
from typing import Any

import numpy as np

from maskrcnn_benchmark.data.check_annotations import box_defect
from maskrcnn_benchmark.data.check_report import Report
from maskrcnn_benchmark.data.datasets.annotated_images import AnnotatedImages, WrongSizeError, size_of
from maskrcnn_benchmark.data.datasets.coco_entries import box_of, file_name, image_entry, matching_id, plain_id
from maskrcnn_benchmark.data.datasets.image_names import ImageNames
from maskrcnn_benchmark.data.datasets.images import BrokenImageError
from maskrcnn_benchmark.utils.progress_bar import progress_bar
from maskrcnn_benchmark.visualization import draw_annotations, make_sheet


def check_files(images: dict[Any, dict], img_dir: str, name: str, read_images: bool, report: Report) -> None:
    """Look at the files of images, which are sound entries."""
    by_digest: dict[bytes, str] = {}
    entries = list(images.values())
    reader = AnnotatedImages.of_entries(name, img_dir, entries)
    names = ImageNames(img_dir, lambda: (entry["file_name"] for entry in entries))
    for image in progress_bar(entries, desc="checking", unit="image"):
        file = image["file_name"]
        path = names.path(file)
        if not os.path.isfile(path):
            report.add("missing_file", file)
            continue
        if not read_images:
            continue
        try:
            reader.read(path, size_of(image))
        except WrongSizeError:
            report.add("image_size", file)
        except BrokenImageError:
            report.add("broken_file", file)
            continue
        with open(path, "rb") as f:
            digest = hashlib.blake2b(f.read(), digest_size=16).digest()
        if by_digest.setdefault(digest, file) != file:
            report.add("same_picture", file)
    if read_images and reader.unturned:
        for example in reader.unturned:
            report.add("unturned", os.path.relpath(example, img_dir))


def contact_sheet(content: dict, img_dir: str, count: int = 12, columns: int = 3) -> np.ndarray | None:
    """Images with their annotations, evenly chosen over the file: uint8 [H, W, 3], BGR. None where no image can be read."""
    categories = {
        matching_id(c["id"]): {**c, "name": str(c["name"])}
        for c in content["categories"]
        if isinstance(c, dict) and matching_id(c.get("id")) is not None and c.get("name") is not None
    }
    by_image: dict[Any, list[dict]] = {}
    for annotation in content.get("annotations") or []:
        if not isinstance(annotation, dict) or (box := box_of(annotation.get("bbox"))) is None:
            continue
        category = matching_id(annotation.get("category_id"))
        if category in categories and box_defect(box, {}) is None:
            drawn = {**annotation, "bbox": box, "category_id": category}
            by_image.setdefault(matching_id(annotation.get("image_id")), []).append(drawn)
    images = [
        image_entry(e)
        for e in content["images"]
        if isinstance(e, dict) and plain_id(e.get("id")) is not None and file_name(e) is not None
    ]
    reader = AnnotatedImages.of_entries(img_dir, img_dir, images)
    pictures = []
    for place in np.unique(np.linspace(0, len(images) - 1, min(count, len(images))).astype(int)).tolist():
        try:
            image = reader.read_at(place)
        except BrokenImageError:
            continue
        pixels = np.ascontiguousarray(np.asarray(image)[:, :, ::-1])
        pictures.append(draw_annotations(pixels, by_image.get(matching_id(images[place]["id"]), []), categories))
    return make_sheet(pictures, columns, 600) if pictures else None
