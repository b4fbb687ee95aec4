"""Pictures of annotations in COCO format."""

from typing import Any

import numpy as np

from maskrcnn_benchmark.data.datasets.coco_entries import keypoints_of
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
    return draw_objects(image, boxes, labels, captions, masks, *_keypoints(objects, categories))


def _keypoints(objects: list[dict], categories: dict[Any, dict]) -> tuple[np.ndarray | None, list[list[int]]]:
    """[N, K, 3] x, y and visibility, and the lines between them that a category names; None where no object has any."""
    counts = [len(o["keypoints"]) // 3 for o in objects if isinstance(o.get("keypoints"), list)]
    count = max(counts, default=0)
    if not count:
        return None, []
    points = np.array([keypoints_of(o.get("keypoints"), count) for o in objects], np.float64).reshape(-1, count, 3)
    skeletons = [c["skeleton"] for c in categories.values() if isinstance(c.get("skeleton"), list)]
    pairs = [pair for pair in (skeletons[0] if skeletons else []) if isinstance(pair, list) and len(pair) == 2]
    lines = [[a - 1, b - 1] for a, b in pairs if all(type(end) is int and 1 <= end <= count for end in (a, b))]
    return points, lines
