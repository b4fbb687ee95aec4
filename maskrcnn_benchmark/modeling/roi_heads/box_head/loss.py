"""The box head's training targets and losses (Fast R-CNN, section 2.3).

Legend: R proposals of an image, K proposals drawn in a batch, C classes with background as class 0.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from maskrcnn_benchmark.layers import smooth_l1_loss
from maskrcnn_benchmark.modeling.balanced_positive_negative_sampler import BalancedPositiveNegativeSampler
from maskrcnn_benchmark.modeling.box_coder import BoxCoder
from maskrcnn_benchmark.modeling.matcher import Matcher
from maskrcnn_benchmark.modeling.utils import cat
from maskrcnn_benchmark.structures.bounding_box import BoxList


class FastRCNNLossComputation:
    """Draws proposals for training and compares the predictions for them with the objects."""

    def __init__(
        self,
        proposal_matcher: Matcher,
        fg_bg_sampler: BalancedPositiveNegativeSampler,
        box_coder: BoxCoder,
        cls_agnostic_bbox_reg: bool = False,
    ):
        self.proposal_matcher = proposal_matcher
        self.fg_bg_sampler = fg_bg_sampler
        self.box_coder = box_coder
        self.cls_agnostic_bbox_reg = cls_agnostic_bbox_reg

    @torch.no_grad()
    def subsample(self, proposals: list[BoxList], targets: list[BoxList]) -> list[BoxList]:
        """Match proposals to objects, once for all heads, and draw the ones to train on.

        Returns:
            The drawn proposals of each image, positives first, with the fields
            "labels" (int64, 0 is background), "matched_idxs" (int64, the object in the image's target, meaningful where
            the label is positive) and "regression_targets" (Tensor[., 4]).
        """
        return [self._subsample_image(p, t) for p, t in zip(proposals, targets, strict=True)]

    def _subsample_image(self, proposal: BoxList, target: BoxList) -> BoxList:
        matched = self.proposal_matcher.match_boxes(target.bbox, proposal.bbox)
        matched_object = matched.clamp(min=0)
        labels = torch.zeros_like(matched)
        if len(target):
            labels = torch.where(matched >= 0, target.get_field("labels").to(torch.int64)[matched_object], 0)
            labels = labels.masked_fill(matched == Matcher.BETWEEN_THRESHOLDS, -1)
        index, valid = self.fg_bg_sampler.sample(labels)
        index = index[valid]
        drawn = proposal[index]
        drawn.add_field("labels", labels[index])
        drawn.add_field("matched_idxs", matched_object[index])
        objects = target.bbox[matched_object[index]] if len(target) else drawn.bbox
        drawn.add_field("regression_targets", self.box_coder.encode(objects, drawn.bbox))
        return drawn

    def __call__(self, class_logits: Tensor, box_regression: Tensor, proposals: list[BoxList]) -> tuple[Tensor, Tensor]:
        """
        Args:
            class_logits: Tensor[K, C].
            box_regression: Tensor[K, 4 * C], or [K, 8] if class-agnostic.
            proposals: what `subsample` returned.

        Returns:
            Losses of classification and box regression, both means over the K proposals.
        """
        if len(class_logits) == 0:
            return class_logits.sum() * 0.0, box_regression.sum() * 0.0
        labels = cat([p.get_field("labels") for p in proposals])
        targets = cat([p.get_field("regression_targets") for p in proposals])
        classification_loss = F.cross_entropy(class_logits.float(), labels)

        column = (labels > 0).long() if self.cls_agnostic_bbox_reg else labels
        deltas = box_regression.float().unflatten(1, (-1, 4))
        deltas = deltas.take_along_dim(column[:, None, None], dim=1).squeeze(1)
        positive = (labels > 0)[:, None]
        box_loss = smooth_l1_loss(
            torch.where(positive, deltas, 0), torch.where(positive, targets, 0), beta=1.0, size_average=False
        )
        return classification_loss, box_loss / labels.numel()


def make_roi_box_loss_evaluator(cfg) -> FastRCNNLossComputation:
    heads = cfg.MODEL.ROI_HEADS
    matcher = Matcher(heads.FG_IOU_THRESHOLD, heads.BG_IOU_THRESHOLD, allow_low_quality_matches=False)
    sampler = BalancedPositiveNegativeSampler(heads.BATCH_SIZE_PER_IMAGE, heads.POSITIVE_FRACTION)
    return FastRCNNLossComputation(matcher, sampler, BoxCoder(heads.BBOX_REG_WEIGHTS), cfg.MODEL.CLS_AGNOSTIC_BBOX_REG)
