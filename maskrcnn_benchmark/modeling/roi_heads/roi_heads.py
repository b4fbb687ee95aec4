from collections.abc import Callable, Sequence
from typing import Any

from torch import Tensor, nn

from maskrcnn_benchmark.config.node import ConfigError
from maskrcnn_benchmark.config.options import options
from maskrcnn_benchmark.layers.layout import any_layout
from maskrcnn_benchmark.modeling import forks, registries
from maskrcnn_benchmark.modeling.roi_heads.box_head.box_head import build_roi_box_head
from maskrcnn_benchmark.modeling.roi_heads.keypoint_head.keypoint_head import build_roi_keypoint_head
from maskrcnn_benchmark.modeling.roi_heads.mask_head.mask_head import build_roi_mask_head
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.utils.registered import maker

# The heads that a configuration has without a NAME can be named, too; a program's own of that name stays.
registries.ROI_HEADS.setdefault("ROIBoxHead", build_roi_box_head)
registries.ROI_HEADS.setdefault("ROIMaskHead", build_roi_mask_head)
registries.ROI_HEADS.setdefault("ROIKeypointHead", build_roi_keypoint_head)


@any_layout
class CombinedROIHeads(nn.ModuleDict):
    """The heads that look at proposals: "box" first, then those that look at what it returned."""

    def __init__(self, cfg, heads: Sequence[tuple[str, nn.Module]]):
        super().__init__(dict(heads))
        shares = {
            "mask": cfg.MODEL.ROI_MASK_HEAD.SHARE_BOX_FEATURE_EXTRACTOR,
            "keypoint": cfg.MODEL.ROI_KEYPOINT_HEAD.SHARE_BOX_FEATURE_EXTRACTOR,
        }
        self.sharing = {name for name in shares if name in self and shares[name]}
        for name in self.sharing:
            head: Any = self[name]
            if not hasattr(self["box"], "feature_extractor"):
                raise ConfigError(
                    f"MODEL.ROI_{name.upper()}_HEAD.SHARE_BOX_FEATURE_EXTRACTOR is True, but the box head, "
                    f"{type(self['box']).__name__}, has no attribute `feature_extractor`: set it to False."
                )
            head.feature_extractor = self["box"].feature_extractor

    def forward(
        self, features: Sequence[Tensor], proposals: list[BoxList], targets: list[BoxList] | None = None
    ) -> tuple[Tensor, list[BoxList], dict[str, Tensor]]:
        box_features, detections, losses = self["box"](features, proposals, targets)
        x = box_features
        for name in ("mask", "keypoint"):
            if name in self:
                seen = box_features if self.training and name in self.sharing else features
                x, detections, head_losses = self[name](seen, detections, targets)
                losses.update(head_losses)
        return x, detections, losses


def build_roi_heads(cfg, in_channels: int | None = None) -> Any:
    """A CombinedROIHeads, or what MODEL.ROI_HEADS.NAME names; None for a model without a second stage."""
    if cfg.MODEL.RPN_ONLY or cfg.MODEL.RETINANET_ON:
        return None
    channels = in_channels or forks.body_channels(cfg)
    if options(cfg).MODEL.ROI_HEADS.NAME:
        return _build(cfg, "ROI_HEADS", build_roi_box_head, channels)  # alone it does for a detector of boxes
    heads = [("box", _build(cfg, "ROI_BOX_HEAD", build_roi_box_head, channels))]
    if cfg.MODEL.MASK_ON:
        heads.append(("mask", _build(cfg, "ROI_MASK_HEAD", build_roi_mask_head, channels)))
    if cfg.MODEL.KEYPOINT_ON:
        heads.append(("keypoint", _build(cfg, "ROI_KEYPOINT_HEAD", build_roi_keypoint_head, channels)))
    return CombinedROIHeads(cfg, heads)


def _build(cfg, group: str, usual: Callable[..., nn.Module], channels: int) -> nn.Module:
    """What MODEL.GROUP.NAME names, or the usual head. Whether one of one's own fits its place only its writer knows."""
    name = options(cfg).MODEL[group].NAME
    make = maker(registries.ROI_HEADS, name, f"MODEL.{group}.NAME") if name else usual
    if make is not usual and make in (build_roi_box_head, build_roi_mask_head, build_roi_keypoint_head):
        raise ConfigError(
            f"MODEL.{group}.NAME is {name!r}, the usual head of another place: name one that is made for this place, or leave it "
            "empty."
        )
    return forks.build(make, cfg, channels)
