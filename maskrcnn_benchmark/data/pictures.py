"""Pictures as users have them, made one kind: PIL images in RGB."""

import io
import os
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from maskrcnn_benchmark.data.datasets.images import decode_rgb, orientation_of, read_rgb, settled, turned
from maskrcnn_benchmark.data.datasets.pixels import parts, to_rgb

KINDS = (
    "a path, a PIL image, a uint8 array [H, W, 3] in OpenCV's order BGR or [H, W] in grey, or a tensor [3, H, W] "
    "in RGB (uint8, or floating point from 0 to 1)"
)


WHOLE = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


def write_picture(path: str, picture: np.ndarray) -> None:
    """Write uint8 [H, W, 3], BGR, in the format of the path's ending. Raises OSError with a sentence."""
    if not cv2.imwrite(path, picture):
        raise OSError(f"Cannot write {path}: the disk is full, or the folder cannot be written to.")


def free_name(path: str, ending: str, taken: set[str]) -> str:
    """A name for the drawing of an image, which is then among the `taken`: "x.png", and "x_2.png" for one of another folder."""
    stem = os.path.splitext(os.path.basename(path))[0]
    name, number = f"{stem}{ending}", 2
    while name in taken:
        name, number = f"{stem}_{number}{ending}", number + 1
    taken.add(name)
    return name


def read_upright(path: str | os.PathLike) -> Image.Image:
    """The image of a file as it is meant to be seen: RGB, turned as its EXIF entry says. Raises BrokenImageError."""
    return read_rgb(path)


def decode_upright(content: bytes, name: str) -> Image.Image:
    """The same of a file's content, which messages call by `name`."""
    return decode_rgb(io.BytesIO(content), name)


def to_picture(source: Any) -> Image.Image:
    """One picture of any kind in `KINDS`. Raises BrokenImageError for a file, ValueError or TypeError for the others."""
    if isinstance(source, (str, os.PathLike)):
        return read_upright(source)
    if isinstance(source, Image.Image):
        source.load()  # which turns a TIFF
        try:
            image = to_rgb(source, "given by PIL")
        except ValueError as error:
            raise ValueError(f"The PIL image (mode {source.mode}) cannot be used: {error}.") from None
        orientation = orientation_of(source)
        return image if orientation == 1 else settled(turned(image, orientation))  # given again, it is not turned again
    if isinstance(source, np.ndarray):
        return Image.fromarray(np.ascontiguousarray(_checked(source)[:, :, ::-1]))
    if isinstance(source, Tensor):
        return _from_tensor(source)
    raise TypeError(f"A picture is {KINDS}; got a {type(source).__name__}.")


def _checked(array: np.ndarray) -> np.ndarray:
    if array.dtype == np.uint8 and (array.ndim == 2 or array.shape[2:] == (1,)):
        array = np.repeat(array.reshape(*array.shape[:2], 1), 3, axis=2)
    if array.dtype != np.uint8 or array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        raise ValueError(
            "An array must be uint8 [H, W, 3] in the order BGR or [H, W] in grey, as OpenCV reads it; got "
            f"{array.dtype} {list(array.shape)}. The path of a file of another kind can be given instead."
        )
    return array


def _from_tensor(tensor: Tensor) -> Image.Image:
    pixels = tensor.detach().cpu()
    if pixels.ndim != 3 or pixels.shape[0] != 3 or 0 in pixels.shape:
        raise ValueError(f"A tensor must be [3, H, W] in the order RGB; got the shape {list(pixels.shape)}.")
    if pixels.is_floating_point():
        low, high = pixels.min().item(), pixels.max().item()
        if not (low >= 0 and high <= 1):
            raise ValueError(
                f"A floating-point tensor must hold values from 0 to 1; got {low:g} to {high:g}. Give the image before it is "
                "normalised, or uint8 values from 0 to 255."
            )
        pixels = (pixels * 255).round()
    elif pixels.dtype not in WHOLE or not 0 <= pixels.min() <= pixels.max() <= 255:
        raise ValueError(
            f"A tensor must hold whole numbers from 0 to 255, or floating-point ones from 0 to 1; got {pixels.dtype}"
            + (f" from {pixels.min().item()} to {pixels.max().item()}." if pixels.dtype in WHOLE else ".")
        )
    return Image.fromarray(np.ascontiguousarray(pixels.byte().permute(1, 2, 0).numpy()))


def to_bgr(picture: Any) -> np.ndarray:
    """One picture of any kind as a uint8 array [H, W, 3], BGR, as OpenCV and drawing take it. Raises as `to_picture`."""
    if isinstance(picture, np.ndarray):
        return _checked(picture)
    image = to_picture(picture)
    result = np.empty((image.height, image.width, 3), np.uint8)
    for (left, top), part in parts(image):
        result[top : top + part.shape[0], left : left + part.shape[1]] = part[:, :, ::-1]
    return result
