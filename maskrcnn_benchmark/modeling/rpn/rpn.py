"""Region proposal network (Ren et al. 2015)."""

from collections.abc import Sequence

from torch import Tensor, nn

from maskrcnn_benchmark.layers.fused import conv_relu
from maskrcnn_benchmark.layers.layout import any_layout
from maskrcnn_benchmark.modeling import forks, registries
from maskrcnn_benchmark.modeling.box_coder import BoxCoder
from maskrcnn_benchmark.modeling.rpn.anchor_generator import make_anchor_generator
from maskrcnn_benchmark.modeling.rpn.heads import (  # noqa: F401 (upstream's names)
    RPNHeadConvRegressor,
    RPNHeadFeatureSingleConv,
    make_predictor,
)
from maskrcnn_benchmark.modeling.rpn.inference import make_rpn_postprocessor
from maskrcnn_benchmark.modeling.rpn.loss import make_rpn_loss_evaluator
from maskrcnn_benchmark.modeling.rpn.retinanet.retinanet import build_retinanet
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.image_list import ImageList
from maskrcnn_benchmark.utils.registered import maker


@registries.RPN_HEADS.register("SingleConvRPNHead")
@any_layout
class RPNHead(nn.Module):
    """A 3 x 3 convolution, then objectness and box offsets of each anchor, shared by all levels."""

    def __init__(self, cfg, in_channels: int, num_anchors: int):
        super().__init__()
        self.conv = make_predictor(in_channels, in_channels, kernel=3)
        self.cls_logits = make_predictor(in_channels, num_anchors)
        self.bbox_pred = make_predictor(in_channels, num_anchors * 4)

    def forward(self, x: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Tensor[B, C, H_l, W_l] for each level -> logits Tensor[B, A, H_l, W_l], offsets Tensor[B, A * 4, H_l, W_l]."""
        hidden = [conv_relu(level, self.conv) for level in x]
        return [self.cls_logits(h) for h in hidden], [self.bbox_pred(h) for h in hidden]


@any_layout
class RPNModule(nn.Module):
    """Proposals and, in training, their losses."""

    def __init__(self, cfg, in_channels: int):
        super().__init__()
        self.cfg = cfg.clone()
        self.rpn_only = cfg.MODEL.RPN_ONLY
        self.anchor_generator = make_anchor_generator(cfg)
        anchors_per_location = self.anchor_generator.num_anchors_per_location()
        if len(set(anchors_per_location)) > 1:
            raise ValueError(
                f"The RPN head is shared by all maps, so each needs as many anchors; MODEL.RPN gives {anchors_per_location}."
            )
        make_head = maker(registries.RPN_HEADS, cfg.MODEL.RPN.RPN_HEAD, "MODEL.RPN.RPN_HEAD")
        self.head = make_head(cfg, in_channels, anchors_per_location[0])
        box_coder = BoxCoder(weights=(1.0, 1.0, 1.0, 1.0))
        self.box_selector_train = make_rpn_postprocessor(cfg, box_coder, is_train=True)
        self.box_selector_test = make_rpn_postprocessor(cfg, box_coder, is_train=False)
        self.loss_evaluator = make_rpn_loss_evaluator(cfg, box_coder)

    def forward(
        self, images: ImageList, features: Sequence[Tensor], targets: list[BoxList] | None = None
    ) -> tuple[list, dict[str, Tensor]]:
        """
        Returns:
            Proposals of each image with the field "objectness" (when training an RPN alone: the anchors), and the losses
            by name (empty outside training).
        """
        objectness, box_regression = self.head(features)
        anchors = self.anchor_generator(images, features)
        if self.training:
            assert targets is not None  # GeneralizedRCNN sees to it
            return self._forward_train(anchors, objectness, box_regression, targets)
        return self._forward_test(anchors, objectness, box_regression)

    def _forward_train(self, anchors, objectness, box_regression, targets) -> tuple[list, dict[str, Tensor]]:
        proposals: list = anchors
        if not self.rpn_only:
            proposals = self._select(self.box_selector_train, anchors, objectness, box_regression, targets)
        loss_objectness, loss_box = self.loss_evaluator(anchors, objectness, box_regression, targets)
        return proposals, {"loss_objectness": loss_objectness, "loss_rpn_box_reg": loss_box}

    def _forward_test(self, anchors, objectness, box_regression) -> tuple[list, dict[str, Tensor]]:
        return self._select(self.box_selector_test, anchors, objectness, box_regression), {}

    def _select(self, selector, anchors, objectness, box_regression, targets=None) -> list[BoxList]:
        # Proposals are constants to what follows: end-to-end training is approximate (Faster R-CNN, section 3.2).
        objectness, box_regression = [o.detach() for o in objectness], [r.detach() for r in box_regression]
        return selector(anchors, objectness, box_regression, targets)


def build_rpn(cfg, in_channels: int | None = None) -> nn.Module:
    channels = in_channels or forks.body_channels(cfg)
    if cfg.MODEL.RETINANET_ON:
        return forks.build(build_retinanet, cfg, channels)
    return RPNModule(cfg, channels)
