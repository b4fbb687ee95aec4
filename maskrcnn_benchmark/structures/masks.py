"""The masks of the objects of one image, as polygons or as bitmaps."""

from collections.abc import Iterator, Sequence
from typing import Any

import cv2
import numpy as np
import pycocotools.mask as mask_utils
import torch
from torch import Tensor
from torch.utils._pytree import tree_map

from maskrcnn_benchmark.ops.roi_align import roi_align
from maskrcnn_benchmark.structures.boxes import FLIP_LEFT_RIGHT, moved
from maskrcnn_benchmark.structures.polygons import PolygonInstance, Polygons, Size, as_size, check_flip, crop_region


class PolygonList:
    """Objects of one image, each a PolygonInstance.

    Args:
        polygons: for each object what PolygonInstance takes; or another PolygonList, whose size is taken too.
        size: (width, height) of the image in pixels.
    """

    mode = "poly"
    polygons: list[PolygonInstance]

    def __init__(self, polygons: Any, size: Size):
        if isinstance(polygons, PolygonList):
            polygons, size = polygons.polygons, polygons.size
        if not isinstance(polygons, (list, tuple)):
            raise TypeError(f"Expected a list with the polygons of each object; got {type(polygons).__name__}.")
        self.size = as_size(size)
        self.polygons = [PolygonInstance(p, self.size) for p in polygons]

    def transpose(self, method: int) -> "PolygonList":
        check_flip(method)
        return PolygonList([p.transpose(method) for p in self.polygons], self.size)

    def crop(self, box: Any) -> "PolygonList":
        """The region x1, y1, x2, y2 of the image; polygons are moved, not cut."""
        _, _, width, height = crop_region(box, self.size)
        return PolygonList([p.crop(box) for p in self.polygons], (width, height))

    def resize(self, size: Any) -> "PolygonList":
        return PolygonList([p.resize(size) for p in self.polygons], as_size(size))

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
        return BinaryMaskList(masks, self.size)

    def __getitem__(self, item: Any) -> "PolygonList":
        if isinstance(item, slice):
            return PolygonList(self.polygons[item], self.size)
        indices = torch.as_tensor(item)
        if indices.dtype in (torch.bool, torch.uint8):
            indices = indices.nonzero()
        return PolygonList([self.polygons[i] for i in indices.reshape(-1).tolist()], self.size)

    def __len__(self) -> int:
        return len(self.polygons)

    def __iter__(self) -> Iterator[PolygonInstance]:
        return iter(self.polygons)

    def __repr__(self) -> str:
        return _describe(self)


class BinaryMaskList:
    """Objects of one image as bitmaps, Tensor[N, height, width] in the dtype that they come in.

    Args:
        masks: Tensor[N, height, width] or [height, width]; or a list whose entries are tensors [height, width], RLE
            dictionaries (scaled to the image if they are of another size) or COCO polygons, in any mixture; or another
            BinaryMaskList. What is given is copied.
        size: (width, height) of the image in pixels.
    """

    mode = "mask"
    masks: Tensor

    def __init__(self, masks: Any, size: Size):
        self.size = as_size(size)
        width, height = (int(v) for v in self.size)
        if isinstance(masks, BinaryMaskList):
            masks = masks.masks.clone()
        elif isinstance(masks, (list, tuple)):
            decoded = [self._decode(m) for m in masks]
            masks = torch.stack(decoded) if decoded else torch.zeros(0, height, width, dtype=torch.uint8)
        elif isinstance(masks, Tensor):
            masks = masks.clone()
        else:
            raise TypeError(f"Bitmaps are a tensor or a list; got {type(masks).__name__}.")
        if masks.ndim == 2:
            masks = masks[None]
        if masks.ndim != 3 or masks.shape[1:] != (height, width):
            raise ValueError(
                f"Bitmaps of {width} x {height} pixels have the shape [N, {height}, {width}]; got {list(masks.shape)}."
            )
        self.masks = masks

    @classmethod
    def _of(cls, masks: Tensor) -> "BinaryMaskList":
        """Of Tensor[N, height, width], not copied."""
        result = cls.__new__(cls)
        result.masks, result.size = masks, (masks.shape[2], masks.shape[1])
        return result

    def _decode(self, mask: Any) -> Tensor:
        if isinstance(mask, Tensor):
            return mask
        if not isinstance(mask, dict):
            return PolygonInstance(mask, self.size).convert_to_binarymask()
        if not isinstance(mask["counts"], (bytes, str)):  # COCO's uncompressed RLE
            mask = mask_utils.frPyObjects(mask, *mask["size"])
        bitmap = torch.from_numpy(mask_utils.decode(mask))
        width, height = (int(v) for v in self.size)
        return bitmap if bitmap.shape == (height, width) else self._of(bitmap[None]).resize((width, height)).masks[0]

    def transpose(self, method: int) -> "BinaryMaskList":
        check_flip(method)
        return self._of(self.masks.flip(2 if method == FLIP_LEFT_RIGHT else 1))

    def crop(self, box: Any) -> "BinaryMaskList":
        """The region x1, y1, x2, y2 of the image, rounded to whole pixels."""
        corners = [round(float(v)) for v in box]
        x, y, width, height = (int(v) for v in crop_region(corners, self.size))
        return self._of(self.masks[:, y : y + height, x : x + width].clone())

    def resize(self, size: Any) -> "BinaryMaskList":
        """Scale bilinearly to `size` = (width, height); values that are not floating-point become 1 from one half on."""
        width, height = (int(v) for v in as_size(size))
        if len(self) == 0:
            return self._of(self.masks.new_zeros(0, height, width))
        scaled = torch.nn.functional.interpolate(
            self.masks[None].float(), size=(height, width), mode="bilinear", align_corners=False
        )[0]
        return self._of((scaled if self.masks.is_floating_point() else scaled >= 0.5).to(self.masks.dtype))

    def crop_and_resize(self, boxes: Tensor, index: Tensor, resolution: int) -> Tensor:
        rois = torch.cat((index[:, None].to(boxes), boxes), dim=1).to(self.masks.device, torch.float32)
        sampled = roi_align(self.masks[:, None].float(), rois, resolution, 1.0, 0, aligned=True)
        return (sampled[:, 0] >= 0.5).to(torch.uint8)

    def to(self, *args: Any, **kwargs: Any) -> "BinaryMaskList":
        return self._of(moved(self.masks, *args, **kwargs))

    def pin_memory(self) -> "BinaryMaskList":
        return self._of(self.masks.pin_memory())

    def convert_to_polygon(self) -> PolygonList:
        """Outlines of the bitmaps, simplified by Teh and Chin's approximation; holes are lost."""
        return PolygonList(self._findContours(), self.size)

    def _findContours(self) -> list[list[list[int]]]:
        """For each object, for each of its outlines, x, y, x, y, ..."""
        outlines = []
        for mask in (self.masks != 0).to(torch.uint8).cpu().numpy():
            found, _ = cv2.findContours(np.ascontiguousarray(mask), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_TC89_L1)
            outlines.append([outline.reshape(-1).tolist() for outline in found])
        return outlines

    def __getitem__(self, index: Any) -> "BinaryMaskList":
        masks = self.masks[index]
        masks = masks[None] if masks.ndim == 2 else masks
        return self._of(masks if isinstance(index, Tensor) else masks.clone())  # indexing by a tensor copies

    def __len__(self) -> int:
        return len(self.masks)

    def __iter__(self) -> Iterator[Tensor]:
        return iter(self.masks)

    def __repr__(self) -> str:
        return _describe(self)


class SegmentationMask:
    """The masks of the objects of one image.

    Args:
        instances: what PolygonList (mode "poly") or BinaryMaskList (mode "mask") takes; or one of the two, or a
            SegmentationMask, which are converted if they are of the other mode.
        size: (width, height) of the image in pixels.
        mode: "poly" or "mask".
    """

    def __init__(self, instances: Any, size: Size, mode: str = "poly"):
        if mode not in ("poly", "mask"):
            raise NotImplementedError(f"mode must be 'poly' or 'mask'; got {mode!r}.")
        self.size = as_size(size)
        self.mode = mode
        if isinstance(instances, SegmentationMask):
            instances = instances.instances
        if mode == "poly" and isinstance(instances, BinaryMaskList):
            instances = instances.convert_to_polygon()
        elif mode == "mask" and isinstance(instances, PolygonList):
            instances = instances.convert_to_binarymask()
        self.instances: Any = (PolygonList if mode == "poly" else BinaryMaskList)(instances, self.size)
        self.iter_idx = 0
        self._is_one = False  # whether it came from a loop over such an object

    def _of(self, instances: PolygonList | BinaryMaskList, size: Size | None = None) -> "SegmentationMask":
        """Of these instances, not copied."""
        result = SegmentationMask.__new__(SegmentationMask)
        result.instances, result.size, result.mode = instances, size or instances.size, instances.mode
        result.iter_idx, result._is_one = 0, self._is_one
        return result

    def transpose(self, method: int) -> "SegmentationMask":
        return self._of(self.instances.transpose(method))

    def crop(self, box: Any) -> "SegmentationMask":
        """The region x1, y1, x2, y2 of the image."""
        return self._of(self.instances.crop(box))

    def resize(self, size: Any, *args: Any, **kwargs: Any) -> "SegmentationMask":
        """Scale to an image of `size` = (width, height), or one number for both."""
        return self._of(self.instances.resize(size), as_size(size))

    def to(self, *args: Any, **kwargs: Any) -> "SegmentationMask":
        """Polygons stay on the host: the same object."""
        return self if self.mode == "poly" else self._of(self.instances.to(*args, **kwargs))

    def pin_memory(self) -> "SegmentationMask":
        return self if self.mode == "poly" else self._of(self.instances.pin_memory())

    def convert(self, mode: str) -> "SegmentationMask":
        """The same masks in mode "poly" or "mask"."""
        return self if mode == self.mode else self._of(SegmentationMask(self.instances, self.size, mode).instances)

    def crop_and_resize(self, boxes: Tensor, index: Tensor, resolution: int) -> Tensor:
        """Mask targets: Tensor[K, 4] xyxy pixels, Tensor[K] the object of each box -> uint8 Tensor[K, R, R]."""
        if len(boxes) == 0:
            return torch.zeros(0, resolution, resolution, dtype=torch.uint8)
        return self.instances.crop_and_resize(boxes, index, resolution)

    def get_mask_tensor(self) -> Tensor:
        """Tensor[N, height, width], or [height, width] for a single object."""
        instances = self.instances.convert_to_binarymask() if self.mode == "poly" else self.instances
        return instances.masks.squeeze(0) if len(instances) == 1 else instances.masks

    def __len__(self) -> int:
        return len(self.instances)

    def __getitem__(self, item: Any) -> "SegmentationMask":
        return self._of(self.instances[item], self.size)

    def __iter__(self) -> Iterator["SegmentationMask"]:
        self.iter_idx = 0
        return (self._one(i) for i in range(len(self)))

    def _one(self, index: int) -> "SegmentationMask":
        one = self[index]
        one._is_one = True
        return one

    # Until March 2019 a loop gave Polygons, whose `polygons` are coordinates and whose `convert` gives a tensor.

    @property
    def polygons(self) -> list[Any]:
        """Of an object from a loop its polygons, Tensor[2 * points]; else the objects."""
        instances = self.convert("poly").instances
        return instances.polygons[0].polygons if self._is_one else [Polygons(p, self.size) for p in instances]

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        """torch's functions, as in `torch.stack(masks)`, take what `get_mask_tensor` gives; `torch.cat` of several joins them."""
        if func is torch.cat and all(isinstance(part, SegmentationMask) for part in args[0]):
            return cls._joined(args[0])

        def bitmaps(value: Any) -> Any:
            return value.get_mask_tensor() if isinstance(value, SegmentationMask) else value

        return func(*tree_map(bitmaps, args), **tree_map(bitmaps, kwargs or {}))

    @staticmethod
    def _joined(parts: Sequence["SegmentationMask"]) -> "SegmentationMask":
        """The objects of several masks of one image, in the mode of the first."""
        first = parts[0]
        if any(part.size != first.size for part in parts):
            raise ValueError(f"Masks of images of different size cannot be joined: {', '.join(map(str, parts))}.")
        instances = [part.convert(first.mode).instances for part in parts]
        if first.mode == "mask":
            return first._of(BinaryMaskList._of(torch.cat([i.masks for i in instances])))
        return first._of(PolygonList([polygons for i in instances for polygons in i], first.size))

    def next(self) -> "SegmentationMask":
        """The objects in turn, from the first after `iter()` on; StopIteration after the last. Loops use iterators of their
        own."""
        if self.iter_idx >= len(self):
            raise StopIteration
        self.iter_idx += 1
        return self._one(self.iter_idx - 1)

    __next__ = next

    def __repr__(self) -> str:
        return f"{_describe(self)[:-1]}, mode={self.mode})"


def _describe(masks: PolygonList | BinaryMaskList | SegmentationMask) -> str:
    width, height = masks.size
    return f"{type(masks).__name__}(num_instances={len(masks)}, image_width={width}, image_height={height})"
