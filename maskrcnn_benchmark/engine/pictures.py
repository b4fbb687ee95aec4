"""Pictures of detections, for those who watch a training."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pycocotools.mask as mask_utils

from maskrcnn_benchmark.data.datasets.facts import class_names
from maskrcnn_benchmark.engine.results import to_original_image
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.utils.drawing import draw_objects


def draw_prediction(image: np.ndarray, prediction: BoxList, names: dict[int, str], threshold: float) -> np.ndarray:
    """A copy of the image with the detections of at least `threshold`, the best 50.

    Args:
        image: uint8 [H, W, 3], BGR.
        prediction: in pixels of the image, with "scores", "labels" and perhaps "rle".
        names: of the labels.
    """
    scores = prediction.get_field("scores")
    kept = [int(i) for i in scores.argsort(descending=True)[:50] if scores[i] >= threshold]
    labels = [int(prediction.get_field("labels")[i]) for i in kept]
    captions = [f"{names.get(label, label)} {scores[i]:.2f}" for i, label in zip(kept, labels, strict=True)]
    masks = [mask_utils.decode(prediction.get_field("rle")[i]) for i in kept] if prediction.has_field("rle") else None
    return draw_objects(image, prediction.convert("xyxy").bbox[kept].numpy(), labels, captions, masks)


def draw_predictions(
    dataset: Any, predictions: Sequence[BoxList], count: int = 4, threshold: float = 0.5
) -> dict[str, np.ndarray]:
    """Pictures of images spread evenly over a data set, RGB, by file name; none for one whose images cannot be read singly.

    `predictions` are in pixels of the network's input, as `inference` writes them.
    """
    if not hasattr(dataset, "read_image") or not all(p.has_field("labels") for p in predictions):
        return {}
    names = class_names(dataset)
    chosen = sorted({i * len(predictions) // count for i in range(count)}) if len(predictions) else []
    pictures = {}
    for index in chosen:
        image = np.ascontiguousarray(np.asarray(dataset.read_image(index).convert("RGB"))[:, :, ::-1])
        prediction = to_original_image(predictions[index], image.shape[1], image.shape[0])
        drawn = draw_prediction(image, prediction, names, threshold)
        pictures[str(dataset.get_img_info(index).get("file_name", index))] = np.ascontiguousarray(drawn[:, :, ::-1])
    return pictures
