"""What the package does with the keypoints of an image, by upstream's interface alone: a fork may bring its own Keypoints."""

from collections.abc import Sequence
from typing import Any

import torch

from maskrcnn_benchmark.structures.boxes import crop_points
from maskrcnn_benchmark.structures.keypoint import Keypoints, PersonKeypoints


def make_keypoints(keypoints: Any, size: tuple[float, float], count: int) -> Keypoints:
    """Keypoints of the class that fits: a person's where there are 17 of them. `count` matters if there are no objects."""
    keypoints = torch.as_tensor(keypoints, dtype=torch.float32).reshape(-1, count, 3)
    return (PersonKeypoints if count == len(PersonKeypoints.NAMES) else Keypoints)(keypoints, size)


def cat_keypoints(keypoints: Sequence[Keypoints]) -> Keypoints:
    """Join the keypoints of objects of one image, with their fields."""
    first = keypoints[0]
    joined = type(first)(torch.cat([k.keypoints for k in keypoints]), first.size, first.mode)
    for name in first.extra_fields:
        joined.add_field(name, torch.cat([k.get_field(name) for k in keypoints]))
    return joined


def crop_keypoints(keypoints: Keypoints, box: tuple[float, float, float, float]) -> Keypoints:
    """Cut to the region (x1, y1, x2, y2), exclusive of x2 and y2; what lies outside is not labelled any more."""
    x1, y1, x2, y2 = box
    points = crop_points(keypoints.keypoints, box)
    cropped = type(keypoints)(points, (x2 - x1, y2 - y1), keypoints.mode)
    for name, data in keypoints.extra_fields.items():
        cropped.add_field(name, data)
    return cropped
