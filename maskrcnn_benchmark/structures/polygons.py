"""One object's mask as polygons.

Polygons are x, y, x, y, ... in continuous pixel coordinates (the left edge of the image is 0, the right one its width).
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pycocotools.mask as mask_utils
import torch
from torch import Tensor

from maskrcnn_benchmark.structures.boxes import FLIP_LEFT_RIGHT, FLIP_TOP_BOTTOM, PIXEL

Size = tuple[float, float]  # width, height


def check_flip(method: int) -> None:
    if method not in (FLIP_LEFT_RIGHT, FLIP_TOP_BOTTOM):
        raise NotImplementedError(f"Only FLIP_LEFT_RIGHT (0) and FLIP_TOP_BOTTOM (1) are known; got {method!r}.")


def as_size(size: Any) -> Size:
    """(width, height) as numbers, of a pair of numbers or one-element tensors, or of one number for both."""
    if type(size) is tuple and len(size) == 2 and type(size[0]) is int and type(size[1]) is int:
        return size  # most are
    if isinstance(size, (int, float)):
        return size, size
    width, height = (v.item() if isinstance(v, Tensor) else v for v in size)
    return width, height


def crop_region(box: Any, size: Size) -> tuple[float, float, float, float]:
    """Clamp a crop to the image and give it at least one pixel: x, y, width, height.

    It may reach the image's edge, a pixel beyond the last corner of a clipped box: clipped before its image is made
    smaller, a box ends between the two.
    """
    x1, y1, x2, y2 = (float(v) for v in box)
    x1, y1 = (min(max(v, 0.0), n - 1.0) for v, n in zip((x1, y1), size, strict=True))
    x2, y2 = (min(max(v, 0.0), float(n)) for v, n in zip((x2, y2), size, strict=True))
    return x1, y1, max(x2 - x1, 1.0), max(y2 - y1, 1.0)


def rasterize_polygons(polygons: Sequence[np.ndarray], width: int, height: int) -> np.ndarray:
    """The union of polygons, each [2 * P] as x, y, x, y, ... -> uint8 [height, width]."""
    if not polygons:
        return np.zeros((height, width), np.uint8)
    return mask_utils.decode(mask_utils.merge(mask_utils.frPyObjects([p.tolist() for p in polygons], height, width)))


def _as_tensor(polygon: Any) -> Tensor:
    if isinstance(polygon, (list, tuple)):
        return torch.from_numpy(np.array(polygon, dtype=np.float32))
    return torch.as_tensor(polygon, dtype=torch.float32)


class PolygonInstance:
    """One object as one or more polygons.

    Args:
        polygons: a list of polygons, each Tensor[2 * P] or anything that becomes one; those of fewer than three points are
            left out. Or another PolygonInstance, whose polygons are shared.
        size: (width, height) of the image in pixels.

    Attributes:
        polygons: float32 tensors.
    """

    def __init__(self, polygons: Any, size: Size):
        self.polygons: list[Tensor]
        if isinstance(polygons, PolygonInstance):
            self.polygons = list(polygons.polygons)
        elif isinstance(polygons, (list, tuple)):
            self.polygons = [t for t in map(_as_tensor, polygons) if t.ndim == 1 and t.shape[0] >= 6]
        else:
            raise TypeError(f"Polygons are a list of coordinate lists; got {type(polygons).__name__}.")
        self.size = as_size(size)

    def transpose(self, method: int) -> "PolygonInstance":
        check_flip(method)
        axis = 0 if method == FLIP_LEFT_RIGHT else 1
        flipped = self._copies()
        for polygon in flipped:
            polygon[axis::2] = self.size[axis] - polygon[axis::2] - PIXEL
        return self._of(flipped, self.size)

    def crop(self, box: Any) -> "PolygonInstance":
        """The region x1, y1, x2, y2 of the image; polygons are moved, not cut."""
        x, y, width, height = crop_region(box, self.size)
        moved = self._copies()
        for polygon in moved:
            polygon[0::2] -= x
            polygon[1::2] -= y
        return self._of(moved, (width, height))

    def resize(self, size: Any) -> "PolygonInstance":
        """Scale to an image of `size` = (width, height), or one number for both."""
        size = as_size(size)
        scaled = self._copies()
        for polygon in scaled:
            polygon[0::2] *= size[0] / self.size[0]
            polygon[1::2] *= size[1] / self.size[1]
        return self._of(scaled, size)

    def crop_and_resize(self, box: Any, resolution: int) -> np.ndarray:
        """uint8 [resolution, resolution]: the object inside a box."""
        x, y, width, height = crop_region(box, self.size)
        offset, scale = np.array((x, y)), np.array((resolution / width, resolution / height))
        window = [((p.reshape(-1, 2) - offset) * scale).reshape(-1) for p in self._of_whole_points()]
        return rasterize_polygons(window, resolution, resolution)

    def _copies(self) -> list[np.ndarray]:
        """The polygons as float32 arrays: on so few numbers NumPy is several times as fast as PyTorch."""
        return [p.numpy().copy() for p in self.polygons]

    @staticmethod
    def _of(polygons: list[np.ndarray], size: Size) -> "PolygonInstance":
        """Of float32 arrays, not copied."""
        result = PolygonInstance([], size)
        result.polygons = [torch.from_numpy(p) for p in polygons]
        return result

    def _of_whole_points(self) -> list[np.ndarray]:
        """Without a number at the end that belongs to no point."""
        return [p[: len(p) // 2 * 2] for p in (p.numpy() for p in self.polygons)]

    def convert_to_binarymask(self) -> Tensor:
        """uint8 Tensor[height, width]."""
        width, height = (int(v) for v in self.size)
        return torch.from_numpy(rasterize_polygons(self._of_whole_points(), width, height))

    def __len__(self) -> int:
        return len(self.polygons)

    def __repr__(self) -> str:
        width, height = self.size
        return f"{type(self).__name__}(num_groups={len(self)}, image_width={width}, image_height={height})"


class Polygons(PolygonInstance):
    """PolygonInstance by its name and arguments of 2018, for forks."""

    def __init__(self, polygons: Any, size: Size, mode: str | None = None):
        super().__init__(polygons, size)
        self.mode = mode

    def convert(self, mode: str) -> Tensor:
        """The bitmap, uint8 Tensor[height, width]; "mask" is the only mode."""
        return self.convert_to_binarymask()
