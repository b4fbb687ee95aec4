"""A fork's own pooler: one level after the other."""

import torch
from torch import nn

from maskrcnn_benchmark.layers import ROIAlign

from .utils import cat


class LevelMapper:
    def __init__(self, k_min, k_max, canonical_scale=224, canonical_level=4, eps=1e-6):
        self.k_min = k_min
        self.k_max = k_max
        self.s0 = canonical_scale
        self.lvl0 = canonical_level
        self.eps = eps

    def __call__(self, boxlists):
        side = cat([boxlist.area() for boxlist in boxlists]).sqrt()
        level = torch.floor(self.lvl0 + torch.log2(side / self.s0 + self.eps))
        return level.clamp(self.k_min, self.k_max).long() - int(self.k_min)


class Pooler(nn.Module):
    def __init__(self, output_size, scales, sampling_ratio):
        super().__init__()
        self.poolers = nn.ModuleList(
            ROIAlign(output_size, spatial_scale=scale, sampling_ratio=sampling_ratio) for scale in scales
        )
        self.output_size = output_size
        first, last = -torch.log2(torch.tensor([scales[0], scales[-1]]))
        self.map_levels = LevelMapper(first.item(), last.item())

    def convert_to_roi_format(self, boxes):
        ids = [b.bbox.new_full((len(b), 1), i) for i, b in enumerate(boxes)]
        return torch.cat([cat(ids, dim=0), cat([b.bbox for b in boxes], dim=0)], dim=1)

    def forward(self, x, boxes):
        rois = self.convert_to_roi_format(boxes)
        if len(self.poolers) == 1:
            return self.poolers[0](x[0], rois)
        levels = self.map_levels(boxes)
        result = x[0].new_zeros(len(rois), x[0].shape[1], *self.output_size)
        for level, (features, pooler) in enumerate(zip(x, self.poolers)):  # noqa: B905  # RetinaNet's has more levels
            chosen = torch.nonzero(levels == level).squeeze(1)
            result[chosen] = pooler(features, rois[chosen])
        return result


def make_pooler(cfg, head_name):
    head = cfg.MODEL[head_name]
    return Pooler(
        output_size=(head.POOLER_RESOLUTION, head.POOLER_RESOLUTION),
        scales=head.POOLER_SCALES,
        sampling_ratio=head.POOLER_SAMPLING_RATIO,
    )
