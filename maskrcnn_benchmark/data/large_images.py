"""Images of more pixels than are decoded at once elsewhere: satellite scenes, slides, mosaics, read part by part.

By windows where rasterio is installed (GeoTIFF and whatever else GDAL knows): memory is that of a part. Otherwise Pillow decodes
the file once, at four bytes a pixel, and parts are cut from that without a second copy.
"""

from __future__ import annotations

import contextlib
import itertools
import math
import os
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from maskrcnn_benchmark.data.datasets import raster
from maskrcnn_benchmark.data.datasets.images import (
    MOST_BYTES,
    SWAPS_SIDES,
    BrokenImageError,
    bytes_to_decode,
    check_planes,
    deep_colours,
    has_deep_colours,
    is_inverted,
    orientation_of,
    read_header,
    turned,
)
from maskrcnn_benchmark.data.datasets.pixels import (
    PILLOW_RGB,
    colours_to_rgb,
    depth_of,
    parts,
    to_8_bits,
    to_rgb,
    value_range,
)
from maskrcnn_benchmark.data.datasets.raster import MOST_AT_ONCE, Box

MOST_DECODED = 2**31  # bytes that an image may take where it is decoded as a whole


class LargeImage:
    """An image that gives parts of itself: as much of PIL.Image as detection in tiles takes, `size`, `crop` and `resize`.

    Args:
        name: what messages call it.
        stored: (width, height) of the pixels as they are stored.
        orientation: EXIF's, 1 to 8; parts are turned.
        read: Box of the stored pixels, (width, height) to be scaled to -> uint8 RGB image.
    """

    def __init__(
        self, name: str, stored: tuple[int, int], orientation: int, read: Callable[[Box, tuple[int, int]], Any]
    ):
        self.name, self.stored, self.orientation, self._read = name, stored, orientation, read

    @property
    def size(self) -> tuple[int, int]:
        """(width, height) as the image is meant to be seen."""
        width, height = self.stored
        return (height, width) if self.orientation in SWAPS_SIDES else (width, height)

    @property
    def width(self) -> int:
        return self.size[0]

    @property
    def height(self) -> int:
        return self.size[1]

    def crop(self, box: Box) -> Image.Image:
        """The part x1, y1, x2, y2, without column x2 and row y2."""
        return self._part(box, (box[2] - box[0], box[3] - box[1]))

    def resize(self, size: tuple[int, int], resample: Any = None) -> Image.Image:
        """The whole image, every pixel of it counted in (`resample` is PIL's and not looked at)."""
        return self._part((0, 0, *self.size), size)

    def _part(self, box: Box, size: tuple[int, int]) -> Image.Image:
        swapped = size[::-1] if self.orientation in SWAPS_SIDES else size
        return turned(self._read(stored_box(box, self.orientation, self.stored), swapped), self.orientation)


def stored_box(box: Box, orientation: int, stored: tuple[int, int]) -> Box:
    """Where a part of the image as it is seen lies in the pixels as they are stored."""
    (x1, y1, x2, y2), (width, height) = box, stored
    if orientation in SWAPS_SIDES:
        x1, y1, x2, y2 = y1, x1, y2, x2
    if orientation in (2, 3, 7, 8):
        x1, x2 = width - x2, width - x1
    if orientation in (3, 4, 6, 7):
        y1, y2 = height - y2, height - y1
    return x1, y1, x2, y2


def is_large(path: str) -> bool:
    """Whether `datasets.images` refuses a file because of the pixels that its header claims."""
    if not os.path.isfile(path):
        return False  # whoever reads it says so
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return _unlimited(lambda: bytes_to_decode(path)) > MOST_BYTES
    except BrokenImageError:
        return False  # whoever reads it says so


def open_large(path: str) -> LargeImage:
    """A file as a LargeImage. Raises BrokenImageError."""
    with contextlib.suppress(ImportError):
        if path.lower().endswith(raster.ENDINGS):
            return _by_windows(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        header = _unlimited(lambda: read_header(path))
        width, height = header.stored
        if PILLOW_RGB * width * height <= MOST_DECODED:
            return _decoded(path)
    try:
        return _by_windows(path)
    except ImportError:
        raise BrokenImageError(
            f"The image {path} of {width} x {height} pixels takes more than the {MOST_DECODED >> 30} GB that are decoded at "
            "once; install rasterio (pip install rasterio), which reads it by windows"
        ) from None


def _unlimited(use: Callable[[], Any]) -> Any:
    """Without Pillow's limit of pixels, for files whose size is looked at here."""
    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None
    try:
        return use()
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _decoded(path: str) -> LargeImage:
    def decode() -> tuple[Image.Image, int]:
        with open(path, "rb") as f:
            image = Image.open(f)
            check_planes(image)
            if has_deep_colours(image):
                return colours_to_rgb(deep_colours(image, f), path), orientation_of(image)
            image.load()
            return image, orientation_of(image)

    try:
        image, orientation = _unlimited(decode)
    except Exception as error:  # Pillow's decoders raise anything for what is damaged
        raise BrokenImageError(f"The image {path} cannot be read: {error}") from None
    largest = None
    if image.mode.startswith(("I", "F")):
        try:
            largest = depth_of(*value_range(part for _, part in parts(image)), image.mode.startswith("F"), path)
        except ValueError as error:
            raise BrokenImageError(f"The image {path} cannot be read: {error}") from None

    def rgb(box: Box) -> Image.Image:
        part = image.crop(box)
        if largest is not None:
            part = Image.fromarray(to_8_bits(np.asarray(part), largest))
            part = ImageOps.invert(part) if is_inverted(image) else part
        return to_rgb(part.convert("L") if part.mode == "1" else part, path)

    def read(box: Box, size: tuple[int, int]) -> Image.Image:
        if size == (box[2] - box[0], box[3] - box[1]):
            return rgb(box)
        if image.mode == "RGB":
            return image.resize(size, Image.Resampling.BILINEAR, box=box)
        return _resized(rgb, box, size)

    return LargeImage(path, image.size, orientation, read)


def _resized(rgb: Callable[[Box], Image.Image], box: Box, size: tuple[int, int]) -> Image.Image:
    """`rgb(box)` resized, in strips of rows, so that there is never a second copy of all its pixels."""
    width, height = box[2] - box[0], box[3] - box[1]
    ratio = height / size[1]
    reach = math.ceil(max(ratio, 1)) + 1  # rows beyond a strip that its filter looks at
    count = min(max(4 * width * height // MOST_AT_ONCE, 1), size[1])
    result = Image.new("RGB", size)
    for first, last in itertools.pairwise(size[1] * i // count for i in range(count + 1)):
        top = max(math.floor(first * ratio) - reach, 0)
        strip = rgb((box[0], box[1] + top, box[2], box[1] + min(math.ceil(last * ratio) + reach, height)))
        inside = (0, first * ratio - top, width, min(last * ratio - top, strip.height))
        result.paste(strip.resize((size[0], last - first), Image.Resampling.BILINEAR, box=inside), (0, first))
    return result


def _by_windows(path: str) -> LargeImage:
    """Raises ImportError without rasterio."""
    try:
        source = raster.Raster(path)
    except ValueError as error:
        raise BrokenImageError(f"The image {path} cannot be read: {error}") from None
    orientation = 1
    with contextlib.suppress(BrokenImageError):  # GDAL does not tell it
        orientation = _unlimited(lambda: read_header(path)).orientation

    def read(box: Box, size: tuple[int, int]) -> Image.Image:
        try:
            return source.read(box, size)
        except ValueError as error:
            raise BrokenImageError(f"The image {path} cannot be read: {error}") from None

    return LargeImage(path, source.size, orientation, read)
