"""Reads a COCO annotation file's text entry by entry: where each stands, and what the index needs of it."""

import json
import os
import re
from array import array
from collections.abc import Callable
from typing import Any

import numpy as np

from maskrcnn_benchmark.data.datasets.coco_entries import box_of, crowd_of, matching_id, number, plain_id, side
from maskrcnn_benchmark.data.datasets.coco_masks import looks_like_mask, usable_mask
from maskrcnn_benchmark.utils.progress_bar import following

_SPACE = re.compile(r"[ \t\n\r]*")
_BLANKS = frozenset(" \t\n\r")
_decode = json.JSONDecoder().raw_decode
_scan_once: Any = json.JSONDecoder().scan_once  # type: ignore[attr-defined]  # what the former calls
_BOMS = {"utf-8": b"\xef\xbb\xbf", "utf-16-le": b"\xff\xfe", "utf-16-be": b"\xfe\xff"}
_BOMS |= {"utf-32-le": b"\xff\xfe\x00\x00", "utf-32-be": b"\x00\x00\xfe\xff"}


def decode_text(content: bytes) -> tuple[str, str, int]:
    """The text of a JSON file in any encoding of Unicode, that encoding, and the bytes of its mark. Raises UnicodeDecodeError."""
    encoding: str = json.detect_encoding(content)
    if encoding in ("utf-16", "utf-32"):  # told by a mark
        encoding += "-le" if content[:2] == b"\xff\xfe" else "-be"
    encoding = "utf-8" if encoding == "utf-8-sig" else encoding
    mark = _BOMS[encoding] if content.startswith(_BOMS[encoding]) else b""
    return str(memoryview(content)[len(mark) :], encoding), encoding, len(mark)


class BytePlaces:
    """Places in a text -> places in its bytes, as `decode_text` tells about them."""

    def __init__(self, content: bytes, text: str, encoding: str, mark: int):
        self.mark, self.unit = mark, {"utf-16": 2, "utf-32": 4}.get(encoding[:6], 1)
        self.before: np.ndarray | None = None
        if len(content) == mark + self.unit * len(text):
            return
        if self.unit == 1:
            # Byte k of those that continue a character stands behind as many characters as bytes that do not.
            continuing = np.flatnonzero((np.frombuffer(content, np.uint8)[mark:] & 0xC0) == 0x80)
        else:
            units = np.frombuffer(content, "<u2" if encoding.endswith("le") else ">u2")[mark // 2 :]
            continuing = np.flatnonzero((units & 0xFC00) == 0xDC00)
        self.before = continuing - np.arange(len(continuing))

    def __call__(self, places: np.ndarray) -> np.ndarray:
        if self.before is not None:
            places = places + np.searchsorted(self.before, places, side="right")
        return places * self.unit + self.mark if self.unit > 1 or self.mark else places


def _skip_space(text: str, at: int) -> int:
    if text[at : at + 1] == " ":  # one, as json.dump writes it
        at += 1
    if text[at : at + 1] not in _BLANKS:
        return at
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
            try:
                entry, end = _scan_once(text, start)
            except StopIteration as stop:
                raise json.JSONDecodeError("Expecting value", text, stop.value) from None
            read(entry)
            note(start)
            note(end)
            return end

        return _walk(text, at, "]", take)

    def numpy(self) -> np.ndarray:
        return as_numpy(self.spans, np.int64).reshape(-1, 2)


def as_numpy(values: array, dtype: Any) -> np.ndarray:
    return np.frombuffer(values, dtype) if values else np.zeros(0, dtype)


class Images(_Entries):
    """ids: plain ones, None for an entry without. sizes: height and width of each, -1 where the entry does not say."""

    def __init__(self):
        super().__init__(self._image)
        self.ids: list = []
        self.sizes = array("i")

    def _image(self, image: Any) -> None:
        if not isinstance(image, dict):
            image = {}
        id, height, width = image.get("id"), image.get("height"), image.get("width")
        if type(height) is not int or type(width) is not int or not (0 < height < 2**30 and 0 < width < 2**30):
            height, width = side(height), side(width)
        self.ids.append(id if type(id) is int else plain_id(id))
        self.sizes.extend((height, width) if height > 0 and width > 0 else (-1, -1))


class Annotations(_Entries):
    """What the index needs of the file's annotations, in the file's order.

    Attributes:
        images, categories: id -> its number, in the order of appearance; image, category: that number of each annotation.
        boxes: x, y, width, height of each, NaN for one without such numbers. areas: NaN where there is none.
        crowd: 1 for crowds. masked: whether it has a mask, as far as that can be seen without its image.
        points: numbers in "keypoints", -1 without; visible: of them visible ones.
        ids: as they are. no_crowd: those without a sound "iscrowd". sized: (annotation, height, width) of run lengths.
    """

    def __init__(self):
        super().__init__(self._annotation)
        self.images: dict[Any, int] = {}
        self.categories: dict[Any, int] = {}
        self.image, self.category = array("q"), array("i")
        self.boxes, self.areas = array("d"), array("d")
        self.crowd, self.masked = bytearray(), bytearray()
        self.points, self.visible = array("i"), array("i")
        self.ids: list = []
        self.no_crowd: list[int] = []
        self.sized: list[tuple[int, Any, Any]] = []

    def _annotation(self, ann: Any) -> None:
        place = len(self.ids)
        try:  # a sound one, which most are: this is what the time of reading a file goes to
            self.boxes.extend(ann["bbox"])
            self.areas.append(ann["area"])
            crowd = ann["iscrowd"]
            self.image.append(self.images.setdefault(ann["image_id"], len(self.images)))
            self.category.append(self.categories.setdefault(ann["category_id"], len(self.categories)))
            if len(self.boxes) != 4 * place + 4 or crowd != 0 and crowd != 1:
                raise ValueError
        except (KeyError, TypeError, ValueError, OverflowError):
            ann = ann if isinstance(ann, dict) else {}
            crowd = self._odd(ann, place)
        self.crowd.append(1 if crowd else 0)
        segmentation = ann.get("segmentation")
        if looks_like_mask(segmentation):
            self.masked.append(1)
        else:
            self.masked.append(self._has_mask(segmentation, self.boxes[4 * place :].tolist()))
        points = ann.get("keypoints")
        if points is None:
            self.points.append(-1)
            self.visible.append(0)
        else:
            self._keypoints(points)
        self.ids.append(ann.get("id"))

    def _odd(self, ann: dict, place: int) -> int | None:
        """Note what can be made of an annotation that is not sound, in place of what was noted of it; whether it is a crowd."""
        del self.boxes[4 * place :], self.areas[place:], self.image[place:], self.category[place:]
        self.boxes.extend(box_of(ann.get("bbox")) or [np.nan] * 4)
        area, crowd = number(ann.get("area")), crowd_of(ann.get("iscrowd"))
        self.areas.append(np.nan if area is None else area)
        if crowd is None:
            self.no_crowd.append(place)
        self.image.append(self.images.setdefault(plain_id(ann.get("image_id")), len(self.images)))
        self.category.append(self.categories.setdefault(plain_id(ann.get("category_id")), len(self.categories)))
        return crowd

    def _has_mask(self, segmentation: Any, box: list[float]) -> bool:
        parts = segmentation if isinstance(segmentation, list) else [segmentation]
        sizes = [part.get("size") for part in parts if isinstance(part, dict) and part.get("counts")]
        if not sizes:
            return usable_mask(segmentation, box, 0, 0) is not None
        if not isinstance(sizes[0], list) or len(sizes[0]) != 2:
            return False
        self.sized.append((len(self.ids), *sizes[0]))
        return True

    def _keypoints(self, points: Any) -> None:
        if not points or not isinstance(points, list):
            self.points.append(-1)
            self.visible.append(0)
            return
        self.points.append(len(points))
        try:
            self.visible.append(sum(v > 0 for v in points[2::3]))
        except TypeError:
            self.visible.append(sum((number(v) or 0) > 0 for v in points[2::3]))


def scan_text(text: str, name: str) -> tuple[Images | None, Annotations | None, dict]:
    """What the file's lists hold, and its other members. Raises JSONDecodeError or ValueError."""
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
            value, at = _decode(text, at)
            if value is None:
                return at
            raise ValueError(f'{name} is not in COCO format: its "{key}" is no list.')
        lists[key] = entries = Images() if key == "images" else Annotations()
        with following(
            lambda: entries.spans[-1] if entries.spans else at, len(text), f"reading {os.path.basename(name)}"
        ):
            return entries.take_all(text, at + 1)

    at = _skip_space(text, 0)
    at = _walk(text, at + 1, "}", take) if text[at : at + 1] == "{" else _decode(text, at)[1]
    if _skip_space(text, at) != len(text):
        raise json.JSONDecodeError("Extra data", text, at)
    return lists.get("images"), lists.get("annotations"), others


def numbers_of(ids: dict[Any, int], known: dict[Any, int], missing: int) -> np.ndarray:
    """For each id in the order of its number what `known` has for one that means the same, else `missing`: int64 [len(ids)]."""
    return np.array([known.get(i if type(i) is int else matching_id(i), missing) for i in ids] or [missing], np.int64)
