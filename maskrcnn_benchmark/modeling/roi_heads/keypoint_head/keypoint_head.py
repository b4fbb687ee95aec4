from collections.abc import Sequence

import torch
from torch import Tensor, nn

from maskrcnn_benchmark.layers.layout import any_layout
from maskrcnn_benchmark.modeling import forks
from maskrcnn_benchmark.modeling.roi_heads.keypoint_head.inference import make_roi_keypoint_post_processor
from maskrcnn_benchmark.modeling.roi_heads.keypoint_head.loss import make_roi_keypoint_loss_evaluator
from maskrcnn_benchmark.modeling.roi_heads.keypoint_head.roi_keypoint_feature_extractors import (
    make_roi_keypoint_feature_extractor,
)
from maskrcnn_benchmark.modeling.roi_heads.keypoint_head.roi_keypoint_predictors import make_roi_keypoint_predictor
from maskrcnn_benchmark.structures.bounding_box import BoxList


@any_layout
class ROIKeypointHead(nn.Module):
    """A heatmap of each keypoint for each proposal that stands for an object (training) or for each detection.

    If it shares the box head's feature extractor, it is given that head's features in training.
    """

    def __init__(self, cfg, in_channels: int):
        super().__init__()
        self.feature_extractor = forks.build(make_roi_keypoint_feature_extractor, cfg, in_channels)
        channels = getattr(self.feature_extractor, "out_channels", None) or forks.keypoint_feature_channels(cfg)
        self.predictor = forks.build(make_roi_keypoint_predictor, cfg, channels)
        self.post_processor = make_roi_keypoint_post_processor(cfg)
        self.loss_evaluator = make_roi_keypoint_loss_evaluator(cfg)

    def forward(
        self, features: Sequence[Tensor] | Tensor, proposals: list[BoxList], targets: list[BoxList] | None = None
    ) -> tuple[Tensor, list[BoxList], dict[str, Tensor]]:
        """
        Args:
            features: maps of the pyramid; or the box head's features Tensor[N, C, R, R] of the N proposals, in training.

        Returns:
            The keypoint features; in training the given proposals, otherwise the detections with "keypoints"; the losses by
            name.
        """
        boxes = proposals
        if self.training:
            assert targets is not None  # GeneralizedRCNN sees to it
            boxes = self.loss_evaluator.subsample(proposals, targets)
        if isinstance(features, Tensor):
            x = features[torch.cat([b.get_field("rows") for b in boxes])]
        else:
            x = self.feature_extractor(features, boxes)
        logits = self.predictor(x)
        if not self.training:
            return x, self.post_processor(logits, boxes), {}
        return x, proposals, {"loss_kp": self.loss_evaluator(boxes, logits)}


def build_roi_keypoint_head(cfg, in_channels: int | None = None) -> ROIKeypointHead:
    return ROIKeypointHead(cfg, in_channels or forks.body_channels(cfg))
