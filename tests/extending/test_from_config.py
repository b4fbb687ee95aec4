"""How to add a part whose class has a plain constructor: the class method `from_config` reads the configuration."""

from __future__ import annotations

from torch import nn

from maskrcnn_benchmark.config import cfg as defaults
from maskrcnn_benchmark.modeling.backbone import build_backbone
from maskrcnn_benchmark.modeling.detector import build_detection_model
from maskrcnn_benchmark.modeling.registries import BACKBONES, META_ARCHITECTURES, ROI_HEADS
from maskrcnn_benchmark.modeling.roi_heads.roi_heads import build_roi_heads


class Part(nn.Module):
    def __init__(self, device: str, channels: int):
        super().__init__()
        self.device, self.out_channels = device, channels

    @classmethod
    def from_config(cls, cfg, in_channels: int = 3):
        return cls(cfg.MODEL.DEVICE, in_channels)


def test_detectors_backbones_and_heads_are_made_by_from_config(monkeypatch):
    for registry in (BACKBONES, META_ARCHITECTURES, ROI_HEADS):
        monkeypatch.setitem(registry, "part", Part)
    cfg = defaults.clone()
    cfg.merge_from_list(["MODEL.DEVICE", "cpu", "MODEL.BACKBONE.CONV_BODY", "part", "MODEL.META_ARCHITECTURE", "part"])
    cfg.merge_from_list(["MODEL.ROI_HEADS.NAME", "part"])
    made = build_backbone(cfg), build_detection_model(cfg), build_roi_heads(cfg, 64)
    assert [(part.device, part.out_channels) for part in made] == [("cpu", 3), ("cpu", 3), ("cpu", 64)]
