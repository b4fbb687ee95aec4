"""From keypoint features to a heatmap of each keypoint."""

import torch.nn.functional as F
from torch import Tensor, nn

from maskrcnn_benchmark.layers.layout import any_layout
from maskrcnn_benchmark.modeling import forks, registries
from maskrcnn_benchmark.modeling.blocks import check_pooled
from maskrcnn_benchmark.utils.registered import maker


@registries.ROI_KEYPOINT_PREDICTOR.register("KeypointRCNNPredictor")
@any_layout
class KeypointRCNNPredictor(nn.Module):
    """Doubles the resolution twice: Tensor[N, in_channels, R, R] -> logits Tensor[N, K, 4R, 4R]."""

    def __init__(self, cfg, in_channels: int):
        super().__init__()
        self.out_channels = cfg.MODEL.ROI_KEYPOINT_HEAD.NUM_CLASSES
        self.kps_score_lowres = nn.ConvTranspose2d(in_channels, self.out_channels, kernel_size=4, stride=2, padding=1)
        nn.init.kaiming_normal_(self.kps_score_lowres.weight, mode="fan_out", nonlinearity="relu")
        assert self.kps_score_lowres.bias is not None
        nn.init.zeros_(self.kps_score_lowres.bias)

    def forward(self, x: Tensor) -> Tensor:
        check_pooled(x, "ROI_KEYPOINT_HEAD")
        low = self.kps_score_lowres(x).contiguous()  # for losses that take views
        return F.interpolate(low, scale_factor=2, mode="bilinear", align_corners=False)


def make_roi_keypoint_predictor(cfg, in_channels: int | None = None) -> nn.Module:
    return forks.build(
        maker(
            registries.ROI_KEYPOINT_PREDICTOR,
            cfg.MODEL.ROI_KEYPOINT_HEAD.PREDICTOR,
            "MODEL.ROI_KEYPOINT_HEAD.PREDICTOR",
        ),
        cfg,
        in_channels or forks.keypoint_feature_channels(cfg),
    )


_ROI_KEYPOINT_PREDICTOR = registries.ROI_KEYPOINT_PREDICTOR  # its name until 2019, for forks
