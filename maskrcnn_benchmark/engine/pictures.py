"""Pictures of detections, for those who watch a training."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from maskrcnn_benchmark.data.datasets.facts import class_names
from maskrcnn_benchmark.engine.results import to_original_image
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.visualization import draw_detections

MOST_DRAWN = 50  # detections of an image


def draw_predictions(
    dataset: Any, predictions: Sequence[BoxList], count: int = 4, threshold: float = 0.5
) -> dict[str, np.ndarray]:
    """Pictures of images spread evenly over a data set, RGB, by file name, with the best detections of at least `threshold`; none
    for a data set whose images cannot be read singly.

    `predictions` are in pixels of the network's input, as `inference` writes them.
    """
    if not hasattr(dataset, "read_image") or not all(p.has_field("labels") for p in predictions):
        return {}
    names = class_names(dataset)
    chosen = sorted({i * len(predictions) // count for i in range(count)}) if len(predictions) else []
    pictures = {}
    for index in chosen:
        image = np.ascontiguousarray(np.asarray(dataset.read_image(index).convert("RGB"))[:, :, ::-1])
        scores = predictions[index].get_field("scores")
        order = scores.argsort(descending=True, stable=True)
        best = predictions[index][order[scores[order] >= threshold][:MOST_DRAWN]]
        found = to_original_image(best, image.shape[1], image.shape[0])
        drawn = draw_detections(image, found, lambda label, score: f"{names.get(label, label)} {score:.2f}")
        pictures[str(dataset.get_img_info(index).get("file_name", index))] = np.ascontiguousarray(drawn[:, :, ::-1])
    return pictures
