"""What training keeps for its backward pass, module by module."""

from __future__ import annotations

from maskrcnn_benchmark.analysis import Regions, build_without_data, saved_for_backward
from maskrcnn_benchmark.config import cfg as defaults
from maskrcnn_benchmark.modeling.detector import build_detection_model
from maskrcnn_benchmark.modeling.registries import ROI_HEADS
from tests.analysis.helpers import DEMO, Tiny
from tests.extending.test_head import TwoBranches

NONE = Regions(0, 0)


def test_by_hand():
    """float32. The image, for the stem's weights; its activation, for itself and the convolution after it; the second call's
    smaller view of the same storage; the convolution's two outputs, for the head."""
    saved = saved_for_backward(Tiny().to("meta"), (8, 12), NONE)
    image, activation, maps = (4 * n for n in (3 * 8 * 12, 4 * 24, 4 * 30))
    assert saved["backbone.body.0"] == image and saved["backbone.body.1"] == activation
    assert saved["backbone.body"] == saved["backbone"] == image + activation
    assert saved.get("backbone.fpn", 0) == 0
    assert saved["rpn.head.logits"] == maps
    assert saved[""] == image + activation + maps


def test_frozen_parts_keep_nothing():
    model = Tiny().to("meta")
    model.backbone.requires_grad_(False)
    assert saved_for_backward(model, (8, 12), NONE)[""] == 4 * 4 * 30


def test_shapes_and_a_real_model_agree():
    cfg = defaults.clone()
    cfg.merge_from_file(str(DEMO))
    regions = Regions.in_training(cfg)
    assert (regions.proposals, regions.detections) == (64, 16)
    by_shapes = saved_for_backward(build_without_data(cfg), (96, 128), regions)
    model = build_detection_model(cfg).eval()
    assert saved_for_backward(model, (96, 128), regions) == by_shapes
    assert not model.training and not any(p.grad is not None for p in model.parameters())
    twice = saved_for_backward(build_without_data(cfg), (192, 256), regions)
    assert 3.9 < twice["backbone.body"] / by_shapes["backbone.body"] < 4.1


def test_a_head_of_ones_own(monkeypatch):
    """On a processor it runs to its end, which keeps the boxes and scores besides; without data up to its predictions."""
    monkeypatch.setitem(ROI_HEADS, "TwoBranches", TwoBranches)
    cfg = defaults.clone()
    cfg.merge_from_file(str(DEMO))
    cfg.merge_from_list(["MODEL.ROI_BOX_HEAD.NAME", "TwoBranches", "MODEL.MASK_ON", False])
    regions, size = Regions(16, 4), (96, 128)
    by_shapes = saved_for_backward(build_without_data(cfg), size, regions)
    model = build_detection_model(cfg).train()
    on_cpu = saved_for_backward(model, size, regions)
    channels = cfg.MODEL.RESNETS.BACKBONE_OUT_CHANNELS
    pooled = 4 * 16 * channels * 7 * 7
    assert by_shapes["roi_heads.box.classes"] == pooled
    assert by_shapes["roi_heads.box"] >= pooled + 4 * 16 * 64 * 7 * 7  # and what follows the convolution
    assert 0 <= on_cpu["roi_heads.box"] - by_shapes["roi_heads.box"] < 0.1 * pooled
    assert all(module.training for module in model.roi_heads.modules())
