"""Drawing boxes, masks, keypoints, captions and context into images: uint8 [H, W, 3], BGR."""

from maskrcnn_benchmark.visualization.annotations import draw_annotations
from maskrcnn_benchmark.visualization.context import draw_weights
from maskrcnn_benchmark.visualization.detections import draw_detections
from maskrcnn_benchmark.visualization.lettering import put_text
from maskrcnn_benchmark.visualization.objects import (
    draw_boxes,
    draw_captions,
    draw_keypoints,
    draw_masks,
    draw_objects,
)
from maskrcnn_benchmark.visualization.palette import class_colour
from maskrcnn_benchmark.visualization.sheets import make_sheet, side_by_side

__all__ = [
    "class_colour",
    "draw_annotations",
    "draw_boxes",
    "draw_captions",
    "draw_detections",
    "draw_keypoints",
    "draw_masks",
    "draw_objects",
    "draw_weights",
    "make_sheet",
    "put_text",
    "side_by_side",
]
