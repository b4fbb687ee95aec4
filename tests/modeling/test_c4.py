"""Mask R-CNN on a C4 body: res5 works on pooled regions, once for boxes and masks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from test_training_step import batch
from torch import nn

from maskrcnn_benchmark.config import cfg as defaults
from maskrcnn_benchmark.layers import roi_align
from maskrcnn_benchmark.modeling.backbone.resnet import ResNetHead, StageSpec
from maskrcnn_benchmark.modeling.detector import build_detection_model

CONFIGS = Path(__file__).parents[2] / "configs"
THIN = {
    "MODEL.RESNETS.STEM_OUT_CHANNELS": 16,
    "MODEL.RESNETS.WIDTH_PER_GROUP": 8,
    "MODEL.RESNETS.RES2_OUT_CHANNELS": 32,
    "MODEL.RESNETS.BACKBONE_OUT_CHANNELS": 128,
    "MODEL.ROI_BOX_HEAD.NUM_CLASSES": 4,
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": 16,
    "MODEL.ROI_MASK_HEAD.CONV_LAYERS": (16,),
    "MODEL.RPN.ANCHOR_SIZES": (16, 32, 64, 128, 256),
    "MODEL.RPN.STRADDLE_THRESH": -1,
    "MODEL.RPN.POST_NMS_TOP_N_TRAIN": 50,
    "MODEL.RPN.POST_NMS_TOP_N_TEST": 20,
}


def thin_mask_rcnn(**options) -> nn.Module:
    cfg = defaults.clone()
    cfg.merge_from_file(str(CONFIGS / "e2e_mask_rcnn_R_50_C4_1x.yaml"))
    cfg.merge_from_list([word for pair in {**THIN, **options}.items() for word in pair])
    torch.manual_seed(0)
    return build_detection_model(cfg)


@pytest.mark.parametrize(("index", "stride"), [(1, 1), (2, 2), (4, 2)])
def test_a_head_of_one_stage(index, stride):
    head = ResNetHead("BottleneckWithFixedBatchNorm", (StageSpec(index, 2, False),), res2_out_channels=32)
    in_channels = {1: 8, 2: 32, 4: 128}[index]
    out = head(torch.randn(3, in_channels, 14, 14))
    assert out.shape == (3, head.out_channels, 14 // stride, 14 // stride)
    assert head.out_channels == 32 * 2 ** (index - 1)


def test_stages_follow_each_other_and_the_first_takes_the_given_stride():
    stages = (StageSpec(3, 1, False), StageSpec(4, 1, False))
    head = ResNetHead("BottleneckWithFixedBatchNorm", stages, res2_out_channels=32, stride_init=1)
    assert head(torch.randn(2, 64, 12, 12)).shape == (2, 256, 6, 6)
    assert [name for name, _ in head.named_children()] == ["layer3", "layer4"]


def test_box_and_mask_head_share_res5():
    model = thin_mask_rcnn().train()
    box, mask = model.roi_heads["box"], model.roi_heads["mask"]
    assert mask.feature_extractor is box.feature_extractor
    calls = []
    box.feature_extractor.register_forward_hook(lambda *_: calls.append(1))
    losses = model(*batch(2, 0))
    assert len(calls) == 1  # in training the mask head takes the features that the box head made
    sum(losses.values()).backward()
    for name, p in model.named_parameters():
        assert (p.grad is not None and torch.isfinite(p.grad).all()) == p.requires_grad, name


def test_without_any_object():
    losses = thin_mask_rcnn().train()(*batch(0, 0))
    assert losses["loss_box_reg"] == losses["loss_mask"] == losses["loss_rpn_box_reg"] == 0
    sum(losses.values()).backward()


@torch.no_grad()
def test_masks_come_from_the_detected_boxes():
    model = thin_mask_rcnn(**{"MODEL.ROI_HEADS.SCORE_THRESH": 0.0, "MODEL.ROI_HEADS.DETECTIONS_PER_IMG": 5}).eval()
    images, _ = batch(1, 2)
    detections = model(images)
    heads = model.roi_heads
    features = model.backbone(torch.stack(images))[0]
    assert features.shape == (2, 128, 6, 8)
    for i, found in enumerate(detections):
        assert found.get_field("mask").shape == (5, 1, 14, 14)
        rois = torch.cat((torch.full((5, 1), float(i)), found.bbox), dim=1)
        pooled = roi_align(features, rois, (14, 14), 1 / 16, 0)
        logits = heads["mask"].predictor(heads["box"].feature_extractor.head(pooled))
        own = logits[torch.arange(5), found.get_field("labels")].sigmoid()
        torch.testing.assert_close(found.get_field("mask")[:, 0], own)
