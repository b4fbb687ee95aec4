"""From mask logits to masks in the image.

Legend: N detections of an image, M side of a predicted mask, H and W of the image.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from maskrcnn_benchmark.layers.layout import any_layout
from maskrcnn_benchmark.modeling.roi_heads.mask_head.pasting import (
    encode_masks,
    expand_boxes,
    expand_masks,
    paste_masks,
)
from maskrcnn_benchmark.modeling.utils import cat
from maskrcnn_benchmark.structures.bounding_box import BoxList

__all__ = [
    "MaskPostProcessor",
    "MaskPostProcessorCOCOFormat",
    "Masker",
    "expand_boxes",
    "expand_masks",
    "make_roi_mask_post_processor",
    "paste_mask_in_image",
]


@any_layout
class MaskPostProcessor(nn.Module):
    """Adds to the detections the mask of each one's class: field "mask", float Tensor[N, 1, M, M] in [0, 1].

    With a `masker` the masks are pasted into the image: Tensor[N, 1, H, W].
    """

    def __init__(self, masker: "Masker | None" = None):
        super().__init__()
        self.masker = masker

    def forward(self, x: Tensor, boxes: list[BoxList]) -> list[BoxList]:
        """x: logits Tensor[K, C, M, M] of the K detections of all images."""
        by_image = _masks_of_classes(x, boxes)
        return _with_masks(boxes, by_image if self.masker is None else self.masker(by_image, boxes))


def _masks_of_classes(x: Tensor, boxes: list[BoxList]) -> list[Tensor]:
    labels = cat([b.get_field("labels") for b in boxes])
    index = labels[:, None, None, None].expand(-1, -1, *x.shape[2:])
    masks = x.float().gather(1, index).sigmoid()
    return [masks] if len(boxes) == 1 else list(masks.split([len(b) for b in boxes]))


def _with_masks(boxes: list[BoxList], by_image: list[Tensor]) -> list[BoxList]:
    results = []
    for boxlist, mask in zip(boxes, by_image, strict=True):
        result = boxlist.copy_with_fields(boxlist.fields())
        result.add_field("mask", mask)
        results.append(result)
    return results


@any_layout
class MaskPostProcessorCOCOFormat(MaskPostProcessor):
    """The same with compressed COCO RLEs of whole images as the field "mask", a list of N."""

    def forward(self, x: Tensor, boxes: list[BoxList]) -> list[BoxList]:
        results = _with_masks(boxes, _masks_of_classes(x, boxes))
        for result in results:
            width, height = (int(side) for side in result.size)
            corners, masker = result.convert("xyxy").bbox, self.masker or Masker()
            rles = encode_masks(result.get_field("mask"), corners, height, width, masker.threshold, masker.padding)
            result.add_field("mask", rles)
        return results


def paste_mask_in_image(
    mask: Tensor, box: Tensor, im_h: int, im_w: int, thresh: float = 0.5, padding: int = 1
) -> Tensor:
    """One mask Tensor[M, M] in its box Tensor[4] of an image: bool [H, W], or uint8 for a negative threshold (see `Masker`)."""
    return Masker(thresh, padding).forward_single_image(
        mask.reshape(1, 1, *mask.shape[-2:]), BoxList(box[None], (im_w, im_h))
    )[0, 0]


class Masker:
    """Pastes masks into their images.

    Args:
        threshold: a pixel belongs to the mask if its value is above; negative: return the values times 255, as uint8.
        padding: see `paste_masks`.
    """

    def __init__(self, threshold: float = 0.5, padding: int = 1):
        self.threshold = threshold
        self.padding = padding

    def _threshold(self, pasted: Tensor) -> Tensor:
        return pasted > self.threshold if self.threshold >= 0 else (pasted * 255).to(torch.uint8)

    def forward_single_image(self, masks: Tensor, boxes: BoxList) -> Tensor:
        """Tensor[N, 1, M, M] -> Tensor[N, 1, H, W]: bool, or uint8 for a negative threshold."""
        width, height = (int(side) for side in boxes.size)
        corners = boxes.convert("xyxy").bbox
        pasted = [self._threshold(p).mT for p in paste_masks(masks[:, 0], corners, height, width, self.padding)]
        if not pasted:
            return self._threshold(masks.new_zeros(0, 1, height, width))
        return torch.cat(pasted)[:, None]

    def __call__(self, masks: Sequence[Tensor] | Tensor, boxes: list[BoxList] | BoxList) -> list[Tensor]:
        """The masks of each image: a list of Tensor[N, 1, M, M], the same as one Tensor[images, N, 1, M, M], or one image's."""
        if isinstance(boxes, BoxList):
            boxes = [boxes]
        if isinstance(masks, Tensor) and masks.ndim == 4:
            masks = [masks]
        if len(boxes) != len(masks) or any(len(b) != len(m) for b, m in zip(boxes, masks, strict=False)):
            raise ValueError(
                f"Each image needs as many masks as boxes; got {[len(m) for m in masks]} and {[len(b) for b in boxes]}."
            )
        return [self.forward_single_image(m, b) for m, b in zip(masks, boxes, strict=True)]


def make_roi_mask_post_processor(cfg) -> MaskPostProcessor:
    head = cfg.MODEL.ROI_MASK_HEAD
    masker = Masker(head.POSTPROCESS_MASKS_THRESHOLD, padding=1) if head.POSTPROCESS_MASKS else None
    return MaskPostProcessor(masker)
