"""From pooled regions to mask features."""

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from maskrcnn_benchmark.layers.fused import conv_relu
from maskrcnn_benchmark.layers.layout import any_layout
from maskrcnn_benchmark.modeling import forks, registries
from maskrcnn_benchmark.modeling.blocks import group_norm_options, make_conv3x3
from maskrcnn_benchmark.modeling.poolers import Pooler
from maskrcnn_benchmark.modeling.pooling import configured_pooler
from maskrcnn_benchmark.modeling.roi_heads.box_head.roi_box_feature_extractors import (
    ResNet50Conv5ROIFeatureExtractor,
)
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.utils.registered import maker

registries.ROI_MASK_FEATURE_EXTRACTORS.register("ResNet50Conv5ROIFeatureExtractor", ResNet50Conv5ROIFeatureExtractor)


@registries.ROI_MASK_FEATURE_EXTRACTORS.register("MaskRCNNFPNFeatureExtractor")
@any_layout
class MaskRCNNFPNFeatureExtractor(nn.Module):
    """Pooling and 3 x 3 convolutions: feature maps, boxes -> Tensor[K, CONV_LAYERS[-1], R, R]."""

    def __init__(self, cfg, in_channels: int):
        super().__init__()
        head = cfg.MODEL.ROI_MASK_HEAD
        self.pooler = configured_pooler(Pooler, cfg, "ROI_MASK_HEAD")
        self.blocks = []
        for i, channels in enumerate(head.CONV_LAYERS, start=1):
            name = f"mask_fcn{i}"
            conv = make_conv3x3(
                in_channels, channels, head.DILATION, stride=1, use_gn=head.USE_GN, gn=group_norm_options(cfg)
            )
            self.add_module(name, conv)
            self.blocks.append(name)
            in_channels = channels
        self.out_channels = in_channels

    def forward(self, x: Sequence[Tensor], proposals: list[BoxList]) -> Tensor:
        pooled = self.pooler(x, proposals)
        for name in self.blocks:
            pooled = conv_relu(pooled, getattr(self, name))
        return pooled


def make_roi_mask_feature_extractor(cfg, in_channels: int | None = None) -> Any:
    """A module with the attribute `out_channels`."""
    return forks.build(
        maker(
            registries.ROI_MASK_FEATURE_EXTRACTORS,
            cfg.MODEL.ROI_MASK_HEAD.FEATURE_EXTRACTOR,
            "MODEL.ROI_MASK_HEAD.FEATURE_EXTRACTOR",
        ),
        cfg,
        in_channels or forks.body_channels(cfg),
    )


_ROI_MASK_FEATURE_EXTRACTORS = registries.ROI_MASK_FEATURE_EXTRACTORS  # its name until 2019, for forks
