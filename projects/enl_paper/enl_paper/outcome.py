"""What became of the objects of an image: found, found under another class, or missed; and which detections hit nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from maskrcnn_benchmark.structures.boxes import box_iou

FOUND, CONFUSED, MISSED = "found", "wrong class", "missed"


@dataclass(frozen=True)
class ImageOutcome:
    """of_object: FOUND, CONFUSED or MISSED for each object. hits: the index of its detection, or -1. extra: detections of no
    object (those of crowds left out)."""

    of_object: list[str] = field(default_factory=list)
    hits: list[int] = field(default_factory=list)
    extra: list[int] = field(default_factory=list)


def image_outcome(objects: Sequence[dict], detections: Sequence[dict], iou: float = 0.5) -> ImageOutcome:
    """COCO annotations and results of one image. Detections, the best-scored first, take the object that they cover best; an
    object already found takes no other, and one of the right class comes before one of another."""
    order = sorted(range(len(detections)), key=lambda i: -detections[i]["score"])
    iou_of = overlaps([detections[i] for i in order], objects)
    hits = [-1] * len(objects)
    states = [MISSED] * len(objects)
    used: set[int] = set()
    for state in (FOUND, CONFUSED):
        for row, index in enumerate(order):
            same = [
                (o["category_id"] == detections[index]["category_id"]) == (state == FOUND) and not o.get("iscrowd")
                for o in objects
            ]
            free = [iou_of[row, k] if same[k] and hits[k] < 0 else 0.0 for k in range(len(objects))]
            if index not in used and free and max(free) >= iou:
                best = int(np.argmax(free))
                hits[best], states[best] = index, state
                used.add(index)
    ignored = {
        order[row]
        for row in range(len(order))
        if any(o.get("iscrowd") and iou_of[row, k] > 0 for k, o in enumerate(objects))
    }
    return ImageOutcome(states, hits, [i for i in order if i not in used and i not in ignored])


def overlaps(a: Sequence[dict], b: Sequence[dict]) -> np.ndarray:
    """IoU of every pair of COCO annotations or results: float64 [len(a), len(b)]."""
    boxes = []
    for entries in (a, b):
        box = torch.tensor([entry["bbox"] for entry in entries], dtype=torch.float64).reshape(-1, 4)
        box[:, 2:] += box[:, :2] - 1
        boxes.append(box)
    return box_iou(*boxes).numpy()
