"""Transforms of a PIL image together with its BoxList."""

import random
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from maskrcnn_benchmark.data.items import ItemError, described
from maskrcnn_benchmark.data.transforms.flips_and_colours import ColorJitter, RandomHorizontalFlip, RandomVerticalFlip
from maskrcnn_benchmark.structures.bounding_box import BoxList

__all__ = [
    "ColorJitter",
    "Compose",
    "Normalize",
    "RandomHorizontalFlip",
    "RandomVerticalFlip",
    "Resize",
    "ToTensor",
]

# Rows of an image that are worked on at a time, so that they stay in a core's cache.
ROWS_AT_ONCE = 64


class Compose:
    """Transforms one after another. ToTensor and Normalize in a row go over the pixels once; the values are the same."""

    def __init__(self, transforms: Sequence[Callable[..., Any]]):
        self.transforms = list(transforms)

    def __call__(self, image: Any, target: BoxList | None) -> tuple[Any, BoxList | None]:
        steps: list[Any] = list(self.transforms)
        while steps:
            step = steps.pop(0)
            together = type(step) is ToTensor and steps and type(steps[0]) is Normalize
            if together and isinstance(image, Image.Image) and image.mode == "RGB":
                image = steps.pop(0).from_rgb(image)
                continue
            result = step(image, target)
            image, target = result if isinstance(result, tuple) else (result, target)  # of an image alone, an image
        return image, target

    def __repr__(self) -> str:
        return "Compose(\n" + "".join(f"    {t}\n" for t in self.transforms) + ")"


class Resize:
    """Scale so that the shorter side is one of `min_size` (drawn at random), unless the longer would exceed `max_size`.

    Of an image without a target, the image alone is returned.
    """

    def __init__(self, min_size: int | Sequence[int], max_size: int | None):
        self.min_size = tuple(min_size) if isinstance(min_size, (list, tuple)) else (min_size,)
        self.max_size = max_size

    def get_size(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """(width, height) -> (height, width) after scaling."""
        width, height = image_size
        size = random.choice(self.min_size)
        shorter, longer = min(width, height), max(width, height)
        if self.max_size is not None and longer / shorter * size > self.max_size:
            size = int(round(self.max_size * shorter / longer))
            if size == 0:  # longer than any size keeps its shape: one pixel wide, and of the length that is allowed
                return (self.max_size, 1) if width < height else (1, self.max_size)
        if shorter == size:
            return height, width
        if width < height:
            return int(size * height / width), size
        return size, int(size * width / height)

    def __call__(self, image: Image.Image, target: BoxList | None = None) -> Any:
        if not isinstance(getattr(image, "size", None), tuple):  # of an array a number, of a tensor a method
            raise ItemError(f"the image must be a PIL image; got {described(image)}.")
        height, width = self.get_size(image.size)
        if image.size != (width, height):
            image = image.resize((width, height), Image.Resampling.BILINEAR)
        return image if target is None else (image, target.resize(image.size))

    def __repr__(self) -> str:
        return f"Resize(min_size={self.min_size}, max_size={self.max_size})"


class ToTensor:
    """PIL image -> float32 Tensor[3, H, W] in [0, 1], RGB."""

    def __call__(self, image: Image.Image, target: BoxList | None) -> tuple[Tensor, BoxList | None]:
        pixels = torch.from_numpy(np.array(image, dtype=np.uint8))
        if pixels.ndim != 3:
            raise ItemError(
                f"the image must be of the mode RGB; got {described(image)}: make it `image.convert('RGB')`."
            )
        return pixels.permute(2, 0, 1).to(torch.float32, memory_format=torch.contiguous_format).div_(255), target

    def __repr__(self) -> str:
        return "ToTensor()"


class Normalize:
    """(x - mean) / std by channel; with `to_bgr255`, RGB in [0, 1] is first made BGR in [0, 255], as Caffe's models want.

    Of an image without a target, the image alone is returned.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float], to_bgr255: bool = True):
        self.mean, self.std, self.to_bgr255 = tuple(mean), tuple(std), to_bgr255

    def __call__(self, image: Tensor, target: BoxList | None = None) -> Any:
        if self.to_bgr255:
            image = image[[2, 1, 0]] * 255
        mean, std = (image.new_tensor(v)[:, None, None] for v in (self.mean, self.std))
        image = (image - mean) / std
        return image if target is None else (image, target)

    def from_rgb(self, image: Image.Image) -> Tensor:
        """What ToTensor and this make of an RGB image, to the last bit: float32 Tensor[3, H, W].

        For every whole number x up to 255, x / 255 * 255 is x in float32 too.
        """
        pixels = np.asarray(image)
        result = torch.empty(3, *pixels.shape[:2])
        planes, channels = result.numpy(), (2, 1, 0) if self.to_bgr255 else (0, 1, 2)
        for top in range(0, len(pixels), ROWS_AT_ONCE):
            rows = slice(top, top + ROWS_AT_ONCE)
            for plane, channel, mean, std in zip(planes[:, rows], channels, self.mean, self.std, strict=True):
                np.copyto(plane, pixels[rows, :, channel])
                if not self.to_bgr255:
                    plane /= np.float32(255)
                plane -= np.float32(mean)
                if std != 1:
                    plane /= np.float32(std)
        return result

    def __repr__(self) -> str:
        return f"Normalize(mean={self.mean}, std={self.std}, to_bgr255={self.to_bgr255})"
