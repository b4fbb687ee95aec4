"""Predictions of the levels of a pyramid."""

from torch import Tensor

from maskrcnn_benchmark.modeling.rpn.utils import concat_box_prediction_layers
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.boxlist_ops import cat_boxlist


def flatten_levels(box_cls: list[Tensor], box_regression: list[Tensor]) -> tuple[Tensor, Tensor]:
    """`concat_box_prediction_layers`, image by image: Tensor[N, sum(H_l * W_l * A), C] and Tensor[N, ..., 4]."""
    images = len(box_cls[0])
    classes, boxes = concat_box_prediction_layers(box_cls, box_regression)
    return classes.unflatten(0, (images, -1)), boxes.unflatten(0, (images, -1))


def find_on_each_level(selector, anchors, scores, box_regression) -> list[BoxList]:
    """What `selector.forward_for_single_feature_map` finds on each level, joined by image."""
    levels = [
        selector.forward_for_single_feature_map(list(of_level), score, deltas)
        for of_level, score, deltas in zip(zip(*anchors, strict=True), scores, box_regression, strict=True)
    ]
    return [cat_boxlist(list(of_image)) for of_image in zip(*levels, strict=True)]
