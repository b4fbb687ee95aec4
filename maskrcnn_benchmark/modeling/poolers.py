"""Pooling regions of interest from the levels of a feature pyramid."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from maskrcnn_benchmark.layers import ROIAlign
from maskrcnn_benchmark.layers.frozen_batch_norm import is_watched
from maskrcnn_benchmark.layers.layout import any_layout, is_marked
from maskrcnn_benchmark.modeling.batching import numbered
from maskrcnn_benchmark.modeling.pooling import configured_pooler
from maskrcnn_benchmark.modeling.utils import cat
from maskrcnn_benchmark.ops.roi_align import multiscale_roi_align
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.boxes import box_area
from maskrcnn_benchmark.utils.overriding import is_overridden, replaceable

__all__ = ["LevelMapper", "Pooler", "make_pooler"]


@replaceable("__call__")
class LevelMapper:
    """The pyramid level of a box by its size (Lin et al. 2017, "Feature Pyramid Networks", equation 1)."""

    def __init__(
        self, k_min: float, k_max: float, canonical_scale: float = 224, canonical_level: float = 4, eps: float = 1e-6
    ):
        self.k_min, self.k_max = k_min, k_max
        self.s0, self.lvl0, self.eps = canonical_scale, canonical_level, eps

    def levels(self, boxes: Tensor) -> Tensor:
        """Tensor[K, 4] xyxy, pixels -> int64 Tensor[K], 0 for level k_min."""
        size = torch.sqrt(box_area(boxes).clamp(min=0))  # rounding can turn the corners of a thin box around
        level = torch.floor(self.lvl0 + torch.log2(size / self.s0 + self.eps))
        return level.clamp(min=self.k_min, max=self.k_max).to(torch.int64) - int(self.k_min)

    def __call__(self, boxlists: list[BoxList]) -> Tensor:
        return self.levels(cat([b.bbox for b in boxlists]))


@any_layout
class Pooler(nn.Module):
    """RoIAlign over a pyramid, each region from the level of its size.

    Args:
        output_size: (height, width) of a pooled region.
        scales: size of each level's map relative to the image, finest first.
        sampling_ratio: samples along each side of a bin; 0 for as many as it has pixels.
    """

    def __init__(self, output_size: int | tuple[int, int], scales: Sequence[float], sampling_ratio: int):
        super().__init__()
        self.output_size = (output_size, output_size) if isinstance(output_size, int) else tuple(output_size)
        self.scales = [float(s) for s in scales]
        self.sampling_ratio = sampling_ratio
        # One for each level, as maskrcnn-benchmark's; what is pooled is pooled from all levels at once.
        self.poolers = nn.ModuleList(ROIAlign(self.output_size, scale, sampling_ratio) for scale in self.scales)
        self.map_levels = LevelMapper(-math.log2(self.scales[0]), -math.log2(self.scales[-1]))

    def convert_to_roi_format(self, boxes: list[BoxList]) -> Tensor:
        """Tensor[K, 5]: index of the image, x1, y1, x2, y2."""
        corners = cat([b.bbox for b in boxes])
        image = numbered([b.bbox.shape[0] for b in boxes], corners.device)
        return torch.cat((image[:, None].to(corners.dtype), corners), dim=1)

    def forward(self, x: Sequence[Tensor], boxes: list[BoxList]) -> Tensor:
        """Tensor[B, C, H_l, W_l] for each level -> Tensor[K, C, *output_size], regions in the order of the boxes."""
        if len(x) < len(self.scales):
            raise ValueError(
                f"The model makes {len(x)} maps, and regions are pooled from {len(self.scales)}: the head's POOLER_SCALES "
                f"{tuple(self.scales)} must be of length {len(x)} or less."
            )
        rois = self.convert_to_roi_format(boxes)
        if self._is_changed():
            return self._level_by_level(x, rois, self.map_levels(boxes))
        levels = self.map_levels.levels(rois[:, 1:])
        return multiscale_roi_align(
            list(x[: len(self.scales)]), rois, levels, self.scales, self.output_size, self.sampling_ratio
        )

    def _is_changed(self) -> bool:
        """Whether someone put poolers or a mapping of their own in place of this package's, or watches them."""
        if type(self.map_levels) is not LevelMapper or is_overridden(self.map_levels, LevelMapper, "__call__"):
            return True
        if is_watched(*self.poolers) or any(is_overridden(pool, ROIAlign, "forward") for pool in self.poolers):
            return True
        return not all(is_marked(type(pool)) for pool in self.poolers)

    def _level_by_level(self, x: Sequence[Tensor], rois: Tensor, levels: Tensor) -> Tensor:
        if len(self.poolers) == 1:
            return self.poolers[0](x[0], rois)
        parts = [torch.nonzero(levels == level).squeeze(1) for level in range(len(self.poolers))]
        pooled = torch.cat(
            [pool(level, rois[of_level]) for pool, level, of_level in zip(self.poolers, x, parts, strict=False)]
        )
        return pooled[torch.argsort(torch.cat(parts))]

    def extra_repr(self) -> str:
        return f"output_size={self.output_size}, scales={self.scales}, sampling_ratio={self.sampling_ratio}"


def make_pooler(cfg, head_name: str) -> Pooler:
    """The Pooler that cfg.MODEL[head_name] describes."""
    return configured_pooler(Pooler, cfg, head_name)
