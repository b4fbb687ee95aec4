"""Detections on their way from the network to the data set's images."""

import logging
from collections.abc import Mapping
from typing import Any

import torch

from maskrcnn_benchmark.modeling.roi_heads.mask_head.pasting import encode_masks
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.utils import distributed
from maskrcnn_benchmark.utils.wording import counted


def to_original_image(prediction: BoxList, width: int, height: int) -> BoxList:
    """Detections on the host, in the pixels of the image as it is on the disk; masks as the field "rle" (COCO's RLE)."""
    prediction = prediction.resize((width, height))
    if prediction.has_field("mask"):
        rles = encode_masks(prediction.get_field("mask"), prediction.convert("xyxy").bbox, height, width)
        others = [name for name in prediction.fields() if name != "mask"]
        prediction = prediction.copy_with_fields(others).to("cpu")
        prediction.add_field("rle", rles)
        return prediction
    return prediction.to("cpu")


def gather_predictions(predictions: Mapping[int, BoxList], dataset: Any) -> list[BoxList] | None:
    """The predictions of all processes in the order of the data set, on the main process; None on the others.

    An image without predictions, because it could not be read, gets an empty BoxList, and that is said.
    """
    shares = distributed.gather(predictions)
    if shares is None:
        return None
    merged = {index: prediction for share in shares for index, prediction in share.items()}
    missing = [i for i in range(len(dataset)) if i not in merged]
    if missing:
        logging.getLogger(__name__).warning(
            "%s, for example %s.",
            counted(
                len(missing),
                "image has no predictions and counts as empty",
                "images have no predictions and count as empty",
            ),
            dataset.get_img_info(missing[0]).get("file_name", missing[0]),
        )
    for index in missing:
        info = dataset.get_img_info(index)
        merged[index] = _no_detections(info["width"], info["height"])
    return [merged[i] for i in range(len(dataset))]


def _no_detections(width: int, height: int) -> BoxList:
    empty = BoxList(torch.zeros(0, 4), (width, height))
    empty.add_field("scores", torch.zeros(0))
    empty.add_field("objectness", torch.zeros(0))
    empty.add_field("labels", torch.zeros(0, dtype=torch.int64))
    empty.add_field("mask", torch.zeros(0, 1, 1, 1))
    return empty
