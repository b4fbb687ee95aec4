"""What the categories of a COCO file say about keypoints: names, sides, skeleton."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

from maskrcnn_benchmark.structures.keypoint import PersonKeypoints

# An image whose people show fewer visible keypoints together is no use for training COCO's keypoints of a person. Objects of
# other kinds may have fewer at all.
MIN_KEYPOINTS_PER_IMAGE = 10
_SIDES = (("left", "right"), ("Left", "Right"), ("LEFT", "RIGHT"))
# "l_eye", "eye-L", "L eye": a letter alone; "leye", "LEye": in front of a name that the other side has too.
_LETTER = re.compile(r"(?:^|(?<=[^A-Za-z]))([lLrR])(?=$|[^A-Za-z])")
_OTHER = {"l": "r", "r": "l", "L": "R", "R": "L"}


def expected_keypoints(entries: list[dict], lengths: Iterable[int]) -> int:
    """Keypoints of an object; 0 where there are none or nobody can tell.

    Some objects of a file may have another number by mistake: that of the names in "keypoints" of the categories counts where any
    object has it, else what most have.

    Args:
        entries: the categories.
        lengths: of the objects' "keypoints", three numbers each.
    """
    counts = Counter(length // 3 for length in lengths if length > 0 and length % 3 == 0)
    named = {len(entry["keypoints"]) for entry in entries if isinstance(entry.get("keypoints"), list)} & set(counts)
    if len(named) == 1:
        return named.pop()
    most = max(counts.values(), default=0)
    found = [count for count, objects in counts.items() if objects == most]
    return found[0] if len(found) == 1 else 0


def keypoint_names(entries: list[dict], count: int) -> list[list[str]]:
    """The different lists of `count` names that categories have in "keypoints"."""
    found: list[list[str]] = []
    for category in entries:
        names = category.get("keypoints")
        if isinstance(names, list) and len(names) == count and count:
            names = [str(name) for name in names]
            found += [names] if names not in found else []
    return found


def skeleton(entries: list[dict], count: int) -> list[tuple[int, int]]:
    """The lines between keypoints, from 0, that the first category with sound ones gives; it counts from 1."""
    for category in entries:
        lines = category.get("skeleton")
        if isinstance(lines, list) and lines and all(_is_line(line, count) for line in lines):
            return [(line[0] - 1, line[1] - 1) for line in lines]
    return []


def _is_line(line: Any, count: int) -> bool:
    return isinstance(line, (list, tuple)) and len(line) == 2 and all(type(k) is int and 1 <= k <= count for k in line)


def are_a_persons(names: list[list[str]], count: int) -> bool:
    """Whether keypoints are COCO's 17 of a person: by their names, or by their number where there are none."""
    return names == [PersonKeypoints.NAMES] if names else count == len(PersonKeypoints.NAMES)


def least_visible(names: list[list[str]], count: int) -> int:
    """Visible keypoints that an image must show to be trained on."""
    return MIN_KEYPOINTS_PER_IMAGE if are_a_persons(names, count) else 1


def repeated_names(names: Sequence[str]) -> list[str]:
    """Those that several keypoints have."""
    return [name for name, count in Counter(names).items() if count > 1]


def flip_indices(names: Sequence[str], pairs: Sequence[Sequence[str]] = ()) -> list[int] | None:
    """Which keypoint each one turns into when the image is mirrored; None where that cannot be told.

    Args:
        names: of the keypoints.
        pairs: names that change places. Without any, those that differ in left and right, or l and r, do.

    Raises ValueError for pairs that are not of these names.
    """
    if pairs:
        return _by_pairs(names, pairs)
    others = [_mirrored(name, names) for name in names]
    if all(other == name for name, other in zip(names, others, strict=True)) or None in others:
        return None
    indices = [list(names).index(other) for other in others]  # type: ignore[arg-type]
    return indices if all(indices[other] == i for i, other in enumerate(indices)) else None


def _by_pairs(names: Sequence[str], pairs: Sequence[Sequence[str]]) -> list[int]:
    indices = list(range(len(names)))
    for pair in pairs:
        known = isinstance(pair, (list, tuple)) and len(pair) == 2 and pair[0] != pair[1]
        if not known or not set(pair) <= set(names):
            raise ValueError(f"{pair!r} is no pair of two of the keypoints {', '.join(names)}")
        a, b = (list(names).index(name) for name in pair)
        if indices[a] != a or indices[b] != b:
            raise ValueError(f"a keypoint of {pair!r} is in another pair too")
        indices[a], indices[b] = b, a
    return indices


def _mirrored(name: str, names: Sequence[str]) -> str | None:
    """The name of the same keypoint of the other side, the name itself for one in the middle, None where the other is missing."""
    for left, right in _SIDES:
        if left in name or right in name:
            other = re.sub(f"{left}|{right}", lambda found: right if found[0] == left else left, name)  # noqa: B023
            return other if other in names else None
    if _LETTER.search(name):
        other = _LETTER.sub(lambda found: _OTHER[found[1]], name)
        if other in names:
            return other
    if name[:1] in _OTHER and (other := _OTHER[name[0]] + name[1:]) in names:
        return other
    return name


def is_mirror(value: Any, count: int) -> bool:
    """Whether a value says of each of `count` keypoints, from 0, which it turns into in a mirror, and that one into it."""
    is_order = isinstance(value, list) and all(type(i) is int for i in value) and sorted(value) == list(range(count))
    return is_order and all(value[other] == i for i, other in enumerate(value))


def told_flips(entries: list[dict], count: int) -> list[int] | None:
    """What categories say in "flip_idx", which a YOLO set's come with, or else `flip_indices` of the names of their keypoints;
    None where neither tells or they do not agree."""
    found = [entry["flip_idx"] for entry in entries if is_mirror(entry.get("flip_idx"), count)]
    if not found:
        names = keypoint_names(entries, count)
        if are_a_persons(names, count):
            return PersonKeypoints.FLIP_INDS.tolist()
        found = [flip_indices(of_one) for of_one in names]
    return found[0] if found and all(indices == found[0] for indices in found) else None
