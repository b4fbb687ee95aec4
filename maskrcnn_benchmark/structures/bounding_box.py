"""BoxList: the boxes of one image with what belongs to each of them."""

from typing import Any

import torch
from torch import Tensor

from maskrcnn_benchmark.structures.boxes import (
    FLIP_LEFT_RIGHT,
    FLIP_TOP_BOTTOM,
    PIXEL,
    box_area,
    clip_boxes,
    constant,
    xywh_to_xyxy,
    xyxy_to_xywh,
)


class BoxList:
    """Boxes of one image and fields aligned with them.

    Args:
        bbox: Tensor[N, 4] or anything that `torch.as_tensor` makes one of, pixels; kept in float32.
        image_size: (width, height) of the image in pixels.
        mode: "xyxy" (inclusive corners) or "xywh".

    Fields are tensors whose first dimension is N, or objects that take part in geometry (`SegmentationMask`, keypoints:
    they have `resize`, `transpose`, `crop`, `to` and `[]`), or anything else, carried along as it is.
    """

    def __init__(self, bbox: Any, image_size: tuple[float, float], mode: str = "xyxy"):
        if isinstance(bbox, Tensor):
            bbox = bbox.to(torch.float32)
        else:
            bbox = torch.as_tensor(bbox, dtype=torch.float32, device="cpu")
        if bbox.ndim != 2 or bbox.size(-1) != 4:
            if bbox.numel():
                raise ValueError(f"bbox must have the shape [N, 4]; got {list(bbox.shape)}.")
            bbox = bbox.reshape(-1, 4)
        if mode not in ("xyxy", "xywh"):
            raise ValueError(f"mode must be 'xyxy' or 'xywh'; got {mode!r}.")
        self.bbox = bbox
        self.size = image_size
        self.mode = mode
        self.extra_fields: dict[str, Any] = {}

    def add_field(self, field: str, field_data: Any) -> None:
        self.extra_fields[field] = field_data

    def get_field(self, field: str) -> Any:
        if field not in self.extra_fields:
            raise KeyError(f"This BoxList has no field {field!r}; it has {sorted(self.extra_fields)}.")
        return self.extra_fields[field]

    def has_field(self, field: str) -> bool:
        return field in self.extra_fields

    def fields(self) -> list[str]:
        return list(self.extra_fields)

    def _copy_extra_fields(self, bbox: "BoxList") -> None:
        self.extra_fields.update(bbox.extra_fields)

    def _like(self, bbox: Tensor, size: tuple[float, float] | None = None, mode: str | None = None) -> "BoxList":
        return BoxList(bbox, size or self.size, mode or self.mode)

    def _xyxy(self) -> Tensor:
        return self.bbox if self.mode == "xyxy" else xywh_to_xyxy(self.bbox)

    def _split_into_xyxy(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """x1, y1, x2, y2, each Tensor[N, 1]."""
        x1, y1, x2, y2 = self._xyxy().split(1, dim=-1)
        return x1, y1, x2, y2

    def _transformed(self, result: "BoxList", method: str, *args: Any, **kwargs: Any) -> "BoxList":
        """`result` in this mode, with the fields, of which geometric ones went through `method(*args, **kwargs)`."""
        for name, data in self.extra_fields.items():
            is_geometric = not isinstance(data, Tensor) and hasattr(data, method)
            result.add_field(name, getattr(data, method)(*args, **kwargs) if is_geometric else data)
        return result.convert(self.mode)

    def convert(self, mode: str) -> "BoxList":
        """The same boxes in mode "xyxy" or "xywh"."""
        if mode == self.mode:
            return self
        if mode not in ("xyxy", "xywh"):
            raise ValueError(f"mode must be 'xyxy' or 'xywh'; got {mode!r}.")
        result = self._like(self._xyxy() if mode == "xyxy" else xyxy_to_xywh(self.bbox), mode=mode)
        result._copy_extra_fields(self)
        return result

    def resize(self, size: tuple[int, int], *args: Any, **kwargs: Any) -> "BoxList":
        """Scale to an image of `size` = (width, height)."""
        ratio_w, ratio_h = (float(new) / float(old) for new, old in zip(size, self.size, strict=True))
        if ratio_w == ratio_h:  # then an extent scales as corners do
            scaled = BoxList(self.bbox * ratio_w, size, self.mode)
        else:
            scale = constant((ratio_w, ratio_h, ratio_w, ratio_h), self.bbox)
            scaled = BoxList(self._xyxy() * scale, size)
        return self._transformed(scaled, "resize", size, *args, **kwargs)

    def transpose(self, method: int) -> "BoxList":
        """Mirror: FLIP_LEFT_RIGHT (0) or FLIP_TOP_BOTTOM (1)."""
        x1, y1, x2, y2 = self._xyxy().unbind(-1)
        width, height = self.size
        if method == FLIP_LEFT_RIGHT:
            x1, x2 = width - PIXEL - x2, width - PIXEL - x1
        elif method == FLIP_TOP_BOTTOM:
            y1, y2 = height - PIXEL - y2, height - PIXEL - y1
        else:
            raise NotImplementedError(f"Only FLIP_LEFT_RIGHT (0) and FLIP_TOP_BOTTOM (1) are known; got {method!r}.")
        return self._transformed(BoxList(torch.stack((x1, y1, x2, y2), dim=-1), self.size), "transpose", method)

    def crop(self, box: tuple[float, float, float, float]) -> "BoxList":
        """Cut to the region (x1, y1, x2, y2), exclusive of x2 and y2; boxes outside it become empty, not removed."""
        x1, y1, x2, y2 = box
        width, height = x2 - x1, y2 - y1
        shifted = self._xyxy() - constant((x1, y1, x1, y1), self.bbox)
        cropped = BoxList(clip_boxes(shifted, width + PIXEL, height + PIXEL), (width, height))
        return self._transformed(cropped, "crop", box)

    def to(self, device: Any, non_blocking: bool = False) -> "BoxList":
        """The same on a device. From pinned memory (`pin_memory`) the host does not wait for the copy in any case."""
        non_blocking = non_blocking or self.bbox.is_pinned()
        result = self._like(self.bbox.to(device, non_blocking=non_blocking))
        for name, data in self.extra_fields.items():
            if isinstance(data, Tensor):
                data = data.to(device, non_blocking=non_blocking)
            elif hasattr(data, "to"):
                data = data.to(device)
            result.add_field(name, data)
        return result

    def pin_memory(self) -> "BoxList":
        result = self._like(self.bbox.pin_memory())
        for name, data in self.extra_fields.items():
            result.add_field(name, data.pin_memory() if hasattr(data, "pin_memory") else data)
        return result

    def __getitem__(self, item: Any) -> "BoxList":
        if isinstance(item, Tensor) and item.dtype == torch.bool:
            item = item.nonzero().squeeze(1)  # once, not for each field: the host waits for a device to count
        bbox = self.bbox[item]
        result = self._like(bbox[None] if bbox.ndim == 1 else bbox)
        for name, data in self.extra_fields.items():
            result.add_field(name, _of_list(data, item) if isinstance(data, list) else data[item])
        return result

    def __len__(self) -> int:
        return self.bbox.shape[0]

    def clip_to_image(self, remove_empty: bool = True) -> "BoxList":
        """Clip the corners to the image, in place; with `remove_empty`, leave out boxes of no width or height."""
        corners = clip_boxes(self._xyxy(), *self.size)
        self.bbox = corners if self.mode == "xyxy" else xyxy_to_xywh(corners)
        if remove_empty:
            return self[(corners[:, 3] > corners[:, 1]) & (corners[:, 2] > corners[:, 0])]
        return self

    def area(self) -> Tensor:
        """Tensor[N], square pixels."""
        return box_area(self.bbox) if self.mode == "xyxy" else self.bbox[:, 2] * self.bbox[:, 3]

    def copy_with_fields(self, fields: str | list[str] | tuple[str, ...], skip_missing: bool = False) -> "BoxList":
        """The same boxes with the named fields only. A field that is missing is an error unless `skip_missing`."""
        result = self._like(self.bbox)
        for field in [fields] if isinstance(fields, str) else fields:
            if self.has_field(field) or not skip_missing:
                result.add_field(field, self.get_field(field))
        return result

    def __repr__(self) -> str:
        width, height = self.size
        return f"{type(self).__name__}(num_boxes={len(self)}, image_width={width}, image_height={height}, mode={self.mode})"


def _of_list(data: list[Any], item: Any) -> list[Any]:
    """What indexing a tensor by `item` would take, of a list (masks as run-length encodings, for one)."""
    rows = torch.arange(len(data))[item.cpu() if isinstance(item, Tensor) else item]
    return [data[row] for row in rows.reshape(-1).tolist()]
