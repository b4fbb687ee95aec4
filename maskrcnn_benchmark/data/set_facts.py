"""What can be said of a data set's images and objects in a few numbers."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from maskrcnn_benchmark.data.datasets.coco_keypoints import expected_keypoints
from maskrcnn_benchmark.data.datasets.facts import box_extents
from maskrcnn_benchmark.data.formats.content import Content
from maskrcnn_benchmark.data.labels import parts_of
from maskrcnn_benchmark.utils.wording import counted, listed

AT_MOST = 500  # images of data sets that are looked at, evenly spread, where looking means reading annotations


@dataclasses.dataclass(frozen=True)
class Facts:
    """Of a set's annotations. Sizes of objects are square roots of their boxes' areas, in pixels of the image.

    Attributes:
        images, objects, classes: counts of what was looked at; crowds are left out.
        sides: int64 [images, 2], height and width of each image.
        shorter, longer: medians of the images' sides; longest: the largest of all.
        small, median, large: the 10th, 50th and 90th percentile of the objects.
        densest: objects of the image with most; densest_image: its place in the set.
        masks: whether all objects have one.
        keypoints: how many an object has; 0 for none, or where they cannot be trained.
        no_keypoints: why not, where there are some.
    """

    images: int
    objects: int
    classes: int
    sides: np.ndarray
    small: float
    median: float
    large: float
    densest: int
    densest_image: int
    masks: bool
    keypoints: int = 0
    no_keypoints: str = ""

    @property
    def shorter(self) -> float:
        return float(np.median(self.sides.min(axis=1)))

    @property
    def longer(self) -> float:
        return float(np.median(self.sides.max(axis=1)))

    @property
    def longest(self) -> int:
        return int(self.sides.max())


def facts_of(content: Content) -> Facts:
    """Of what was read from files of any form. Objects of a pixel or less are left out: a training leaves out the images
    that have no others. Raises ValueError for a set without objects.
    """
    objects = [a for a in content.annotations if not a.get("iscrowd") and min(a["bbox"][2:]) > 1]
    if content.annotations and not objects:
        found = counted(len(content.annotations), "object")
        raise ValueError(f"There are no objects to go by: all of {found} are crowds or at most a pixel wide or high.")
    place = {image["id"]: i for i, image in enumerate(content.images)}
    counts = np.bincount([place[a["image_id"]] for a in objects], minlength=len(place))
    facts = _facts(
        np.array([(i["height"], i["width"]) for i in content.images], dtype=np.int64).reshape(-1, 2),
        np.array([a["bbox"][2:] for a in objects], dtype=np.float64).reshape(-1, 2),
        counts,
        len(content.categories),
        all(a.get("segmentation") for a in objects),
    )
    keypoints, reason = _keypoints(content, objects)
    return dataclasses.replace(facts, keypoints=0 if reason else keypoints, no_keypoints=reason)


def _keypoints(content: Content, objects: list[dict]) -> tuple[int, str]:
    """How many keypoints an object has, and why they cannot be trained; "" where they can."""
    found = [a for a in objects if a.get("keypoints")]
    count = expected_keypoints(content.categories, (len(a["keypoints"]) for a in found))
    odd = [a["id"] for a in found if len(a["keypoints"]) != 3 * count]
    if odd:
        known = getattr(content.originals, "annotations", {})
        ids = listed([known.get(id, id) for id in odd], 3)
        others = f"the others, {count}" if count else "others"
        return (
            count,
            f"{counted(len(odd), 'object has', 'objects have')} another number of keypoints than {others}: {ids}",
        )
    if found and not any(v > 0 for a in found for v in a["keypoints"][2::3]):
        return count, f"none of the keypoints of {counted(len(found), 'object')} is labelled"
    return count, ""


def facts_of_dataset(dataset: Any) -> Facts:
    """Of a data set or several joined, the sizes of objects from at most AT_MOST images; so are the counts and the images' sides
    where the set has no `labels_by_image` or `image_sizes` of its own.

    Raises ValueError for a set without objects, or one whose objects cannot be had without reading its images.
    """
    parts = parts_of(dataset)
    begin, places, counts, sides, extents = 0, [], [], [], []
    for part in parts:
        chosen = range(0, len(part), max(-(-len(part) * len(parts) // AT_MOST), 1))
        found = [box_extents(part, i) for i in chosen]
        is_whole = hasattr(part, "labels_by_image")
        places.append(begin + np.array(range(len(part)) if is_whole else chosen))
        counts.append(np.diff(part.labels_by_image()[1]) if is_whole else np.array([len(boxes) for boxes in found]))
        sides.append(part.image_sizes() if hasattr(part, "image_sizes") else _sides(part, chosen))
        extents += found
        begin += len(part)
    return _facts(
        np.concatenate(sides),
        np.concatenate([np.zeros((0, 2)), *extents]),
        np.concatenate(counts),
        max(getattr(part, "num_classes", 1) - 1 for part in parts),
        all(getattr(part, "has_masks", False) and not getattr(part, "without_mask", 0) for part in parts),
        np.concatenate(places),
    )


def _sides(dataset: Any, indices: range) -> np.ndarray:
    infos = (dataset.get_img_info(i) for i in indices)
    return np.array([(info["height"], info["width"]) for info in infos]).reshape(-1, 2)


def _facts(
    sides: np.ndarray,
    extents: np.ndarray,
    counts: np.ndarray,
    classes: int,
    masks: bool,
    places: np.ndarray | None = None,
) -> Facts:
    """`places`: the images that the counts are of, where those are not all."""
    if not len(sides) or not len(extents):
        raise ValueError(
            f"There are no objects to go by: {counted(len(sides), 'image')}, {counted(len(extents), 'object')}."
        )
    small, median, large = np.percentile(np.sqrt(extents.prod(axis=1)), (10, 50, 90)).tolist()
    row = int(np.argmax(counts))
    place = row if places is None else int(places[row])
    return Facts(len(sides), int(counts.sum()), classes, sides, small, median, large, int(counts[row]), place, masks)
