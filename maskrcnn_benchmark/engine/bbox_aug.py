"""Test-time augmentation by maskrcnn-benchmark's functions, which read the global configuration; see
test_time_augmentation.py.

`images` are PIL images in RGB. Results are in the pixels of the scaled images: boxes of all classes with "scores", from
`im_detect_bbox_aug` detections.
"""

from collections.abc import Sequence
from typing import Any

from PIL import Image
from torch import nn

from maskrcnn_benchmark.config.whole import cfg
from maskrcnn_benchmark.engine.test_time_augmentation import View, make_box_augmentation
from maskrcnn_benchmark.structures.bounding_box import BoxList


def im_detect_bbox_aug(model: nn.Module, images: Sequence[Image.Image], device: Any) -> list[BoxList]:
    """Detections from all views."""
    return make_box_augmentation(cfg).detect(model, images, device)


def im_detect_bbox(
    model: nn.Module, images: Sequence[Image.Image], target_scale: int, target_max_size: int, device: Any
) -> list[BoxList]:
    """Boxes of all classes from images of a shorter side of `target_scale` pixels, the longer at most `target_max_size`."""
    return im_detect_bbox_scale(model, images, target_scale, target_max_size, device)


def im_detect_bbox_hflip(
    model: nn.Module, images: Sequence[Image.Image], target_scale: int, target_max_size: int, device: Any
) -> list[BoxList]:
    """The same from mirrored images; the boxes are mirrored back."""
    return im_detect_bbox_scale(model, images, target_scale, target_max_size, device, hflip=True)


def im_detect_bbox_scale(
    model: nn.Module,
    images: Sequence[Image.Image],
    target_scale: int,
    target_max_size: int,
    device: Any,
    hflip: bool = False,
) -> list[BoxList]:
    """Either of the two above."""
    view = View(target_scale, target_max_size, hflip)
    return make_box_augmentation(cfg).all_boxes(model, images, view, device)[1]
