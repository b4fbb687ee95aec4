"""Where the tiles of an image lie."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from maskrcnn_benchmark.config.options import options

# A tenth of an overlap is given up where that saves a row or a column of tiles: 1,125 pixels are two tiles of 640 that
# share 155, not three that share 397, where 160 are asked for.
SLACK = 0.1


@dataclass(frozen=True)
class Tile:
    """A part of an image, x1, y1, x2, y2 in pixels, without column x2 and row y2."""

    box: tuple[int, int, int, int]

    @property
    def size(self) -> tuple[int, int]:
        """(width, height)"""
        return self.box[2] - self.box[0], self.box[3] - self.box[1]


@dataclass(frozen=True)
class Tiling:
    """How images are cut (INPUT.TILES).

    Attributes:
        size: pixels along a side of a tile.
        overlap: share of it that neighbours have in common, or up to a tenth less; from 0 to less than 1.
        scale: pixels of the network's input for one of the image.
        whole: whether the whole image, scaled as without tiles, is looked at too.
        merge: "nms", or "nmm" (greedy merging).
        metric, threshold: of the merging; "iou" or "ios".
    """

    size: int
    overlap: float = 0.25
    scale: float = 1.0
    whole: bool = True
    merge: str = "nms"
    metric: str = "iou"
    threshold: float = 0.5

    def tiles(self, image_size: tuple[int, int]) -> list[Tile]:
        """The tiles of an image of (width, height), row by row; the last of a row ends at the border. A small image is one."""
        columns, rows = (starts(side, self.size, self.overlap) for side in image_size)
        width, height = (min(self.size, side) for side in image_size)
        return [Tile((x, y, x + width, y + height)) for y in rows for x in columns]


def starts(length: int, size: int, overlap: float) -> list[int]:
    """Where parts of `size` pixels begin that cover `length` pixels evenly and are as few as `overlap` lets them be.

    Neighbours share at least that part of one, less a tenth of it (SLACK).
    """
    if size >= length:
        return [0]
    step = max(size - math.ceil(size * overlap * (1 - SLACK)), 1)
    count = math.ceil((length - size) / step) + 1
    return [round(i * (length - size) / (count - 1)) for i in range(count)]


def make_tiling(cfg: Any) -> Tiling | None:
    """How INPUT.TILES has images cut in tests; None where it is off."""
    keys = options(cfg).INPUT.TILES
    if not keys.TEST or keys.SIZE == 0:  # in this order: where TEST is off, SIZE counts as not read (config/unread.py)
        return None
    return Tiling(keys.SIZE, keys.OVERLAP, keys.SCALE, keys.WHOLE, keys.MERGE, keys.MERGE_METRIC, keys.MERGE_THRESHOLD)
