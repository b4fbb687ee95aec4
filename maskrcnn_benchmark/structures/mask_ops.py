"""What the package does with the masks of an image, by upstream's interface alone: a fork may bring its own SegmentationMask."""

from typing import Any

import torch
from torch import Tensor

from maskrcnn_benchmark.structures import masks as own
from maskrcnn_benchmark.structures.segmentation_mask import SegmentationMask


def masks_from_coco(segmentations: list[Any], size: tuple[int, int]) -> SegmentationMask:
    """COCO `segmentation` entries, polygons and RLE mixed, of an image of `size` = (width, height): polygons if all are,
    bitmaps otherwise."""
    if any(isinstance(s, dict) for s in segmentations):
        return SegmentationMask(own.BinaryMaskList(segmentations, size).masks, size, "mask")
    return SegmentationMask(segmentations, size)


def mask_targets(masks: Any, boxes: Tensor, index: Tensor, resolution: int) -> Tensor:
    """What of an object's mask lies inside a box: uint8 Tensor[K, R, R] of 0 and 1.

    Args:
        masks: of the objects of an image.
        boxes: Tensor[K, 4] xyxy, pixels.
        index: int64 Tensor[K], the object of each box.
        resolution: R.
    """
    if isinstance(masks, own.SegmentationMask):
        return masks.crop_and_resize(boxes, index, resolution)
    objects, targets = list(masks), torch.zeros(len(boxes), resolution, resolution, dtype=torch.uint8)
    for target, box, i in zip(targets, boxes.cpu(), index.tolist(), strict=True):
        target.copy_(_bitmap(objects[i].crop(box).resize((resolution, resolution))))
    return targets


def bitmaps(masks: Any) -> Tensor:
    """Tensor[N, height, width] of the masks of N objects."""
    tensor = masks.convert("mask").get_mask_tensor()
    return tensor if tensor.ndim == 3 else tensor[None]


def _bitmap(mask: Any) -> Tensor:
    """[height, width] of a single object, which in upstream's first years was no SegmentationMask but converted to a tensor."""
    converted = mask.convert("mask")
    return converted if isinstance(converted, Tensor) else converted.get_mask_tensor()


def masks_on_canvas(masks: Any, size: tuple[int, int]) -> SegmentationMask:
    """The same masks in an image of another size = (width, height) with the same upper left corner."""
    if isinstance(masks, own.SegmentationMask) and masks.mode == "poly":
        return SegmentationMask(list(masks.instances), size)
    old = bitmaps(masks)
    canvas = old.new_zeros(len(old), size[1], size[0])
    height, width = (min(a, b) for a, b in zip(old.shape[1:], canvas.shape[1:], strict=True))
    canvas[:, :height, :width] = old[:, :height, :width]
    return SegmentationMask(canvas, size, "mask")
