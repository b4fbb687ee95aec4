from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from maskrcnn_benchmark.modeling.roi_heads.box_head.box_head import build_roi_box_head
from maskrcnn_benchmark.modeling.roi_heads.mask_head.mask_head import build_roi_mask_head
from maskrcnn_benchmark.structures.bounding_box import BoxList


class CombinedROIHeads(nn.ModuleDict):
    """The heads that look at proposals: "box" first, then those that look at what it returned."""

    def __init__(self, cfg, heads: Sequence[tuple[str, nn.Module]]):
        super().__init__(dict(heads))
        self.mask_shares_features = "mask" in self and cfg.MODEL.ROI_MASK_HEAD.SHARE_BOX_FEATURE_EXTRACTOR
        if self.mask_shares_features:
            mask: Any = self["mask"]
            mask.feature_extractor = self["box"].feature_extractor

    def forward(
        self, features: Sequence[Tensor], proposals: list[BoxList], targets: list[BoxList] | None = None
    ) -> tuple[Tensor, list[BoxList], dict[str, Tensor]]:
        x, detections, losses = self["box"](features, proposals, targets)
        if "mask" in self:
            mask_features = x if self.training and self.mask_shares_features else features
            x, detections, mask_losses = self["mask"](mask_features, detections, targets)
            losses.update(mask_losses)
        return x, detections, losses


def build_roi_heads(cfg, in_channels: int) -> CombinedROIHeads | None:
    """None for a model without a second stage."""
    if cfg.MODEL.RPN_ONLY or cfg.MODEL.RETINANET_ON:
        return None
    if cfg.MODEL.KEYPOINT_ON:
        raise ValueError("MODEL.KEYPOINT_ON is True, but this version has no keypoint head; set it to False.")
    heads: list[tuple[str, nn.Module]] = [("box", build_roi_box_head(cfg, in_channels))]
    if cfg.MODEL.MASK_ON:
        heads.append(("mask", build_roi_mask_head(cfg, in_channels)))
    return CombinedROIHeads(cfg, heads)
