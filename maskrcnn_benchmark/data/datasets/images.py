"""The one reader of image files, and what is said about those that cannot be read.

Training, tests, prediction, the web page, drawings and checks all read by `decode_rgb`, so that they see the same image.
"""

import contextlib
import logging
import os
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import IO, Any

import cv2
import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError, features

from maskrcnn_benchmark.data.datasets import raster
from maskrcnn_benchmark.data.datasets.pixels import PILLOW_RGB, OnceForAll, bytes_per_pixel, colours_to_rgb, to_rgb
from maskrcnn_benchmark.utils.wording import counted

_AVIF = (".avif", ".avifs")
_READS_AVIF = "avif" in features.modules and features.check("avif")  # Pillow may be built without
IMAGE_ENDINGS = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".jp2", ".ppm", ".pgm"),
    *(_AVIF if _READS_AVIF else ()),
)
# Of images that are not looked for: other codecs, what cameras store before they develop it, and drawings.
UNREAD_ENDINGS = tuple(
    ".heic .heif .hif .jxl .jxr .dng .cr2 .cr3 .nef .nrw .arw .srf .sr2 .orf .rw2 .raf .pef .srw .x3f .3fr .iiq .erf .kdc .rwl "
    ".psd .psb .xcf .exr .svg .eps".split()
) + (() if _READS_AVIF else _AVIF)
ORIENTATION = 0x0112  # EXIF's tag
BITS, PHOTOMETRIC, SAMPLES, PLANES, NODATA = 258, 262, 277, 284, 42113  # tags of TIFF; the last is GDAL's
TILE_WIDTH, TILE_HEIGHT = 322, 323
# How the stored pixels become the image as it is seen.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_BACK = {
    **{turn: turn for turn in _TURNS.values()},
    Image.Transpose.ROTATE_270: Image.Transpose.ROTATE_90,
    Image.Transpose.ROTATE_90: Image.Transpose.ROTATE_270,
}
# Formats with an image on each page; the further ones of a photograph (MPO) are previews.
OF_PAGES = ("TIFF", "GIF", "WEBP", "AVIF")
SWAPS_SIDES = (5, 6, 7, 8)
PNG_EXIF = {"exif", "Raw profile type exif", "Raw profile type APP1"}  # where Pillow looks for it in a PNG
MOST_BYTES = 5 * 178_956_970  # so much do the most pixels that Pillow takes for genuine need as grey values and as RGB

_said_pages = OnceForAll()
LARGER = "cut it into parts (`mrb predict` without --ann-file and Predictor read larger files as they are)"


def unread_images(files: Sequence[str | os.PathLike]) -> str:
    """The sentence on files of UNREAD_ENDINGS, "" for none."""
    if not files:
        return ""
    count = counted(len(files), "image file is", "image files are")
    return f"{count} of a kind that is not read, for example {files[0]}: convert such files to JPEG or PNG."


class BrokenImageError(OSError):
    """An image file that is missing, cannot be decoded or is not the one that was annotated; the message names it."""


@dataclass(frozen=True)
class Header:
    """What is known of an image before its pixels are read: (width, height) as stored, and EXIF's orientation, 1 to 8."""

    stored: tuple[int, int]
    orientation: int

    @property
    def seen(self) -> tuple[int, int]:
        """(width, height) of the image as it is meant to be seen."""
        width, height = self.stored
        return (height, width) if self.orientation in SWAPS_SIDES else (width, height)


def always_turned(header: Header) -> bool:
    return True


def read_rgb(path: str | os.PathLike, turn: Callable[[Header], bool] = always_turned) -> Image.Image:
    """The image of a file, see `decode_rgb`."""
    return decode_rgb(os.fspath(path), os.fspath(path), turn)


def decode_rgb(source: Any, name: str, turn: Callable[[Header], bool] = always_turned) -> Image.Image:
    """An image as RGB of 8 bits, turned as its EXIF entry says.

    Args:
        source: a path, or a file of its content.
        name: what messages call it.
        turn: whether to turn an image; it may refuse one by a BrokenImageError.

    Raises BrokenImageError, for more pixels than Pillow takes for genuine before any memory is taken.
    """

    def decode(image: Image.Image) -> Image.Image:
        # First of all: Pillow may decode a PNG to find its orientation, and then knows no more how it was stored.
        file, is_deep = image.fp, has_deep_colours(image)  # type: ignore[attr-defined]
        is_for_gdal = _is_raster(source) and (is_deep or _is_for_gdal(image))
        header = _header(image)
        if not is_for_gdal:
            _check_size(image, header.orientation in _TURNS, name)
            check_planes(image)
        if image.format in OF_PAGES and image.is_animated:  # type: ignore[attr-defined]
            _say_pages(name)
        wanted = turn(header) and header.orientation in _TURNS
        if is_for_gdal:
            result = _decode_raster(raster.Raster(source), name)
        elif is_deep:
            result = colours_to_rgb(deep_colours(image, file), name)
        else:
            result = _pixels(image, source, name)
        is_turned = header.orientation != 1 and orientation_of(image) == 1  # Pillow and OpenCV turn TIFF themselves
        if wanted != is_turned:
            method = _TURNS[header.orientation]
            result = result.transpose(method if wanted else _BACK[method])
        return settled(result)

    return _with_image(source, name, decode, lambda file: _decode_raster(file, name))


def settled(image: Image.Image) -> Image.Image:
    """An image that nobody is to turn any more: without what says its orientation."""
    for key in ("exif", "xmp", "XML:com.adobe.xmp", *PNG_EXIF):
        image.info.pop(key, None)
    with contextlib.suppress(Exception):  # a damaged entry says nothing
        image.getexif().pop(ORIENTATION, None)
    return image


def _pixels(image: Image.Image, source: Any, name: str) -> Image.Image:
    """What Pillow decodes, or GDAL where Pillow lacks a compression of TIFF."""
    try:
        image.load()
    except OSError as error:
        if _is_raster(source):
            with contextlib.suppress(ValueError):  # a damaged file, of which Pillow says more
                return _decode_raster(raster.Raster(source), name)
        raise OSError(f"{error}{_lacking(source)}" if _is_for_gdal(image) else str(error)) from None
    result = to_rgb(image, name)
    return ImageOps.invert(result) if is_inverted(image) else result


def has_deep_colours(image: Image.Image) -> bool:
    """Whether an opened image has colours of 16 bits, of which Pillow keeps the upper 8, whatever depth they fill."""
    if image.mode not in ("RGB", "RGBA"):
        return False
    if image.format == "TIFF":
        return max(image.tag_v2.get(BITS, (8,))) > 8  # type: ignore[attr-defined]
    tiles: Any = getattr(image, "tile", ())
    if image.format == "PPM":
        return bool(tiles) and tuple(tiles[0])[::3] == ("ppm", ("RGB", 65535))
    return image.format == "PNG" and bool(tiles) and str(tiles[0][3]).endswith(";16B")


def deep_colours(image: Image.Image, file: IO[bytes]) -> np.ndarray:
    """The colours of an image that `has_deep_colours`, by its file: uint16 [height, width, 3], RGB. A TIFF is turned, which
    `orientation_of` then tells, as of one that Pillow has loaded. Raises OSError."""
    file.seek(0)
    values = cv2.imdecode(np.frombuffer(file.read(), np.uint8), cv2.IMREAD_UNCHANGED)
    if values is None:
        raise OSError("its colours of 16 bits cannot be decoded: it is damaged, or of a kind that OpenCV does not know")
    if image.format == "TIFF":
        image.getexif().pop(ORIENTATION, None)
    return values[:, :, 2::-1]


def check_planes(image: Image.Image) -> None:
    """Raise OSError for an opened TIFF of which only GDAL reads the planes."""
    if _has_planes(image):
        raise OSError(
            "its bands lie in a plane each; install rasterio (pip install rasterio), which reads that, or save it with the "
            "values of each pixel together"
        )


def _has_planes(image: Image.Image) -> bool:
    """Whether the bands of a TIFF lie in a plane each, so that OpenCV mixes its colours up, or Pillow shows the first as grey or
    does not decode even that, as of values of more than 8 bits that are not compressed."""
    tags = getattr(image, "tag_v2", {})
    is_grey = len(image.getbands()) == 1
    is_deep = image.mode.startswith(("I", "F")) and image.info.get("compression") == "raw"
    return tags.get(PLANES, 1) != 1 and (has_deep_colours(image) or (is_grey and tags.get(SAMPLES, 1) >= 3) or is_deep)


def is_inverted(image: Image.Image) -> bool:
    """Whether the values of a loaded image are 0 for white: of TIFF, Pillow turns those of 8 bits round, and no others."""
    return image.mode.startswith(("I", "F")) and getattr(image, "tag_v2", {}).get(PHOTOMETRIC) == 0


def _is_for_gdal(image: Image.Image) -> bool:
    """Whether GDAL knows more of an opened image than Pillow: which pixels have no value, what lies in planes, and how other
    programs convert L*a*b*. On colours in JPEG 2000 and on WebP within TIFF Pillow fails, not without noise."""
    is_grey = image.mode.startswith(("I", "F"))
    return (
        (is_grey and NODATA in getattr(image, "tag_v2", ()))
        or _has_planes(image)
        or image.mode == "LAB"
        or (image.format == "JPEG2000" and not is_grey)
        or (image.format == "TIFF" and image.info.get("compression") == "webp")
    )


def _decode_raster(file: raster.Raster, name: str) -> Image.Image:
    if file.bytes_to_decode > MOST_BYTES:
        raise BrokenImageError(
            f"The image {name} cannot be read: {file.size[0]} x {file.size[1]} pixels are more than the {MOST_BYTES // 2**20} MB "
            f"that an image may take here; {LARGER}"
        )
    return file.read((0, 0, *file.size), file.size)


def _say_pages(name: str) -> None:
    if _said_pages():
        logging.getLogger(__name__).warning(
            "The image %s has several pages or frames, of which the first is looked at, as of any other such image.",
            name,
        )


def turned(image: Image.Image, orientation: int) -> Image.Image:
    """Stored pixels as they are meant to be seen by EXIF's orientation, 1 to 8."""
    return image.transpose(_TURNS[orientation]) if orientation in _TURNS else image


def read_header(path: str) -> Header:
    """What a file's header says, its pixels not decoded. Raises BrokenImageError."""
    return _with_image(path, path, _header, lambda file: Header(file.size, 1))


def image_size(path: str) -> tuple[int, int]:
    """(width, height) of the image as it is seen, from the file's header. Raises BrokenImageError."""
    return read_header(path).seen


def bytes_to_decode(path: str) -> int:
    """The memory that `read_rgb` takes for a file, by its header. Raises BrokenImageError."""
    return _with_image(
        path, path, lambda image: _bytes_of(image, orientation_of(image) in _TURNS), lambda file: file.bytes_to_decode
    )


def _is_raster(source: Any) -> bool:
    return isinstance(source, str) and raster.takes(source)


def _lacking(source: Any) -> str:
    """What to do about a file that is not read for want of GDAL, perhaps."""
    is_one = isinstance(source, str) and source.lower().endswith(raster.ENDINGS) and not raster.takes(source)
    return "; with rasterio (pip install rasterio) more files of this kind are read" if is_one else ""


def _with_image(
    source: Any, name: str, use: Callable[[Image.Image], Any], of_raster: Callable[[raster.Raster], Any]
) -> Any:
    """What `use` makes of an opened image, or `of_raster` of one that Pillow does not know and GDAL may."""
    try:
        # Of an opened file: a named one Pillow maps into memory where it can, and then confuses the sides of a turned TIFF.
        with (
            open(source, "rb") if isinstance(source, str) else contextlib.nullcontext(source) as f,
            Image.open(f) as image,
        ):
            return use(image)
    except BrokenImageError:
        raise
    except FileNotFoundError:
        raise BrokenImageError(f"The image {name} cannot be read: there is no such file") from None
    except UnidentifiedImageError:
        if _is_raster(source):
            try:
                return of_raster(raster.Raster(source))
            except ValueError as error:
                raise BrokenImageError(f"The image {name} cannot be read: {error}") from None
        todo = "; convert it to JPEG or PNG" if name.lower().endswith(UNREAD_ENDINGS) else _lacking(source)
        raise BrokenImageError(
            f"The image {name} cannot be read: it is no image, or of an unknown kind{todo}"
        ) from None
    except Image.DecompressionBombError:  # raised for twice as many pixels, before we are asked
        raise BrokenImageError(
            f"The image {name} cannot be read: it has more pixels than are read here; {LARGER}"
        ) from None
    except Exception as error:  # Pillow's decoders raise anything for what is damaged
        reason = str(error).rstrip(".") or type(error).__name__
        raise BrokenImageError(f"The image {name} cannot be read: {reason}") from None


def _bytes_of(image: Image.Image, is_turned: bool) -> int:
    stored = 2 * len(image.getbands()) if has_deep_colours(image) else 0
    tags = getattr(image, "tag_v2", {})
    # A tile is decoded as a whole, however little of it the image is.
    pixels = max(image.width * image.height, tags.get(TILE_WIDTH, 0) * tags.get(TILE_HEIGHT, 0))
    return pixels * (bytes_per_pixel(image.mode) + stored + (PILLOW_RGB if is_turned else 0))


def _check_size(image: Image.Image, is_turned: bool, name: str) -> None:
    """Raise BrokenImageError for an image that would take more than MOST_BYTES until it is decoded."""
    if _bytes_of(image, is_turned) > MOST_BYTES:
        raise BrokenImageError(
            f"The image {name} cannot be read: {image.width} x {image.height} pixels of the kind {image.mode} are more than the "
            f"{MOST_BYTES // 2**20} MB that an image may take here; {LARGER}"
        )


def _header(image: Image.Image) -> Header:
    orientation = orientation_of(image)
    width, height = image.size
    # Pillow gives the size of a TIFF as it is seen.
    swapped = image.format == "TIFF" and orientation in SWAPS_SIDES
    return Header((height, width) if swapped else (width, height), orientation)


def orientation_of(image: Image.Image) -> int:
    """EXIF's orientation of what an image holds, 1 to 8; 1 of a loaded TIFF, which Pillow turns itself."""
    if image.format == "PNG" and not image.info.keys() & PNG_EXIF and not _has_late_entries(image):
        return 1  # Pillow would decode the whole image to look for an entry behind the pixels
    try:
        orientation = image.getexif().get(ORIENTATION, 1)
    except Exception:  # a damaged entry says nothing; viewers show such an image as it is stored
        return 1
    return orientation if orientation in _TURNS else 1


def _has_late_entries(image: Image.Image) -> bool:
    """Whether a PNG that is not decoded yet has entries of EXIF or text behind its pixels, by the heads of its chunks."""
    file = getattr(image, "fp", None)
    if file is None:  # decoded: what there is stands in `info`
        return False
    place, is_behind = file.tell(), False
    try:
        file.seek(8)
        while len(head := file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            is_behind |= kind == b"IDAT"
            if is_behind and kind in (b"eXIf", b"zTXt", b"tEXt", b"iTXt"):
                return True
            file.seek(length + 4, os.SEEK_CUR)
        return False
    finally:
        file.seek(place)
