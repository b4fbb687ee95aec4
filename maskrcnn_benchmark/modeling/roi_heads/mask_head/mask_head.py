from collections.abc import Sequence

import torch
from torch import Tensor, nn

from maskrcnn_benchmark.layers.layout import any_layout
from maskrcnn_benchmark.modeling import forks
from maskrcnn_benchmark.modeling.batching import rows_where
from maskrcnn_benchmark.modeling.roi_heads.mask_head.inference import make_roi_mask_post_processor
from maskrcnn_benchmark.modeling.roi_heads.mask_head.loss import make_roi_mask_loss_evaluator
from maskrcnn_benchmark.modeling.roi_heads.mask_head.roi_mask_feature_extractors import make_roi_mask_feature_extractor
from maskrcnn_benchmark.modeling.roi_heads.mask_head.roi_mask_predictors import make_roi_mask_predictor
from maskrcnn_benchmark.structures.bounding_box import BoxList


def keep_only_positive_boxes(boxes: list[BoxList]) -> tuple[list[BoxList], list[Tensor]]:
    """The proposals of each image that stand for an object, and which these are: bool Tensor[R]."""
    positive = [b.get_field("labels") > 0 for b in boxes]
    return [b[rows] for b, rows in zip(boxes, rows_where(positive), strict=True)], positive


@any_layout
class ROIMaskHead(nn.Module):
    """A mask for each proposal that stands for an object (training) or for each detection.

    If it shares the box head's feature extractor, it is given that head's features in training.
    """

    def __init__(self, cfg, in_channels: int):
        super().__init__()
        self.feature_extractor = forks.build(make_roi_mask_feature_extractor, cfg, in_channels)
        channels = getattr(self.feature_extractor, "out_channels", None) or forks.mask_feature_channels(cfg)
        self.predictor = forks.build(make_roi_mask_predictor, cfg, channels)
        self.post_processor = make_roi_mask_post_processor(cfg)
        self.loss_evaluator = make_roi_mask_loss_evaluator(cfg)

    def forward(
        self, features: Sequence[Tensor] | Tensor, proposals: list[BoxList], targets: list[BoxList] | None = None
    ) -> tuple[Tensor, list[BoxList], dict[str, Tensor]]:
        """
        Args:
            features: maps of the pyramid; or the box head's features Tensor[K, C, R, R] of the K proposals, in training.

        Returns:
            The mask features; in training the given proposals, otherwise the detections with "mask"; the losses by name.
        """
        boxes, positive = keep_only_positive_boxes(proposals) if self.training else (proposals, [])
        if isinstance(features, Tensor):
            x = features[torch.cat(positive)]
        else:
            x = self.feature_extractor(features, boxes)
        mask_logits = self.predictor(x)
        if not self.training:
            return x, self.post_processor(mask_logits, boxes), {}
        assert targets is not None  # GeneralizedRCNN sees to it
        return x, proposals, {"loss_mask": self.loss_evaluator(boxes, mask_logits, targets)}


def build_roi_mask_head(cfg, in_channels: int | None = None) -> ROIMaskHead:
    return ROIMaskHead(cfg, in_channels or forks.body_channels(cfg))
