"""What a set of annotations says, whatever form it was read from: COCO's entries, and notes on what did not fit."""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from typing import Any

import numpy as np

from maskrcnn_benchmark.data.datasets.images import BrokenImageError, image_size, read_header

SPLITS = ("train", "val", "valid", "test")  # what the parts of a set are called
MAX_SIZE = 200_000  # pixels along a side of an image
MOST_PLACES = 5  # that are kept of a kind of note


@dataclasses.dataclass
class Notes:
    """What was changed or left out: how often, and the first places of each kind."""

    counts: Counter[str] = dataclasses.field(default_factory=Counter)
    places: dict[str, list[str]] = dataclasses.field(default_factory=dict)

    def add(self, what: str, where: str, count: int = 1) -> None:
        if count:
            self.counts[what] += count
            places = self.places.setdefault(what, [])
            if len(places) < MOST_PLACES:
                places.append(where)

    def merge(self, other: Notes) -> None:
        for what, count in other.counts.items():
            first, *others = other.places[what]
            self.add(what, first, count)
            self.places[what] += others[: MOST_PLACES - len(self.places[what])]

    def sentences(self) -> list[str]:
        return [f"{what}: {count}, first {self.places[what][0]}" for what, count in self.counts.items()]


SLACK = 1.0  # pixels by which a box may leave its image without a word: annotations are rounded
SWAPPED = "boxes whose corners are swapped, taken in order"
REFUSED = "training and tests refuse them"
BROKEN = "image files that cannot be read, left out"
UNREAD = "image files of kinds that are not read; convert them to JPEG or PNG"
_refused: ContextVar[Notes | None] = ContextVar("_refused", default=None)


@contextlib.contextmanager
def collect_refused() -> Iterator[Notes]:
    """Read on in this block where a single image or label cannot be used; what was wrong is in the notes that it gives."""
    notes = Notes()
    token = _refused.set(notes)
    try:
        yield notes
    finally:
        _refused.reset(token)


@contextlib.contextmanager
def single(notes_of_set: Notes | None = None) -> Iterator[None]:
    """A block that reads a single image, file or label: a ValueError or OSError ends it alone within `collect_refused`, and an
    image file that cannot be read where there are `notes_of_set`."""
    try:
        yield
    except (ValueError, OSError) as error:
        notes = _refused.get()
        if notes is None and notes_of_set is not None and isinstance(error, BrokenImageError):
            notes_of_set.add(BROKEN, str(error))
            return
        if notes is None:
            raise
        kind = "files that cannot be read" if isinstance(error, OSError) else "labels that cannot be used"
        notes.add(BROKEN if isinstance(error, BrokenImageError) else f"{kind}; {REFUSED}", str(error))


def chosen_split(path: object, there: Sequence[str], split: str) -> str:
    """The split of a set to read: `split`, or the only one. Raises ValueError with those that are there."""
    chosen = split or (there[0] if len(there) == 1 else "")
    if chosen not in there:
        has = f"no split {chosen!r}" if chosen else "several splits"
        raise ValueError(f"{path} has {has}; it has {', '.join(there) or 'none'}: name one of them (SPLIT or --split).")
    return chosen


@dataclasses.dataclass
class Originals:
    """What a file in COCO's format has that other forms cannot hold, for writing it in this format again.

    Attributes:
        images, categories, annotations: ids in the file by those of the content.
        fields: further values of the entry of each image, by its id in the content.
        others: further entries of the file, such as "info" and "licenses".
    """

    images: dict[int, Any] = dataclasses.field(default_factory=dict)
    categories: dict[int, Any] = dataclasses.field(default_factory=dict)
    annotations: dict[int, Any] = dataclasses.field(default_factory=dict)
    fields: dict[int, dict] = dataclasses.field(default_factory=dict)
    others: dict[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass
class Content:
    """Images, categories and annotations with the keys of COCO's format.

    Attributes:
        root: folder that the images' "file_name" is relative to.
        images: "id" (from 1), "file_name", "width", "height" in pixels.
        categories: "id" (from 1), "name"; of a set with keypoints "keypoints" (names), "skeleton" and, where that is told,
            "flip_idx": what each turns into in a mirror, from 0.
        annotations: "id", "image_id", "category_id", "bbox" (x, y, width, height in pixels from the image's corner), "area",
            "iscrowd", and where there are any "segmentation" and "keypoints".
        missing: images that were left out because there is no such file.
        originals: of a set in COCO's format, what its file calls all this.
        annotated: False for a file in COCO's format without a list of annotations, as those of COCO's own test sets.
        unwritten: objects that the form written last has no place for.
    """

    root: str
    images: list[dict] = dataclasses.field(default_factory=list)
    categories: list[dict] = dataclasses.field(default_factory=list)
    annotations: list[dict] = dataclasses.field(default_factory=list)
    notes: Notes = dataclasses.field(default_factory=Notes)
    missing: list[str] = dataclasses.field(default_factory=list)
    originals: Originals | None = None
    annotated: bool = True
    unwritten: int = 0

    def name_classes(self, names: Sequence[str]) -> None:
        """Make the categories, in this order."""
        self.categories = [{"id": i, "name": name} for i, name in enumerate(names, start=1)]

    def category(self, name: str) -> int:
        """The id of a class, which is new if no other has this name."""
        for category in self.categories:
            if category["name"] == name:
                return category["id"]
        self.categories.append({"id": len(self.categories) + 1, "name": name})
        return len(self.categories)

    def add_image(self, file_name: str, size: tuple[int, int] | None = None) -> dict:
        """The entry of a new image; its (width, height) is read from the file's header where none is given.

        Raises BrokenImageError, a kind of OSError.
        """
        width, height = size or image_size(os.path.join(self.root, file_name))
        entry = {"id": len(self.images) + 1, "file_name": file_name, "width": width, "height": height}
        self.images.append(entry)
        return entry

    def add_missing(self, name: str, what: str, where: str) -> None:
        """Leave an image out that is not there, with a note."""
        self.missing.append(name)
        self.notes.add(what, where)

    def check_images(self, path: str) -> None:
        """Raise FileNotFoundError where no image of the annotations `path` is there, or none can be read."""
        if not self.images and self.notes.counts[BROKEN]:
            raise FileNotFoundError(f"{path}: none of its images can be read. {self.notes.places[BROKEN][0]}")
        names = [image["file_name"] for image in self.images] or self.missing
        if names and not any(os.path.isfile(os.path.join(self.root, name)) for name in names):
            todo = "Name the folder of the images: --img-dir, or IMG_DIR in DATASETS.DEFINITIONS."
            if unread := self.notes.places.get(UNREAD):
                todo = f"{unread[0]} is of a kind that is not read: convert such images to JPEG or PNG."
            raise FileNotFoundError(f"{path}: none of its images is in {self.root}; the first is {names[0]}. {todo}")

    def add_annotated(self, file_name: str, sides: Sequence[Any], where: str) -> dict:
        """The entry of a new image whose annotations say (width, height), as numbers or text; what is none is not said.

        A size that is the image's before its EXIF entry turns it stays: the annotations were made on those pixels.

        Raises BrokenImageError; ValueError for another size than the image's.
        """
        header = read_header(os.path.join(self.root, file_name))
        try:
            width, height = (int(float(side)) for side in sides)
        except (TypeError, ValueError, OverflowError):
            width = height = 0
        if width < 1 or height < 1:
            return self.add_image(file_name, header.seen)
        if (width, height) not in (header.seen, header.stored):
            raise ValueError(
                f"{where}: the image {file_name} is {header.seen[0]} x {header.seen[1]} pixels (width x height), but its "
                f"annotations are of {width} x {height}. Correct the size, or bring the image that was annotated."
            )
        return self.add_image(file_name, (width, height))

    def add(self, image: dict, category_id: int, box: Sequence[float], **fields: Any) -> None:
        """Add an object: its box is x, y, width, height."""
        entry = {"id": len(self.annotations) + 1, "image_id": image["id"], "category_id": category_id}
        entry["bbox"] = [round(float(v), 4) for v in box]
        entry["iscrowd"] = int(fields.pop("iscrowd", 0))
        area = fields.pop("area", None)
        if area is None:
            outlines = fields.get("segmentation")
            polygons = outlines if isinstance(outlines, list) else []
            area = sum(map(polygon_area, polygons)) if polygons else box[2] * box[3]
        entry["area"] = round(float(area), 4)
        self.annotations.append({**entry, **{key: value for key, value in fields.items() if value is not None}})

    def leave_out(self, what: str, where: str) -> None:
        """Note and count an object that is not written."""
        self.notes.add(what, where)
        self.unwritten += 1

    def cut_box(self, image: dict, annotation: dict) -> list[float] | None:
        """The box of an annotation `inside` its image, to be written; noted where it leaves the image by more than a pixel, and
        None where nothing of it is inside."""
        before, where = annotation["bbox"], f"annotation {annotation['id']}"
        x, y, width, height = box = inside(before, image)
        if width <= 0 or height <= 0:
            self.leave_out("objects without width or height inside the image, left out", where)
            return None
        gone = max(x - before[0], y - before[1], before[0] + before[2] - x - width, before[1] + before[3] - y - height)
        self.notes.add("boxes that leave the image, cut at its border", where, gone > SLACK)
        return box

    def by_image(self) -> dict[Any, list[dict]]:
        """The annotations of each image, by its id."""
        found: dict[Any, list[dict]] = {image["id"]: [] for image in self.images}
        for annotation in self.annotations:
            found.setdefault(annotation["image_id"], []).append(annotation)
        return found

    def names(self) -> dict[int, str]:
        """The name of each category by its id."""
        return {category["id"]: category["name"] for category in self.categories}

    def as_coco(self) -> dict:
        """The content of a file in COCO's format."""
        content = {"info": {}, "images": self.images, "categories": self.categories}
        return {**content, "annotations": self.annotations} if self.annotated else content


def inside(box: Sequence[float], image: dict) -> list[float]:
    """A box x, y, width, height cut at the border of its image; one that is inside stays to the last digit.

    Readers of every form take the image's right edge for its width, while a detection's far corner is a pixel inside the box
    (width = x2 - x1 + 1, as in maskrcnn-benchmark): of an image that the network saw enlarged, that pixel can end up to one
    beyond the border. The detections of predictions.json and bbox.json stay as they are, which metrics are measured on.
    """
    x, y, width, height = box
    (left, width), (top, height) = (
        _within(*side) for side in ((x, width, image["width"]), (y, height, image["height"]))
    )
    return [left, top, width, height]


def _within(start: float, extent: float, border: float) -> tuple[float, float]:
    if start >= 0 and start + extent <= border:
        return start, extent
    low, high = max(start, 0.0), min(start + extent, border)
    return low, high - low


def box_of_polygons(polygons: Sequence[Sequence[float]]) -> tuple[float, float, float, float]:
    """x, y, width, height of lists x1, y1, x2, y2, ..."""
    points = np.concatenate([np.asarray(p, np.float64).reshape(-1, 2) for p in polygons])
    (left, top), (right, bottom) = points.min(axis=0), points.max(axis=0)
    return float(left), float(top), float(right - left), float(bottom - top)


def polygon_area(polygon: Sequence[float]) -> float:
    """Square pixels inside x1, y1, x2, y2, ... (the shoelace formula)."""
    x, y = np.asarray(polygon, np.float64).reshape(-1, 2).T
    return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)


def clip_polygon(polygon: Sequence[float], width: float, height: float) -> list[float]:
    """The corners moved into the image."""
    points = np.asarray(polygon, np.float64).reshape(-1, 2).clip(0, (width, height))
    return [round(float(v), 4) for v in points.flatten()]
