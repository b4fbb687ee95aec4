"""A training step of a small Mask R-CNN with each kind of norm layer, with and without objects."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from maskrcnn_benchmark.config import cfg as defaults
from maskrcnn_benchmark.layers import FrozenBatchNorm2d
from maskrcnn_benchmark.modeling.detector import build_detection_model
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.segmentation_mask import SegmentationMask

CONFIGS = Path(__file__).parents[2] / "configs"
R18 = {
    "MODEL.BACKBONE.CONV_BODY": "R-18-FPN",
    "MODEL.RESNETS.RES2_OUT_CHANNELS": 64,
    "MODEL.RESNETS.BACKBONE_OUT_CHANNELS": 64,
    "MODEL.ROI_BOX_HEAD.NUM_CLASSES": 4,
    "MODEL.ROI_BOX_HEAD.MLP_HEAD_DIM": 64,
    "MODEL.ROI_MASK_HEAD.CONV_LAYERS": (32, 32),
    "MODEL.RPN.ANCHOR_SIZES": (16, 32, 64, 128, 256),
    "MODEL.RPN.FPN_POST_NMS_TOP_N_TRAIN": 200,
    "MODEL.RPN.STRADDLE_THRESH": -1,
    "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": 64,
}
NORMS = {
    "frozen": {"MODEL.RESNETS.TRANS_FUNC": "BasicBlockWithFixedBatchNorm"},
    "batch": {
        "MODEL.RESNETS.TRANS_FUNC": "BasicBlockWithBatchNorm",
        "MODEL.RESNETS.STEM_FUNC": "StemWithBatchNorm",
        "MODEL.BACKBONE.FREEZE_CONV_BODY_AT": 0,
    },
    "group": {
        "MODEL.RESNETS.TRANS_FUNC": "BasicBlockWithGN",
        "MODEL.RESNETS.STEM_FUNC": "StemWithGN",
        "MODEL.BACKBONE.FREEZE_CONV_BODY_AT": 0,
        "MODEL.FPN.USE_GN": True,
        "MODEL.ROI_BOX_HEAD.USE_GN": True,
        "MODEL.ROI_MASK_HEAD.USE_GN": True,
    },
}
LOSSES = {"loss_objectness", "loss_rpn_box_reg", "loss_classifier", "loss_box_reg", "loss_mask"}
BOXES = [[10.0, 12, 50, 60], [60, 20, 120, 80]]


def build(norm: str = "frozen", **options) -> nn.Module:
    cfg = defaults.clone()
    cfg.merge_from_file(str(CONFIGS / "e2e_mask_rcnn_R_50_FPN_1x.yaml"))
    settings = {**R18, **NORMS[norm], **options}
    cfg.merge_from_list([word for pair in settings.items() for word in pair])
    torch.manual_seed(0)
    return build_detection_model(cfg).train()


def batch(*counts: int):
    """Images of 96 x 128 pixels with `counts` objects, brighter than the noise around them."""
    generator = torch.Generator().manual_seed(0)
    images, targets = [], []
    for count in counts:
        image = torch.randn(3, 96, 128, generator=generator)
        boxes = BOXES[:count]
        for label, (x1, y1, x2, y2) in enumerate(boxes):
            image[label, int(y1) : int(y2), int(x1) : int(x2)] += 4
        target = BoxList(boxes, (128, 96))
        target.add_field("labels", torch.arange(1, count + 1))
        outlines = [[[x1, y1, x2, y1, x2, y2, x1, y2]] for x1, y1, x2, y2 in boxes]
        target.add_field("masks", SegmentationMask(outlines, (128, 96)))
        images.append(image)
        targets.append(target)
    return images, targets


def step(model: nn.Module, *counts: int) -> dict[str, float]:
    model.zero_grad(set_to_none=True)
    losses = model(*batch(*counts))
    sum(losses.values()).backward()
    return {name: loss.item() for name, loss in losses.items()}


def trainable(model: nn.Module) -> dict[str, nn.Parameter]:
    return {name: p for name, p in model.named_parameters() if p.requires_grad}


@pytest.mark.parametrize("norm", NORMS)
def test_gradients_reach_every_trainable_parameter(norm):
    """One of the two images has no objects."""
    model = build(norm)
    losses = step(model, 2, 0)
    assert losses.keys() == LOSSES
    assert all(0 < v < 100 for v in losses.values()), losses
    for name, p in model.named_parameters():
        assert (p.grad is not None) == p.requires_grad, name
    for name, p in trainable(model).items():
        assert torch.isfinite(p.grad).all(), name
    # Only the coarsest outputs may be idle: no anchor or proposal of a small image need come from them.
    idle = {name for name, p in trainable(model).items() if not p.grad.any()}
    assert all("fpn_layer" in name for name in idle), idle


@pytest.mark.parametrize("norm", NORMS)
def test_images_without_objects(norm):
    """Every parameter still takes part, so processes that train together do not wait for each other."""
    model = build(norm)
    losses = step(model, 0, 0)
    assert losses.keys() == LOSSES
    assert losses["loss_rpn_box_reg"] == losses["loss_box_reg"] == losses["loss_mask"] == 0
    assert losses["loss_objectness"] > 0 and losses["loss_classifier"] > 0
    for name, p in trainable(model).items():
        assert p.grad is not None and torch.isfinite(p.grad).all(), name
        if "mask" in name or "bbox_pred" in name:
            assert not p.grad.any(), name


# Frozen batch norm, without the statistics of a trained body, leaves activations large.
@pytest.mark.parametrize(("norm", "rate"), [("frozen", 0.0001), ("batch", 0.01), ("group", 0.01)])
def test_a_few_steps_lower_the_loss(norm, rate):
    model = build(norm)
    optimizer = torch.optim.SGD(trainable(model).values(), lr=rate, momentum=0.9)
    totals = []
    for _ in range(8):
        totals.append(sum(step(model, 2, 0).values()))
        optimizer.step()
    assert sum(totals[-2:]) < 0.8 * sum(totals[:2]), totals


def test_frozen_layers_stay():
    model = build("frozen")
    frozen = ("backbone.body.stem.", "backbone.body.layer1.")
    assert all(p.requires_grad != name.startswith(frozen) for name, p in model.named_parameters())
    norms = [m for m in model.modules() if isinstance(m, FrozenBatchNorm2d)]
    before = [torch.cat(list(m.buffers())) for m in norms]
    step(model, 1, 1)
    assert norms and all(torch.equal(b, torch.cat(list(m.buffers()))) for b, m in zip(before, norms, strict=True))


def test_batch_norm_learns_its_statistics():
    model = build("batch")
    before = model.backbone.body.stem.bn1.running_mean.clone()
    step(model, 1, 1)
    assert not torch.equal(before, model.backbone.body.stem.bn1.running_mean)


@pytest.mark.parametrize("place", ["TOP_DOWN", "BOTTOM_UP"])
def test_non_local_modules_train(place):
    model = build(**{f"MODEL.NON_LOCAL.{place}.TYPE": "enl"})
    step(model, 2, 0)
    added = {name: p for name, p in trainable(model).items() if "non_local" in name}
    assert added and all(p.grad.any() for p in added.values())


@torch.no_grad()
def test_detections_have_their_fields():
    model = build(**{"MODEL.ROI_HEADS.SCORE_THRESH": 0.0, "MODEL.ROI_HEADS.DETECTIONS_PER_IMG": 5}).eval()
    for detections in model(batch(1, 0)[0]):
        assert len(detections) == 5 and detections.size == (128, 96)
        assert set(detections.fields()) == {"scores", "labels", "mask"}
        assert detections.get_field("mask").shape == (5, 1, 28, 28)
        assert set(detections.get_field("labels").tolist()) <= {1, 2, 3}
        scores = detections.get_field("scores")
        assert torch.equal(scores, scores.sort(descending=True).values)


def test_training_needs_targets():
    with pytest.raises(ValueError, match="needs targets"):
        build()(batch(1)[0])


@pytest.mark.parametrize(
    ("changed", "error", "message"),
    [
        (lambda images, targets: (images, targets[:1]), ValueError, "Each image needs its target.*: 2 and 1"),
        (lambda images, targets: (images, [{"boxes": t.bbox} for t in targets]), TypeError, "are BoxLists.*got dict"),
        (lambda images, targets: ([i.byte() for i in images], targets), TypeError, "floating-point.*torch.uint8"),
        (
            lambda images, targets: (torch.stack(images)[:, :, :, :120], targets),
            ValueError,
            "128 x 96.*an ImageList says",
        ),
    ],
)
def test_what_cannot_be_a_batch_is_said(changed, error, message):
    with pytest.raises(error, match=message):
        build()(*changed(*batch(1, 2)))


def test_a_body_has_so_many_parts_to_fix():
    with pytest.raises(
        ValueError, match="FREEZE_CONV_BODY_AT is 9; this body has no more to fix than stem, res2, res3, res4, res5"
    ):
        build(**{"MODEL.BACKBONE.FREEZE_CONV_BODY_AT": 9})
