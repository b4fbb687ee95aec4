"""Training targets and losses of a head that classifies proposals and refines their boxes (Fast R-CNN, section 2.3).

Legend: R proposals of an image, K proposals drawn in a batch, C classes with background as class 0.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from maskrcnn_benchmark.layers import smooth_l1_loss
from maskrcnn_benchmark.modeling.batching import rows_where
from maskrcnn_benchmark.modeling.box_coder import BoxCoder
from maskrcnn_benchmark.modeling.matching import Matcher
from maskrcnn_benchmark.modeling.sampling import BalancedPositiveNegativeSampler, draw
from maskrcnn_benchmark.modeling.targets import (
    BELOW_LOW_THRESHOLD,
    BETWEEN_THRESHOLDS,
    match_objects,
    matched_targets,
)
from maskrcnn_benchmark.modeling.utils import cat
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.utils.wording import counted


class BoxLosses:
    """Draws proposals for training and compares the predictions for them with the objects; keeps nothing between calls.

    Args:
        proposal_matcher: which object each proposal stands for.
        fg_bg_sampler: which proposals to train on.
        box_coder: of the offsets from a proposal to its object.
        cls_agnostic_bbox_reg: whether all classes share one box.
    """

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

    def match_targets_to_proposals(self, proposal: BoxList, target: BoxList) -> BoxList:
        """The object of each of an image's R proposals, with "labels" and "matched_idxs" (`matched_targets`)."""
        matched = match_objects(self.proposal_matcher, target, proposal.bbox)
        return matched_targets(target, matched, proposal, ["labels"])

    def prepare_targets(self, proposals: list[BoxList], targets: list[BoxList]) -> tuple[list[Tensor], list[Tensor]]:
        """For the R proposals of each image: labels int64 Tensor[R] (0 is background, -1 not to be drawn) and offsets
        Tensor[R, 4], meaningful where the label is positive.

        The proposals get the field "matched_idxs" (`Matcher`), int64: the object in the image's target.
        """
        labels, offsets = [], []
        for proposal, target in zip(proposals, targets, strict=True):
            objects = self.match_targets_to_proposals(proposal, target)
            matched = objects.get_field("matched_idxs")
            label = objects.get_field("labels").to(torch.int64)
            label = label.masked_fill(matched == BELOW_LOW_THRESHOLD, 0)
            labels.append(label.masked_fill(matched == BETWEEN_THRESHOLDS, -1))
            offsets.append(self.box_coder.encode(objects.bbox, proposal.bbox))
            proposal.add_field("matched_idxs", matched)
        return labels, offsets

    @torch.no_grad()
    def subsample(self, proposals: list[BoxList], targets: list[BoxList]) -> list[BoxList]:
        """Match proposals to objects, once for all heads, and draw the ones to train on.

        Returns:
            The drawn proposals of each image, positives first, with the fields "labels" and "regression_targets" of
            `prepare_targets`, and "matched_idxs", which the other heads read.
        """
        # A match of an earlier stage is none of these objects.
        given = [p.copy_with_fields([f for f in p.fields() if f != "matched_idxs"]) for p in proposals]
        labels, offsets = self.prepare_targets(given, targets)
        for proposal, label, offset in zip(given, labels, offsets, strict=True):
            proposal.add_field("labels", label)
            proposal.add_field("regression_targets", offset)
        indices, valid = draw(self.fg_bg_sampler, labels)
        rows = rows_where(valid)
        return [p[index[row]] for p, index, row in zip(given, indices, rows, strict=True)]

    def losses(self, logits: Tensor, deltas: Tensor, proposals: list[BoxList]) -> tuple[Tensor, Tensor]:
        """
        Args:
            logits: of the classes, Tensor[K, C].
            deltas: offsets Tensor[K, 4 * C], or [K, 8] if class-agnostic.
            proposals: the K proposals that they are for, as `subsample` returns them.

        Returns:
            Losses of classification and box regression, both means over the K proposals.
        """
        if sum(map(len, proposals)) != len(logits):
            raise ValueError(
                f"Predictions for {counted(len(logits), 'proposal')}, but `subsample` drew {sum(map(len, proposals))}: "
                "it must be called "
                "before them, on the same images."
            )
        if len(logits) == 0:
            return logits.sum() * 0.0, deltas.sum() * 0.0
        labels = cat([p.get_field("labels") for p in proposals])
        targets = cat([p.get_field("regression_targets") for p in proposals])
        classification_loss = F.cross_entropy(logits.float(), labels)

        column = (labels > 0).long() if self.cls_agnostic_bbox_reg else labels
        deltas = deltas.float().unflatten(1, (-1, 4))
        deltas = deltas.take_along_dim(column[:, None, None], dim=1).squeeze(1)
        positive = (labels > 0)[:, None]
        box_loss = smooth_l1_loss(
            torch.where(positive, deltas, 0), torch.where(positive, targets, 0), beta=1.0, size_average=False
        )
        return classification_loss, box_loss / labels.numel()
