"""Pictures of annotations in COCO format."""

from typing import Any

import numpy as np

from maskrcnn_benchmark.data.datasets.coco_masks import to_rle, usable_mask
from maskrcnn_benchmark.visualization.detections import Decoded
from maskrcnn_benchmark.visualization.objects import draw_objects


def draw_annotations(image: np.ndarray, objects: list[dict], categories: dict[Any, dict]) -> np.ndarray:
    """`draw_objects` of COCO's annotations or detections ("score"): image uint8 [H, W, 3], BGR; categories by id."""
    boxes = np.array([o["bbox"] for o in objects], np.float64).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2] - 1
    masks = None
    size = image.shape[:2]
    found = [usable_mask(o.get("segmentation"), o["bbox"], *size) for o in objects]
    if any(found):
        nothing = {"size": list(size), "counts": [size[0] * size[1]]}
        masks = Decoded([to_rle(nothing if mask is None else mask, *size) for mask in found])
    order = sorted(categories, key=lambda c: (isinstance(c, str), c))
    labels = [order.index(o["category_id"]) for o in objects]
    captions = []
    for o in objects:
        name = str(categories[o["category_id"]]["name"]) + (" (crowd)" if o.get("iscrowd") else "")
        captions.append(f"{name} {o['score']:.2f}" if "score" in o else name)
    return draw_objects(image, boxes, labels, captions, masks)
