"""Images of more pixels than are decoded at once elsewhere: satellite scenes, slides, mosaics, read part by part.

By windows where rasterio is installed (GeoTIFF and whatever else GDAL knows): memory is that of a part. Otherwise Pillow decodes
the file once, at four bytes a pixel, and parts are cut from that without a second copy.
"""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
import os
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from maskrcnn_benchmark.data.datasets.images import (
    MOST_BYTES,
    SWAPS_SIDES,
    BrokenImageError,
    bytes_to_decode,
    read_header,
    turned,
)
from maskrcnn_benchmark.data.datasets.pixels import PILLOW_RGB, depth_of, to_rgb
from maskrcnn_benchmark.utils.wording import counted

MOST_DECODED = 2**31  # bytes that an image may take where it is decoded as a whole
MOST_SIDE = 10**6  # pixels
MOST_AT_ONCE = 1 << 24  # pixels that a window has at most, if it is to be made smaller
BLOCK = 1024  # rows that are looked at together for the largest value
WINDOWED = (".tif", ".tiff", ".jp2", ".vrt", ".img")  # endings of what is read by windows with profit

Box = tuple[int, int, int, int]


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
    """Whether `datasets.images` refuses a file because of the pixels that its header claims. Raises BrokenImageError."""
    if not os.path.isfile(path):
        return False  # whoever reads it says so
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            return _unlimited(lambda: bytes_to_decode(path)) > MOST_BYTES
    except BrokenImageError:  # perhaps of a kind that Pillow does not know
        return path.lower().endswith(WINDOWED) and importlib.util.find_spec("rasterio") is not None


def open_large(path: str) -> LargeImage:
    """A file as a LargeImage. Raises BrokenImageError."""
    with contextlib.suppress(ImportError):
        if path.lower().endswith(WINDOWED):
            return _by_windows(path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        header = _unlimited(lambda: read_header(path))
        width, height = header.stored
        if PILLOW_RGB * width * height <= MOST_DECODED:
            return _decoded(path, header)
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


def _decoded(path: str, header: Any) -> LargeImage:
    def decode() -> Image.Image:
        image = Image.open(path)
        image.load()
        return image

    try:
        image = _unlimited(decode)
    except Exception as error:  # Pillow's decoders raise anything for what is damaged
        raise BrokenImageError(f"The image {path} cannot be read: {error}") from None
    largest = depth_of(*_range(image), image.mode.startswith("F"), path) if image.mode.startswith(("I", "F")) else None
    is_turned = image.size != header.stored  # Pillow turns TIFF itself

    def read(box: Box, size: tuple[int, int]) -> Image.Image:
        part = image if box == (0, 0, *image.size) else image.crop(box)
        if part.size != size:  # shrunk first: the copy that other modes need is then a small one
            part = part.convert("L") if part.mode == "1" else part
            part = part if part.mode == "P" else part.resize(size, Image.Resampling.BILINEAR)
        if largest is not None:
            part = Image.fromarray(np.rint(np.asarray(part) * (255 / largest)).clip(0, 255).astype(np.uint8))
        part = part if part.mode == "RGB" else to_rgb(part, path)
        return part if part.size == size else part.resize(size, Image.Resampling.BILINEAR)

    return LargeImage(path, image.size, 1 if is_turned else header.orientation, read)


def _range(image: Image.Image) -> tuple[float, float]:
    low, high = image.getextrema()
    return low, high  # type: ignore[return-value]


def _check_end(path: str) -> None:
    """Of a PNG that was cut off GDAL makes up the rest without a word."""
    is_cut = False
    with contextlib.suppress(OSError), open(path, "rb") as f:
        is_png = f.read(8) == b"\x89PNG\r\n\x1a\n"
        f.seek(-min(12, os.path.getsize(path)), os.SEEK_END)
        is_cut = is_png and b"IEND" not in f.read()
    if is_cut:
        raise BrokenImageError(f"The image {path} cannot be read: image file is truncated")


def _by_windows(path: str) -> LargeImage:
    os.environ.setdefault("GDAL_CACHEMAX", "128")  # MB; by itself GDAL keeps a twentieth of the machine's memory
    import rasterio
    from rasterio.enums import Resampling
    from rasterio.windows import Window

    _check_end(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of images that are nowhere on the earth
            source = rasterio.open(path)
    except rasterio.errors.RasterioError as error:
        raise BrokenImageError(f"The image {path} cannot be read: {error}") from None
    if max(source.width, source.height) > MOST_SIDE or source.count < 1 or "complex" in source.dtypes[0]:
        raise BrokenImageError(
            f"The image {path} cannot be read: it has {counted(source.count, 'band')} of {source.dtypes[0]} and {source.width} x "
            f"{source.height} pixels"
        )
    bands = (1, 2, 3) if source.count >= 3 else (1, 1, 1)
    largest = None
    if source.dtypes[0] != "uint8":
        extremes = [
            (float(values.min()), float(values.max()))
            for top in range(0, source.height, BLOCK)
            for values in [source.read(bands[0], window=Window(0, top, source.width, min(BLOCK, source.height - top)))]
        ]
        largest = depth_of(
            min(low for low, _ in extremes), max(high for _, high in extremes), "float" in source.dtypes[0], path
        )

    def read(box: Box, size: tuple[int, int]) -> Image.Image:
        x, y, width, height = box[0], box[1], box[2] - box[0], box[3] - box[1]
        # In bands: GDAL would hold all the pixels that it takes the average of.
        count = min(max(width * height // MOST_AT_ONCE, 1), size[1])
        edges = [(size[1] * i // count, height * (size[1] * i // count) // size[1]) for i in range(count + 1)]
        try:
            read_bands = [
                source.read(
                    bands,
                    window=Window(x, y + top, width, bottom - top),
                    out_shape=(3, last - first, size[0]),
                    resampling=Resampling.average,
                )
                for (first, top), (last, bottom) in itertools.pairwise(edges)
            ]
            values = np.concatenate(read_bands, axis=1)
        except rasterio.errors.RasterioError as error:
            raise BrokenImageError(f"The image {path} cannot be read: {error}") from None
        if largest is not None:
            values = np.rint(values * (255 / largest)).clip(0, 255)
        return Image.fromarray(np.ascontiguousarray(values.transpose(1, 2, 0).astype(np.uint8)))

    return LargeImage(path, (source.width, source.height), 1, read)
