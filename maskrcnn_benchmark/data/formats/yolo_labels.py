"""The lines of YOLO's label files: boxes, outlines, and boxes with keypoints, in fractions of the image's width and height."""

from __future__ import annotations

import math
import statistics
from pathlib import Path
from typing import Any

import numpy as np

from maskrcnn_benchmark.data.formats.content import Content, box_of_polygons, clip_polygon, single
from maskrcnn_benchmark.utils.files import read_text
from maskrcnn_benchmark.utils.wording import counted

SLACK = 1e-3  # fractions by which labels of rounded pixels leave the image
LOOKED_AT = 200  # outlines, to tell whether they are boxes with keypoints
FEW = 3  # of them, where nothing but their places tells
LEAST_REACH = 0.5  # of the way from a box's middle to its side that its keypoints go, on one side at least
CORNERS = 8  # numbers of four corners, the form in which rotated boxes come
STRAIGHT = 0.01  # of the image, by which the corners of a rotated box are off
MOST_CLASSES = 100_000
MOST_CHARACTERS = 4_000_000  # of a line: 100,000 corners of two numbers of 20


def is_line(line: str) -> bool:
    """Whether a line of text may be one of a label file."""
    try:
        label, values = _numbers(line.split(), "")
    except ValueError:
        return False
    return len(values) >= 4


class LabelReader:
    """Adds the objects of label files to `content`.

    Args:
        ids: the category of each class number; empty where classes have no names, and the number decides.
        points: keypoints of an object, and how many numbers each has.
        outlines: whether it is told that lines of more than five numbers are outlines.
    """

    def __init__(self, content: Content, ids: dict[int, int], points: tuple[int, int] | None, outlines: bool = False):
        self.content, self.ids, self.points, self.told = content, ids, points, outlines
        self._outlines: dict[tuple[float, ...], None] = {}

    def read(self, image: dict, path: Path) -> None:
        """The objects of an image. Raises ValueError with file and line."""
        notes = self.content.notes
        if not path.is_file():
            notes.add("images without a label file, taken as without objects", image["file_name"])
            return
        texts = read_text(path).splitlines()
        longest = max(texts, key=len, default="")
        if len(longest) > MOST_CHARACTERS:
            raise ValueError(
                f"{path}, line {texts.index(longest) + 1} has {counted(len(longest), 'character')}; a line has at most "
                f"{MOST_CHARACTERS:,}, an outline of 100,000 corners. Simplify the outline."
            )
        lines = [line.split() for line in texts]
        if not any(lines):
            notes.add("empty label files: images without objects", str(path))
        seen: set[tuple[str, ...]] = set()
        for number, words in enumerate(lines, start=1):
            where = f"{path}, line {number}"
            if words and tuple(words) in seen:
                notes.add("lines that repeat another one, left out", where)
            elif words:
                seen.add(tuple(words))
                with single():
                    self._read_line(image, words, where)

    def check_outlines(self, name: str) -> None:
        """Raise ValueError where all outlines of the set `name` look like boxes with keypoints and nobody said what they are."""
        if self.told:
            return
        if shape := shape_of_keypoints([np.array(outline) for outline in self._outlines]):
            count, keypoints = len(next(iter(self._outlines))) + 1, counted(shape[0], "keypoint")
            raise ValueError(
                f"{name}: the labels' lines of {counted(count, 'number')} look like boxes with {keypoints}, not like outlines. "
                f"Say what they are in a data.yaml: kpt_shape: [{shape[0]}, {shape[1]}], or kpt_shape: null for outlines."
            )

    def _read_line(self, image: dict, words: list[str], where: str) -> None:
        label, values = _numbers(words, where)
        if self.ids and label not in self.ids:
            raise ValueError(f"{where}: class {label}, but there are names for {_shown(list(self.ids))} alone.")
        placed = values if self.points is None else values[:4]
        low, high = min(placed, default=0.0), max(placed, default=0.0)
        if len(placed) >= 4 and max(high, -low) > 1 and statistics.median(map(abs, placed)) > 1:
            raise ValueError(
                f"{where}: the numbers look like pixels ({' '.join(words[1:5])}); YOLO's are fractions from 0 to 1 of the "
                "image's width and height. Divide them, or name the form that they are in."
            )
        if len(placed) == 4 and min(placed[2:]) < 0:
            self.content.notes.add("boxes of a negative width or height, left out", where)
            return
        if low < -SLACK or high > 1 + SLACK:
            self.content.notes.add("objects with numbers outside of 0 to 1, cut at the image's border", where)
        self._add_object(image, self.ids.get(label, label + 1), values, where)

    def _add_object(self, image: dict, category: int, values: list[float], where: str) -> None:
        content, points = self.content, self.points
        width, height = image["width"], image["height"]
        expected = 4 + (points[0] * points[1] if points else 0)
        if points is None and len(values) >= 6 and len(values) % 2 == 0:
            if len(self._outlines) < LOOKED_AT:
                self._outlines[tuple(values)] = None
            polygon = clip_polygon((np.reshape(values, (-1, 2)) * (width, height)).flatten(), width, height)
            box = box_of_polygons([polygon])
            fields: dict[str, Any] = {"segmentation": [polygon]}
        elif len(values) == expected:
            (x, x_cut), (y, y_cut) = _extent(values[0], values[2], width), _extent(values[1], values[3], height)
            if max(x_cut, y_cut) > 1 and min(values[:4]) >= -SLACK and max(values[:4]) <= 1 + SLACK:
                content.notes.add("boxes that leave the image, cut at its border", where)
            box = (x[0], y[0], x[1] - x[0], y[1] - y[0])
            fields = _keypoints(np.reshape(values[4:], points), width, height) if points else {}
        else:
            forms = (
                f"{expected + 1} numbers"
                if points
                else "5 numbers (a box), a class and at least 3 corners (an outline), or where a data.yaml has kpt_shape a "
                "box and keypoints"
            )
            raise ValueError(f"{where} has {counted(len(values) + 1, 'number')}; a line has {forms}.")
        if box[2] <= 0 or box[3] <= 0:
            content.notes.add("objects without width or height inside the image, left out", where)
            return
        content.add(image, category, box, **fields)


def _extent(middle: float, length: float, side: int) -> tuple[tuple[float, float], float]:
    """The two ends of a box along a side of the image, in pixels within it, and by how many pixels it left it."""
    low, high = (middle - length / 2) * side, (middle + length / 2) * side
    inside = (min(max(low, 0.0), float(side)), min(max(high, 0.0), float(side)))
    return inside, max(abs(inside[0] - low), abs(inside[1] - high))


def shape_of_keypoints(lines: list[np.ndarray]) -> tuple[int, int] | None:
    """Keypoints of an object, and numbers of each, if the numbers of all lines, behind the class, are rather those of boxes with
    keypoints than outlines: as many in each line, and the points in the boxes (or not given: 0).

    Where nothing is said of being visible, four corners of a parallelogram are a rotated box, and points that all stay near the
    middle of their box are an outline whose second corner would be the box's sides.
    """
    counts = {len(values) for values in lines}
    if len(counts) != 1:
        return None
    (count,) = counts
    for dimensions in (3, 2):
        if (count - 4) % dimensions or count < 4 + dimensions or (dimensions == 2 and _are_rotated_boxes(lines)):
            continue
        points = np.stack(lines)[:, 4:].reshape(len(lines), -1, dimensions)
        box = np.stack(lines)[:, None, :4]
        inside = (np.abs(points[:, :, :2] - box[:, :, :2]) <= box[:, :, 2:] / 2 + SLACK).all(axis=2)
        given = (points[:, :, :2] != 0).any(axis=2)
        reach = np.abs(points[:, :, :2] - box[:, :, :2]) / (box[:, :, 2:] / 2 + SLACK) * given[:, :, None]
        if dimensions == 2 and np.median(reach.max(axis=(1, 2))) < LEAST_REACH:
            continue
        inside |= ~given
        seen = points[:, :, 2] if dimensions == 3 else np.ones_like(points[:, :, 0])
        is_enough = len(lines) >= FEW or (dimensions == 3 and (seen == 2).any())  # no outline has a 2
        if is_enough and inside.all() and np.isin(seen, (0, 1, 2)).all():
            return points.shape[1], dimensions
    return None


def _are_rotated_boxes(lines: list[np.ndarray]) -> bool:
    """Whether lines of as many numbers each are four corners whose diagonals halve one another."""
    if len(lines[0]) != CORNERS:
        return False
    a, b, c, d = np.stack(lines).reshape(-1, 4, 2).transpose(1, 0, 2)
    return bool(np.median(np.abs(a - b + c - d).max(axis=1)) <= STRAIGHT)


def _keypoints(points: np.ndarray, width: int, height: int) -> dict[str, Any]:
    seen = points[:, 2] if points.shape[1] == 3 else 2.0 * (points != 0).any(axis=1)
    flat = np.stack((points[:, 0] * width, points[:, 1] * height, seen), axis=1)
    return {"keypoints": [round(float(v), 4) for v in flat.flatten()], "num_keypoints": int((seen > 0).sum())}


def _numbers(words: list[str], where: str) -> tuple[int, list[float]]:
    try:
        label, *values = map(float, words)
    except ValueError:
        raise ValueError(f"{where} holds something else than numbers: {' '.join(words)[:60]!r}.") from None
    if not (math.isfinite(label) and all(map(math.isfinite, values))):
        raise ValueError(f"{where} holds a number that is not finite: {' '.join(words)[:60]!r}.")
    if label != int(label) or label < 0:
        raise ValueError(f"{where}: a class is a whole number from 0; got {words[0]}.")
    if label >= MOST_CLASSES:
        raise ValueError(f"{where}: the class {words[0]} is none of a set of at most {MOST_CLASSES:,} classes.")
    return int(label), values


def _shown(numbers: list[int]) -> str:
    if numbers == list(range(len(numbers))):
        return f"0 to {len(numbers) - 1}" if len(numbers) > 1 else "0"
    return ", ".join(map(str, numbers))
