"""Masks of a fixed size in the pixels of their image.

Legend: N detections of an image, M side of a predicted mask, H and W of the image.
"""

from collections.abc import Iterable, Iterator

import numpy as np
import pycocotools.mask as mask_utils
import torch
import torch.nn.functional as F
from torch import Tensor

from maskrcnn_benchmark.modeling.full_precision import full_precision
from maskrcnn_benchmark.structures.boxes import PIXEL

# Pixels pasted at a time (64 MB in float32), however many detections an image has.
MAX_PASTED_PIXELS = 1 << 24


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
        masks: Tensor[N, M, M] in [0, 1]; they are pasted in float32, also where autocast is on.
        boxes: Tensor[N, 4] xyxy, pixels.
        height, width: of the image.
        padding: empty cells put around each mask first, so that it fades out at the edge of its box.

    Yields:
        Tensor[n, W, H], *transposed* as run-length encoding wants it, for consecutive groups of n masks.
    """
    masks, scale = expand_masks(masks.float(), padding)
    size = masks.shape[-1]
    low, high = expand_boxes(boxes.float(), scale).long().split(2, dim=1)
    step = max(MAX_PASTED_PIXELS // (height * width), 1)
    for part in torch.arange(len(masks)).split(step):
        rows = _axis_weights(low[part, 1], high[part, 1], size, height)
        columns = _axis_weights(low[part, 0], high[part, 0], size, width)
        with full_precision(masks):
            pasted = columns @ (rows @ masks[part]).transpose(1, 2)
        yield pasted


def encode_masks(
    masks: Tensor, boxes: Tensor, height: int, width: int, threshold: float = 0.5, padding: int = 1
) -> list[dict]:
    """N compressed COCO RLEs, never holding more than a few full-size masks.

    Args:
        masks: Tensor[N, 1, M, M] in [0, 1]; or Tensor[N, 1, H, W], pasted already.
        boxes: Tensor[N, 4] xyxy, pixels.
        threshold: a pixel belongs to the mask if its value is above.
        padding: see `paste_masks`.
    """
    is_pasted = tuple(masks.shape[-2:]) == (height, width) and height != width
    if not is_pasted and height * width > MAX_PASTED_PIXELS:
        return [_encode_in_box(*one, height, width, threshold, padding) for one in zip(masks[:, 0], boxes, strict=True)]
    if is_pasted:
        groups: Iterable[Tensor] = masks[:, 0].to(torch.float32).mT.split(max(MAX_PASTED_PIXELS // (height * width), 1))
    else:
        groups = paste_masks(masks[:, 0], boxes, height, width, padding)
    rles: list[dict] = []
    for pasted in groups:
        # [n, W, H] in C order is [H, W, n] in Fortran order: no copy.
        columns = (pasted > threshold).to(torch.uint8).cpu().contiguous().numpy()
        rles.extend(mask_utils.encode(np.transpose(columns, (2, 1, 0))))
    return [{"size": rle["size"], "counts": rle["counts"].decode("ascii")} for rle in rles]


def _encode_in_box(mask: Tensor, box: Tensor, height: int, width: int, threshold: float, padding: int) -> dict:
    """`encode_masks` of one mask in a large image, of which only the box is computed, some columns at a time."""
    expanded, scale = expand_masks(mask[None].float(), padding)
    size = expanded.shape[-1]
    low, high = expand_boxes(box[None].float(), scale).long().split(2, dim=1)
    left, top = low[0].clamp(min=0).tolist()
    right, bottom = min(int(high[0, 0]) + PIXEL, width), min(int(high[0, 1]) + PIXEL, height)
    starts: list[np.ndarray] = []
    ends: list[np.ndarray] = []
    if left < right and top < bottom:
        corner = torch.tensor([[0, top]], device=low.device)
        rows = _axis_weights((low - corner)[:, 1], (high - corner)[:, 1], size, bottom - top)
        step = max(MAX_PASTED_PIXELS // (bottom - top), 1)
        for first in range(left, right, step):
            count = min(step, right - first)
            columns = _axis_weights(low[:, 0] - first, high[:, 0] - first, size, count)
            with full_precision(expanded):
                pasted = (columns @ (rows @ expanded).transpose(1, 2))[0]  # [count, bottom - top]
            inside = F.pad((pasted > threshold).to(torch.int8), (1, 1)).cpu().numpy()
            edges = np.diff(inside, axis=1)
            for sign, places in ((1, starts), (-1, ends)):
                column, row = np.nonzero(edges == sign)
                places.append((first + column) * height + top + row)
    begin, end = (np.concatenate([np.zeros(0, np.int64), *places]) for places in (starts, ends))
    apart = begin[1:] != end[:-1]  # a run that goes on at the top of the next column is one
    begin, end = np.append(begin[:1], begin[1:][apart]), np.append(end[:-1][apart], end[-1:])
    turns = np.concatenate(([0], np.stack((begin, end), axis=1).reshape(-1), [height * width]))
    counts = np.diff(turns).tolist()
    if counts[-1] == 0:  # the last pixel belongs to the mask
        counts.pop()
    rle = mask_utils.frPyObjects({"size": [height, width], "counts": counts}, height, width)
    return {"size": rle["size"], "counts": rle["counts"].decode("ascii")}
