"""Where each image and each object stands in a COCO annotation file.

A tree of Python objects takes 3 GB for COCO train2017, and every worker process ends up with its own copy: touching an object
writes its reference count, which unshares its page. So the file itself stays the store: all processes of a node read an
image's entries from it when they are needed, through the system's page cache, and hold only this index of byte offsets in
numpy arrays, whose pages workers share.
"""

import dataclasses
import json
from typing import Any

import numpy as np

from maskrcnn_benchmark.data.datasets.coco_categories import category_entries, has_placeholder
from maskrcnn_benchmark.data.datasets.coco_entries import LARGEST_AREA, MOST_PIXELS, ids_of_one_kind, matching_id, whole
from maskrcnn_benchmark.data.datasets.coco_keypoints import expected_keypoints, keypoint_names, least_visible
from maskrcnn_benchmark.data.datasets.coco_scan import (
    Annotations,
    BytePlaces,
    Images,
    as_numpy,
    decode_text,
    numbers_of,
    scan_text,
)
from maskrcnn_benchmark.utils.files import is_too_long, why_unread

MOST_NAMED = 5  # ids in a sentence
DEFECTS = ("zero or negative size", "outside the image", "unknown image", 'no "bbox" of four numbers')


@dataclasses.dataclass
class CocoIndex:
    """The index of a file with I images, in ascending order of their ids, and A usable annotations, in the images' order.

    Attributes:
        image_ids: integers or strings [I].
        image_sizes: int32 [I, 2], height and width; -1 where the file does not say.
        image_spans: int64 [I, 2], the first byte of the image's entry and the one after its last.
        spans: int64 [A, 2], the same of the annotations.
        first: int64 [I + 1], the annotations of image i are first[i] to first[i + 1].
        labels: int32 [A], from 1 in the order of the category ids.
        crowd: bool [A].
        trainable: bool [I], whether the image has something to train on (see `coco.has_valid_annotation`).
        with_objects: bool [I], the same for a model without keypoints.
        dropped: int64 [D, 2], the other annotations: place in the file's list, and index into DEFECTS.
        meta: "categories" (sound entries), "placeholder" (whether the first of them is none, see `has_placeholder`),
            "has_annotations", "has_masks", "num_keypoints", "keypoint_names" (of each kind of object with keypoints),
            "least_visible", "odd_keypoints" (of objects with another number of keypoints how many there are, and some ids),
            "encoding", "annotations" (how many the file lists), and what was found: "dropped_ids", for each of
            DEFECTS the id of the first annotation dropped for it, None where there is none; "area", "iscrowd", "masks",
            "sizes", "images", "image_ids" and "few_visible", each [how many are missing or unusable, an example].
    """

    image_ids: np.ndarray
    image_sizes: np.ndarray
    image_spans: np.ndarray
    spans: np.ndarray
    first: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray
    trainable: np.ndarray
    with_objects: np.ndarray
    dropped: np.ndarray
    meta: dict[str, Any]

    def row(self, image_id: Any) -> int | None:
        """The image's place in the arrays, None for an id that there is not."""
        try:
            row = int(np.searchsorted(self.image_ids, image_id))
        except TypeError:
            return None
        return row if row < len(self.image_ids) and self.image_ids[row] == image_id else None


def scan(content: bytes, name: str) -> CocoIndex:
    """Index the content of an annotation file called `name`. Raises ValueError with a sentence that begins with the name."""
    try:
        text, encoding, mark = decode_text(content)
        images, annotations, others = scan_text(text, name)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{name} is not a JSON file: {error}") from None
    except ValueError as error:
        if is_too_long(error):
            raise ValueError(f"{name} is not a JSON file: {why_unread(error)}") from None
        raise
    except RecursionError:
        raise ValueError(f"{name} is not in COCO format: its lists and objects lie too deep in one another.") from None
    missing = [key for key, found in (("images", images), ("categories", others.get("categories"))) if found is None]
    if images is None or missing:
        raise ValueError(f"{name} is not in COCO format: it has no {' and no '.join(missing)}.")
    place = BytePlaces(content, text, encoding, mark)
    del text
    index = _index(images, annotations, others["categories"], place, name)
    index.meta["encoding"] = encoding
    return index


def _index(images: Images, annotations: Annotations | None, categories: Any, place: BytePlaces, name: str) -> CocoIndex:
    ids, rows = _image_rows(images.ids, name)
    sizes = as_numpy(images.sizes, np.int32).reshape(-1, 2)[rows]
    _check_sizes(sizes, ids, name)
    found = Annotations() if annotations is None else annotations
    entries = category_entries(categories, name)
    row_of_id = {i if type(i) is int else matching_id(i): row for row, i in enumerate(ids.tolist())}
    image = numbers_of(found.images, row_of_id, -1)[as_numpy(found.image, np.int64)]
    boxes = as_numpy(found.boxes, np.float64).reshape(-1, 4)
    defect = defects(boxes, image, sizes)
    dropped, usable = np.flatnonzero(defect >= 0), np.flatnonzero(defect < 0)
    labels = _labels(found, entries, usable, name)
    lengths = as_numpy(found.points, np.int32)
    num_keypoints = expected_keypoints(entries, found.points)
    odd = (lengths >= 0) & (lengths != 3 * num_keypoints)
    names = keypoint_names(entries, num_keypoints)
    order = usable[np.argsort(image[usable], kind="stable")]
    first = np.searchsorted(image[order], np.arange(len(ids) + 1))
    crowd = np.frombuffer(bytes(found.crowd), np.uint8).astype(bool)
    masked = _masked(found, image, sizes)
    points, visible = lengths[order], np.where(odd, 0, as_numpy(found.visible, np.int32))[order]
    least = least_visible(names, num_keypoints)
    large, seen = _trainable(boxes[order, 2:], points, visible, first, least)
    without_crowd = np.zeros(len(crowd), bool)
    without_crowd[found.no_crowd] = True
    objects = usable[~crowd[usable]]
    first_dropped = (np.flatnonzero(defect == d)[:1] for d in range(len(DEFECTS)))
    without_id = [i for i, image_id in enumerate(images.ids) if image_id is None] if None in images.ids else []
    repeated = len(images.ids) - len(without_id) - len(ids)
    return CocoIndex(
        image_ids=ids,
        image_sizes=sizes,
        image_spans=place(images.numpy()[rows]),
        spans=place(found.numpy()[order]),
        first=first,
        labels=labels[order],
        crowd=crowd[order],
        trainable=large & seen,
        with_objects=large,
        dropped=np.stack((dropped, defect[dropped]), axis=1),
        meta={
            "categories": entries,
            "placeholder": has_placeholder(entries, {matching_id(c) for c in found.categories}),
            "has_annotations": annotations is not None,
            "has_masks": bool(masked[objects].any() or not len(objects)),
            "num_keypoints": num_keypoints,
            "keypoint_names": names,
            "least_visible": least,
            "odd_keypoints": [
                int(odd.sum()),
                [shown_id(found.ids[i]) for i in np.flatnonzero(odd)[:MOST_NAMED].tolist()],
            ],
            "annotations": len(found.ids),
            "dropped_ids": [shown_id(found.ids[d[0]]) if len(d) else None for d in first_dropped],
            "area": _some(usable[_wrong_areas(found, boxes)[usable]], found.ids),
            "iscrowd": _some(usable[without_crowd[usable]], found.ids),
            "masks": _some(objects[~masked[objects]], found.ids),
            "sizes": _some(np.flatnonzero((sizes < 0).any(axis=1)), ids.tolist()),
            "images": _some(np.array(without_id), range(len(images.ids))),
            "image_ids": [repeated, None],
            "few_visible": _some(np.flatnonzero(large & ~seen), ids.tolist()),
        },
    )


def _some(places: np.ndarray, names: Any) -> list:
    """How many places there are, and what the first one is called."""
    return [len(places), shown_id(names[int(places[0])]) if len(places) else None]


def shown_id(id: Any) -> Any:
    """An id of any kind as JSON has it, short."""
    return id if id is None or isinstance(id, (int, float)) else str(id)[:100]


def _image_rows(found: list, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The ids in ascending order, and the entry of each. The last of several with one id counts, as in pycocotools; entries
    without an id are left out."""
    all_known = None not in found
    entries = np.arange(len(found)) if all_known else np.flatnonzero([image_id is not None for image_id in found])
    if len(found) and not len(entries):
        raise ValueError(f'{name} is not in COCO format: none of its {len(found)} "images" has an "id".')
    try:
        plain = ids_of_one_kind(found if all_known else [found[i] for i in entries], "images")
    except ValueError as error:
        raise ValueError(f"{name}: {error}") from None
    ids, last = np.unique(np.array(plain or [0])[: len(plain)][::-1], return_index=True)
    return ids, entries[len(plain) - 1 - last]


def _check_sizes(sizes: np.ndarray, ids: np.ndarray, name: str) -> None:
    huge = np.flatnonzero(sizes.astype(np.int64).prod(axis=1) > MOST_PIXELS)
    if len(huge):
        height, width = sizes[huge[0]].tolist()
        raise ValueError(
            f"{name}: image {ids[huge[0]]} is said to be {width} x {height} pixels, more than the {MOST_PIXELS} that an image "
            'of a data set may have. Correct its "width" and "height", or cut it into parts (`mrb predict` without --ann-file '
            "reads it as it is)."
        )


def _labels(found: Annotations, entries: list[dict], usable: np.ndarray, name: str) -> np.ndarray:
    """Labels int32 [A]. Raises ValueError for categories that the file does not define."""
    category_ids = sorted({c["id"] for c in entries})
    label_of_id = {matching_id(c): label for label, c in enumerate(category_ids, start=1)}
    labels = numbers_of(found.categories, label_of_id, 0)[as_numpy(found.category, np.int32)]
    if not labels[usable].all():
        place = int(usable[labels[usable].argmin()])
        category = list(found.categories)[found.category[place]]
        raise ValueError(
            f"{name}: annotation {found.ids[place]} has the category id {category!r}, which is not among its categories "
            f"({category_ids})."
        )
    return labels.astype(np.int32)


def defects(boxes: np.ndarray, image: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """What is wrong with each annotation, an index into DEFECTS, or -1: int64 [A].

    Args:
        boxes: float64 [A, 4], x, y, width, height in pixels; NaN for none.
        image: int64 [A], row of its image, -1 for an unknown one.
        sizes: int32 [I, 2], height and width of the images.
    """
    x, y, width, height = boxes.T
    size = np.concatenate((sizes, [[-1, -1]]))[image].astype(np.float64)
    size[size < 0] = np.inf  # an image of unknown size
    outside = (x >= size[:, 1]) | (y >= size[:, 0]) | (x + width <= 0) | (y + height <= 0)
    flat = ~((width > 0) & (height > 0))
    return np.select([image < 0, ~(np.abs(boxes) <= 1e9).all(axis=1), flat, outside], [2, 3, 0, 1], -1)


def _wrong_areas(found: Annotations, boxes: np.ndarray) -> np.ndarray:
    """`area_is_sound` of all annotations at once, the other way round: bool [A]."""
    areas = as_numpy(found.areas, np.float64)
    with np.errstate(over="ignore"):  # of claimed sizes beyond all numbers
        return ~((areas > 0) & (areas <= LARGEST_AREA * (boxes[:, 2] + 1) * (boxes[:, 3] + 1)))


def _masked(found: Annotations, image: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Which annotations have a mask, bool [A]: run lengths of another size than their image's are none."""
    masked = np.frombuffer(bytes(found.masked), np.uint8).astype(bool)
    for place, *size in found.sized:
        expected = sizes[image[place]].tolist() if image[place] >= 0 else [-1, -1]
        if -1 not in expected and [whole(v) for v in size] != expected:
            masked[place] = False
    return masked


def _trainable(
    extent: np.ndarray, points: np.ndarray, visible: np.ndarray, first: np.ndarray, least: int
) -> tuple[np.ndarray, np.ndarray]:
    """`coco.has_valid_annotation` of every image at once: whether it has a large enough box, and enough keypoints, bool [I].

    Args:
        extent: float64 [A, 2], widths and heights in the images' order.
        points, visible: int32 [A], numbers in "keypoints" (-1 without) and visible ones.
        first: int64 [I + 1], the annotations of image i are first[i] to first[i + 1].
        least: keypoints that an image must show where its first object has any.
    """
    large = np.concatenate(([0], np.cumsum(extent.min(axis=1, initial=np.inf) > 1)))[first]
    seen = np.concatenate(([0], np.cumsum(visible, dtype=np.int64)))[first]
    with_points = np.concatenate((points, [-1]))[first[:-1]] >= 0
    return np.diff(large) > 0, ~with_points | (np.diff(seen) >= least)
