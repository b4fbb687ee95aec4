"""ImageList: images of different sizes in one padded tensor."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from maskrcnn_benchmark.structures.boxes import moved


class ImageList:
    """A batch of images, padded with zeros at the right and the bottom.

    Attributes:
        tensors: Tensor[B, C, H, W].
        image_sizes: (height, width) of each image without its padding.
    """

    def __init__(self, tensors: Tensor, image_sizes: Sequence[Any]):
        self.tensors = tensors
        self.image_sizes = image_sizes

    def to(self, *args: Any, **kwargs: Any) -> "ImageList":
        """The same on a device. From pinned memory (`pin_memory`) the host does not wait for the copy."""
        return ImageList(moved(self.tensors, *args, **kwargs), self.image_sizes)

    def pin_memory(self) -> "ImageList":
        return ImageList(self.tensors.pin_memory(), self.image_sizes)


def to_image_list(tensors: ImageList | Tensor | Sequence[Tensor], size_divisible: int = 0) -> ImageList:
    """Batch images.

    Args:
        tensors: an ImageList (returned as it is), a Tensor[C, H, W] or Tensor[B, C, H, W] (not copied unless it has to be
            padded), or a sequence of Tensor[C, H, W].
        size_divisible: pad height and width to multiples of this; 0 for no more than the largest image.
    """
    if isinstance(tensors, ImageList):
        return tensors
    if isinstance(tensors, Tensor):
        if tensors.ndim not in (3, 4):
            raise ValueError(f"An image tensor has 3 or 4 dimensions; got the shape {list(tensors.shape)}.")
        if tensors.ndim == 4 and tensors.shape[0] == 0:
            raise ValueError(f"The batch of images is empty: its shape is {list(tensors.shape)}.")
        tensors = tensors[None] if tensors.ndim == 3 else tensors
        if size_divisible <= 0 or not any(n % size_divisible for n in tensors.shape[-2:]):
            return ImageList(tensors, [tensors.shape[-2:] for _ in tensors])  # nothing to pad: the same memory
        tensors = list(tensors)
    if not isinstance(tensors, (list, tuple)) or not all(isinstance(t, Tensor) and t.ndim == 3 for t in tensors):
        raise TypeError(f"Expected an ImageList, a tensor or a list of Tensor[C, H, W]; got {type(tensors).__name__}.")
    if not tensors:
        raise ValueError("The list of images is empty.")

    height, width = (max(t.shape[d] for t in tensors) for d in (1, 2))
    if size_divisible > 0:
        height, width = (-(-n // size_divisible) * size_divisible for n in (height, width))
    channels = max(t.shape[0] for t in tensors)
    batch = tensors[0].new_zeros((len(tensors), channels, height, width))
    for image, slot in zip(tensors, batch, strict=True):
        slot[: image.shape[0], : image.shape[1], : image.shape[2]].copy_(image)
    return ImageList(batch, [torch.Size(t.shape[-2:]) for t in tensors])
