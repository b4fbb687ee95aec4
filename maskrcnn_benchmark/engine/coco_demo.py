"""COCODemo, by which programs written for maskrcnn-benchmark show detections. New ones may prefer
`maskrcnn_benchmark.engine.Predictor`, on which it stands."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor

from maskrcnn_benchmark.data import transforms
from maskrcnn_benchmark.data.categories import COCO_NAMES
from maskrcnn_benchmark.data.pictures import to_picture
from maskrcnn_benchmark.engine.predictor import Predictor
from maskrcnn_benchmark.modeling.roi_heads.mask_head.inference import Masker
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.keypoint import PersonKeypoints
from maskrcnn_benchmark.visualization import draw_boxes, draw_captions, draw_keypoints, draw_masks
from maskrcnn_benchmark.visualization.detections import visible_keypoints


class Resize(transforms.Resize):
    """maskrcnn-benchmark's: of an image alone, PIL."""

    def __call__(self, image: Any) -> Any:  # type: ignore[override]
        return super().__call__(image)


def vis_keypoints(img: np.ndarray, kps: np.ndarray, kp_thresh: float = 2, alpha: float = 0.7) -> np.ndarray:
    """A person's keypoints and the lines between them, drawn over a copy of the image.

    Args:
        img: uint8 [H, W, 3].
        kps: x, y and logit of each keypoint, [3, K].
        kp_thresh: keypoints of a lower logit are left out.
        alpha: opacity of the drawing.
    """
    drawn = img.copy()
    points = np.stack((kps[0], kps[1], kps[2] > kp_thresh), axis=1)[None]
    draw_keypoints(drawn, points, PersonKeypoints.CONNECTIONS)
    return cv2.addWeighted(img, 1 - alpha, drawn, alpha, 0)


class COCODemo:
    """Detects in OpenCV images (uint8 [H, W, 3], BGR) and draws what it finds.

    Args:
        cfg: the configuration; it is not changed.
        confidence_threshold: the least score of a detection that is shown.
        show_mask_heatmaps: show the masks' values, a grid of the best ones, in place of the image with its objects.
        masks_per_dim: masks along each side of that grid.
        min_image_size: pixels of the shorter side of the network's input.
        weight_loading: a file of weights. Default: the last checkpoint in cfg.OUTPUT_DIR, or cfg.MODEL.WEIGHT.

    CATEGORIES are those of the class, if a subclass names any; otherwise the model's own where its labels are known (see
    `data.categories`), or COCO's. Without any weights the model detects noise, and that is said.

    What is called overlay_* draws into the image that it is given, and returns it.
    """

    CATEGORIES: list[str] = ["__background", *COCO_NAMES]

    def __init__(
        self,
        cfg: Any,
        confidence_threshold: float = 0.7,
        show_mask_heatmaps: bool = False,
        masks_per_dim: int = 2,
        min_image_size: int = 224,
        weight_loading: str | None = None,
    ):
        if masks_per_dim < 1 or min_image_size < 1:
            raise ValueError(
                f"masks_per_dim and min_image_size must be 1 or more; got {masks_per_dim} and {min_image_size}."
            )
        opts = ["INPUT.MIN_SIZE_TEST", min_image_size]
        self.predictor = Predictor(cfg, weight_loading or "", threshold=0.0, require_weights=False, opts=opts)
        self.cfg, self.model, self.device = self.predictor.cfg, self.predictor.model, self.predictor.device
        self.cpu_device = torch.device("cpu")
        if self.CATEGORIES is COCODemo.CATEGORIES:
            self.CATEGORIES = ["__background", *self.predictor.categories.names.values()]
        # A label times these, modulo 255, is its colour (BGR).
        self.palette = torch.tensor([2**25 - 1, 2**15 - 1, 2**21 - 1])
        self.confidence_threshold = confidence_threshold
        self.show_mask_heatmaps = show_mask_heatmaps
        self.masks_per_dim = masks_per_dim
        self.min_image_size = min_image_size
        self.masker = Masker(threshold=-1 if show_mask_heatmaps else 0.5, padding=1)
        self.transforms = self.build_transform()

    def build_transform(self) -> Callable[[np.ndarray], Tensor]:
        """A function that makes an image the network's input: resized and normalised, Tensor[3, H, W]. Subclasses may give
        another one; `transforms` holds it."""
        return self.predictor.network_input

    def run_on_opencv_image(self, image: np.ndarray) -> np.ndarray:
        """A copy of the image with its detections, or with `show_mask_heatmaps` the grid of their masks."""
        top = self.select_top_predictions(self.compute_prediction(image))
        result = image.copy()
        if self.show_mask_heatmaps:
            return self.create_mask_montage(result, top)
        if top.has_field("mask"):
            result = self.overlay_mask(result, top)
        result = self.overlay_boxes(result, top)
        if top.has_field("keypoints"):
            result = self.overlay_keypoints(result, top)
        return self.overlay_class_names(result, top)

    def compute_prediction(self, original_image: np.ndarray) -> BoxList:
        """All detections in pixels of the image, on the CPU, with "scores" and "labels", and perhaps "keypoints" and "mask"
        (Tensor[N, 1, H, W], see `Masker`)."""
        height, width = original_image.shape[:2]
        if self.cfg.TEST.BBOX_AUG.ENABLED:  # which scales images itself
            found = self.predictor.detect([to_picture(original_image)])[0]
        else:
            found = self.predictor.detect_inputs([self.transforms(original_image)])[0]
        found = found.resize((width, height)).to(self.cpu_device)
        if found.has_field("mask"):
            found.add_field("mask", self.masker([found.get_field("mask")], [found])[0])
        return found

    def select_top_predictions(self, predictions: BoxList) -> BoxList:
        """Those of at least `confidence_threshold`, best first."""
        scores = predictions.get_field("scores")
        order = scores.argsort(descending=True, stable=True)
        return predictions[order[scores[order] >= self.confidence_threshold]]

    def compute_colors_for_labels(self, labels: Tensor | Sequence[int]) -> np.ndarray:
        """BGR colours of labels: uint8 [N, 3]."""
        return (torch.as_tensor(labels).reshape(-1, 1) * self.palette % 255).numpy().astype(np.uint8)

    def _colours(self, predictions: BoxList) -> list[tuple[int, int, int]]:
        return [tuple(colour) for colour in self.compute_colors_for_labels(predictions.get_field("labels")).tolist()]

    def overlay_boxes(self, image: np.ndarray, predictions: BoxList) -> np.ndarray:
        draw_boxes(image, _corners(predictions), self._colours(predictions))
        return image

    def overlay_mask(self, image: np.ndarray, predictions: BoxList) -> np.ndarray:
        masks = predictions.get_field("mask")[:, 0].numpy()
        # Values of a masker with a negative threshold reach from 0 to 255.
        draw_masks(image, masks if masks.dtype == bool else masks > 127, self._colours(predictions))
        return image

    def overlay_keypoints(self, image: np.ndarray, predictions: BoxList) -> np.ndarray:
        points, connections = visible_keypoints(predictions)
        if points is not None:
            draw_keypoints(image, points, connections)
        return image

    def overlay_class_names(self, image: np.ndarray, predictions: BoxList) -> np.ndarray:
        labels, scores = (predictions.get_field(name).tolist() for name in ("labels", "scores"))
        captions = [f"{self._name(label)} {score:.2f}" for label, score in zip(labels, scores, strict=True)]
        draw_captions(image, _corners(predictions), captions, self._colours(predictions))
        return image

    def _name(self, label: int) -> str:
        return self.CATEGORIES[label] if label < len(self.CATEGORIES) else f"class {label}"

    def create_mask_montage(self, image: np.ndarray, predictions: BoxList) -> np.ndarray:
        """The values of the best masks as colours from blue (0) to red (1), row by row in a grid of the image's size: uint8
        [H, W, 3]. Cells without a mask are blue."""
        side = self.masks_per_dim
        height, width = image.shape[:2]
        grid = np.zeros((height, width), np.uint8)
        masks = predictions.get_field("mask")[:, 0] if predictions.has_field("mask") else torch.zeros(0, height, width)
        for i, mask in enumerate(masks[: side * side].numpy()):
            values = mask.astype(np.uint8) * (255 if mask.dtype == bool else 1)
            top, bottom = (height * (i // side + k) // side for k in (0, 1))
            left, right = (width * (i % side + k) // side for k in (0, 1))
            if bottom > top and right > left:
                scaled = cv2.resize(values, (right - left, bottom - top), interpolation=cv2.INTER_AREA)
                grid[top:bottom, left:right] = scaled
        return cv2.applyColorMap(grid, cv2.COLORMAP_JET)


def _corners(predictions: BoxList) -> np.ndarray:
    return predictions.convert("xyxy").bbox.numpy()
