"""How to add a head: a module of (cfg, in_channels) that is called as ROIBoxHead is, named in MODEL.ROI_BOX_HEAD.NAME."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

from maskrcnn_benchmark.config import ConfigError
from maskrcnn_benchmark.config import cfg as defaults
from maskrcnn_benchmark.engine.test_time_augmentation import View, make_box_augmentation
from maskrcnn_benchmark.modeling.box_coder import BoxCoder
from maskrcnn_benchmark.modeling.box_losses import BoxLosses
from maskrcnn_benchmark.modeling.detector import build_detection_model
from maskrcnn_benchmark.modeling.matching import Matcher
from maskrcnn_benchmark.modeling.poolers import Pooler
from maskrcnn_benchmark.modeling.registries import ROI_HEADS
from maskrcnn_benchmark.modeling.roi_heads.box_head.inference import PostProcessor
from maskrcnn_benchmark.modeling.sampling import BalancedPositiveNegativeSampler
from maskrcnn_benchmark.structures.bounding_box import BoxList
from tests.support.helpers import SMALL

CONFIG = Path(__file__).parents[2] / "configs" / "e2e_faster_rcnn_R_50_FPN_1x.yaml"
FEW: list = ["MODEL.RPN.FPN_POST_NMS_TOP_N_TEST", 20, "MODEL.ROI_HEADS.SCORE_THRESH", 0.0]


class TwoBranches(nn.Module):
    """Classes from a fully connected layer, boxes from a convolution. Only `forward` is needed; test-time augmentation asks for
    `post_processor`, made with `bbox_aug_enabled`."""

    def __init__(self, cfg, in_channels: int):
        super().__init__()
        head, shared = cfg.MODEL.ROI_BOX_HEAD, cfg.MODEL.ROI_HEADS
        size, classes, coder = head.POOLER_RESOLUTION, head.NUM_CLASSES, BoxCoder(shared.BBOX_REG_WEIGHTS)
        self.pooler = Pooler(size, head.POOLER_SCALES, head.POOLER_SAMPLING_RATIO)
        self.conv = nn.Conv2d(in_channels, 64, 3, padding=1)
        self.classes = nn.Linear(in_channels * size**2, classes)
        self.boxes = nn.Linear(64 * size**2, 4 * classes)
        self.targets = BoxLosses(
            Matcher(shared.FG_IOU_THRESHOLD, shared.BG_IOU_THRESHOLD),
            BalancedPositiveNegativeSampler(shared.BATCH_SIZE_PER_IMAGE, shared.POSITIVE_FRACTION),
            coder,
        )
        self.post_processor = PostProcessor(
            shared.SCORE_THRESH,
            shared.NMS,
            shared.DETECTIONS_PER_IMG,
            coder,
            bbox_aug_enabled=cfg.TEST.BBOX_AUG.ENABLED,
        )

    def forward(self, features, proposals, targets=None):
        if self.training:
            proposals = self.targets.subsample(proposals, targets)
        x = self.pooler(features, proposals)
        logits = self.classes(x.view(len(x), -1))
        deltas = self.boxes(self.conv(x).relu().view(len(x), -1))
        if not self.training:
            return x, self.post_processor((logits, deltas), proposals), {}
        classification, regression = self.targets.losses(logits, deltas, proposals)
        return x, proposals, {"loss_classifier": classification, "loss_box_reg": regression}


@pytest.fixture
def build(monkeypatch):
    """A small detector with this head, random weights and its configuration as `cfg`."""
    monkeypatch.setitem(ROI_HEADS, "TwoBranches", TwoBranches)

    def build(*keys: object) -> nn.Module:
        cfg = defaults.clone()
        cfg.merge_from_file(str(CONFIG))
        cfg.merge_from_list([*SMALL, *FEW, "MODEL.ROI_BOX_HEAD.NAME", "TwoBranches", *keys])
        torch.manual_seed(0)
        model = build_detection_model(cfg)
        model.cfg = cfg
        return model

    return build


def test_it_trains_and_detects(build):
    model = build("MODEL.ROI_BOX_HEAD.NUM_CLASSES", 3).train()
    target = BoxList([[10.0, 12, 70, 60]], (128, 128))
    target.add_field("labels", torch.tensor([1]))
    losses = model(torch.rand(1, 3, 128, 128), [target])
    assert {"loss_classifier", "loss_box_reg"} <= set(losses)
    sum(losses.values()).backward()
    head = model.roi_heads["box"]
    assert all(layer.weight.grad.abs().sum() > 0 for layer in (head.classes, head.boxes, head.conv))
    with torch.no_grad():
        (found,) = model.eval()(torch.rand(1, 3, 128, 128))
    assert len(found) and set(found.get_field("labels").tolist()) <= {1, 2}


def test_it_looks_at_several_views(build):
    """One view finds what plain testing finds; a mirrored one adds its own."""
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 80, 3), dtype=np.uint8))
    keys = ("INPUT.MIN_SIZE_TEST", 64, "MODEL.ROI_BOX_HEAD.NUM_CLASSES", 3)
    model, plain = build("TEST.BBOX_AUG.ENABLED", True, *keys).eval(), build(*keys).eval()
    augmentation = make_box_augmentation(model.cfg)
    seen = augmentation.look([image], augmentation.views[0], "cpu")
    with torch.inference_mode():
        (found,), (expected,) = augmentation.detect(model, [image], "cpu"), plain(seen)
        mirrored = dataclasses.replace(augmentation, views=(*augmentation.views, View(64, 1333, flip=True)))
        (joined,) = mirrored.detect(model, [image], "cpu")
    torch.testing.assert_close(found.bbox, expected.bbox)
    torch.testing.assert_close(found.get_field("scores"), expected.get_field("scores"))
    assert len(joined) > len(found) and joined.size == image.size


@pytest.mark.parametrize(
    ("post_processor", "said"),
    [
        (None, "TwoBranches has no attribute `post_processor` that is one. Give it one, made with bbox_aug_enabled"),
        (nn.Identity(), "has no attribute `post_processor` that is one"),
        (PostProcessor(), "of TwoBranches was built without test-time augmentation"),
    ],
)
def test_what_it_lacks_for_several_views_is_said(build, post_processor, said):
    model = build("TEST.BBOX_AUG.ENABLED", True).eval()
    del model.roi_heads["box"].post_processor
    if post_processor is not None:
        model.roi_heads["box"].post_processor = post_processor
    with pytest.raises(ConfigError, match=said):
        make_box_augmentation(model.cfg).detect(model, [Image.new("RGB", (80, 64))], "cpu")


def test_heads_that_are_one_module_have_no_views(build):
    model = build("TEST.BBOX_AUG.ENABLED", True).eval()
    model.roi_heads = model.roi_heads["box"]
    with pytest.raises(ConfigError, match="and for heads that MODEL.ROI_HEADS.NAME makes as one module"):
        make_box_augmentation(model.cfg).detect(model, [Image.new("RGB", (80, 64))], "cpu")


def test_there_may_be_nothing_to_share(build):
    keys = ("MODEL.MASK_ON", True, "MODEL.ROI_MASK_HEAD.SHARE_BOX_FEATURE_EXTRACTOR", True)
    with pytest.raises(ConfigError, match="MODEL.ROI_MASK_HEAD.SHARE.* the box head, TwoBranches, has no attribute"):
        build(*keys)
