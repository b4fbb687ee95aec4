"""A sheet of crops: single objects with what is around them, in groups."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np

from maskrcnn_benchmark.data.pictures import write_picture
from maskrcnn_benchmark.visualization.lettering import put_text

CELL = 176  # pixels along a crop's side in the sheet
TEXT = 18  # pixels of a line below it
COLUMNS = 8
AROUND, LEAST = 2.5, 40  # a crop is so many times as large as its box, and at least so many pixels
WHITE, BLACK = (255, 255, 255), (0, 0, 0)
# Okabe and Ito's sky blue, orange and a pink that neither of two kinds of cones takes for one of them; BGR.
TRUE, FOUND, SUBJECT = (233, 180, 86), (0, 159, 230), (130, 20, 220)


@dataclass
class Crop:
    """A box (x, y, width, height) of an image, with two lines of text; `group` names its part of the sheet.

    `true` and `found` are the boxes of other objects and detections. The subject is drawn in the colour of what it is, thicker.
    """

    image_id: Any
    box: Sequence[float]
    title: str
    remark: str
    group: str = ""
    true: list = field(default_factory=list)
    found: list = field(default_factory=list)
    is_object: bool = True


def crop_sheet(
    crops: Sequence[Crop],
    groups: Sequence[str],
    read_image: Callable[[Any], np.ndarray],
    path: str,
    most: int = 24,
) -> int:
    """Write the first `most` crops of each group, in the order of `groups`, below their names; returns how many there are.

    Objects are blue, detections orange, the one that a crop is about is thick and pink. Nothing is written without crops.

    Args:
        read_image: image id -> uint8 [H, W, 3], BGR; each image is read once.
    """
    chosen = {group: [crop for crop in crops if crop.group == group] for group in dict.fromkeys((*groups, ""))}
    shown = {group: of[:most] for group, of in chosen.items() if of}
    cells: dict[int, np.ndarray] = {}
    wanted = sorted((crop for of in shown.values() for crop in of), key=lambda crop: str(crop.image_id))
    last, image = object(), np.zeros((1, 1, 3), np.uint8)
    for crop in wanted:
        if crop.image_id != last:
            last, image = crop.image_id, read_image(crop.image_id)
        cells[id(crop)] = _cell(crop, image)
    if not cells:
        return 0
    columns = min(COLUMNS, max(map(len, shown.values())))
    rows = []
    for group, of in shown.items():
        header = np.full((TEXT + 8, max(columns, 3) * CELL, 3), WHITE, np.uint8)
        put_text(header, f"size {group or 'other'}: {len(of):,} of {len(chosen[group]):,}", 4, 6, WHITE, 15)
        rows.append(header)
        for start in range(0, len(of), columns):
            row = [cells[id(crop)] for crop in of[start : start + columns]]
            row += [np.full_like(row[0], 255)] * (max(columns, 3) - len(row))
            rows.append(np.concatenate(row, axis=1))
    write_picture(path, np.concatenate(rows))
    return len(cells)


def cut_out(crop: Crop, image: np.ndarray) -> np.ndarray:
    """The crop with its boxes, without its texts: uint8 [CELL - 4, CELL - 4, 3]."""
    x, y, width, height = crop.box
    # A large object leaves no more of what is around it than there is.
    side = max(min(AROUND * max(width, height), max(image.shape[:2])), LEAST)
    left, top = (
        _start(low + length / 2 - side / 2, side, whole)
        for low, length, whole in ((x, width, image.shape[1]), (y, height, image.shape[0]))
    )
    scale = (CELL - 4) / side
    to_cell = np.array([[scale, 0, -left * scale], [0, scale, -top * scale]])
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    cut = _scaled(image, left, top, side, scale, to_cell, method)
    for boxes, colour, line in ((crop.true, TRUE, 1), (crop.found, FOUND, 1), ([crop.box], SUBJECT, 2)):
        for bx, by, bw, bh in boxes:
            if bx + bw < left or by + bh < top or bx > left + side or by > top + side:
                continue
            corners = [((v - o) * scale) for v, o in ((bx, left), (by, top), (bx + bw, left), (by + bh, top))]
            x1, y1, x2, y2 = (int(round(min(max(v, -4), CELL + 4))) for v in corners)
            cv2.rectangle(cut, (x1, y1), (x2, y2), colour, line)
    return cut


def _start(wanted: float, side: float, whole: int) -> float:
    """Where a stretch of `side` pixels begins that leaves an image of `whole` pixels as little as it can."""
    return (whole - side) / 2 if side >= whole else min(max(wanted, 0), whole - side)


def _cell(crop: Crop, image: np.ndarray) -> np.ndarray:
    """The crop at CELL pixels with its texts below: uint8 [CELL + 2 * TEXT, CELL, 3]."""
    cell = np.full((CELL + 2 * TEXT, CELL, 3), WHITE, np.uint8)
    cell[: CELL - 4, : CELL - 4] = cut_out(crop, image)
    put_text(cell, crop.title, 1, CELL - 3, WHITE, 13)
    width, height = crop.box[2:]
    put_text(cell, f"{crop.remark}, {width:.0f} x {height:.0f}", 1, CELL + TEXT - 4, WHITE, 12)
    return cell


def _scaled(
    image: np.ndarray, left: float, top: float, side: float, scale: float, to_cell: np.ndarray, method: int
) -> np.ndarray:
    """The square at (left, top), grey where it leaves the image."""
    grey = (200, 200, 200)
    if scale >= 1:
        return cv2.warpAffine(
            image, to_cell, (CELL - 4, CELL - 4), flags=method, borderMode=cv2.BORDER_CONSTANT, borderValue=grey
        )
    # A warp would skip pixels where it makes smaller: cut, then average.
    x1, y1, length = int(np.floor(left)), int(np.floor(top)), int(np.ceil(side))
    square = np.full((length, length, 3), grey, np.uint8)
    inside = image[max(y1, 0) : max(y1 + length, 0), max(x1, 0) : max(x1 + length, 0)]
    square[max(-y1, 0) : max(-y1, 0) + inside.shape[0], max(-x1, 0) : max(-x1, 0) + inside.shape[1]] = inside
    return cv2.resize(square, (CELL - 4, CELL - 4), interpolation=method)
