"""A fork's own loss of the box head."""

import torch
from torch.nn import functional as F

from maskrcnn_benchmark.layers import smooth_l1_loss
from maskrcnn_benchmark.modeling.balanced_positive_negative_sampler import BalancedPositiveNegativeSampler
from maskrcnn_benchmark.modeling.box_coder import BoxCoder
from maskrcnn_benchmark.modeling.matcher import Matcher
from maskrcnn_benchmark.modeling.utils import cat
from maskrcnn_benchmark.structures.boxlist_ops import boxlist_iou


class FastRCNNLossComputation:
    def __init__(self, proposal_matcher, fg_bg_sampler, box_coder, cls_agnostic_bbox_reg=False):
        self.proposal_matcher = proposal_matcher
        self.fg_bg_sampler = fg_bg_sampler
        self.box_coder = box_coder
        self.cls_agnostic_bbox_reg = cls_agnostic_bbox_reg

    def match_targets_to_proposals(self, proposal, target):
        matched_idxs = self.proposal_matcher(boxlist_iou(target, proposal))
        matched = target.copy_with_fields("labels")[matched_idxs.clamp(min=0)]
        matched.add_field("matched_idxs", matched_idxs)
        return matched

    def prepare_targets(self, proposals, targets):
        labels, regression_targets = [], []
        for proposal, target in zip(proposals, targets, strict=True):
            matched = self.match_targets_to_proposals(proposal, target)
            matched_idxs = matched.get_field("matched_idxs")
            label = matched.get_field("labels").to(torch.int64)
            label[matched_idxs == Matcher.BELOW_LOW_THRESHOLD] = 0
            label[matched_idxs == Matcher.BETWEEN_THRESHOLDS] = -1
            labels.append(label)
            regression_targets.append(self.box_coder.encode(matched.bbox, proposal.bbox))
        return labels, regression_targets

    def subsample(self, proposals, targets):
        labels, regression_targets = self.prepare_targets(proposals, targets)
        positives, negatives = self.fg_bg_sampler(labels)
        self._proposals = []
        for i, proposal in enumerate(proposals):
            proposal.add_field("labels", labels[i])
            proposal.add_field("regression_targets", regression_targets[i])
            self._proposals.append(proposal[torch.nonzero(positives[i] | negatives[i]).squeeze(1)])
        return self._proposals

    def __call__(self, class_logits, box_regression):
        class_logits = cat(class_logits, dim=0)
        box_regression = cat(box_regression, dim=0)
        labels = cat([p.get_field("labels") for p in self._proposals], dim=0)
        regression_targets = cat([p.get_field("regression_targets") for p in self._proposals], dim=0)
        positives = torch.nonzero(labels > 0).squeeze(1)
        first = torch.ones_like(positives) if self.cls_agnostic_bbox_reg else labels[positives]
        columns = 4 * first[:, None] + torch.arange(4, device=labels.device)
        box_loss = smooth_l1_loss(
            box_regression[positives[:, None], columns], regression_targets[positives], size_average=False, beta=1
        )
        return F.cross_entropy(class_logits, labels), box_loss / labels.numel()


def make_roi_box_loss_evaluator(cfg):
    heads = cfg.MODEL.ROI_HEADS
    return FastRCNNLossComputation(
        Matcher(heads.FG_IOU_THRESHOLD, heads.BG_IOU_THRESHOLD, allow_low_quality_matches=False),
        BalancedPositiveNegativeSampler(heads.BATCH_SIZE_PER_IMAGE, heads.POSITIVE_FRACTION),
        BoxCoder(weights=heads.BBOX_REG_WEIGHTS),
        cfg.MODEL.CLS_AGNOSTIC_BBOX_REG,
    )
