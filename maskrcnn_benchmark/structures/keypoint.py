"""Keypoints of the objects of one image, and their places in the heatmaps of regions."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from maskrcnn_benchmark.structures.boxes import (
    FLIP_LEFT_RIGHT,
    FLIP_TOP_BOTTOM,
    PIXEL,
    constant,
    crop_points,
    moved,
)


class Keypoints:
    """K keypoints of each of N objects, with fields aligned with the objects.

    Args:
        keypoints: Tensor[N, K, 3] or anything that becomes one with a reshape: x, y in pixels and visibility (0: not
            labelled, 1: hidden, 2: visible).
        size: (width, height) of the image in pixels.
        mode: upstream's; not used.

    Subclasses or single objects may set FLIP_INDS: which keypoint each one turns into when the image is mirrored; and
    CONNECTIONS: pairs of keypoints with a line between them in drawings.
    """

    FLIP_INDS: Tensor | Sequence[int] | None = None
    CONNECTIONS: Sequence[Sequence[int]] = ()

    def __init__(self, keypoints: Any, size: tuple[float, float], mode: Any = None):
        keypoints = torch.as_tensor(keypoints, dtype=torch.float32)
        if keypoints.ndim != 3:
            keypoints = keypoints.reshape(len(keypoints), -1, 3) if keypoints.numel() else keypoints.reshape(0, 0, 3)
        if keypoints.shape[2] != 3:
            raise ValueError(f"Keypoints need x, y and visibility, [N, K, 3]; got the shape {list(keypoints.shape)}.")
        self.keypoints = keypoints
        self.size = size
        self.mode = mode
        self.extra_fields: dict[str, Any] = {}

    def _with(
        self, keypoints: Tensor, size: tuple[float, float] | None = None, fields: dict[str, Any] | None = None
    ) -> Any:
        result = type(self)(keypoints, size or self.size, self.mode)
        for name in ("FLIP_INDS", "CONNECTIONS"):
            if name in self.__dict__:
                setattr(result, name, self.__dict__[name])
        result.extra_fields = dict(self.extra_fields) if fields is None else fields
        return result

    def crop(self, box: tuple[float, float, float, float]) -> "Keypoints":
        """Cut to the region (x1, y1, x2, y2), exclusive of x2 and y2; what lies outside is not labelled any more."""
        x1, y1, x2, y2 = box
        return self._with(crop_points(self.keypoints, box), (x2 - x1, y2 - y1))

    def resize(self, size: tuple[int, int], *args: Any, **kwargs: Any) -> "Keypoints":
        """Scale to an image of `size` = (width, height)."""
        ratio_w, ratio_h = (float(new) / float(old) for new, old in zip(size, self.size, strict=True))
        return self._with(self.keypoints * constant((ratio_w, ratio_h, 1), self.keypoints), size)

    def transpose(self, method: int) -> "Keypoints":
        """Mirror: FLIP_LEFT_RIGHT (0) or FLIP_TOP_BOTTOM (1). Either way a left hand becomes a right one."""
        if method not in (FLIP_LEFT_RIGHT, FLIP_TOP_BOTTOM):
            raise NotImplementedError(f"Only FLIP_LEFT_RIGHT (0) and FLIP_TOP_BOTTOM (1) are known; got {method!r}.")
        if self.FLIP_INDS is None:
            raise NotImplementedError(
                f"{type(self).__name__} does not say which keypoints change places in a mirror; name the pairs in "
                "INPUT.KEYPOINT_FLIP_PAIRS, subclass it with FLIP_INDS, or set INPUT.HORIZONTAL_FLIP_PROB_TRAIN and "
                "VERTICAL_FLIP_PROB_TRAIN to 0."
            )
        order = torch.as_tensor(self.FLIP_INDS, device=self.keypoints.device)
        points = self.keypoints[:, order] if len(self) else self.keypoints.clone()
        axis = 0 if method == FLIP_LEFT_RIGHT else 1
        points[..., axis] = self.size[axis] - PIXEL - points[..., axis]
        of_each_point = (len(self), len(order))
        fields = {
            name: data[:, order] if isinstance(data, Tensor) and data.shape[:2] == of_each_point else data
            for name, data in self.extra_fields.items()
        }
        return self._with(_clear(points, points[..., 2] == 0), fields=fields)

    def to(self, *args: Any, **kwargs: Any) -> "Keypoints":
        fields = {
            name: moved(data, *args, **kwargs) if isinstance(data, Tensor) else data
            for name, data in self.extra_fields.items()
        }
        return self._with(moved(self.keypoints, *args, **kwargs), fields=fields)

    def pin_memory(self) -> "Keypoints":
        fields = {
            name: data.pin_memory() if isinstance(data, Tensor) else data for name, data in self.extra_fields.items()
        }
        return self._with(self.keypoints.pin_memory(), fields=fields)

    def add_field(self, field: str, field_data: Any) -> None:
        self.extra_fields[field] = field_data

    def get_field(self, field: str) -> Any:
        return self.extra_fields[field]

    def __getitem__(self, item: Any) -> "Keypoints":
        points = self.keypoints[item]
        fields = {name: data[item] for name, data in self.extra_fields.items()}
        return self._with(points[None] if points.ndim == 2 else points, fields=fields)

    def __len__(self) -> int:
        return len(self.keypoints)

    def __repr__(self) -> str:
        width, height = self.size
        return f"{type(self).__name__}(num_instances={len(self)}, image_width={width}, image_height={height})"


def _clear(points: Tensor, gone: Tensor) -> Tensor:
    """COCO's convention: a keypoint that is not labelled is 0, 0, 0."""
    return points.masked_fill(gone[..., None], 0)


def _create_flip_indices(names: Sequence[str], flip_map: Mapping[str, str]) -> Tensor:
    """Which name each one turns into in a mirror, where `flip_map` says that of one of each pair: int64 Tensor[K]."""
    both_ways = {**flip_map, **{right: left for left, right in flip_map.items()}}
    return torch.tensor([names.index(both_ways.get(name, name)) for name in names])


def kp_connections(keypoints: Sequence[str]) -> list[list[int]]:
    """The lines of a skeleton, as pairs of indices into the names."""
    pairs = [("left_eye", "right_eye"), ("left_eye", "nose"), ("right_eye", "nose")]
    pairs += [("right_eye", "right_ear"), ("left_eye", "left_ear")]
    for side in ("right", "left"):
        pairs += [(f"{side}_shoulder", f"{side}_elbow"), (f"{side}_elbow", f"{side}_wrist")]
    for side in ("right", "left"):
        pairs += [(f"{side}_hip", f"{side}_knee"), (f"{side}_knee", f"{side}_ankle")]
    pairs += [("right_shoulder", "left_shoulder"), ("right_hip", "left_hip")]
    return [[keypoints.index(a), keypoints.index(b)] for a, b in pairs]


class PersonKeypoints(Keypoints):
    """COCO's 17 keypoints of a person."""

    NAMES = ["nose"] + [
        f"{side}_{part}"
        for part in ("eye", "ear", "shoulder", "elbow", "wrist", "hip", "knee", "ankle")
        for side in ("left", "right")
    ]
    FLIP_MAP = {name: name.replace("left", "right") for name in NAMES if name.startswith("left")}
    FLIP_INDS = _create_flip_indices(NAMES, FLIP_MAP)
    CONNECTIONS = kp_connections(NAMES)


def keypoints_to_heat_map(keypoints: Tensor, rois: Tensor, heatmap_size: int) -> tuple[Tensor, Tensor]:
    """The heatmap cell of each keypoint.

    Args:
        keypoints: Tensor[N, K, 3].
        rois: Tensor[N, 4] xyxy, pixels: the region that each object's heatmap covers.
        heatmap_size: cells along each side.

    Returns:
        Index of the cell in the flattened heatmap, int64 Tensor[N, K], and 1 where the keypoint is labelled and lies in the
        region, 0 elsewhere (int64 Tensor[N, K]); the index is 0 there.
    """
    low, high = rois[:, None, :2], rois[:, None, 2:]
    points = keypoints[..., :2]
    cell = ((points - low) * (heatmap_size / (high - low))).floor()
    # The far edge belongs to the region: a point on it falls into the last cell, not behind it.
    cell = torch.where(points == high, heatmap_size - 1, cell)
    inside = ((cell >= 0) & (cell < heatmap_size)).all(dim=-1)
    valid = inside & (keypoints[..., 2] > 0)
    cell = torch.where(valid[..., None], cell, 0).to(torch.int64)
    return cell[..., 1] * heatmap_size + cell[..., 0], valid.to(torch.int64)
