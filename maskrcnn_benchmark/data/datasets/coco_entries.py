"""One entry of a COCO file at a time, as tools write them, made what COCO's format says.

A sound entry comes back as the same object. `coco_index` and `coco_tree`, through which every annotation file passes, take
their entries from here, so that training, tests, evaluation and checks see the same.
"""

import math
import os
import urllib.parse
from collections.abc import Hashable, Iterable
from typing import Any

# Where tools put the name of an image's file, in this order.
FILE_KEYS = ("file_name", "filename", "fileName", "coco_url", "flickr_url", "url", "path")
# Coordinates beyond this are none, and would be infinite in float32 after some arithmetic.
LARGEST = 1e9
# An area larger than this many times its box's is none of that object.
LARGEST_AREA = 2.0
# More pixels than Pillow takes for genuine; also what memory is taken for by masks of an image.
MOST_PIXELS = 178_956_970


def number(value: Any) -> float | None:
    """A finite number of any kind, also as text; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    try:
        result = float(value)
    except (ValueError, OverflowError):
        return None
    return result if abs(result) <= LARGEST else None


def whole(value: Any) -> int | None:
    """A whole number of any kind, 640.0 and "640" too; None for anything else."""
    result = number(value)
    return int(result) if result is not None and result == int(result) else None


def is_huge_id(value: Any) -> bool:
    """Whether an id is an integer that 64 bits do not hold."""
    return type(value) is int and not -(2**63) < value < 2**63


def plain_id(value: Any) -> Hashable:
    """An id as an integer or text; None for what is no id."""
    if type(value) is int:
        return str(value) if is_huge_id(value) else value
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value if isinstance(value, str) else None


def matching_id(value: Any) -> Hashable:
    """What ids that mean the same have in common: 7, 7.0 and "7"."""
    if type(value) is int:
        return value
    plain = plain_id(value)
    if isinstance(plain, str) and plain.isascii() and plain.isdigit() and str(int(plain[:19])) == plain:
        return int(plain)
    return plain


def shown_whole(value: int) -> str:
    """An integer; of a very long one its length."""
    return str(value) if abs(value) < 10**40 else f"of {value.bit_length():,} bits"


def ids_of_one_kind(ids: Iterable[Any], what: str) -> list:
    """Plain ids as all integers or all text. Raises ValueError where they are neither or too large; `what` names them."""
    found = list(ids)
    integers = found if set(map(type, found)) <= {int} else [i for i in found if type(i) is int]
    for id in (min(integers, default=0), max(integers, default=0)):
        if is_huge_id(id):
            raise ValueError(
                f"the id {shown_whole(id)} of {what} is larger than an integer of 64 bits. Give smaller ids, or write "
                "all of them as text, also where annotations refer to them."
            )
    if integers is found:
        return found
    found = [plain_id(i) for i in found]
    kinds = {type(i) for i in found}
    if len(kinds) > 1:
        found = [matching_id(i) for i in found]
        kinds = {type(i) for i in found}
    if len(kinds) > 1 or not kinds <= {int, str}:
        names = sorted("none" if k is type(None) else k.__name__ for k in kinds)
        raise ValueError(f"the ids of {what} must be all integers or all strings; there are {names}.")
    return found


def file_name(image: dict) -> str | None:
    """The name of an image's file in the folder of images, from whatever key has it."""
    name = image.get("file_name")
    if type(name) is str and name:
        return name
    for key in FILE_KEYS:
        value = image.get(key)
        if isinstance(value, (int, float)) and not isinstance(value, bool):
            value = str(value)
        if not isinstance(value, str) or not value.strip():
            continue
        if "://" in value:
            value = urllib.parse.unquote(urllib.parse.urlsplit(value).path)
        return value if key == "file_name" else os.path.basename(value.replace("\\", "/"))
    return None


def side(value: Any) -> int:
    """A width or height in pixels; -1 where the entry gives none."""
    if type(value) is int:
        return value if 0 < value <= LARGEST else -1
    result = whole(value)
    return result if result is not None and result > 0 else -1


def image_entry(image: dict) -> dict:
    """An image's entry with "id", "file_name", and "width" and "height" if it gives them."""
    name, sides = file_name(image), {key: side(image.get(key)) for key in ("width", "height")}
    id = plain_id(image.get("id"))
    known = min(sides.values()) > 0
    if (
        name is not None
        and name == image.get("file_name")
        and type(id) is type(image.get("id"))
        and all(type(image.get(key)) is int and image[key] == value for key, value in sides.items())
    ):
        return image
    result = {key: value for key, value in image.items() if key not in sides}
    return {**result, "id": id, "file_name": name, **(sides if known else {})}


def box_of(value: Any) -> list[float] | None:
    """x, y, width, height as numbers, the same object where it is sound; None for anything but four of them."""
    if not isinstance(value, list) or len(value) != 4:
        return None
    x, y, width, height = value
    try:
        if abs(x) <= LARGEST and abs(y) <= LARGEST and abs(width) <= LARGEST and abs(height) <= LARGEST:
            return value
    except TypeError:
        pass
    numbers = [number(v) for v in value]
    return None if None in numbers else numbers  # type: ignore[return-value]


def crowd_of(value: Any) -> int | None:
    """ "iscrowd", 0 or 1; None where it is missing or no such thing."""
    if value is None:
        return None
    if isinstance(value, str):
        value = {"true": 1, "false": 0}.get(value.strip().lower(), value)
    result = number(int(value) if isinstance(value, bool) else value)
    return None if result is None else int(result != 0)


def area_is_sound(area: Any, width: float, height: float) -> bool:
    """Whether "area" can be that of an object in a box of these sides, pixels: its mask may be a little larger than the box."""
    return type(area) in (int, float) and 0 < area <= LARGEST_AREA * (width + 1) * (height + 1)


def annotation_entry(annotation: dict, box: list[float], image_id: Any, category_id: Any) -> dict:
    """An annotation with a sound "bbox", "iscrowd" and these ids. "area", "segmentation" and "keypoints" stay what they are."""
    crowd = annotation.get("iscrowd")
    if (
        (crowd == 0 or crowd == 1)
        and type(crowd) is int
        and annotation["bbox"] is box
        and annotation["image_id"] == image_id
        and annotation["category_id"] == category_id
        and type(annotation["image_id"]) is type(image_id)
        and type(annotation["category_id"]) is type(category_id)
    ):
        return annotation
    crowd = crowd_of(crowd) or 0
    values = {"image_id": image_id, "category_id": category_id, "bbox": box, "iscrowd": crowd}
    changed = {
        key: value
        for key, value in values.items()
        if annotation.get(key) != value or type(annotation.get(key)) is not type(value)
    }
    return {**annotation, **changed} if changed else annotation


def keypoints_of(value: Any, count: int) -> list[float]:
    """x, y and visibility of `count` keypoints; zeros, not labelled, where there are none or one is no number."""
    if not isinstance(value, list) or len(value) != 3 * count:
        return [0] * (3 * count)
    if all(type(v) in (int, float) and math.isfinite(v) for v in value):
        return value
    points: list[float] = []
    for k in range(0, 3 * count, 3):
        point = [number(v) for v in value[k : k + 3]]
        points += [0.0, 0.0, 0.0] if None in point else point  # type: ignore[arg-type]
    return points
