"""What a detector is called with, refused in a sentence where it cannot be right."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.image_list import ImageList


def check_images(images: ImageList) -> None:
    if not images.tensors.is_floating_point():
        raise TypeError(
            f"Images are floating-point tensors in the range that INPUT describes; got {images.tensors.dtype}. "
            "maskrcnn_benchmark.data.transforms.build_transforms makes them from pictures, and Predictor takes pictures."
        )


def check_targets(images: ImageList, targets: Sequence[Any] | None) -> None:
    """Of a training step."""
    if targets is None:
        raise ValueError("In training mode the model needs targets; call model.eval() to detect objects.")
    sizes = [(int(size[1]), int(size[0])) for size in images.image_sizes]
    if len(targets) != len(sizes):
        raise ValueError(f"Each image needs its target, which may hold no objects: {len(sizes)} and {len(targets)}.")
    for place, (target, size) in enumerate(zip(targets, sizes, strict=True)):
        if isinstance(
            target, (Mapping, Tensor)
        ):  # as torchvision's detectors take them; a fork may have a class of its own
            raise TypeError(
                "Targets are BoxLists with the boxes x1, y1, x2, y2 and the field labels, in pixels of their image; got "
                f"{type(target).__name__}."
            )
        if isinstance(target, BoxList) and tuple(target.size) != size:
            raise ValueError(
                f"Image {place} is {size[0]} x {size[1]} pixels, and its target is of an image of {target.size[0]} x "
                f"{target.size[1]}. Where images are padded, an ImageList says how large they are without: to_image_list makes "
                "one from a list of images."
            )
