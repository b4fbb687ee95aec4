"""The masks of the objects of one image, under upstream's path; they are in polygons.py and masks.py."""

from maskrcnn_benchmark.structures.boxes import FLIP_LEFT_RIGHT, FLIP_TOP_BOTTOM
from maskrcnn_benchmark.structures.masks import BinaryMaskList, PolygonList, SegmentationMask
from maskrcnn_benchmark.structures.polygons import PolygonInstance, Polygons

__all__ = [
    "FLIP_LEFT_RIGHT",
    "FLIP_TOP_BOTTOM",
    "BinaryMaskList",
    "PolygonInstance",
    "PolygonList",
    "Polygons",
    "SegmentationMask",
]
