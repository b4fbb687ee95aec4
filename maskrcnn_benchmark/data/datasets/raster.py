"""Images that GDAL reads and Pillow does not, or not part by part: GeoTIFF, bands of 16 bits and of floating point.

rasterio brings GDAL; it is optional.
"""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import itertools
import os
import warnings
from typing import Any

import numpy as np
from PIL import Image

from maskrcnn_benchmark.data.datasets.pixels import PILLOW_RGB, depth_of, to_8_bits, value_range
from maskrcnn_benchmark.utils.wording import counted

ENDINGS = (".tif", ".tiff", ".jp2", ".vrt", ".img")
MOST_SIDE = 10**6  # pixels
MOST_AT_ONCE = 1 << 24  # pixels that a window has at most, if it is to be made smaller
MOST_IN_TILE = 1 << 26  # pixels of a tile that is larger than its image: GDAL decodes it as a whole
BLOCK = 256  # rows that are looked at together for the largest value

Box = tuple[int, int, int, int]


def takes(path: str) -> bool:
    """Whether a file is of a kind that is read here, and rasterio is installed."""
    return path.lower().endswith(ENDINGS) and importlib.util.find_spec("rasterio") is not None


class Raster:
    """An opened file, seen as RGB of 8 bits: its palette, its first three bands, or its first one as grey.

    Values of more than 8 bits are divided by the largest of the depth that all of these bands fill (`pixels.depth_of`). Pixels
    without a value (the file's nodata, and NaN) are black and do not count for that.

    Attributes:
        size: (width, height) of the pixels as they are stored.

    Everything here raises ValueError, which says what is wrong, for what cannot be read, and ImportError without rasterio.
    """

    def __init__(self, path: str):
        os.environ.setdefault("GDAL_CACHEMAX", "128")  # MB; by itself GDAL keeps a twentieth of the machine's memory
        import rasterio

        _check_end(path)
        self.path, self._errors = path, rasterio.errors.RasterioError
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of images that are nowhere on the earth
                self._source = source = rasterio.open(path)
        except rasterio.errors.RasterioError as error:
            raise ValueError(str(error)) from None
        self.size = (source.width, source.height)
        if max(self.size) > MOST_SIDE or source.count < 1 or "complex" in source.dtypes[0]:
            raise ValueError(
                f"it has {counted(source.count, 'band')} of {source.dtypes[0]} and {source.width} x {source.height} pixels"
            )
        height, width = source.block_shapes[0]
        if height * width > max(self.size[0] * self.size[1], MOST_IN_TILE):
            raise ValueError(
                f"its tiles of {width} x {height} pixels are larger than itself and than any are that are read here"
            )
        self._dtype = np.dtype(source.dtypes[0])
        self._bands = [1, 2, 3] if source.count >= 3 else [1]
        # A nodata of 8 bits is a colour like others (white, most often), as it is to all other programs that show images.
        self._is_masked = source.nodata is not None and self._dtype != np.uint8
        self._is_inverted = source.tags(ns="IMAGE_STRUCTURE").get("MINISWHITE") == "YES"

    @property
    def bytes_to_decode(self) -> int:
        """The memory that the whole image takes until it is read, by strips."""
        return self.size[0] * self.size[1] * PILLOW_RGB

    def read(self, box: Box, size: tuple[int, int]) -> Image.Image:
        """The part x1, y1, x2, y2 of the stored pixels, every one of them counted in, as an image of (width, height)."""
        from rasterio.windows import Window

        x, y, width, height = box[0], box[1], box[2] - box[0], box[3] - box[1]
        # In strips: GDAL would hold all the pixels that it takes the average of.
        count = min(max(width * height // MOST_AT_ONCE, 1), size[1])
        edges = [(size[1] * i // count, height * (size[1] * i // count) // size[1]) for i in range(count + 1)]
        image = Image.new("RGB", size)
        for (first, top), (last, bottom) in itertools.pairwise(edges):
            strip = self._strip(Window(x, y + top, width, bottom - top), (size[0], last - first))
            image.paste(strip, (0, first))
        return image

    def _strip(self, window: Any, size: tuple[int, int]) -> Image.Image:
        if self._palette is not None:
            colours = self._palette[self._values([1], window=window)[0]]
            strip = Image.fromarray(colours)
            return strip if strip.size == size else strip.resize(size, Image.Resampling.BOX)
        from rasterio.enums import Resampling

        largest = self._largest
        shape = (len(self._bands), size[1], size[0])
        values = self._values(self._bands, window=window, out_shape=shape, resampling=Resampling.average)
        pixels = values if largest is None else to_8_bits(np.ma.getdata(values), largest)
        if self._is_inverted:
            pixels = 255 - pixels
        if largest is not None:
            pixels[np.ma.getmaskarray(values) | np.isnan(values)] = 0
        pixels = np.broadcast_to(pixels.astype(np.uint8), (3, *shape[1:])).transpose(1, 2, 0)
        return Image.fromarray(np.ascontiguousarray(pixels))

    def _values(self, bands: list[int], **how: Any) -> np.ndarray:
        try:
            return self._source.read(bands, masked=self._is_masked, **how)
        except self._errors as error:
            raise ValueError(str(error.__cause__ or error)) from None  # "Read failed", because of what GDAL says

    @functools.cached_property
    def _palette(self) -> np.ndarray | None:
        """The colour of each value, uint8 [values, 3], also of grey values of less than 8 bits; None for other images."""
        from rasterio.enums import ColorInterp

        if self._dtype.kind != "u" or self._dtype.itemsize > 2:
            return None
        table = np.zeros((2 ** (8 * self._dtype.itemsize), 3), np.uint8)
        # What of 8 bits and more is stored as MINISWHITE has no palette but the one that GDAL makes up, whatever its depth.
        if self._source.colorinterp[0] == ColorInterp.palette and not self._is_inverted:
            for value, colour in self._source.colormap(1).items():
                table[value] = colour[:3]
            return table
        bits = int(self._source.tags(1, ns="IMAGE_STRUCTURE").get("NBITS", 8))
        if bits >= 8:
            return None
        table[: 2**bits] = np.linspace(0, 255, 2**bits).round().astype(np.uint8)[:, None]
        return 255 - table if self._is_inverted else table

    @functools.cached_property
    def _largest(self) -> float | None:
        """What becomes 255; None where values are of 8 bits."""
        from rasterio.windows import Window

        if self._dtype == np.uint8:
            return None
        width, height = self.size
        windows = (Window(0, top, width, min(BLOCK, height - top)) for top in range(0, height, BLOCK))
        known = (np.ma.compressed(self._values(self._bands, window=window)) for window in windows)
        return depth_of(*value_range(known), self._dtype.kind == "f", self.path)


def _check_end(path: str) -> None:
    """Of a PNG that was cut off GDAL makes up the rest without a word."""
    is_cut = False
    with contextlib.suppress(OSError), open(path, "rb") as f:
        is_png = f.read(8) == b"\x89PNG\r\n\x1a\n"
        f.seek(-min(12, os.path.getsize(path)), os.SEEK_END)
        is_cut = is_png and b"IEND" not in f.read()
    if is_cut:
        raise ValueError("image file is truncated")
