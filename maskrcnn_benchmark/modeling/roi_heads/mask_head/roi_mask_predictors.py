"""From mask features to a mask of each class."""

import torch.nn.functional as F
from torch import Tensor, nn

from maskrcnn_benchmark.layers.layout import any_layout
from maskrcnn_benchmark.modeling import forks, registries
from maskrcnn_benchmark.modeling.blocks import check_pooled
from maskrcnn_benchmark.utils.registered import maker


def _init(*layers: nn.Conv2d | nn.ConvTranspose2d) -> None:
    for layer in layers:
        nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


@registries.ROI_MASK_PREDICTOR.register("MaskRCNNC4Predictor")
@any_layout
class MaskRCNNC4Predictor(nn.Module):
    """Doubles the resolution: Tensor[K, in_channels, R, R] -> logits Tensor[K, C, 2R, 2R]."""

    def __init__(self, cfg, in_channels: int):
        super().__init__()
        hidden = cfg.MODEL.ROI_MASK_HEAD.CONV_LAYERS[-1]
        self.conv5_mask = nn.ConvTranspose2d(in_channels, hidden, 2, 2)
        self.mask_fcn_logits = nn.Conv2d(hidden, cfg.MODEL.ROI_BOX_HEAD.NUM_CLASSES, 1)
        _init(self.conv5_mask, self.mask_fcn_logits)

    def forward(self, x: Tensor) -> Tensor:
        check_pooled(x, "ROI_MASK_HEAD")
        return self.mask_fcn_logits(F.relu_(self.conv5_mask(x))).contiguous()  # for losses that take views


@registries.ROI_MASK_PREDICTOR.register("MaskRCNNConv1x1Predictor")
@any_layout
class MaskRCNNConv1x1Predictor(nn.Module):
    """Keeps the resolution: Tensor[K, in_channels, R, R] -> logits Tensor[K, C, R, R]."""

    def __init__(self, cfg, in_channels: int):
        super().__init__()
        self.mask_fcn_logits = nn.Conv2d(in_channels, cfg.MODEL.ROI_BOX_HEAD.NUM_CLASSES, 1)
        _init(self.mask_fcn_logits)

    def forward(self, x: Tensor) -> Tensor:
        check_pooled(x, "ROI_MASK_HEAD")
        return self.mask_fcn_logits(x).contiguous()  # for losses that take views


def make_roi_mask_predictor(cfg, in_channels: int | None = None) -> nn.Module:
    return forks.build(
        maker(registries.ROI_MASK_PREDICTOR, cfg.MODEL.ROI_MASK_HEAD.PREDICTOR, "MODEL.ROI_MASK_HEAD.PREDICTOR"),
        cfg,
        in_channels or forks.mask_feature_channels(cfg),
    )


_ROI_MASK_PREDICTOR = registries.ROI_MASK_PREDICTOR  # its name until 2019, for forks
