"""The whole of an annotation file as pycocotools' tree of objects, made sound."""

import contextlib
import io
import json
import os
from collections import Counter
from collections.abc import Callable, Hashable
from typing import Any

import numpy as np
import pycocotools.mask as mask_utils
from pycocotools.coco import COCO

from maskrcnn_benchmark.data.datasets.coco_categories import category_entries
from maskrcnn_benchmark.data.datasets.coco_entries import (
    annotation_entry,
    area_is_sound,
    box_of,
    ids_of_one_kind,
    image_entry,
    keypoints_of,
    matching_id,
    plain_id,
)
from maskrcnn_benchmark.data.datasets.coco_index import DEFECTS, defects
from maskrcnn_benchmark.data.datasets.coco_masks import to_rle, usable_mask
from maskrcnn_benchmark.data.datasets.coco_scan import decode_text
from maskrcnn_benchmark.utils.files import why_unread

__all__ = ["load_coco", "read_json", "sound_annotations", "sound_images", "to_rle"]

# Evaluation holds ids in float64.
LARGEST_ID = 2**53
Size = tuple[int, int]  # height, width in pixels


def read_json(ann_file: str) -> Any:
    """The content of a JSON file in any encoding of Unicode. Raises FileNotFoundError or ValueError with a sentence."""
    if not os.path.isfile(ann_file):
        raise FileNotFoundError(
            f"There is no annotation file {ann_file!r}. Check ANN_FILE in DATASETS.DEFINITIONS, or for the built-in names "
            "the folder in the environment variable MRB_DATASETS."
        )
    try:
        with open(ann_file, "rb") as f:
            return json.loads(decode_text(f.read())[0])
    except ValueError as error:  # also for text in no encoding, and numbers of thousands of digits
        raise ValueError(f"{ann_file} is not a JSON file: {why_unread(error)}") from None
    except RecursionError:
        raise ValueError(
            f"{ann_file} is not in COCO format: its lists and objects lie too deep in one another."
        ) from None


Lost = Callable[[str, Any], None]


def _said_to_nobody(what: str, where: Any) -> None:
    pass


def load_coco(
    ann_file: str,
    size_of: Callable[[dict], Size | None] = lambda image: None,
    useless: bool = True,
    lost: Lost = _said_to_nobody,
) -> COCO:
    """An annotation file as pycocotools' tree.

    Args:
        size_of: asked for the size of an image whose entry does not give it.
        useless: keep annotations whose box has no area or lies outside its image.
        lost: told of what kind each entry is that is left out, and its id.

    Raises FileNotFoundError or ValueError with a sentence.
    """
    content = read_json(ann_file)
    missing = [key for key in ("images", "categories") if not isinstance(content, dict) or content.get(key) is None]
    if missing:
        raise ValueError(f"{ann_file} is not in COCO format: it has no {' and no '.join(missing)}.")
    for key in ("images", "annotations"):
        if not isinstance(content.get(key) or [], list):
            raise ValueError(f'{ann_file} is not in COCO format: its "{key}" is no list.')
    try:
        images = sound_images(content["images"], size_of, lost)
    except ValueError as error:
        raise ValueError(f"{ann_file}: {error}") from None
    categories = category_entries(content["categories"], ann_file)
    tree = {**content, "images": images, "categories": categories}
    if not isinstance(content.get("info"), dict):
        tree["info"] = {}
    if content.get("annotations") is None:
        tree.pop("annotations", None)
    else:
        tree["annotations"] = sound_annotations(content["annotations"], images, categories, useless, lost)
    coco = COCO()
    coco.dataset = tree
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def sound_images(
    entries: list, size_of: Callable[[dict], Size | None] = lambda image: None, lost: Lost = _said_to_nobody
) -> list[dict]:
    """Entries of images that have an id, with "width" and "height" where they can be had. Raises ValueError for ids."""
    with_id = [e for e in entries if isinstance(e, dict) and plain_id(e.get("id")) is not None]
    for place in range(len(entries) - len(with_id)):
        lost("entries of images without an id", place)
    ids = ids_of_one_kind([e["id"] for e in with_id], "images")
    sound = []
    repeated = Counter(map(matching_id, ids))
    for id in (repeated - Counter(repeated.keys())).elements():
        lost("images whose id another one has", f"id {id}")
    for id, image in zip(ids, map(image_entry, with_id), strict=True):
        changed: dict = {} if image["id"] == id else {"id": id}
        if "width" not in image and (size := size_of(image)) is not None:
            changed |= {"height": size[0], "width": size[1]}
        sound.append({**image, **changed} if changed else image)
    return sound


def sound_annotations(
    annotations: list, images: list[dict], categories: list[dict], useless: bool = True, lost: Lost = _said_to_nobody
) -> list[dict]:
    """Annotations with what evaluation needs of them, those left out that have no box, image or category of the given ones.

    "area" is computed where it is none: of the mask, or of the box. A "segmentation" that is no mask is left out. Ids become
    1, 2, ... where they are not different integers above 0. Sound ones stay the same objects.
    """
    image_of, category_of = ({matching_id(e["id"]): e for e in entries} for entries in (images, categories))
    kept, boxes, owners = [], [], []
    row = {matching_id(e["id"]): i for i, e in enumerate(images)}
    for annotation in annotations:
        if not isinstance(annotation, dict):
            lost("annotations that are no objects of JSON", str(annotation)[:40])
            continue
        image_id, category_id = (matching_id(annotation.get(key)) for key in ("image_id", "category_id"))
        box = box_of(annotation.get("bbox"))
        if box is None or image_id not in image_of or category_id not in category_of:
            missing = (
                "a box of four numbers" if box is None else "an image" if image_id not in image_of else "a category"
            )
            lost(f"annotations without {missing}", f"annotation {annotation.get('id')}")
            continue
        kept.append(annotation_entry(annotation, box, image_of[image_id]["id"], category_of[category_id]["id"]))
        boxes.append(box)
        owners.append(row[image_id])
    if not useless:
        sizes = np.array([(e.get("height", -1), e.get("width", -1)) for e in images], np.int64).reshape(-1, 2)
        found = defects(np.array(boxes, np.float64).reshape(-1, 4), np.array(owners, np.int64), sizes)
        is_usable = (found < 0) | (found == DEFECTS.index('no "bbox" of four numbers'))
        for i in np.flatnonzero(~is_usable):
            lost(f"annotations: {DEFECTS[found[i]]}", f"annotation {kept[i].get('id')}")
        usable = np.flatnonzero(is_usable).tolist()
        kept, owners = [kept[i] for i in usable], [owners[i] for i in usable]
    sound = [_with_mask_and_area(a, images[owner]) for a, owner in zip(kept, owners, strict=True)]
    for given, found_sound in zip(kept, sound, strict=True):
        if given.get("segmentation") and "segmentation" not in found_sound:
            lost("masks that cannot be used", f"annotation {given.get('id')}")
    return _numbered(sound)


def _with_mask_and_area(annotation: dict, image: dict) -> dict:
    changed: dict = {}
    segmentation, (width, height) = annotation.get("segmentation"), annotation["bbox"][2:]
    mask = None
    if "segmentation" in annotation:
        mask = usable_mask(segmentation, annotation["bbox"], image.get("height", -1), image.get("width", -1))
        if mask is not segmentation:
            changed["segmentation"] = mask
    if not area_is_sound(annotation.get("area"), width, height):
        changed["area"] = _area(mask, image) if mask is not None and "height" in image else max(width * height, 0.0)
    if "keypoints" in annotation:
        changed |= _sound_keypoints(annotation)
    if not changed:
        return annotation
    result = {**annotation, **changed}
    return {key: value for key, value in result.items() if value is not None or key not in changed}


def _area(mask: list | dict, image: dict) -> float:
    return float(mask_utils.area(to_rle(mask, image["height"], image["width"])))


def _sound_keypoints(annotation: dict) -> dict:
    """What must change; None for a key to be left out."""
    points = annotation["keypoints"]
    if not isinstance(points, list) or not points or len(points) % 3:
        return {"keypoints": None, "num_keypoints": None}
    sound = keypoints_of(points, len(points) // 3)
    count = sum(v > 0 for v in sound[2::3])
    number = annotation.get("num_keypoints", count)
    changed: dict = {} if sound is points else {"keypoints": sound}
    return changed if type(number) is int else {**changed, "num_keypoints": count}


def _numbered(annotations: list[dict]) -> list[dict]:
    ids: list[Hashable] = [a.get("id") if type(a.get("id")) is int else None for a in annotations]
    if len(set(ids)) == len(ids) and all(i is not None and 0 < i < LARGEST_ID for i in ids):  # type: ignore[operator]
        return annotations
    return [{**a, "id": i} for i, a in enumerate(annotations, start=1)]
