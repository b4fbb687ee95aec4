"""The box head's losses, by maskrcnn-benchmark's names."""

from typing import Any

from torch import Tensor

from maskrcnn_benchmark.modeling.balanced_positive_negative_sampler import BalancedPositiveNegativeSampler
from maskrcnn_benchmark.modeling.box_coder import BoxCoder
from maskrcnn_benchmark.modeling.box_losses import BoxLosses
from maskrcnn_benchmark.modeling.matcher import Matcher
from maskrcnn_benchmark.modeling.utils import cat
from maskrcnn_benchmark.structures.bounding_box import BoxList


class FastRCNNLossComputation(BoxLosses):
    """BoxLosses that remember what they drew: the losses are of the proposals that `subsample` returned last."""

    _proposals: list[BoxList] = []

    def __getstate__(self) -> dict[str, Any]:
        """Without what was drawn: a model that is saved or copied whole takes no images' boxes along."""
        return {name: value for name, value in vars(self).items() if name != "_proposals"}

    def subsample(self, proposals: list[BoxList], targets: list[BoxList]) -> list[BoxList]:
        """`BoxLosses.subsample`."""
        self._proposals = super().subsample(proposals, targets)
        return self._proposals

    def __call__(self, class_logits: list[Tensor], box_regression: list[Tensor]) -> tuple[Tensor, Tensor]:
        """`BoxLosses.losses` of the proposals drawn last, from predictions in any number of parts."""
        return self.losses(cat(class_logits), cat(box_regression), self._proposals)


def make_roi_box_loss_evaluator(cfg) -> FastRCNNLossComputation:
    heads = cfg.MODEL.ROI_HEADS
    matcher = Matcher(heads.FG_IOU_THRESHOLD, heads.BG_IOU_THRESHOLD, allow_low_quality_matches=False)
    sampler = BalancedPositiveNegativeSampler(heads.BATCH_SIZE_PER_IMAGE, heads.POSITIVE_FRACTION)
    return FastRCNNLossComputation(matcher, sampler, BoxCoder(heads.BBOX_REG_WEIGHTS), cfg.MODEL.CLS_AGNOSTIC_BBOX_REG)
