"""The whole of an annotation file as pycocotools' tree of objects, and the masks in it."""

import contextlib
import io
import json
import os
from typing import Any

import pycocotools.mask as mask_utils
from pycocotools.coco import COCO


def load_coco(ann_file: str) -> COCO:
    """The index of an annotation file. Raises FileNotFoundError or ValueError with a sentence."""
    if not os.path.isfile(ann_file):
        raise FileNotFoundError(
            f"There is no annotation file {ann_file!r}. Check ANN_FILE in DATASETS.DEFINITIONS, or for the built-in names "
            "the folder in the environment variable MRB_DATASETS."
        )
    coco = COCO()
    try:
        with open(ann_file, encoding="utf-8") as f:
            content = json.load(f)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{ann_file} is not a JSON file: {error}") from None
    missing = [key for key in ("images", "categories") if not isinstance(content, dict) or key not in content]
    if missing:
        raise ValueError(f"{ann_file} is not in COCO format: it has no {' and no '.join(missing)}.")
    coco.dataset = content
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def to_rle(segmentation: Any, height: int, width: int) -> dict:
    """COCO's polygons, or run lengths as a list or compressed, as compressed run lengths."""
    if isinstance(segmentation, list):
        return mask_utils.merge(mask_utils.frPyObjects(segmentation, height, width))
    if isinstance(segmentation["counts"], list):
        return mask_utils.frPyObjects(segmentation, height, width)
    return segmentation
