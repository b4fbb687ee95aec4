"""Pixels of every kind that Pillow knows as RGB of 8 bits, their contrast kept."""

import logging
import mmap
from collections.abc import Callable, Iterable, Iterator

import numpy as np
from PIL import Image

# Bits that cameras, microscopes and scanners fill of a 16-bit number; 8 is an ordinary image in a larger type.
DEPTHS = (8, 10, 12, 14, 16)
# Up to here floating point is fractions of 1: reflectance of snow, clouds and metal is up to twice that of a white surface.
MOST_FRACTION = 2.0
PILLOW_RGB = 4  # bytes of a pixel
PART = 1 << 20  # pixels

Part = tuple[tuple[int, int], np.ndarray]  # (left, top) and the values there

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
    """A loaded image as RGB of 8 bits; the same object if it is that already.

    Grey values of 16 and 32 bits and of floating point are divided by the largest value of the depth that they fill: 8, 10, 12,
    14 or 16 bits, or 1 for floating point up to MOST_FRACTION, clipped there; NaN is black. What else there is Pillow converts:
    grey, palettes, CMYK, and colours under transparency as they are stored.

    Raises ValueError for values that have no such depth.
    """
    if image.mode.startswith(("I", "F")):
        return _scaled(image, name)
    if image.mode == "RGB":
        return image
    if image.mode == "P" and isinstance(image.info.get("transparency"), bytes):
        image = image.copy()
        del image.info["transparency"]  # Pillow would warn of it
    return image.convert("RGB")


def bytes_per_pixel(mode: str) -> int:
    """The memory that an image of one of Pillow's modes and what `to_rgb` makes of it take together."""
    if mode == "RGB":
        return PILLOW_RGB
    return PILLOW_RGB + (1 if mode in ("1", "L", "P") else 2 if mode.startswith("I;16") else 4)


def parts(image: Image.Image) -> Iterator[Part]:
    """An image part by part as (left, top) and array: as a whole, an array would need its memory three times over."""
    for box in _boxes(image.size):
        yield box[:2], np.asarray(image.crop(box))


def _boxes(size: tuple[int, int]) -> Iterator[tuple[int, int, int, int]]:
    """The corners x1, y1, x2, y2 of the parts of an image of (width, height)."""
    width, height = size
    columns = min(width, PART)
    rows = max(PART // columns, 1)
    for top in range(0, height, rows):
        for left in range(0, width, columns):
            yield left, top, min(left + columns, width), min(top + rows, height)


def depth_of(low: float, high: float, is_float: bool, name: str) -> float:
    """The largest value of the depth that grey values from `low` to `high` fill: 2 to the power of 8, 10, 12, 14 or 16 less 1, or
    1 for floating point up to MOST_FRACTION; said once. Raises ValueError for values that have no such depth."""
    if not (low >= 0 and high < 2 ** DEPTHS[-1]):  # also NaN
        raise ValueError(
            f"its grey values go from {low:g} to {high:g}; they must lie between 0 and {2 ** DEPTHS[-1] - 1} (or 0 and 1). Save "
            "it with 8 or 16 bits"
        )
    if is_float and high <= MOST_FRACTION:
        depth, largest = "floating point from 0 to 1", 1.0
    else:
        bits = next(bits for bits in DEPTHS if high < 2**bits)
        depth, largest = f"{bits} bits", 2.0**bits - 1
    if _said_depth():
        logger.warning(
            "The image %s holds values of %s; they are scaled to 8 bits by that range, and those of other images of more "
            "than 8 bits by theirs (8, 10, 12, 14 or 16 bits, whichever holds an image's largest value).",
            name,
            depth,
        )
    return largest


def value_range(arrays: Iterable[np.ndarray]) -> tuple[float, float]:
    """The least and the largest value of all arrays, NaN, which is no value, left out; (0, 0) without any."""
    known = (array[~np.isnan(array)] if array.dtype.kind == "f" else array for array in arrays)
    extremes = [(float(np.min(array)), float(np.max(array))) for array in known if array.size] or [(0.0, 0.0)]
    return min(low for low, _ in extremes), max(high for _, high in extremes)


def to_8_bits(values: np.ndarray, largest: float) -> np.ndarray:
    """Grey values as uint8, `largest` as 255 and NaN as 0."""
    return np.nan_to_num(np.rint(values * (255 / largest)).clip(0, 255)).astype(np.uint8)


def _scaled(image: Image.Image, name: str) -> Image.Image:
    return _joined(image.size, lambda: parts(image), image.mode.startswith("F"), name)


def colours_to_rgb(values: np.ndarray, name: str) -> Image.Image:
    """Colours of 16 bits, uint16 [height, width, 3], as RGB of 8 bits: divided as grey values are, all three by the same."""
    size = (values.shape[1], values.shape[0])
    return _joined(size, lambda: (((x1, y1), values[y1:y2, x1:x2]) for x1, y1, x2, y2 in _boxes(size)), False, name)


def _joined(size: tuple[int, int], read: Callable[[], Iterator[Part]], is_float: bool, name: str) -> Image.Image:
    """The image of the parts that `read` gives, which is called twice, scaled by the depth of all of them."""
    largest = depth_of(*value_range(part for _, part in read()), is_float, name)
    result = Image.new("RGB", size)
    for place, part in read():
        result.paste(Image.fromarray(to_8_bits(part, largest)), place)
    return result
