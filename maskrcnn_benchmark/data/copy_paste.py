"""Simple copy-paste (Ghiasi et al. 2021, arXiv 2012.07177): objects of one image appear in another."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import Dataset

from maskrcnn_benchmark.data.guarded import BROKEN
from maskrcnn_benchmark.data.transforms.crop import fit_boxes, on_canvas
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.keypoint import Keypoints
from maskrcnn_benchmark.structures.keypoint_ops import cat_keypoints, like
from maskrcnn_benchmark.structures.mask_ops import bitmaps
from maskrcnn_benchmark.structures.segmentation_mask import SegmentationMask

# Each object of the other image is pasted with this probability: "a random subset of objects".
OBJECT_PROB = 0.5


class CopyPasteDataset(Dataset):
    """A data set into whose images objects of a random other one are pasted.

    Args:
        dataset: its items are (PIL image, BoxList with "masks", index), transformed but for what `finish` does.
        finish: called as finish(image, target) at last.
        prob: of an image to be pasted into.

    What is drawn comes from python's `random`. An other image that cannot be read is not pasted from. Anything else that is
    asked of it, the data set answers.
    """

    def __init__(self, dataset: Any, finish: Callable, prob: float):
        if not 0 <= prob <= 1:
            raise ValueError(f"INPUT.COPY_PASTE_PROB must lie between 0 and 1; got {prob}.")
        self.dataset, self.finish, self.prob = dataset, finish, prob

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "dataset":  # not yet there when an instance is unpickled
            raise AttributeError(name)
        return getattr(self.dataset, name)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> tuple[Any, BoxList, int]:
        image, target, index = self.dataset[index]
        if random.random() < self.prob:
            try:
                other, objects, _ = self.dataset[random.randrange(len(self))]
            except BROKEN:
                pass  # it is reported when its own turn comes
            else:
                chosen = [i for i in range(len(objects)) if random.random() < OBJECT_PROB]
                if objects.has_field("has_mask"):  # a box is no outline to cut along
                    chosen = [i for i in chosen if objects.get_field("has_mask")[i]]
                if objects.has_field("ignored"):  # a sliver of an object is none to learn
                    chosen = [i for i in chosen if not objects.get_field("ignored")[i]]
                image, target = paste(image, target, other, objects[torch.tensor(chosen, dtype=torch.int64)])
        return *self.finish(image, target), index


def paste(image: Image.Image, target: BoxList, other: Image.Image, objects: BoxList) -> tuple[Image.Image, BoxList]:
    """Copy the pixels of `objects`, of the image `other`, to the same places in `image`.

    What they cover is taken off the masks in `target`; boxes of objects that lose pixels are drawn anew around the rest, those
    that lose all are removed. Keypoints under them count as hidden. Parts outside `image` are cut off. The result has the
    fields that both have, masks as bitmaps, the pasted objects last.
    """
    if not (target.has_field("masks") and objects.has_field("masks")):
        return image, target
    objects = _bitmaps(on_canvas(objects.convert("xyxy"), image.size))
    size_before = len(objects)
    objects = fit_boxes(objects, torch.ones(size_before, dtype=torch.bool)).clip_to_image(remove_empty=True)
    if len(objects) == 0:
        return image, target
    covered = bitmaps(objects.get_field("masks")).bool().any(0)
    pixels, source = np.array(image), np.asarray(other)
    height, width = (min(a, b) for a, b in zip(pixels.shape[:2], source.shape[:2], strict=True))
    stencil = covered[:height, :width].numpy()
    pixels[:height, :width][stencil] = source[:height, :width][stencil]

    target = _bitmaps(target.convert("xyxy"))
    masks = bitmaps(target.get_field("masks"))
    changed = (masks.bool() & covered).flatten(1).any(1)
    left = masks * ~covered
    target.add_field("masks", SegmentationMask(left, image.size, "mask"))
    for name in target.fields():
        data = target.get_field(name)
        if isinstance(data, Keypoints):
            target.add_field(name, _hide(data, covered))
    target = fit_boxes(target, changed).clip_to_image(remove_empty=True)
    return Image.fromarray(pixels), _join(target, objects)


def _bitmaps(target: BoxList) -> BoxList:
    """A copy with masks as bitmaps."""
    result = target.copy_with_fields(target.fields())
    result.add_field("masks", target.get_field("masks").convert("mask"))
    return result


def _hide(keypoints: Keypoints, covered: Tensor) -> Keypoints:
    """Visible keypoints in the pixels of bool Tensor[height, width] become hidden ones."""
    points = keypoints.keypoints.clone()
    x, y = (points[..., k].long().clamp(0, n - 1) for k, n in ((0, covered.shape[1]), (1, covered.shape[0])))
    points[..., 2] = torch.where(covered[y, x] & (points[..., 2] > 1), 1.0, points[..., 2])
    return like(keypoints, points, keypoints.size)


def _join(first: BoxList, second: BoxList) -> BoxList:
    joined = BoxList(torch.cat((first.bbox, second.bbox)), first.size)
    if first.has_field("has_mask") or second.has_field("has_mask"):
        parts = [
            part.get_field("has_mask") if part.has_field("has_mask") else torch.ones(len(part), dtype=torch.bool)
            for part in (first, second)
        ]
        joined.add_field("has_mask", torch.cat(parts))
    for name in first.fields():
        if not second.has_field(name) or name == "has_mask":
            continue
        a, b = first.get_field(name), second.get_field(name)
        if isinstance(a, SegmentationMask):
            joined.add_field(name, SegmentationMask(torch.cat((bitmaps(a), bitmaps(b))), a.size, "mask"))
        elif isinstance(a, Keypoints):
            joined.add_field(name, cat_keypoints([a, b]))
        elif isinstance(a, Tensor):
            joined.add_field(name, torch.cat((a, b)))
        else:
            raise ValueError(
                f"Copy-paste (INPUT.COPY_PASTE_PROB) cannot join the field {name!r} of two images, a {type(a).__name__}."
            )
    return joined
