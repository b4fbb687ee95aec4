"""Ranges of objects' areas for which COCO's metrics are measured too: TEST.COCO_AREAS."""

import math
import re
from collections.abc import Mapping
from typing import Any

Areas = tuple[tuple[str, float, float], ...]  # name, lowest and highest area in square pixels

NO_LIMIT = 1e5**2  # what COCO takes for the largest area

_COCO: Areas = (("s", 0, 32**2), ("m", 32**2, 96**2), ("l", 96**2, NO_LIMIT))
# As the evaluations of these benchmarks have them. AI-TOD's objects are of 2 to 64 pixels along a side.
PRESETS: dict[str, Areas] = {
    "coco": _COCO,
    "ai-tod": (("vt", 0, 8**2), ("t", 8**2, 16**2), ("s", 16**2, 32**2), ("m", 32**2, NO_LIMIT)),
    "visdrone": _COCO,
}
# Detections of an image that these benchmarks count, where COCO counts 100.
PRESET_DETECTIONS = {"ai-tod": 1500, "visdrone": 500}

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]*")
WORDS = (
    f"one of {', '.join(map(repr, PRESETS))}, or names with the lowest and the highest area in square pixels, like "
    "{tiny: [0, 256], small: [256, 1024]}"
)


def as_areas(value: Any) -> Any:
    """What a file or command line gives as the tuple that a configuration holds: ("coco",) for a preset, otherwise (name, lowest,
    highest) of each range. What is none of these stays as it is, for `is_areas`."""
    if isinstance(value, str):
        return (value,)
    if isinstance(value, Mapping):
        value = [
            (name, *limits) if isinstance(limits, (list, tuple)) else (name, limits) for name, limits in value.items()
        ]
    return tuple(map(_entry, value)) if isinstance(value, (list, tuple)) else value


def _entry(entry: Any) -> Any:
    if not isinstance(entry, (list, tuple)):
        return entry
    name, *limits = entry or ("",)
    return (name, *map(_number, limits))


def _number(limit: Any) -> Any:
    """YAML reads 1e5 as text."""
    try:
        number = float(limit)
    except (TypeError, ValueError, OverflowError):
        return limit
    return limit if isinstance(limit, (int, float)) and abs(number) < NO_LIMIT else min(number, NO_LIMIT)


def is_areas(value: Any) -> bool:
    """Whether a configuration's value is a preset or ranges that can be used."""
    if not isinstance(value, (list, tuple)) or not value:
        return False
    if len(value) == 1 and isinstance(value[0], str):
        return value[0] in PRESETS
    return all(map(_is_range, value)) and len({entry[0] for entry in value}) == len(value)


def _is_range(entry: Any) -> bool:
    if not isinstance(entry, (list, tuple)) or len(entry) != 3:
        return False
    name, *limits = entry
    numbers = all(isinstance(v, (int, float)) and not isinstance(v, bool) and math.isfinite(v) for v in limits)
    return isinstance(name, str) and NAME.fullmatch(name) is not None and numbers and 0 <= limits[0] < limits[1]


def ranges(value: Any) -> Areas:
    """The ranges that a configuration's value stands for."""
    if not is_areas(value):
        raise ValueError(f"TEST.COCO_AREAS is {value!r}; it must be {WORDS}.")
    return PRESETS[value[0]] if isinstance(value[0], str) else tuple(tuple(entry) for entry in value)


def counted_detections(value: Any, detections: int) -> int:
    """Detections of an image that are counted: as many as TEST.COCO_MAX_DETECTIONS says, at least those of the preset."""
    name = value[0] if len(value) == 1 and isinstance(value[0], str) else ""
    return max(detections, PRESET_DETECTIONS.get(name, 0))
