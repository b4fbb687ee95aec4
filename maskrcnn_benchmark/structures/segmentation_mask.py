"""The masks of the objects of one image, as polygons or as bitmaps.

Polygons are lists of x, y in continuous pixel coordinates (the left edge of the image is 0, the right one its width).
"""

from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
import pycocotools.mask as mask_utils
import torch
from torch import Tensor

from maskrcnn_benchmark.ops.roi_align import roi_align
from maskrcnn_benchmark.structures.bounding_box import FLIP_LEFT_RIGHT, FLIP_TOP_BOTTOM
from maskrcnn_benchmark.structures.boxes import PIXEL

Size = tuple[int, int]  # width, height


def _check_flip(method: int) -> None:
    if method not in (FLIP_LEFT_RIGHT, FLIP_TOP_BOTTOM):
        raise NotImplementedError(f"Only FLIP_LEFT_RIGHT (0) and FLIP_TOP_BOTTOM (1) are known; got {method!r}.")


def _as_size(size: Any) -> Size:
    if isinstance(size, (tuple, list)) and len(size) == 2:
        return int(size[0]), int(size[1])
    return int(size), int(size)


def _crop_region(box: Any, size: Size) -> tuple[float, float, float, float]:
    """Clamp a crop to the image and give it at least one pixel: x, y, width, height.

    It may reach the image's edge, a pixel beyond the last corner of a clipped box: clipped before its image is made
    smaller, a box ends between the two.
    """
    x1, y1, x2, y2 = (float(v) for v in box)
    x1, y1 = (min(max(v, 0.0), n - 1.0) for v, n in zip((x1, y1), size, strict=True))
    x2, y2 = (min(max(v, 0.0), float(n)) for v, n in zip((x2, y2), size, strict=True))
    return x1, y1, max(x2 - x1, 1.0), max(y2 - y1, 1.0)


def rasterize_polygons(polygons: Sequence[np.ndarray], width: int, height: int) -> np.ndarray:
    """The union of polygons, each float64 [2 * P] as x, y, x, y, ... -> uint8 [height, width]."""
    if not polygons:
        return np.zeros((height, width), np.uint8)
    return mask_utils.decode(mask_utils.merge(mask_utils.frPyObjects([p.tolist() for p in polygons], height, width)))


class PolygonInstance:
    """One object as one or more polygons; polygons of fewer than three points are left out."""

    def __init__(self, polygons: Any, size: Size):
        if not isinstance(polygons, (list, tuple)):
            raise TypeError(f"Polygons are a list of coordinate lists; got {type(polygons).__name__}.")
        arrays = [np.asarray(p, dtype=np.float64).reshape(-1) for p in polygons]
        self.polygons = [a for a in arrays if a.size >= 6 and a.size % 2 == 0]
        self.size = (int(size[0]), int(size[1]))

    def transpose(self, method: int) -> "PolygonInstance":
        _check_flip(method)
        axis = 0 if method == FLIP_LEFT_RIGHT else 1
        flipped = []
        for polygon in self.polygons:
            polygon = polygon.copy()
            polygon[axis::2] = self.size[axis] - PIXEL - polygon[axis::2]
            flipped.append(polygon)
        return PolygonInstance(flipped, self.size)

    def _window(self, x: float, y: float, scale_x: float, scale_y: float, size: Size) -> "PolygonInstance":
        """The region that starts at (x, y), scaled, as an image of `size`."""
        offset, scale = np.array((x, y)), np.array((scale_x, scale_y))
        return PolygonInstance([((p.reshape(-1, 2) - offset) * scale).reshape(-1) for p in self.polygons], size)

    def crop(self, box: Any) -> "PolygonInstance":
        x, y, width, height = _crop_region(box, self.size)
        return self._window(x, y, 1.0, 1.0, (int(width), int(height)))

    def resize(self, size: Any) -> "PolygonInstance":
        size = _as_size(size)
        return self._window(0.0, 0.0, size[0] / self.size[0], size[1] / self.size[1], size)

    def crop_and_resize(self, box: Any, resolution: int) -> np.ndarray:
        """uint8 [resolution, resolution]: the object inside a box."""
        x, y, width, height = _crop_region(box, self.size)
        window = self._window(x, y, resolution / width, resolution / height, (resolution, resolution))
        return rasterize_polygons(window.polygons, resolution, resolution)

    def convert_to_binarymask(self) -> Tensor:
        """uint8 Tensor[height, width]."""
        return torch.from_numpy(rasterize_polygons(self.polygons, *self.size))

    def __len__(self) -> int:
        return len(self.polygons)

    def __repr__(self) -> str:
        return f"PolygonInstance(num_polygons={len(self)}, image_width={self.size[0]}, image_height={self.size[1]})"


class PolygonList:
    """Objects of one image, each a PolygonInstance."""

    mode = "poly"

    def __init__(self, polygons: Any, size: Size):
        if not isinstance(polygons, (list, tuple)):
            raise TypeError(f"Expected a list with the polygons of each object; got {type(polygons).__name__}.")
        self.size = (int(size[0]), int(size[1]))
        self.polygons = [p if isinstance(p, PolygonInstance) else PolygonInstance(p, self.size) for p in polygons]

    def transpose(self, method: int) -> "PolygonList":
        return PolygonList([p.transpose(method) for p in self.polygons], self.size)

    def crop(self, box: Any) -> "PolygonList":
        _, _, width, height = _crop_region(box, self.size)
        return PolygonList([p.crop(box) for p in self.polygons], (int(width), int(height)))

    def resize(self, size: Any) -> "PolygonList":
        return PolygonList([p.resize(size) for p in self.polygons], _as_size(size))

    def crop_and_resize(self, boxes: Tensor, index: Tensor, resolution: int) -> Tensor:
        masks = np.zeros((len(boxes), resolution, resolution), np.uint8)
        rows = torch.cat((boxes.double(), index[:, None].double()), dim=1).tolist()  # the host waits once
        for slot, (*box, i) in zip(masks, rows, strict=True):
            slot[:] = self.polygons[int(i)].crop_and_resize(box, resolution)
        return torch.from_numpy(masks)

    def to(self, *args: Any, **kwargs: Any) -> "PolygonList":
        return self  # polygons live on the host

    def convert_to_binarymask(self) -> "BinaryMaskList":
        masks = [p.convert_to_binarymask() for p in self.polygons]
        width, height = self.size
        return BinaryMaskList(
            torch.stack(masks) if masks else torch.zeros(0, height, width, dtype=torch.uint8), self.size
        )

    def __getitem__(self, item: Any) -> "PolygonList":
        if isinstance(item, int):
            return PolygonList([self.polygons[item]], self.size)
        if isinstance(item, slice):
            return PolygonList(self.polygons[item], self.size)
        indices = torch.as_tensor(item)
        if indices.dtype in (torch.bool, torch.uint8):
            indices = indices.nonzero().squeeze(1)
        return PolygonList([self.polygons[i] for i in indices.tolist()], self.size)

    def __len__(self) -> int:
        return len(self.polygons)


class BinaryMaskList:
    """Objects of one image as bitmaps, uint8 Tensor[N, height, width].

    Takes a tensor, or a list whose entries are tensors [height, width], RLE dictionaries or COCO
    polygons (in any mixture).
    """

    mode = "mask"

    def __init__(self, masks: Any, size: Size):
        self.size = (int(size[0]), int(size[1]))
        width, height = self.size
        if isinstance(masks, (list, tuple)):
            decoded = [self._decode(m) for m in masks]
            masks = torch.stack(decoded) if decoded else torch.zeros(0, height, width, dtype=torch.uint8)
        elif not isinstance(masks, Tensor):
            raise TypeError(f"Bitmaps are a tensor or a list; got {type(masks).__name__}.")
        if masks.ndim == 2:
            masks = masks[None]
        if masks.ndim != 3 or masks.shape[1:] != (height, width):
            raise ValueError(
                f"Bitmaps of {width} x {height} pixels have the shape [N, {height}, {width}]; got {list(masks.shape)}."
            )
        self.masks = masks.to(torch.uint8)

    def _decode(self, mask: Any) -> Tensor:
        width, height = self.size
        if isinstance(mask, Tensor):
            return mask.to(torch.uint8)
        if isinstance(mask, dict):
            if not isinstance(mask["counts"], (bytes, str)):  # COCO's uncompressed RLE
                mask = mask_utils.frPyObjects(mask, *mask["size"])
            return torch.from_numpy(mask_utils.decode(mask))
        return PolygonInstance(mask, (width, height)).convert_to_binarymask()

    def transpose(self, method: int) -> "BinaryMaskList":
        _check_flip(method)
        return BinaryMaskList(self.masks.flip(2 if method == FLIP_LEFT_RIGHT else 1), self.size)

    def crop(self, box: Any) -> "BinaryMaskList":
        x, y, width, height = (round(v) for v in _crop_region(box, self.size))
        cut = self.masks[:, y : y + height, x : x + width]
        return BinaryMaskList(cut, (cut.shape[2], cut.shape[1]))

    def resize(self, size: Any) -> "BinaryMaskList":
        width, height = _as_size(size)
        if len(self) == 0:
            return BinaryMaskList(self.masks.new_zeros(0, height, width), (width, height))
        scaled = torch.nn.functional.interpolate(
            self.masks[None].float(), size=(height, width), mode="bilinear", align_corners=False
        )
        return BinaryMaskList(scaled[0] >= 0.5, (width, height))

    def crop_and_resize(self, boxes: Tensor, index: Tensor, resolution: int) -> Tensor:
        rois = torch.cat((index[:, None].to(boxes), boxes), dim=1).to(self.masks.device, torch.float32)
        sampled = roi_align(self.masks[:, None].float(), rois, resolution, 1.0, 0, aligned=True)
        return (sampled[:, 0] >= 0.5).to(torch.uint8)

    def to(self, *args: Any, **kwargs: Any) -> "BinaryMaskList":
        return BinaryMaskList(self.masks.to(*args, **kwargs), self.size)

    def convert_to_polygon(self) -> PolygonList:
        """Outlines of the bitmaps; holes are lost."""
        polygons = []
        for mask in self.masks.cpu().numpy():
            outlines, _ = cv2.findContours(np.ascontiguousarray(mask), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
            polygons.append([o.reshape(-1).astype(np.float64) for o in outlines])
        return PolygonList(polygons, self.size)

    def __getitem__(self, index: Any) -> "BinaryMaskList":
        masks = self.masks[index]
        return BinaryMaskList(masks[None] if masks.ndim == 2 else masks, self.size)

    def __len__(self) -> int:
        return len(self.masks)


class SegmentationMask:
    """The masks of the objects of one image.

    Args:
        instances: what PolygonList (mode "poly") or BinaryMaskList (mode "mask") takes.
        size: (width, height) of the image in pixels.
        mode: "poly" or "mask".
    """

    def __init__(self, instances: Any, size: Size, mode: str = "poly"):
        if mode not in ("poly", "mask"):
            raise NotImplementedError(f"mode must be 'poly' or 'mask'; got {mode!r}.")
        self.size = (int(size[0]), int(size[1]))
        self.mode = mode
        self.instances = self._convert(instances)
        self.iter_idx = 0

    def _convert(self, instances: Any) -> "PolygonList | BinaryMaskList":
        if isinstance(instances, SegmentationMask):
            instances = instances.instances
        if isinstance(instances, PolygonList):
            return instances if self.mode == "poly" else instances.convert_to_binarymask()
        if isinstance(instances, BinaryMaskList):
            return instances if self.mode == "mask" else instances.convert_to_polygon()
        return PolygonList(instances, self.size) if self.mode == "poly" else BinaryMaskList(instances, self.size)

    @classmethod
    def from_coco(cls, segmentations: list, size: Size) -> "SegmentationMask":
        """COCO `segmentation` entries, polygons and RLE mixed: polygons if all are, bitmaps otherwise."""
        return cls(segmentations, size, "mask" if any(isinstance(s, dict) for s in segmentations) else "poly")

    def _with(self, instances: PolygonList | BinaryMaskList) -> "SegmentationMask":
        return SegmentationMask(instances, instances.size, instances.mode)

    def transpose(self, method: int) -> "SegmentationMask":
        return self._with(self.instances.transpose(method))

    def crop(self, box: Any) -> "SegmentationMask":
        return self._with(self.instances.crop(box))

    def resize(self, size: Any, *args: Any, **kwargs: Any) -> "SegmentationMask":
        return self._with(self.instances.resize(size))

    def to(self, *args: Any, **kwargs: Any) -> "SegmentationMask":
        return self._with(self.instances.to(*args, **kwargs))

    def convert(self, mode: str) -> "SegmentationMask":
        return SegmentationMask(self.instances, self.size, mode)

    def crop_and_resize(self, boxes: Tensor, index: Tensor, resolution: int) -> Tensor:
        """Mask targets: Tensor[K, 4] xyxy pixels, Tensor[K] the object of each box -> uint8 Tensor[K, R, R]."""
        if len(boxes) == 0:
            return torch.zeros(0, resolution, resolution, dtype=torch.uint8)
        return self.instances.crop_and_resize(boxes, index, resolution)

    def get_mask_tensor(self) -> Tensor:
        """uint8 Tensor[N, height, width], or [height, width] for a single object."""
        instances = self.instances
        masks = (instances.convert_to_binarymask() if isinstance(instances, PolygonList) else instances).masks
        return masks.squeeze(0) if len(masks) == 1 else masks

    def __len__(self) -> int:
        return len(self.instances)

    def __getitem__(self, item: Any) -> "SegmentationMask":
        return self._with(self.instances[item])

    def __iter__(self) -> Iterator["SegmentationMask"]:
        self.iter_idx = 0
        return (self[i] for i in range(len(self)))

    def next(self) -> "SegmentationMask":
        """The objects in turn, from the first after `iter()` on; StopIteration after the last. Loops use iterators of their
        own."""
        if self.iter_idx >= len(self):
            raise StopIteration
        self.iter_idx += 1
        return self[self.iter_idx - 1]

    __next__ = next

    def __repr__(self) -> str:
        width, height = self.size
        return (
            f"SegmentationMask(num_instances={len(self)}, image_width={width}, image_height={height}, mode={self.mode})"
        )
