from collections.abc import Sequence

from torch import Tensor, nn

from maskrcnn_benchmark.layers.layout import any_layout
from maskrcnn_benchmark.modeling import forks
from maskrcnn_benchmark.modeling.roi_heads.box_head.inference import make_roi_box_post_processor
from maskrcnn_benchmark.modeling.roi_heads.box_head.loss import make_roi_box_loss_evaluator
from maskrcnn_benchmark.modeling.roi_heads.box_head.roi_box_feature_extractors import make_roi_box_feature_extractor
from maskrcnn_benchmark.modeling.roi_heads.box_head.roi_box_predictors import make_roi_box_predictor
from maskrcnn_benchmark.structures.bounding_box import BoxList


@any_layout
class ROIBoxHead(nn.Module):
    """Classifies proposals and refines their boxes."""

    def __init__(self, cfg, in_channels: int):
        super().__init__()
        self.feature_extractor = forks.build(make_roi_box_feature_extractor, cfg, in_channels)
        channels = getattr(self.feature_extractor, "out_channels", None) or forks.box_feature_channels(cfg)
        self.predictor = forks.build(make_roi_box_predictor, cfg, channels)
        self.post_processor = make_roi_box_post_processor(cfg)
        self.loss_evaluator = make_roi_box_loss_evaluator(cfg)

    def forward(
        self, features: Sequence[Tensor], proposals: list[BoxList], targets: list[BoxList] | None = None
    ) -> tuple[Tensor, list[BoxList], dict[str, Tensor]]:
        """
        Returns:
            The features of the proposals; in training the drawn proposals, otherwise the detections; the losses by name.
        """
        if self.training:
            assert targets is not None  # GeneralizedRCNN sees to it
            proposals = self.loss_evaluator.subsample(proposals, targets)
        x = self.feature_extractor(features, proposals)
        class_logits, box_regression = self.predictor(x)
        if not self.training:
            return x, self.post_processor((class_logits, box_regression), proposals), {}
        loss_classifier, loss_box_reg = self.loss_evaluator([class_logits], [box_regression])
        return x, proposals, {"loss_classifier": loss_classifier, "loss_box_reg": loss_box_reg}


def build_roi_box_head(cfg, in_channels: int | None = None) -> ROIBoxHead:
    return ROIBoxHead(cfg, in_channels or forks.body_channels(cfg))
