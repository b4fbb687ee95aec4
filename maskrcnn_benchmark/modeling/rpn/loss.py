"""The RPN's training targets and losses (Faster R-CNN, section 3.1.2)."""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

from maskrcnn_benchmark.layers import smooth_l1_loss
from maskrcnn_benchmark.modeling.balanced_positive_negative_sampler import BalancedPositiveNegativeSampler
from maskrcnn_benchmark.modeling.box_coder import BoxCoder
from maskrcnn_benchmark.modeling.matcher import Matcher
from maskrcnn_benchmark.modeling.rpn.utils import concat_box_prediction_layers
from maskrcnn_benchmark.modeling.utils import cat
from maskrcnn_benchmark.structures.bounding_box import BoxList


def generate_rpn_labels(matched_idxs: Tensor) -> Tensor:
    """1 where an anchor stands for an object, 0 otherwise: int64 Tensor[A] -> float32 Tensor[A]."""
    return (matched_idxs >= 0).to(torch.float32)


class RPNLossComputation:
    """Samples anchors and compares the predictions at them with the objects."""

    def __init__(
        self,
        proposal_matcher: Matcher,
        fg_bg_sampler: BalancedPositiveNegativeSampler,
        box_coder: BoxCoder,
        generate_labels_func: Callable[[Tensor], Tensor] = generate_rpn_labels,
    ):
        self.proposal_matcher = proposal_matcher
        self.fg_bg_sampler = fg_bg_sampler
        self.box_coder = box_coder
        self.generate_labels_func = generate_labels_func

    def match(self, anchors: Tensor, visible: Tensor, objects: Tensor) -> tuple[Tensor, Tensor]:
        """Labels Tensor[A] (1 object, 0 background, -1 neither) and the object of each anchor, int64 Tensor[A]."""
        matched = self.proposal_matcher.match_boxes(objects, anchors)
        labels = self.generate_labels_func(matched)
        ignored = ~visible | (matched == Matcher.BETWEEN_THRESHOLDS)
        return labels.masked_fill(ignored, -1), matched

    def __call__(
        self,
        anchors: list[list[BoxList]],
        objectness: list[Tensor],
        box_regression: list[Tensor],
        targets: list[BoxList],
    ) -> tuple[Tensor, Tensor]:
        """Losses of objectness and of box regression, each a scalar; all images weigh the same."""
        drawn_index, drawn_valid, drawn_object, box_targets = [], [], [], []
        offset = 0
        for levels, target in zip(anchors, targets, strict=True):
            boxes = cat([level.bbox for level in levels])
            visible = cat([level.get_field("visibility") for level in levels])
            labels, matched = self.match(boxes, visible, target.bbox)
            drawn, is_valid = self.fg_bg_sampler.sample(labels)
            drawn_index.append(drawn + offset)
            drawn_valid.append(is_valid)
            drawn_object.append(labels[drawn] >= 1)
            box_targets.append(self._box_targets(boxes[drawn], matched[drawn], target.bbox))
            offset += len(boxes)
        index, valid, is_object = torch.cat(drawn_index), torch.cat(drawn_valid), torch.cat(drawn_object)

        logits, deltas = concat_box_prediction_layers(objectness, box_regression)
        logits, deltas = logits[index, 0].float(), deltas[index].float()
        count = valid.sum().clamp(min=1)
        cross_entropy = F.binary_cross_entropy_with_logits(logits, is_object.to(logits.dtype), reduction="none")
        # where, not a product: a non-finite prediction at an anchor that is not used must not reach the loss.
        objectness_loss = torch.where(valid, cross_entropy, 0).sum() / count
        used = (valid & is_object)[:, None]
        box_loss = smooth_l1_loss(
            torch.where(used, deltas, 0), torch.where(used, torch.cat(box_targets), 0), beta=1.0 / 9, size_average=False
        )
        return objectness_loss, box_loss / count

    def _box_targets(self, anchors: Tensor, matched: Tensor, objects: Tensor) -> Tensor:
        if len(objects) == 0:
            return torch.zeros_like(anchors)
        return self.box_coder.encode(objects[matched.clamp(min=0)], anchors)


def make_rpn_loss_evaluator(cfg, box_coder: BoxCoder) -> RPNLossComputation:
    rpn = cfg.MODEL.RPN
    matcher = Matcher(rpn.FG_IOU_THRESHOLD, rpn.BG_IOU_THRESHOLD, allow_low_quality_matches=True)
    sampler = BalancedPositiveNegativeSampler(rpn.BATCH_SIZE_PER_IMAGE, rpn.POSITIVE_FRACTION)
    return RPNLossComputation(matcher, sampler, box_coder)
