"""RetinaNet's training targets and losses (Lin et al. 2017, "Focal Loss for Dense Object Detection", section 4)."""

from collections.abc import Callable

import torch
from torch import Tensor

from maskrcnn_benchmark.layers import smooth_l1_loss
from maskrcnn_benchmark.layers.sigmoid_focal_loss import SigmoidFocalLoss
from maskrcnn_benchmark.modeling.box_coder import BoxCoder
from maskrcnn_benchmark.modeling.matcher import Matcher
from maskrcnn_benchmark.modeling.rpn.loss import RPNLossComputation
from maskrcnn_benchmark.modeling.rpn.utils import concat_box_prediction_layers
from maskrcnn_benchmark.modeling.utils import cat
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.boxlist_ops import cat_boxlist


def generate_retinanet_labels(matched_targets: BoxList) -> Tensor:
    """The class of the object that stands at each anchor's place."""
    return matched_targets.get_field("labels")


class RetinaNetLossComputation(RPNLossComputation):
    """Compares the predictions at all anchors with the objects.

    The labels of `prepare_targets` are the objects' classes from 1; anchors that leave the image are used too.

    Args:
        proposal_matcher: gives an anchor its object.
        box_coder: makes box offsets.
        generate_labels_func: class of each entry of a BoxList of matched objects.
        sigmoid_focal_loss: the sum of the focal loss over logits Tensor[N, C] with classes Tensor[N].
        bbox_reg_beta: where the box loss turns from quadratic to linear.
        regress_norm: the box loss is divided by this.
    """

    copied_fields = ("labels",)
    discard_cases = ("between_thresholds",)

    def __init__(
        self,
        proposal_matcher: Matcher,
        box_coder: BoxCoder,
        generate_labels_func: Callable[[BoxList], Tensor],
        sigmoid_focal_loss: Callable[[Tensor, Tensor], Tensor],
        bbox_reg_beta: float = 0.11,
        regress_norm: float = 1.0,
    ):
        self.proposal_matcher = proposal_matcher
        self.box_coder = box_coder
        self.generate_labels_func = generate_labels_func
        self.box_cls_loss_func = sigmoid_focal_loss
        self.bbox_reg_beta = bbox_reg_beta
        self.regress_norm = regress_norm

    def __call__(
        self,
        anchors: list[list[BoxList]],
        box_cls: list[Tensor],
        box_regression: list[Tensor],
        targets: list[BoxList],
    ) -> tuple[Tensor, Tensor]:
        """
        Args:
            anchors: for each image, for each level.
            box_cls: logits, Tensor[B, A * C, H_l, W_l] for each level.
            box_regression: Tensor[B, A * 4, H_l, W_l] for each level.
            targets: the objects of each image with the field "labels".

        Returns:
            Losses of classification and box regression, each a scalar.
        """
        logits, deltas = concat_box_prediction_layers(box_cls, box_regression)
        labels, offsets = map(cat, self.prepare_targets([cat_boxlist(levels) for levels in anchors], targets))
        positive = labels > 0
        count = positive.sum()
        used = positive[:, None]
        # where, not a product: what an anchor that is not used predicts must not reach the loss, finite or not.
        box_loss = smooth_l1_loss(
            torch.where(used, deltas.float(), 0),
            torch.where(used, offsets, 0),
            beta=self.bbox_reg_beta,
            size_average=False,
        )
        # Each image adds one to the number of objects' anchors: the paper's norm, safe where there are none.
        cls_loss = self.box_cls_loss_func(logits, labels.to(torch.int64)) / (count + len(targets))
        return cls_loss, box_loss / (count * self.regress_norm).clamp(min=1)


def make_retinanet_loss_evaluator(cfg, box_coder: BoxCoder) -> RetinaNetLossComputation:
    retinanet = cfg.MODEL.RETINANET
    return RetinaNetLossComputation(
        Matcher(retinanet.FG_IOU_THRESHOLD, retinanet.BG_IOU_THRESHOLD, allow_low_quality_matches=True),
        box_coder,
        generate_retinanet_labels,
        SigmoidFocalLoss(retinanet.LOSS_GAMMA, retinanet.LOSS_ALPHA),
        bbox_reg_beta=retinanet.BBOX_REG_BETA,
        regress_norm=retinanet.BBOX_REG_WEIGHT,
    )
