"""From mask logits to masks in the image.

Legend: N detections of an image, M side of a predicted mask, H and W of the image.
"""

from collections.abc import Iterator

import numpy as np
import pycocotools.mask as mask_utils
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from maskrcnn_benchmark.modeling.utils import cat
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.boxes import PIXEL

# Pixels pasted at a time (64 MB in float32), however many detections an image has.
MAX_PASTED_PIXELS = 1 << 24


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


class MaskPostProcessorCOCOFormat(MaskPostProcessor):
    """The same with compressed COCO RLEs of whole images as the field "mask", a list of N."""

    def forward(self, x: Tensor, boxes: list[BoxList]) -> list[BoxList]:
        results = _with_masks(boxes, _masks_of_classes(x, boxes))
        for result in results:
            result.add_field("mask", (self.masker or Masker()).encode(result.get_field("mask"), result))
        return results


def expand_boxes(boxes: Tensor, scale: float) -> Tensor:
    """Boxes `scale` times as far from their centres: Tensor[N, 4] xyxy -> the same."""
    centre, half = (boxes[:, 2:] + boxes[:, :2]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
    return torch.cat((centre - half * scale, centre + half * scale), dim=1)


def expand_masks(mask: Tensor, padding: int) -> tuple[Tensor, float]:
    """Empty cells around masks, Tensor[..., M, M], and how much larger that makes them."""
    size = mask.shape[-1]
    return F.pad(mask, (padding,) * 4), (size + 2 * padding) / size


def _axis_weights(low: Tensor, high: Tensor, size: int, length: int) -> Tensor:
    """How much each of `size` mask cells counts at each of `length` pixels, along one axis.

    The cells cover the pixels low to high, both inclusive; in between values are interpolated linearly, outside they
    are zero. int Tensor[N], int Tensor[N] -> Tensor[N, length, size].
    """
    extent = (high - low + PIXEL).clamp(min=1)[:, None]
    pixel = torch.arange(length, device=low.device) - low[:, None]
    position = ((pixel + 0.5) * size / extent - 0.5).clamp(0, size - 1)
    weights = (1 - (position[:, :, None] - torch.arange(size, device=low.device)).abs()).clamp(min=0)
    return weights * ((pixel >= 0) & (pixel < extent))[:, :, None]


def paste_masks(masks: Tensor, boxes: Tensor, height: int, width: int, padding: int = 1) -> Iterator[Tensor]:
    """Scale masks to their boxes, several at a time: bilinear interpolation is one matrix product along each axis.

    Args:
        masks: Tensor[N, M, M] in [0, 1].
        boxes: Tensor[N, 4] xyxy, pixels.
        height, width: of the image.
        padding: empty cells put around each mask first, so that it fades out at the edge of its box.

    Yields:
        Tensor[n, W, H], *transposed* as run-length encoding wants it, for consecutive groups of n masks.
    """
    masks, scale = expand_masks(masks, padding)
    size = masks.shape[-1]
    low, high = expand_boxes(boxes, scale).long().split(2, dim=1)
    step = max(MAX_PASTED_PIXELS // (height * width), 1)
    for part in torch.arange(len(masks)).split(step):
        rows = _axis_weights(low[part, 1], high[part, 1], size, height)
        columns = _axis_weights(low[part, 0], high[part, 0], size, width)
        yield columns @ (rows @ masks[part]).transpose(1, 2)


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

    def __call__(self, masks: list[Tensor] | Tensor, boxes: list[BoxList] | BoxList) -> list[Tensor]:
        if isinstance(boxes, BoxList) or isinstance(masks, Tensor):
            return self([masks], [boxes])  # type: ignore[list-item]
        if len(boxes) != len(masks) or any(len(b) != len(m) for b, m in zip(boxes, masks, strict=False)):
            raise ValueError(
                f"Each image needs as many masks as boxes; got {[len(m) for m in masks]} and {[len(b) for b in boxes]}."
            )
        return [self.forward_single_image(m, b) for m, b in zip(masks, boxes, strict=True)]

    def encode(self, masks: Tensor, boxes: BoxList) -> list[dict]:
        """Tensor[N, 1, M, M] -> N compressed COCO RLEs, never holding more than a few full-size masks."""
        width, height = (int(side) for side in boxes.size)
        rles: list[dict] = []
        for pasted in paste_masks(masks[:, 0], boxes.convert("xyxy").bbox, height, width, self.padding):
            # [n, W, H] in C order is [H, W, n] in Fortran order: no copy.
            columns = (pasted > self.threshold).to(torch.uint8).cpu().numpy()
            rles.extend(mask_utils.encode(np.transpose(columns, (2, 1, 0))))
        return [{"size": rle["size"], "counts": rle["counts"].decode("ascii")} for rle in rles]


def make_roi_mask_post_processor(cfg) -> MaskPostProcessor:
    head = cfg.MODEL.ROI_MASK_HEAD
    masker = Masker(head.POSTPROCESS_MASKS_THRESHOLD, padding=1) if head.POSTPROCESS_MASKS else None
    return MaskPostProcessor(masker)
