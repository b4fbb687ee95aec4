"""Where each image and each object stands in a COCO annotation file.

A tree of Python objects takes 3 GB for COCO train2017, and every worker process ends up with its own copy: touching an object
writes its reference count, which unshares its page. So the file itself stays the store: all processes of a node read an
image's entries from it when they are needed, through the system's page cache, and hold only this index of byte offsets in
numpy arrays, whose pages workers share.
"""

import dataclasses
import json
import re
from array import array
from collections.abc import Callable
from typing import Any

import numpy as np

# An image whose people show fewer visible keypoints together is no use for training keypoints.
MIN_KEYPOINTS_PER_IMAGE = 10
DEFECTS = ("zero or negative size", "outside the image", "unknown image")

_SPACE = re.compile(r"[ \t\n\r]*")
_decode = json.JSONDecoder().raw_decode


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
        dropped: int64 [D, 2], the other annotations: place in the file's list, and index into DEFECTS.
        meta: "categories" (the file's entries), "has_annotations", "has_masks", "num_keypoints", and "dropped_ids": for each
            of DEFECTS the id of the first annotation dropped for it, None where there is none.
    """

    image_ids: np.ndarray
    image_sizes: np.ndarray
    image_spans: np.ndarray
    spans: np.ndarray
    first: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray
    trainable: np.ndarray
    dropped: np.ndarray
    meta: dict[str, Any]

    def row(self, image_id: Any) -> int | None:
        """The image's place in the arrays, None for an id that there is not."""
        try:
            row = int(np.searchsorted(self.image_ids, image_id))
        except TypeError:
            return None
        return row if row < len(self.image_ids) and self.image_ids[row] == image_id else None


def _skip_space(text: str, at: int) -> int:
    return _SPACE.match(text, at).end()  # type: ignore[union-attr]


def _walk(text: str, at: int, close: str, take: Callable[[int], int]) -> int:
    """Members of a list or an object that begins before `at`: `take` gets each one's place and gives its end."""
    at = _skip_space(text, at)
    if text[at : at + 1] == close:
        return at + 1
    while True:
        at = _skip_space(text, take(at))
        mark = text[at : at + 1]
        at += 1
        if mark == close:
            return at
        if mark != ",":
            raise json.JSONDecodeError("Expecting ',' delimiter", text, at - 1)
        at = _skip_space(text, at)


class _Entries:
    """The entries of one of the file's lists: where they stand, and what `read` takes from them."""

    def __init__(self, read: Callable[[Any], None]):
        self.read = read
        self.spans = array("q")

    def take_all(self, text: str, at: int) -> int:
        read, note = self.read, self.spans.append

        def take(start: int) -> int:
            entry, end = _decode(text, start)
            read(entry)
            note(start)
            note(end)
            return end

        return _walk(text, at, "]", take)

    def numpy(self) -> np.ndarray:
        return _numpy(self.spans, np.int64).reshape(-1, 2)


def _numpy(values: array, dtype: Any) -> np.ndarray:
    return np.frombuffer(values, dtype) if values else np.zeros(0, dtype)


class _Images(_Entries):
    def __init__(self):
        super().__init__(self._image)
        self.ids: list = []
        self.sizes = array("i")

    def _image(self, image: dict) -> None:
        self.ids.append(image["id"])
        self.sizes.extend((image.get("height", -1), image.get("width", -1)))


class _Annotations(_Entries):
    def __init__(self):
        super().__init__(self._annotation)
        self.images: dict[Any, int] = {}  # image id -> number, in the order of appearance
        self.categories: dict[Any, int] = {}
        self.image, self.category, self.boxes = array("q"), array("i"), array("d")
        self.crowd, self.masked = bytearray(), bytearray()
        self.points = array("i")  # numbers in "keypoints", -1 without
        self.visible = array("i")
        self.ids: list = []

    def _annotation(self, ann: dict) -> None:
        x, y, width, height = ann["bbox"]
        self.boxes.extend((x, y, width, height))
        self.ids.append(ann.get("id"))
        self.image.append(self.images.setdefault(ann["image_id"], len(self.images)))
        self.category.append(self.categories.setdefault(ann.get("category_id"), len(self.categories)))
        self.crowd.append(1 if ann.get("iscrowd", 0) else 0)
        self.masked.append(1 if ann.get("segmentation") else 0)
        points = ann.get("keypoints")
        self.points.append(-1 if points is None else len(points))
        self.visible.append(0 if points is None else sum(v > 0 for v in points[2::3]))


def scan(content: bytes, name: str) -> CocoIndex:
    """Index the content of an annotation file called `name`. Raises ValueError with a sentence that begins with the name."""
    try:
        text = content.decode("utf-8")
        images, annotations, others = _scan_text(text, name)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{name} is not a JSON file: {error}") from None
    missing = [key for key, found in (("images", images), ("categories", others.get("categories"))) if found is None]
    if images is None or missing:
        raise ValueError(f"{name} is not in COCO format: it has no {' and no '.join(missing)}.")
    place = _BytePlaces(content, text)
    del text
    return _index(images, annotations, others["categories"], place, name)


def _scan_text(text: str, name: str) -> tuple[_Images | None, _Annotations | None, dict]:
    lists: dict[str, Any] = {}
    others: dict[str, Any] = {}

    def take(at: int) -> int:
        key, at = _decode(text, at)
        at = _skip_space(text, at)
        if not isinstance(key, str) or text[at : at + 1] != ":":
            raise json.JSONDecodeError("Expecting a name and ':'", text, at)
        at = _skip_space(text, at + 1)
        if key not in ("images", "annotations"):
            others[key], at = _decode(text, at)
            return at
        if text[at : at + 1] != "[":
            raise ValueError(f'{name} is not in COCO format: its "{key}" is no list.')
        lists[key] = entries = _Images() if key == "images" else _Annotations()
        try:
            return entries.take_all(text, at + 1)
        except json.JSONDecodeError:
            raise
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ValueError(
                f'{name} is not in COCO format: entry {len(entries.spans) // 2} of "{key}" cannot be used ({error!r}).'
            ) from None

    at = _skip_space(text, 0)
    if text[at : at + 1] == "{":
        at = _walk(text, at + 1, "}", take)
    else:
        at = _decode(text, at)[1]
    if _skip_space(text, at) != len(text):
        raise json.JSONDecodeError("Extra data", text, at)
    return lists.get("images"), lists.get("annotations"), others


class _BytePlaces:
    """Places in a text -> places in its UTF-8 bytes."""

    def __init__(self, content: bytes, text: str):
        self.before: np.ndarray | None = None
        if len(content) != len(text):
            # Byte k of those that continue a character stands behind as many characters as bytes that do not.
            continuing = np.flatnonzero((np.frombuffer(content, np.uint8) & 0xC0) == 0x80)
            self.before = continuing - np.arange(len(continuing))

    def __call__(self, places: np.ndarray) -> np.ndarray:
        return places if self.before is None else places + np.searchsorted(self.before, places, side="right")


def _index(
    images: _Images, annotations: _Annotations | None, categories: list, place: _BytePlaces, name: str
) -> CocoIndex:
    ids, rows = _image_rows(images.ids, name)
    sizes = _numpy(images.sizes, np.int32).reshape(-1, 2)[rows]
    found = _Annotations() if annotations is None else annotations
    labels = _labels(found, categories, name)
    num_keypoints = _count_keypoints(found, name)

    row_of_id = {image_id: row for row, image_id in enumerate(ids.tolist())}
    image = _look_up([row_of_id.get(i, -1) for i in found.images], _numpy(found.image, np.int64))
    boxes = _numpy(found.boxes, np.float64).reshape(-1, 4)
    defect = _defects(boxes, image, sizes)
    dropped, usable = np.flatnonzero(defect >= 0), np.flatnonzero(defect < 0)
    order = usable[np.argsort(image[usable], kind="stable")]
    first = np.searchsorted(image[order], np.arange(len(ids) + 1))
    crowd, masked = (np.frombuffer(bytes(v), np.uint8).astype(bool) for v in (found.crowd, found.masked))
    points, visible = _numpy(found.points, np.int32)[order], _numpy(found.visible, np.int32)[order]
    first_dropped = (np.flatnonzero(defect == d)[:1] for d in range(len(DEFECTS)))
    return CocoIndex(
        image_ids=ids,
        image_sizes=sizes,
        image_spans=place(images.numpy()[rows]),
        spans=place(found.numpy()[order]),
        first=first,
        labels=labels[order],
        crowd=crowd[order],
        trainable=_trainable(boxes[order, 2:], points, visible, first),
        dropped=np.stack((dropped, defect[dropped]), axis=1),
        meta={
            "categories": categories,
            "has_annotations": annotations is not None,
            "has_masks": bool(masked[~crowd].all()),
            "num_keypoints": num_keypoints,
            "dropped_ids": [found.ids[d[0]] if len(d) else None for d in first_dropped],
        },
    )


def _look_up(table: list[int], codes: np.ndarray) -> np.ndarray:
    """table[codes], for an empty table too."""
    return np.array(table or [0], np.int64)[codes]


def _image_rows(found: list, name: str) -> tuple[np.ndarray, np.ndarray]:
    """The ids in ascending order, and the entry of each. The last of several with one id counts, as in pycocotools."""
    kinds = {type(i) for i in found}
    if len(kinds) > 1 or not kinds <= {int, str}:
        raise ValueError(
            f"{name}: the ids of images must be all integers or all strings; there are {sorted(k.__name__ for k in kinds)}."
        )
    ids, last = np.unique(np.array(found or [0])[: len(found)][::-1], return_index=True)
    return ids, len(found) - 1 - last


def _labels(found: _Annotations, categories: list, name: str) -> np.ndarray:
    """Labels int32 [A]. Raises ValueError for categories that the file does not define."""
    try:
        category_ids = sorted({c["id"] for c in categories if c["name"] is not None})
    except (KeyError, TypeError):
        raise ValueError(
            f'{name} is not in COCO format: every entry of "categories" must have an "id" and a "name".'
        ) from None
    label_of_id = {c: label for label, c in enumerate(category_ids, start=1)}
    labels = _look_up([label_of_id.get(c, 0) for c in found.categories], _numpy(found.category, np.int32))
    if not labels.all():
        place = int(labels.argmin())
        category = list(found.categories)[found.category[place]]
        raise ValueError(
            f"{name}: annotation {found.ids[place]} has the category id {category!r}, which is not among its categories "
            f"({category_ids})."
        )
    return labels.astype(np.int32)


def _count_keypoints(found: _Annotations, name: str) -> int:
    """Keypoints of an object; 0 in a file without any."""
    counts = set(found.points) - {-1}
    if len(counts) > 1 or any(count % 3 for count in counts):
        raise ValueError(
            f"{name}: every `keypoints` entry must hold x, y and visibility of the same keypoints; there are "
            f"entries of {sorted(counts)} numbers."
        )
    return counts.pop() // 3 if counts else 0


def _defects(boxes: np.ndarray, image: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """What is wrong with each annotation, an index into DEFECTS, or -1: int64 [A].

    Args:
        boxes: float64 [A, 4], x, y, width, height in pixels.
        image: int64 [A], row of its image, -1 for an unknown one.
        sizes: int32 [I, 2], height and width of the images.
    """
    x, y, width, height = boxes.T
    size = np.concatenate((sizes, [[-1, -1]]))[image].astype(np.float64)
    size[size < 0] = np.inf  # an image of unknown size
    outside = (x >= size[:, 1]) | (y >= size[:, 0]) | (x + width <= 0) | (y + height <= 0)
    flat = ~((width > 0) & (height > 0))
    return np.select([image < 0, flat, outside], [2, 0, 1], -1)


def _trainable(extent: np.ndarray, points: np.ndarray, visible: np.ndarray, first: np.ndarray) -> np.ndarray:
    """`coco.has_valid_annotation` of every image at once: bool [I].

    Args:
        extent: float64 [A, 2], widths and heights in the images' order.
        points, visible: int32 [A], numbers in "keypoints" (-1 without) and visible ones.
        first: int64 [I + 1], the annotations of image i are first[i] to first[i + 1].
    """
    large = np.concatenate(([0], np.cumsum(extent.min(axis=1, initial=np.inf) > 1)))[first]
    seen = np.concatenate(([0], np.cumsum(visible, dtype=np.int64)))[first]
    with_points = np.concatenate((points, [-1]))[first[:-1]] >= 0
    return (np.diff(large) > 0) & (~with_points | (np.diff(seen) >= MIN_KEYPOINTS_PER_IMAGE))
