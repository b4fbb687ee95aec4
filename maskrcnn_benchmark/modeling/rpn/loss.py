"""The RPN's training targets and losses (Faster R-CNN, section 3.1.2)."""

import itertools
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from maskrcnn_benchmark.layers import smooth_l1_loss
from maskrcnn_benchmark.modeling.balanced_positive_negative_sampler import BalancedPositiveNegativeSampler
from maskrcnn_benchmark.modeling.box_coder import BoxCoder
from maskrcnn_benchmark.modeling.matcher import Matcher
from maskrcnn_benchmark.modeling.rpn.utils import concat_box_prediction_layers
from maskrcnn_benchmark.modeling.sampling import draw
from maskrcnn_benchmark.modeling.targets import (
    BELOW_LOW_THRESHOLD,
    BETWEEN_THRESHOLDS,
    match_objects,
    matched_targets,
)
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.boxlist_ops import cat_boxlist


def generate_rpn_labels(matched_targets: BoxList) -> Tensor:
    """1 where an anchor stands for an object, 0 otherwise: the field "matched_idxs" int64 Tensor[A] -> float32 Tensor[A]."""
    return (matched_targets.get_field("matched_idxs") >= 0).to(torch.float32)


class RPNLossComputation:
    """Samples anchors and compares the predictions at them with the objects.

    Subclasses may set `copied_fields`, those of the objects that labels are made from, and `discard_cases`, which anchors are
    not sampled: "not_visibility" (they leave the image), "between_thresholds" (of the matcher).
    """

    copied_fields: Sequence[str] = ()
    discard_cases: Sequence[str] = ("not_visibility", "between_thresholds")

    def __init__(
        self,
        proposal_matcher: Matcher,
        fg_bg_sampler: BalancedPositiveNegativeSampler,
        box_coder: BoxCoder,
        generate_labels_func: Callable[[BoxList], Tensor] = generate_rpn_labels,
    ):
        self.proposal_matcher = proposal_matcher
        self.fg_bg_sampler = fg_bg_sampler
        self.box_coder = box_coder
        self.generate_labels_func = generate_labels_func

    def match_targets_to_anchors(self, anchor: BoxList, target: BoxList, copied_fields: Sequence[str] = ()) -> BoxList:
        """The object of each of an image's A anchors, with the named fields and "matched_idxs" (`matched_targets`)."""
        matched = match_objects(self.proposal_matcher, target, anchor.bbox)
        return matched_targets(target, matched, anchor, copied_fields)

    @torch.no_grad()
    def prepare_targets(self, anchors: list[BoxList], targets: list[BoxList]) -> tuple[list[Tensor], list[Tensor]]:
        """For the A anchors of each image: labels float32 Tensor[A] (0 is background, -1 not to be used) and offsets
        Tensor[A, 4], meaningful where the label is positive."""
        labels, offsets = [], []
        for anchor, target in zip(anchors, targets, strict=True):
            objects = self.match_targets_to_anchors(anchor, target, self.copied_fields)
            matched = objects.get_field("matched_idxs")
            label = self.generate_labels_func(objects).to(torch.float32)
            label = label.masked_fill(matched == BELOW_LOW_THRESHOLD, 0)
            if "not_visibility" in self.discard_cases:
                label = label.masked_fill(~anchor.get_field("visibility").bool(), -1)
            if "between_thresholds" in self.discard_cases:
                label = label.masked_fill(matched == BETWEEN_THRESHOLDS, -1)
            labels.append(label)
            offsets.append(self.box_coder.encode(objects.bbox, anchor.bbox))
        return labels, offsets

    def __call__(
        self,
        anchors: list[list[BoxList]],
        objectness: list[Tensor],
        box_regression: list[Tensor],
        targets: list[BoxList],
    ) -> tuple[Tensor, Tensor]:
        """Losses of objectness and of box regression, each a scalar; all images weigh the same."""
        of_image = [cat_boxlist(levels) for levels in anchors]
        labels, offsets = self.prepare_targets(of_image, targets)
        indices, is_valid = draw(self.fg_bg_sampler, labels)
        first = [0, *itertools.accumulate(len(label) for label in labels)]
        index = torch.cat([of_image + start for of_image, start in zip(indices, first, strict=False)])
        valid = torch.cat(is_valid)
        is_object, box_targets = torch.cat(labels)[index] >= 1, torch.cat(offsets)[index]

        logits, deltas = concat_box_prediction_layers(objectness, box_regression)
        logits, deltas = logits[index, 0].float(), deltas[index].float()
        count = valid.sum().clamp(min=1)
        cross_entropy = F.binary_cross_entropy_with_logits(logits, is_object.to(logits.dtype), reduction="none")
        # where, not a product: a non-finite prediction at an anchor that is not used must not reach the loss.
        objectness_loss = torch.where(valid, cross_entropy, 0).sum() / count
        used = (valid & is_object)[:, None]
        box_loss = smooth_l1_loss(
            torch.where(used, deltas, 0), torch.where(used, box_targets, 0), beta=1.0 / 9, size_average=False
        )
        return objectness_loss, box_loss / count


def make_rpn_loss_evaluator(cfg, box_coder: BoxCoder) -> RPNLossComputation:
    rpn = cfg.MODEL.RPN
    matcher = Matcher(rpn.FG_IOU_THRESHOLD, rpn.BG_IOU_THRESHOLD, allow_low_quality_matches=True)
    sampler = BalancedPositiveNegativeSampler(rpn.BATCH_SIZE_PER_IMAGE, rpn.POSITIVE_FRACTION)
    return RPNLossComputation(matcher, sampler, box_coder)
