"""From pooled regions to feature vectors."""

from collections.abc import Sequence
from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn

from maskrcnn_benchmark.layers.layout import any_layout
from maskrcnn_benchmark.modeling import forks, registries
from maskrcnn_benchmark.modeling.backbone import resnet, resnet_head
from maskrcnn_benchmark.modeling.backbone.resnet_blocks import configured_block
from maskrcnn_benchmark.modeling.blocks import group_norm_options, make_conv3x3, make_fc
from maskrcnn_benchmark.modeling.poolers import Pooler
from maskrcnn_benchmark.modeling.pooling import configured_pooler
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.utils.registered import maker


@registries.ROI_BOX_FEATURE_EXTRACTORS.register("ResNet50Conv5ROIFeatureExtractor")
@any_layout
class ResNet50Conv5ROIFeatureExtractor(nn.Module):
    """Pooling and the stage res5 of a C4 body: feature map, proposals -> Tensor[K, 8 * RES2_OUT_CHANNELS, R / 2, R / 2]."""

    def __init__(self, config, in_channels: int):
        super().__init__()
        self.pooler = configured_pooler(Pooler, config, "ROI_BOX_HEAD")
        self.head = _res5(config)
        self.out_channels = self.head.out_channels

    def forward(self, x: Sequence[Tensor], proposals: list[BoxList]) -> Tensor:
        return self.head(self.pooler(x, proposals))


@registries.ROI_BOX_FEATURE_EXTRACTORS.register("FPN2MLPFeatureExtractor")
@any_layout
class FPN2MLPFeatureExtractor(nn.Module):
    """Pooling and two fully connected layers: feature maps, proposals -> Tensor[K, MLP_HEAD_DIM]."""

    def __init__(self, cfg, in_channels: int):
        super().__init__()
        head = cfg.MODEL.ROI_BOX_HEAD
        gn = group_norm_options(cfg)
        self.pooler = configured_pooler(Pooler, cfg, "ROI_BOX_HEAD")
        self.fc6 = make_fc(in_channels * head.POOLER_RESOLUTION**2, head.MLP_HEAD_DIM, head.USE_GN, gn)
        self.fc7 = make_fc(head.MLP_HEAD_DIM, head.MLP_HEAD_DIM, head.USE_GN, gn)
        self.out_channels = head.MLP_HEAD_DIM

    def forward(self, x: Sequence[Tensor], proposals: list[BoxList]) -> Tensor:
        pooled = self.pooler(x, proposals).flatten(1)
        return F.relu_(self.fc7(F.relu_(self.fc6(pooled))))


@registries.ROI_BOX_FEATURE_EXTRACTORS.register("FPNXconv1fcFeatureExtractor")
@any_layout
class FPNXconv1fcFeatureExtractor(nn.Module):
    """Pooling, 3 x 3 convolutions and one fully connected layer (Wu and He, "Group Normalization", 2018)."""

    def __init__(self, cfg, in_channels: int):
        super().__init__()
        head = cfg.MODEL.ROI_BOX_HEAD
        gn = group_norm_options(cfg)
        self.pooler = configured_pooler(Pooler, cfg, "ROI_BOX_HEAD")
        layers: list[nn.Module] = []
        for _ in range(head.NUM_STACKED_CONVS):
            conv = make_conv3x3(
                in_channels,
                head.CONV_HEAD_DIM,
                head.DILATION,
                use_gn=head.USE_GN,
                use_relu=True,
                kaiming_init=False,
                gn=gn,
            )
            layers.extend(conv.children())
            in_channels = head.CONV_HEAD_DIM
        self.xconvs = nn.Sequential(*layers)
        # Without a norm layer here, as upstream: USE_GN concerns the convolutions of this head.
        self.fc6 = make_fc(in_channels * head.POOLER_RESOLUTION**2, head.MLP_HEAD_DIM)
        self.out_channels = head.MLP_HEAD_DIM

    def forward(self, x: Sequence[Tensor], proposals: list[BoxList]) -> Tensor:
        return F.relu_(self.fc6(self.xconvs(self.pooler(x, proposals)).flatten(1)))


def make_roi_box_feature_extractor(cfg, in_channels: int | None = None) -> Any:
    """A module with the attribute `out_channels`."""
    return forks.build(
        maker(
            registries.ROI_BOX_FEATURE_EXTRACTORS,
            cfg.MODEL.ROI_BOX_HEAD.FEATURE_EXTRACTOR,
            "MODEL.ROI_BOX_HEAD.FEATURE_EXTRACTOR",
        ),
        cfg,
        in_channels or forks.body_channels(cfg),
    )


_ROI_BOX_FEATURE_EXTRACTORS = registries.ROI_BOX_FEATURE_EXTRACTORS  # its name until 2019, for forks


def _res5(cfg) -> Any:
    """The last stage of the configured ResNet, for regions pooled from a C4 body's map."""
    resnets = cfg.MODEL.RESNETS
    # A fork's own head looks the block up by its name.
    is_ours = resnet.ResNetHead is resnet_head.ResNetHead
    return forks.call(
        resnet.ResNetHead,
        block_module=configured_block(cfg) if is_ours else resnets.TRANS_FUNC,
        stages=(resnet.StageSpec(index=4, block_count=3, return_features=False),),
        num_groups=resnets.NUM_GROUPS,
        width_per_group=resnets.WIDTH_PER_GROUP,
        stride_in_1x1=resnets.STRIDE_IN_1X1,
        stride_init=None,
        res2_out_channels=resnets.RES2_OUT_CHANNELS,
        dilation=resnets.RES5_DILATION,
    )
