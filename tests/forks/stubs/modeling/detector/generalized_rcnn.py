"""A fork's own detector."""

from torch import nn

from maskrcnn_benchmark.structures.image_list import to_image_list

from ..backbone import build_backbone
from ..roi_heads.roi_heads import build_roi_heads
from ..rpn.rpn import build_rpn


class GeneralizedRCNN(nn.Module):
    def __init__(self, cfg):
        super().__init__()
        self.backbone = build_backbone(cfg)
        self.rpn = build_rpn(cfg, self.backbone.out_channels)
        self.roi_heads = build_roi_heads(cfg, self.backbone.out_channels)

    def forward(self, images, targets=None):
        images = to_image_list(images)
        features = self.backbone(images.tensors)
        proposals, losses = self.rpn(images, features, targets)
        result = proposals
        if self.roi_heads:
            _, result, head_losses = self.roi_heads(features, proposals, targets)
            losses = {**losses, **head_losses}
        return losses if self.training else result
