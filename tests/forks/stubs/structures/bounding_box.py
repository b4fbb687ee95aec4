"""A fork's own boxes."""

import torch

FLIP_LEFT_RIGHT = 0
FLIP_TOP_BOTTOM = 1


class BoxList:
    def __init__(self, bbox, image_size, mode="xyxy"):
        device = bbox.device if isinstance(bbox, torch.Tensor) else torch.device("cpu")
        self.bbox = torch.as_tensor(bbox, dtype=torch.float32, device=device)
        self.size = image_size
        self.mode = mode
        self.extra_fields = {}

    def add_field(self, field, field_data):
        self.extra_fields[field] = field_data

    def get_field(self, field):
        return self.extra_fields[field]

    def has_field(self, field):
        return field in self.extra_fields

    def fields(self):
        return list(self.extra_fields.keys())

    def _copy_extra_fields(self, bbox):
        self.extra_fields.update(bbox.extra_fields)

    def _split_into_xyxy(self):
        x, y, z, w = self.bbox.split(1, dim=-1)
        if self.mode == "xyxy":
            return x, y, z, w
        return x, y, x + (z - 1).clamp(min=0), y + (w - 1).clamp(min=0)

    def convert(self, mode):
        if mode == self.mode:
            return self
        x1, y1, x2, y2 = self._split_into_xyxy()
        corners = (x1, y1, x2, y2) if mode == "xyxy" else (x1, y1, x2 - x1 + 1, y2 - y1 + 1)
        result = BoxList(torch.cat(corners, dim=-1), self.size, mode)
        result._copy_extra_fields(self)
        return result

    def _changed(self, corners, size, change):
        result = BoxList(torch.cat(corners, dim=-1), size, mode="xyxy")
        for field, data in self.extra_fields.items():
            result.add_field(field, data if isinstance(data, torch.Tensor) else change(data))
        return result.convert(self.mode)

    def resize(self, size, *args, **kwargs):
        x1, y1, x2, y2 = self._split_into_xyxy()
        a, b = (float(s) / float(old) for s, old in zip(size, self.size, strict=True))
        return self._changed((x1 * a, y1 * b, x2 * a, y2 * b), size, lambda data: data.resize(size, *args, **kwargs))

    def transpose(self, method):
        width, height = self.size
        x1, y1, x2, y2 = self._split_into_xyxy()
        if method == FLIP_LEFT_RIGHT:
            x1, x2 = width - x2 - 1, width - x1 - 1
        else:
            y1, y2 = height - y2, height - y1
        return self._changed((x1, y1, x2, y2), self.size, lambda data: data.transpose(method))

    def crop(self, box):
        width, height = box[2] - box[0], box[3] - box[1]
        x1, y1, x2, y2 = self._split_into_xyxy()
        corners = (
            (x1 - box[0]).clamp(min=0, max=width),
            (y1 - box[1]).clamp(min=0, max=height),
            (x2 - box[0]).clamp(min=0, max=width),
            (y2 - box[1]).clamp(min=0, max=height),
        )
        return self._changed(corners, (width, height), lambda data: data.crop(box))

    def to(self, device):
        result = BoxList(self.bbox.to(device), self.size, self.mode)
        for field, data in self.extra_fields.items():
            result.add_field(field, data.to(device) if hasattr(data, "to") else data)
        return result

    def __getitem__(self, item):
        result = BoxList(self.bbox[item], self.size, self.mode)
        for field, data in self.extra_fields.items():
            result.add_field(field, data[item])
        return result

    def __len__(self):
        return self.bbox.shape[0]

    def clip_to_image(self, remove_empty=True):
        self.bbox[:, 0::2].clamp_(min=0, max=self.size[0] - 1)
        self.bbox[:, 1::2].clamp_(min=0, max=self.size[1] - 1)
        if not remove_empty:
            return self
        return self[(self.bbox[:, 3] > self.bbox[:, 1]) & (self.bbox[:, 2] > self.bbox[:, 0])]

    def area(self):
        if self.mode == "xywh":
            return self.bbox[:, 2] * self.bbox[:, 3]
        return (self.bbox[:, 2] - self.bbox[:, 0] + 1) * (self.bbox[:, 3] - self.bbox[:, 1] + 1)

    def copy_with_fields(self, fields, skip_missing=False):
        result = BoxList(self.bbox, self.size, self.mode)
        for field in fields if isinstance(fields, (list, tuple)) else [fields]:
            if self.has_field(field):
                result.add_field(field, self.get_field(field))
            elif not skip_missing:
                raise KeyError(f"Field '{field}' not found in {self}")
        return result

    def __repr__(self):
        return f"BoxList({len(self)} boxes, {self.size}, {self.mode})"
