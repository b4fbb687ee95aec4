"""Test-time augmentation: one detector looks at an image several times, scaled and mirrored.

The boxes of all views are brought into the first one, joined, and suppressed together; the other heads (masks) then look
at what is left.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn

from maskrcnn_benchmark.config.node import ConfigError
from maskrcnn_benchmark.config.options import options
from maskrcnn_benchmark.data.large_images import LargeImage
from maskrcnn_benchmark.data.transforms import transforms as T
from maskrcnn_benchmark.modeling.roi_heads.parts import heads_by_name
from maskrcnn_benchmark.structures.bounding_box import FLIP_LEFT_RIGHT, BoxList
from maskrcnn_benchmark.structures.boxlist_ops import cat_boxlist
from maskrcnn_benchmark.structures.image_list import ImageList, to_image_list

Features = Sequence[Tensor]
Size = tuple[float, float]  # width, height
MASKS = ("identity", "average")


@dataclass(frozen=True)
class View:
    """An image scaled to a shorter side of `min_size` pixels, the longer at most `max_size`, and mirrored if `flip`."""

    min_size: int
    max_size: int
    flip: bool = False

    def place(self, boxlist: BoxList, size: Size) -> BoxList:
        """Boxes of the image, at any scale, in this view of it, which has `size` = (width, height)."""
        boxlist = _resize(boxlist, size)
        return boxlist.transpose(FLIP_LEFT_RIGHT) if self.flip else boxlist

    def restore(self, boxlist: BoxList, size: Size) -> BoxList:
        """The opposite of `place`: into the image of `size`. The field "mask", Tensor[N, 1, M, M], goes along."""
        if self.flip:
            boxlist = boxlist.transpose(FLIP_LEFT_RIGHT)
            if boxlist.has_field("mask"):
                boxlist.add_field("mask", boxlist.get_field("mask").flip(-1))
        return _resize(boxlist, size)


@dataclass(frozen=True)
class BoxAugmentation:
    """Detects in several views of each image.

    The box head's `post_processor`, made with `bbox_aug_enabled`, has the head return the boxes of all classes; its
    `filter_results` selects from those of all views.

    Attributes:
        views: the first one's size is that of the detections.
        normalize: the last step from an image to the network's input.
        size_divisible: batches are padded to multiples of it.
        num_classes: with the background as class 0.
        average_masks: the mean of every view's masks, in place of the first one's. Features are computed a second time
            for it: those of all views together would not fit into memory.
    """

    views: tuple[View, ...]
    normalize: T.Normalize
    size_divisible: int
    num_classes: int
    average_masks: bool = False

    def look(self, images: Sequence[Image.Image | LargeImage], view: View, device: Any) -> ImageList:
        """The network's input for RGB images."""
        if isinstance(images, ImageList) or not all(isinstance(image, (Image.Image, LargeImage)) for image in images):
            raise ConfigError(
                "Test-time augmentation scales PIL images itself: build the data loader with TEST.BBOX_AUG.ENABLED True."
            )
        resize: Any = T.Resize(view.min_size, view.max_size)  # of PIL images, and of large ones
        scaled = [resize(image) for image in images]
        if view.flip:
            scaled = [image.transpose(Image.Transpose.FLIP_LEFT_RIGHT) for image in scaled]
        tensors = [self.normalize(T.ToTensor()(image, None)[0]) for image in scaled]
        return to_image_list(tensors, self.size_divisible).to(device)

    def all_boxes(
        self, model: nn.Module, images: Sequence[Image.Image | LargeImage], view: View, device: Any
    ) -> tuple[Features, list[BoxList]]:
        """The features of a view, and the boxes of all classes with "scores", in the view's scale but not mirrored."""
        _check(model)
        seen = self.look(images, view, device)
        features = _features(model, seen)
        proposals, _ = model.rpn(seen, features, None)  # type: ignore[operator]
        _, boxes, _ = _heads(model)["box"](features, proposals)
        return features, [view.restore(b, b.size) for b in boxes]

    def detect(self, model: nn.Module, images: Sequence[Image.Image | LargeImage], device: Any) -> list[BoxList]:
        """Detections of each image, best first, with "scores", "labels" and what the model's other heads add."""
        features, boxes = self.all_boxes(model, images, self.views[0], device)
        by_image = [[b] for b in boxes]
        for view in self.views[1:]:
            for found, others in zip(by_image, self.all_boxes(model, images, view, device)[1], strict=True):
                found.append(_resize(others, found[0].size))
        selector: Any = _heads(model)["box"].post_processor
        merged = [selector.filter_results(cat_boxlist(found), self.num_classes) for found in by_image]
        results = self._other_heads(model, features, self.views[0], merged)
        if self.average_masks and "mask" in _heads(model):
            self._average_masks(model, images, results, device)
        return results

    def _other_heads(
        self, model: nn.Module, features: Features, view: View, merged: list[BoxList], only: str | None = None
    ) -> list[BoxList]:
        """What the heads after the box head, or one of them, see in a view whose boxes have its size already."""
        boxes = [view.place(b, b.size) for b in merged]
        for name, head in _heads(model).items():
            if name != "box" and only in (None, name):
                _, boxes, _ = head(features, boxes)
        return [view.restore(b, b.size) for b in boxes]

    def _average_masks(
        self, model: nn.Module, images: Sequence[Image.Image | LargeImage], results: list[BoxList], device: Any
    ) -> None:
        """Replace the masks of `results`, which are the first view's."""
        plain = [b.copy_with_fields(["scores", "labels"]) for b in results]
        total = [b.get_field("mask") for b in results]
        for view in self.views[1:]:
            seen = self.look(images, view, device)
            scaled = [_resize(b, (size[1], size[0])) for b, size in zip(plain, seen.image_sizes, strict=True)]
            found = self._other_heads(model, _features(model, seen), view, scaled, only="mask")
            total = [t + b.get_field("mask") for t, b in zip(total, found, strict=True)]
        for boxlist, masks in zip(results, total, strict=True):
            boxlist.add_field("mask", masks / len(self.views))


def _resize(boxlist: BoxList, size: Size) -> BoxList:
    """Scale; a box that the decoder made narrower than a pixel gets one, as enlarged it would have a negative area."""
    if tuple(boxlist.size) == tuple(size):
        return boxlist
    boxlist = boxlist.resize((int(size[0]), int(size[1])))
    boxlist.bbox = torch.cat((boxlist.bbox[:, :2], torch.maximum(boxlist.bbox[:, 2:], boxlist.bbox[:, :2])), dim=1)
    return boxlist


def _heads(model: nn.Module) -> nn.ModuleDict:
    return model.roi_heads  # type: ignore[return-value]


def _features(model: nn.Module, seen: ImageList) -> Features:
    return model.backbone(seen.tensors.contiguous(memory_format=getattr(model, "layout", torch.contiguous_format)))  # type: ignore[operator]


def _check(model: nn.Module) -> None:
    head = heads_by_name(model).get("roi_heads.box")
    if head is None:
        raise ConfigError(
            f'Test-time augmentation needs a detector with a box head, and {type(model).__name__} has no `roi_heads["box"]`; '
            "set TEST.BBOX_AUG.ENABLED to False for it, as for RPN_ONLY and RETINANET_ON models, and for heads that "
            "MODEL.ROI_HEADS.NAME makes as one module."
        )
    selector = getattr(head, "post_processor", None)
    if not hasattr(selector, "filter_results"):
        raise ConfigError(
            f"Test-time augmentation asks the box head for its PostProcessor, and {type(head).__name__} has no attribute "
            "`post_processor` that is one. Give it one, made with bbox_aug_enabled=cfg.TEST.BBOX_AUG.ENABLED, or set "
            "TEST.BBOX_AUG.ENABLED to False."
        )
    if not getattr(selector, "bbox_aug_enabled", False):
        raise ConfigError(
            f"The post_processor of {type(head).__name__} was built without test-time augmentation: build the model with "
            "TEST.BBOX_AUG.ENABLED True, which a head of your own gives its PostProcessor as bbox_aug_enabled."
        )


def make_views(cfg) -> tuple[View, ...]:
    """The views that TEST.BBOX_AUG describes; the image as plain testing sees it comes first."""
    source = cfg.TEST.BBOX_AUG
    views = [View(cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST)]
    if source.H_FLIP:
        views.append(replace(views[0], flip=True))
    for scale in source.SCALES:
        views.append(View(scale, source.MAX_SIZE))
        if source.SCALE_H_FLIP:
            views.append(View(scale, source.MAX_SIZE, flip=True))
    return tuple(views)


def make_box_augmentation(cfg) -> BoxAugmentation:
    masks = options(cfg).TEST.BBOX_AUG.MASKS
    if masks not in MASKS:
        raise ConfigError(f"TEST.BBOX_AUG.MASKS is {masks!r}; it must be one of {MASKS}.")
    if masks == "average" and cfg.MODEL.ROI_MASK_HEAD.POSTPROCESS_MASKS:
        raise ConfigError(
            "TEST.BBOX_AUG.MASKS 'average' needs masks that are not pasted yet: set MODEL.ROI_MASK_HEAD.POSTPROCESS_MASKS to "
            "False."
        )
    return BoxAugmentation(
        views=make_views(cfg),
        normalize=T.Normalize(cfg.INPUT.PIXEL_MEAN, cfg.INPUT.PIXEL_STD, cfg.INPUT.TO_BGR255),
        size_divisible=cfg.DATALOADER.SIZE_DIVISIBILITY,
        num_classes=cfg.MODEL.ROI_BOX_HEAD.NUM_CLASSES,
        average_masks=masks == "average",
    )
