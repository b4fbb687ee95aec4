"""Masks of COCO's annotations as training targets."""

import logging

import torch

from maskrcnn_benchmark.data.datasets.coco_masks import usable_mask
from maskrcnn_benchmark.data.datasets.pixels import OnceForAll
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.mask_ops import masks_from_coco

_said = OnceForAll()


def add_masks(target: BoxList, annotations: list[dict], size: tuple[int, int], some_without: bool) -> None:
    """Add the fields "masks" and, where some objects of the set have none, "has_mask": bool Tensor[N].

    An object without a usable mask has its box in place of one: what looks at masks without knowing "has_mask" goes least wrong.

    Args:
        target: of the annotations.
        size: (width, height) of the image.
        some_without: whether other objects of the set have no mask.
    """
    width, height = size
    masks = [usable_mask(a.get("segmentation"), a["bbox"], height, width) for a in annotations]
    is_whole = None not in masks
    if some_without or not is_whole:
        target.add_field("has_mask", torch.tensor([mask is not None for mask in masks], dtype=torch.bool))
    if not is_whole and not some_without and _said():
        example = annotations[masks.index(None)].get("id")
        logging.getLogger(__name__).warning(
            'Objects whose "segmentation" cannot be decoded are left out of training masks, for example id %s.', example
        )
    if not is_whole:
        masks = [_box(a["bbox"]) if mask is None else mask for mask, a in zip(masks, annotations, strict=True)]
    target.add_field("masks", masks_from_coco(masks, size))


def _box(box: list[float]) -> list[list[float]]:
    x, y, w, h = box
    return [[x, y, x + w, y, x + w, y + h, x, y + h]]
