"""RetinaNet's anchors, losses and detections against loops over anchors, levels and classes."""

from __future__ import annotations

import math

import pytest
import torch
import torchvision
from torch import Tensor

from maskrcnn_benchmark.config import cfg as defaults
from maskrcnn_benchmark.layers import SigmoidFocalLoss
from maskrcnn_benchmark.modeling.backbone import build_backbone
from maskrcnn_benchmark.modeling.box_coder import BoxCoder
from maskrcnn_benchmark.modeling.detector import build_detection_model
from maskrcnn_benchmark.modeling.matcher import Matcher
from maskrcnn_benchmark.modeling.rpn.anchor_generator import AnchorGenerator, make_anchor_generator_retinanet
from maskrcnn_benchmark.modeling.rpn.retinanet.inference import RetinaNetPostProcessor
from maskrcnn_benchmark.modeling.rpn.retinanet.loss import RetinaNetLossComputation, generate_retinanet_labels
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.boxes import box_iou, clip_boxes
from maskrcnn_benchmark.structures.boxlist_ops import cat_boxlist
from maskrcnn_benchmark.structures.image_list import to_image_list

CODER = BoxCoder((10.0, 10.0, 5.0, 5.0))
CLASSES, ANCHORS = 3, 6  # without background; anchors at each position
GRIDS = [(8, 12), (4, 6)]
SIZES = [(96, 64), (80, 64)]  # width, height
ALPHA, GAMMA, BETA, NORM = 0.25, 2.0, 0.11, 4.0
OBJECTS = [([[10.0, 12, 30, 40], [50, 5, 80, 33], [0, 0, 9, 60]], [2, 1, 3]), ([], []), ([[5.0, 5, 70, 50]], [2])]


def predictions(images: int, seed: int = 0, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    pictures = to_image_list([torch.zeros(3, SIZES[i % 2][1], SIZES[i % 2][0]) for i in range(images)])
    generate = AnchorGenerator([(12, 20), (28, 44)], (0.5, 1.0, 2.0), [8, 16], straddle_thresh=-1)
    anchors = generate(pictures, [torch.zeros(1, 1, *grid) for grid in GRIDS])
    logits = [torch.randn(images, ANCHORS * CLASSES, *g, generator=generator).to(dtype) for g in GRIDS]
    deltas = [torch.randn(images, ANCHORS * 4, *g, generator=generator).to(dtype) for g in GRIDS]
    return anchors, [x.requires_grad_() for x in logits], [x.requires_grad_() for x in deltas]


def of_anchor(levels: list[Tensor], image: int, index: int, values: int) -> Tensor:
    """The `values` predictions at an anchor, counted over levels, rows, columns and anchors of a position."""
    for level in levels:
        _, _, rows, columns = level.shape
        if index < rows * columns * ANCHORS:
            cell, a = divmod(index, ANCHORS)
            y, x = divmod(cell, columns)
            return level[image, a * values : (a + 1) * values, y, x]
        index -= rows * columns * ANCHORS
    raise IndexError(index)


def target(boxes: list, labels: list, size: tuple[int, int] = SIZES[0]) -> BoxList:
    result = BoxList(boxes, size)
    result.add_field("labels", torch.tensor(labels, dtype=torch.int64))
    return result


def evaluator() -> RetinaNetLossComputation:
    focal = SigmoidFocalLoss(GAMMA, ALPHA)
    return RetinaNetLossComputation(Matcher(0.5, 0.4, True), CODER, generate_retinanet_labels, focal, BETA, NORM)


def naive_losses(anchors, logits, deltas, targets) -> tuple[float, float]:
    cls_loss, box_loss, positives = 0.0, 0.0, 0
    for i, objects in enumerate(targets):
        boxes = torch.cat([level.bbox for level in anchors[i]])
        iou = box_iou(objects.bbox, boxes)
        for k, anchor in enumerate(boxes):
            best, j = iou[:, k].max(dim=0) if len(objects) else (torch.tensor(0.0), None)
            is_best_of_an_object = any(iou[m, k] == iou[m].max() > 0 for m in range(len(objects)))
            if best >= 0.5 or is_best_of_an_object:
                label = objects.get_field("labels")[j].item()
            elif best < 0.4:
                label = 0
            else:
                continue
            for c, z in enumerate(of_anchor(logits, i, k, CLASSES).tolist(), start=1):
                p = 1 / (1 + math.exp(-z))
                if c == label:
                    cls_loss -= ALPHA * (1 - p) ** GAMMA * math.log(p)
                else:
                    cls_loss -= (1 - ALPHA) * p**GAMMA * math.log(1 - p)
            if label:
                positives += 1
                wanted = CODER.encode(objects.bbox[j][None], anchor[None])[0]
                for difference in (of_anchor(deltas, i, k, 4) - wanted).abs().tolist():
                    box_loss += 0.5 * difference**2 / BETA if difference < BETA else difference - 0.5 * BETA
    return cls_loss / (positives + len(targets)), box_loss / max(1, positives * NORM)


@pytest.mark.parametrize("objects", [OBJECTS, OBJECTS[:1], OBJECTS[1:2], [OBJECTS[1], OBJECTS[1]]])
def test_losses(objects):
    anchors, logits, deltas = predictions(len(objects))
    targets = [target(*o) for o in objects]
    losses = evaluator()(anchors, logits, deltas, targets)
    expected = naive_losses(anchors, logits, deltas, targets)
    assert [loss.item() for loss in losses] == pytest.approx(expected, rel=1e-4)
    sum(losses).backward()
    for x in (*logits, *deltas):
        assert x.grad is not None and torch.isfinite(x.grad).all()
    if not any(len(t) for t in targets):
        assert losses[1] == 0 and not any(d.grad.any() for d in deltas)


def test_predictions_that_are_not_used_do_not_matter():
    """Offsets count at anchors with an object alone; between the thresholds the classes do not count either."""
    anchors, logits, deltas = predictions(1)
    objects = [target(*OBJECTS[0])]
    (labels,), _ = evaluator().prepare_targets([cat_boxlist(anchors[0])], objects)
    assert {0, 1, 2, 3} <= set(labels.tolist()) and (labels == -1).any()
    cls_loss, box_loss = evaluator()(anchors, logits, deltas, objects)
    changed_logits = [x.detach().clone() for x in logits]
    changed_deltas = [x.detach().clone() for x in deltas]
    for index in (labels == -1).nonzero().squeeze(1).tolist():
        of_anchor(changed_logits, 0, index, CLASSES).fill_(50.0)
    for index in (labels <= 0).nonzero().squeeze(1).tolist():
        of_anchor(changed_deltas, 0, index, 4).fill_(math.nan)
    changed = evaluator()(anchors, changed_logits, changed_deltas, objects)
    assert torch.equal(torch.stack(changed), torch.stack((cls_loss, box_loss)))


def naive_detections(anchors, logits, deltas, threshold: float, top_n: int, nms: float, limit: int):
    """For each image: [(score, label, box), ...], best first."""
    results = []
    for i, levels in enumerate(anchors):
        found, offset = [], 0
        for level in levels:
            of_level = []
            for k, anchor in enumerate(level.bbox):
                scores = of_anchor(logits, i, offset + k, CLASSES).sigmoid()
                box = CODER.decode(of_anchor(deltas, i, offset + k, 4)[None], anchor[None])
                box = clip_boxes(box, *level.size)[0]
                of_level += [(s.item(), c, box) for c, s in enumerate(scores, start=1) if s > threshold]
            found += sorted(of_level, key=lambda entry: -entry[0])[:top_n]
            offset += len(level)
        kept = []
        for label in range(1, CLASSES + 1):
            mine = [entry for entry in found if entry[1] == label]
            if mine:
                exclusive = torch.stack([entry[2] for entry in mine]) + torch.tensor([0.0, 0, 1, 1])
                keep = torchvision.ops.nms(exclusive, torch.tensor([entry[0] for entry in mine]), nms)
                kept += [mine[k] for k in keep.tolist()]
        results.append(sorted(kept, key=lambda entry: -entry[0])[:limit])
    return results


@torch.no_grad()
@pytest.mark.parametrize(("threshold", "top_n", "limit"), [(0.6, 1000, 1000), (0.3, 40, 25), (0.05, 7, 1000)])
@pytest.mark.parametrize("images", [1, 3])
def test_detections(images, threshold, top_n, limit):
    anchors, logits, deltas = predictions(images, seed=images)
    select = RetinaNetPostProcessor(threshold, top_n, 0.4, limit, 0, CLASSES + 1, CODER)
    detections = select(anchors, logits, deltas)
    expected = naive_detections(anchors, logits, deltas, threshold, top_n, 0.4, limit)
    assert sum(map(len, expected)) > 10 * images
    for i, (found, wanted) in enumerate(zip(detections, expected, strict=True)):
        assert found.size == SIZES[i % 2] and len(found) == len(wanted)
        torch.testing.assert_close(found.get_field("scores"), torch.tensor([w[0] for w in wanted]))
        assert found.get_field("labels").tolist() == [w[1] for w in wanted]
        torch.testing.assert_close(found.bbox, torch.stack([w[2] for w in wanted]), atol=1e-3, rtol=0)


@torch.no_grad()
def test_nothing_above_the_threshold():
    anchors, logits, deltas = predictions(2)
    detections = RetinaNetPostProcessor(0.05, 1000, 0.4, 100, 0, CLASSES + 1, CODER)(
        anchors, [x - 20 for x in logits], deltas
    )
    assert [len(d) for d in detections] == [0, 0]
    assert set(detections[0].fields()) == {"scores", "labels"}


@torch.no_grad()
def test_images_with_anchors_of_their_own():
    """Anchors need not be shared by the images of a batch."""
    anchors, logits, deltas = predictions(3)
    copies = [[BoxList(level.bbox.clone(), level.size) for level in levels] for levels in anchors]
    select = RetinaNetPostProcessor(0.5, 1000, 0.4, 100, 0, CLASSES + 1, CODER)
    for a, b in zip(select(anchors, logits, deltas), select(copies, logits, deltas), strict=True):
        assert torch.equal(a.bbox, b.bbox)


def test_small_boxes_are_left_out():
    anchors, logits, deltas = predictions(2)
    select = RetinaNetPostProcessor(0.5, 1000, 0.4, 0, 15, CLASSES + 1, CODER)
    for found in select(anchors, logits, deltas):
        assert len(found) and (found.convert("xywh").bbox[:, 2:] >= 15).all()


def test_octaves():
    """Three sizes a level, a third of an octave apart."""
    cells = list(make_anchor_generator_retinanet(defaults).cell_anchors)
    assert [tuple(c.shape) for c in cells] == [(9, 4)] * 5
    for size, cell in zip((32, 64, 128, 256, 512), cells, strict=True):
        square = cell[3:6]  # ratios 0.5, 1, 2 in turn
        extent = square[:, 2:] - square[:, :2] + 1
        expected = torch.tensor([size * 2 ** (k / 3) for k in range(3)])
        torch.testing.assert_close(extent, expected[:, None].expand(3, 2))


def r18(*options):
    cfg = defaults.clone()
    cfg.merge_from_list(
        ["MODEL.BACKBONE.CONV_BODY", "R-18-FPN-RETINANET", "MODEL.RESNETS.TRANS_FUNC", "BasicBlockWithFixedBatchNorm"]
        + ["MODEL.RESNETS.RES2_OUT_CHANNELS", 64, "MODEL.RESNETS.BACKBONE_OUT_CHANNELS", 32]
        + ["MODEL.RETINANET_ON", True, "MODEL.RPN_ONLY", True, "MODEL.RETINANET.NUM_CLASSES", 4]
        + ["MODEL.RETINANET.NUM_CONVS", 1, *options]
    )
    torch.manual_seed(0)
    return cfg


@torch.no_grad()
@pytest.mark.parametrize("use_c5", [True, False])
def test_the_pyramid(use_c5):
    backbone = build_backbone(r18("MODEL.RETINANET.USE_C5", use_c5))
    maps = backbone(torch.randn(1, 3, 100, 132))
    assert [tuple(m.shape[2:]) for m in maps] == [(13, 17), (7, 9), (4, 5), (2, 3), (1, 2)]
    c5 = backbone.body(torch.zeros(1, 3, 100, 132))[-1]
    assert backbone.fpn.top_blocks.p6.in_channels == (c5.shape[1] if use_c5 else 32)


def test_non_local_modules_in_the_pyramid():
    options = ("MODEL.NON_LOCAL.TOP_DOWN.TYPE", "enl", "MODEL.NON_LOCAL.TOP_DOWN.STAGES", ("res5", "res4"))
    model = build_detection_model(r18(*options, "MODEL.RETINANET.STRADDLE_THRESH", -1)).train()
    added = {name: p for name, p in model.named_parameters() if "non_local" in name}
    assert {name.split(".")[2] for name in added} == {"non_local_res5", "non_local_res4"}
    objects = target([[10.0, 12, 70, 60]], [2], (128, 96))
    sum(model(torch.randn(1, 3, 96, 128), [objects]).values()).backward()
    assert all(p.grad.any() for p in added.values())
    with pytest.raises(ValueError, match="STAGES names 'res3'; the levels that are upsampled are res4, res5"):
        build_backbone(r18("MODEL.NON_LOCAL.TOP_DOWN.TYPE", "enl"))


def test_first_scores_are_the_prior():
    model = build_detection_model(r18()).eval()
    logits, _ = model.rpn.head([torch.zeros(1, 32, 4, 4)])
    torch.testing.assert_close(logits[0].sigmoid(), torch.full((1, 27, 4, 4), 0.01))


def test_training_without_any_object():
    model = build_detection_model(r18()).train()
    losses = model(torch.randn(2, 3, 96, 128), [target([], [], (128, 96))] * 2)
    assert losses.keys() == {"loss_retina_cls", "loss_retina_reg"} and losses["loss_retina_reg"] == 0
    sum(losses.values()).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters() if p.requires_grad)


@pytest.mark.parametrize("threshold", [0.0, 1.0])
def test_a_threshold_that_makes_no_sense(threshold):
    with pytest.raises(ValueError, match=f"must lie between 0 and 1; got {threshold}"):
        RetinaNetPostProcessor(threshold, 1000, 0.4, 100, 0, 4)
