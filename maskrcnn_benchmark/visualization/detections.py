"""Drawing what a detector found."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pycocotools.mask as mask_utils
import torch

from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.visualization.objects import draw_objects

KEYPOINT_THRESHOLD = 2.0  # the least logit of a keypoint that is drawn


class Decoded(Sequence):
    """Masks uint8 [H, W] of COCO's RLEs, each decoded when it is asked for: together they may need more memory than there is."""

    def __init__(self, rles: Sequence[dict]):
        self.rles = rles

    def __len__(self) -> int:
        return len(self.rles)

    def __getitem__(self, index: Any) -> np.ndarray:  # type: ignore[override]  # of a number, not of a slice
        return mask_utils.decode(self.rles[index])


def draw_detections(image: np.ndarray, detections: BoxList, caption: Callable[[int, float], str]) -> np.ndarray:
    """`draw_objects` of detections in pixels of the image.

    Args:
        image: uint8 [H, W, 3], BGR.
        detections: on the CPU, with "scores", "labels" and perhaps "rle" and "keypoints".
        caption: what stands beside a box, of its label and score.
    """
    labels, scores = (detections.get_field(name).tolist() for name in ("labels", "scores"))
    captions = [caption(label, score) for label, score in zip(labels, scores, strict=True)]
    masks = Decoded(detections.get_field("rle")) if detections.has_field("rle") else None
    boxes = detections.convert("xyxy").bbox.numpy()
    return draw_objects(image, boxes, labels, captions, masks, *visible_keypoints(detections))


def visible_keypoints(detections: BoxList) -> tuple[np.ndarray | None, list[list[int]]]:
    """Keypoints [N, K, 3] of which those that the model is sure of are visible, and the lines between them."""
    if not detections.has_field("keypoints"):
        return None, []
    keypoints = detections.get_field("keypoints")
    sure = keypoints.get_field("logits").cpu() > KEYPOINT_THRESHOLD
    points = torch.cat((keypoints.keypoints[..., :2].cpu(), sure[..., None]), dim=2).numpy()
    return points, list(getattr(keypoints, "CONNECTIONS", ()))
