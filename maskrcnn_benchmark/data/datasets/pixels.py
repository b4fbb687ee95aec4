"""Pixels of every kind that Pillow knows as RGB of 8 bits, their contrast kept."""

import logging
import mmap

import numpy as np
from PIL import Image

# Bits that cameras, microscopes and scanners fill of a 16-bit number; 8 is an ordinary image in a larger type.
DEPTHS = (8, 10, 12, 14, 16)

logger = logging.getLogger(__name__)


class OnceForAll:
    """Whether something has been said yet, for this process and the ones that it forks: the loader's workers."""

    def __init__(self):
        self._page = mmap.mmap(-1, 1)  # shared with forked processes

    def __reduce__(self) -> tuple:
        return OnceForAll, ()  # a process that is not forked says it once for itself

    def __call__(self) -> bool:
        """True for the first caller only."""
        was_said, self._page[0] = self._page[0], 1
        return not was_said


_said_depth = OnceForAll()


def to_rgb(image: Image.Image, name: str) -> Image.Image:
    """A loaded image as RGB of 8 bits.

    Grey values of 16 and 32 bits and of floating point are divided by the largest value of the depth that they fill: 8, 10, 12,
    14 or 16 bits, or 1 for floating point from 0 to 1. What else there is Pillow converts: grey, palettes, CMYK, and colours
    under transparency as they are stored.

    Raises ValueError for values that have no such depth.
    """
    if image.mode.startswith(("I", "F")):
        return _scaled(np.asarray(image), name).convert("RGB")
    if image.mode == "P" and isinstance(image.info.get("transparency"), bytes):
        image = image.convert("RGBA")  # Pillow warns of the direct way
    return image.convert("RGB")


def depth_of(low: float, high: float, name: str) -> float:
    """The largest value of the depth that grey values from `low` to `high` fill: 2 to the power of 8, 10, 12, 14 or 16 less 1, or
    1 where they are at most that; said once. Raises ValueError for values that have no such depth."""
    if not (low >= 0 and high < 2 ** DEPTHS[-1]):  # also NaN
        raise ValueError(
            f"its grey values go from {low:g} to {high:g}; they must lie between 0 and {2 ** DEPTHS[-1] - 1} (or 0 and 1). Save "
            "it with 8 or 16 bits"
        )
    if high <= 1 and not isinstance(high, int):
        depth, largest = "floating point from 0 to 1", 1.0
    else:
        bits = next(bits for bits in DEPTHS if high < 2**bits)
        depth, largest = f"{bits} bits", 2.0**bits - 1
    if _said_depth():
        logger.warning(
            "%s holds grey values of %s; they are scaled to 8 bits by that range, and those of other images of more than 8 bits "
            "by theirs (8, 10, 12, 14 or 16 bits, whichever holds an image's largest value).",
            name,
            depth,
        )
    return largest


def _scaled(values: np.ndarray, name: str) -> Image.Image:
    kind = float if values.dtype.kind == "f" else int
    low, high = (kind(values.min()), kind(values.max())) if values.size else (kind(0), kind(0))
    return Image.fromarray(np.rint(values * (255 / depth_of(low, high, name))).astype(np.uint8))
