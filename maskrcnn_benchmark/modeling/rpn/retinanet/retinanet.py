"""RetinaNet (Lin et al. 2017, "Focal Loss for Dense Object Detection", https://arxiv.org/abs/1708.02002)."""

import math
from collections.abc import Sequence

from torch import Tensor, nn

from maskrcnn_benchmark.layers.convolution import Conv2d
from maskrcnn_benchmark.layers.layout import any_layout
from maskrcnn_benchmark.modeling import forks
from maskrcnn_benchmark.modeling.box_coder import BoxCoder
from maskrcnn_benchmark.modeling.rpn.anchor_generator import AnchorGenerator
from maskrcnn_benchmark.modeling.rpn.retinanet.anchors import retinanet_anchors
from maskrcnn_benchmark.modeling.rpn.retinanet.inference import make_retinanet_postprocessor
from maskrcnn_benchmark.modeling.rpn.retinanet.loss import make_retinanet_loss_evaluator
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.image_list import ImageList


def _conv3x3(in_channels: int, out_channels: int) -> nn.Conv2d:
    conv = Conv2d(in_channels, out_channels, 3, padding=1)
    nn.init.normal_(conv.weight, std=0.01)
    assert conv.bias is not None
    nn.init.zeros_(conv.bias)
    return conv


def _tower(channels: int, num_convs: int) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(num_convs):
        layers += [_conv3x3(channels, channels), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers)


@any_layout
class RetinaNetHead(nn.Module):
    """Two towers of convolutions, shared by all levels: class logits and box offsets of each anchor."""

    def __init__(self, cfg, in_channels: int):
        super().__init__()
        retinanet = cfg.MODEL.RETINANET
        num_classes = retinanet.NUM_CLASSES - 1  # the background has no logit of its own
        num_anchors = len(retinanet.ASPECT_RATIOS) * retinanet.SCALES_PER_OCTAVE
        self.cls_tower = _tower(in_channels, retinanet.NUM_CONVS)
        self.bbox_tower = _tower(in_channels, retinanet.NUM_CONVS)
        self.cls_logits = _conv3x3(in_channels, num_anchors * num_classes)
        self.bbox_pred = _conv3x3(in_channels, num_anchors * 4)
        # At first every class has the probability PRIOR_PROB everywhere (section 4.1), else background drowns the loss.
        assert self.cls_logits.bias is not None
        nn.init.constant_(self.cls_logits.bias, -math.log((1 - retinanet.PRIOR_PROB) / retinanet.PRIOR_PROB))

    def forward(self, x: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Tensor[B, F, H_l, W_l] for each level -> logits Tensor[B, A * C, H_l, W_l], offsets Tensor[B, A * 4, H_l, W_l]."""
        logits = [self.cls_logits(self.cls_tower(level)) for level in x]
        return logits, [self.bbox_pred(self.bbox_tower(level)) for level in x]


@any_layout
class RetinaNetModule(nn.Module):
    """Detections, or in training the losses, from the maps of a pyramid. It stands where two-stage models have the RPN."""

    def __init__(self, cfg, in_channels: int):
        super().__init__()
        self.cfg = cfg.clone()
        self.anchor_generator = retinanet_anchors(AnchorGenerator, cfg)
        self.head = RetinaNetHead(cfg, in_channels)
        box_coder = BoxCoder(weights=(10.0, 10.0, 5.0, 5.0))
        self.box_selector_test = make_retinanet_postprocessor(cfg, box_coder, is_train=False)
        self.loss_evaluator = make_retinanet_loss_evaluator(cfg, box_coder)

    def forward(
        self, images: ImageList, features: Sequence[Tensor], targets: list[BoxList] | None = None
    ) -> tuple[list, dict[str, Tensor]]:
        """
        Returns:
            Detections of each image with the fields "scores" and "labels" (in training: the anchors), and the losses by
            name (empty outside training).
        """
        box_cls, box_regression = self.head(features)
        anchors = self.anchor_generator(images, features)
        if self.training:
            assert targets is not None  # GeneralizedRCNN sees to it
            return self._forward_train(anchors, box_cls, box_regression, targets)
        return self._forward_test(anchors, box_cls, box_regression)

    def _forward_train(self, anchors, box_cls, box_regression, targets) -> tuple[list, dict[str, Tensor]]:
        loss_cls, loss_box = self.loss_evaluator(anchors, box_cls, box_regression, targets)
        return anchors, {"loss_retina_cls": loss_cls, "loss_retina_reg": loss_box}

    def _forward_test(self, anchors, box_cls, box_regression) -> tuple[list, dict[str, Tensor]]:
        return self.box_selector_test(anchors, box_cls, box_regression), {}


def build_retinanet(cfg, in_channels: int | None = None) -> RetinaNetModule:
    return RetinaNetModule(cfg, in_channels or forks.body_channels(cfg))
