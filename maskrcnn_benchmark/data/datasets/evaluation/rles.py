"""Masks as COCO's run-length encodings (RLE)."""

from typing import Any

import numpy as np
import pycocotools.mask as mask_utils
import torch
from torch import Tensor

from maskrcnn_benchmark.modeling.roi_heads.mask_head.pasting import encode_masks
from maskrcnn_benchmark.structures.bounding_box import BoxList


def rles_of_detections(prediction: BoxList) -> list[dict] | None:
    """The masks of detections that are in the pixels of their image, from the field "rle" or "mask"; None without either."""
    if prediction.has_field("rle"):
        return prediction.get_field("rle")
    if not prediction.has_field("mask"):
        return None
    width, height = (int(side) for side in prediction.size)
    masks: Any = prediction.get_field("mask")
    return masks if isinstance(masks, list) else encode_masks(masks, prediction.convert("xyxy").bbox, height, width)


def rles_of_objects(objects: BoxList) -> list[dict] | None:
    """The masks as compressed COCO RLEs; None without the field "masks"."""
    if not objects.has_field("masks"):
        return None
    masks = objects.get_field("masks")
    # An object at a time: a street's worth of full-size bitmaps is large.
    return [rle for i in range(len(masks)) for rle in masks_to_rles(masks[i].get_mask_tensor()[None])]


def masks_to_rles(masks_tensor: Tensor) -> list[dict]:
    """Bitmaps Tensor[N, height, width], or Tensor[N, 1, height, width] -> N compressed COCO RLEs."""
    if masks_tensor.ndim == 4:
        masks_tensor = masks_tensor[:, 0]
    if masks_tensor.ndim != 3:
        raise ValueError(f"Bitmaps have the shape [N, height, width]; got {list(masks_tensor.shape)}.")
    columns = np.asfortranarray(masks_tensor.to("cpu", torch.uint8).permute(1, 2, 0).numpy())
    return [{"size": rle["size"], "counts": rle["counts"].decode("ascii")} for rle in mask_utils.encode(columns)]
