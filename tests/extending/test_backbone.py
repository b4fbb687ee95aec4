"""How to add a backbone: a module from images to maps with the attribute `out_channels`, named in MODEL.BACKBONE.CONV_BODY."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn
from torchvision.models import mobilenet_v3_small

from maskrcnn_benchmark.config import cfg as defaults
from maskrcnn_benchmark.modeling.backbone.fpn import FPN, LastLevelMaxPool
from maskrcnn_benchmark.modeling.detector import build_detection_model
from maskrcnn_benchmark.modeling.registries import BACKBONES
from maskrcnn_benchmark.structures.bounding_box import BoxList
from tests.support.helpers import SMALL

CONFIG = Path(__file__).parents[2] / "configs" / "e2e_faster_rcnn_R_50_FPN_1x.yaml"
# Of torchvision's MobileNetV3-Small: after which layer a map of stride 4, 8, 16 and 32 ends, and its channels.
LAYERS = {1: 16, 3: 24, 8: 48, 12: 576}


class MobileNetFPN(nn.Module):
    """Tensor[B, 3, H, W] -> five maps of `out_channels` channels, strides 4 to 64."""

    def __init__(self, out_channels: int):
        super().__init__()
        self.out_channels = out_channels
        self.body = mobilenet_v3_small(weights=None).features
        self.fpn = FPN(list(LAYERS.values()), out_channels, self._conv, LastLevelMaxPool())

    @classmethod
    def from_config(cls, cfg) -> MobileNetFPN:
        return cls(cfg.MODEL.RESNETS.BACKBONE_OUT_CHANNELS)

    @staticmethod
    def _conv(in_channels: int, out_channels: int, kernel_size: int, stride: int = 1) -> nn.Conv2d:
        return nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        maps = []
        for i, layer in enumerate(self.body):
            x = layer(x)
            if i in LAYERS:
                maps.append(x)
        return self.fpn(maps)


def test_a_detector_is_built_on_it_and_trains(monkeypatch):
    monkeypatch.setitem(BACKBONES, "MobileNetV3-Small-FPN", MobileNetFPN.from_config)
    cfg = defaults.clone()
    cfg.merge_from_file(str(CONFIG))
    cfg.merge_from_list([*SMALL, "MODEL.BACKBONE.CONV_BODY", "MobileNetV3-Small-FPN"])
    torch.manual_seed(0)
    model = build_detection_model(cfg).train()
    assert [m.shape[-1] for m in model.backbone(torch.rand(2, 3, 128, 128))] == [32, 16, 8, 4, 2]
    target = BoxList([[10.0, 12, 70, 60]], (128, 128))
    target.add_field("labels", torch.tensor([1]))
    sum(model(torch.rand(1, 3, 128, 128), [target]).values()).backward()
    assert all(p.grad.abs().sum() > 0 for name, p in model.backbone.body[0].named_parameters() if "weight" in name)
