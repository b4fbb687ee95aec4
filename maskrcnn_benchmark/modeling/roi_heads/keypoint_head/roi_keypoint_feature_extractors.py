"""From pooled regions to keypoint features."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from maskrcnn_benchmark.layers.fused import conv_relu
from maskrcnn_benchmark.layers.layout import any_layout
from maskrcnn_benchmark.modeling import forks, registries
from maskrcnn_benchmark.modeling.blocks import make_conv3x3
from maskrcnn_benchmark.modeling.poolers import Pooler
from maskrcnn_benchmark.modeling.pooling import configured_pooler
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.utils.registered import maker


@registries.ROI_KEYPOINT_FEATURE_EXTRACTORS.register("KeypointRCNNFeatureExtractor")
@any_layout
class KeypointRCNNFeatureExtractor(nn.Module):
    """Pooling and 3 x 3 convolutions: feature maps, boxes -> Tensor[N, CONV_LAYERS[-1], R, R]."""

    def __init__(self, cfg, in_channels: int):
        super().__init__()
        self.pooler = configured_pooler(Pooler, cfg, "ROI_KEYPOINT_HEAD")
        self.blocks = []
        for i, channels in enumerate(cfg.MODEL.ROI_KEYPOINT_HEAD.CONV_LAYERS, start=1):
            name = f"conv_fcn{i}"
            self.add_module(name, make_conv3x3(in_channels, channels))
            self.blocks.append(name)
            in_channels = channels
        self.out_channels = in_channels

    def forward(self, x: Sequence[Tensor], proposals: list[BoxList]) -> Tensor:
        pooled = self.pooler(x, proposals)
        for name in self.blocks:
            pooled = conv_relu(pooled, getattr(self, name))
        return pooled


def make_roi_keypoint_feature_extractor(cfg, in_channels: int | None = None) -> Any:
    """A module with the attribute `out_channels`."""
    name = cfg.MODEL.ROI_KEYPOINT_HEAD.FEATURE_EXTRACTOR
    channels = in_channels or forks.body_channels(cfg)
    make = maker(registries.ROI_KEYPOINT_FEATURE_EXTRACTORS, name, "MODEL.ROI_KEYPOINT_HEAD.FEATURE_EXTRACTOR")
    return forks.build(make, cfg, channels)


_ROI_KEYPOINT_FEATURE_EXTRACTORS = registries.ROI_KEYPOINT_FEATURE_EXTRACTORS  # its name until 2019, for forks
