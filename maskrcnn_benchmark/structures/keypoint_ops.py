"""What the package does with the keypoints of an image, by upstream's interface alone: a fork may bring its own Keypoints."""

from collections.abc import Sequence
from typing import Any

import torch

from maskrcnn_benchmark.structures.boxes import crop_points
from maskrcnn_benchmark.structures.keypoint import Keypoints, PersonKeypoints


def make_keypoints(
    keypoints: Any,
    size: tuple[float, float],
    count: int,
    of_person: bool | None = None,
    flips: Sequence[int] | None = None,
    connections: Sequence[tuple[int, int]] = (),
) -> Keypoints:
    """Keypoints of the class that fits.

    Args:
        keypoints: see Keypoints.
        size: (width, height) of the image in pixels.
        count: of keypoints of an object; matters if there are no objects.
        of_person: whether they are COCO's of a person; default: where there are 17.
        flips: of others: which keypoint each one turns into when the image is mirrored; without, that is an error.
        connections: of others: the lines between them, for drawings.
    """
    keypoints = torch.as_tensor(keypoints, dtype=torch.float32).reshape(-1, count, 3)
    if count == len(PersonKeypoints.NAMES) if of_person is None else of_person:
        return PersonKeypoints(keypoints, size)
    made = Keypoints(keypoints, size)
    made.FLIP_INDS, made.CONNECTIONS = flips, connections
    return made


def like(keypoints: Keypoints, points: torch.Tensor, size: tuple[float, float]) -> Keypoints:
    """Other points Tensor[N, K, 3] of the same kind, without fields."""
    made = type(keypoints)(points, size, keypoints.mode)
    for name in ("FLIP_INDS", "CONNECTIONS"):
        if name in vars(keypoints):
            setattr(made, name, vars(keypoints)[name])
    return made


def cat_keypoints(keypoints: Sequence[Keypoints]) -> Keypoints:
    """Join the keypoints of objects of one image, with their fields."""
    first = keypoints[0]
    joined = like(first, torch.cat([k.keypoints for k in keypoints]), first.size)
    for name in first.extra_fields:
        joined.add_field(name, torch.cat([k.get_field(name) for k in keypoints]))
    return joined


def crop_keypoints(keypoints: Keypoints, box: tuple[float, float, float, float]) -> Keypoints:
    """Cut to the region (x1, y1, x2, y2), exclusive of x2 and y2; what lies outside is not labelled any more."""
    x1, y1, x2, y2 = box
    points = crop_points(keypoints.keypoints, box)
    cropped = like(keypoints, points, (x2 - x1, y2 - y1))
    for name, data in keypoints.extra_fields.items():
        cropped.add_field(name, data)
    return cropped
