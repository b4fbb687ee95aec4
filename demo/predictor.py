"""COCODemo under the name by which programs of maskrcnn-benchmark import it; a fork may replace this file by its own."""

from maskrcnn_benchmark.engine.coco_demo import COCODemo, Resize, vis_keypoints

__all__ = ["COCODemo", "Resize", "vis_keypoints"]
