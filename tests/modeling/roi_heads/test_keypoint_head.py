"""The keypoint head: decoding against OpenCV one region at a time, the loss against a loop, whole models."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from maskrcnn_benchmark.config import cfg as defaults
from maskrcnn_benchmark.modeling.balanced_positive_negative_sampler import BalancedPositiveNegativeSampler
from maskrcnn_benchmark.modeling.detector import build_detection_model
from maskrcnn_benchmark.modeling.matcher import Matcher
from maskrcnn_benchmark.modeling.roi_heads.keypoint_head import inference
from maskrcnn_benchmark.modeling.roi_heads.keypoint_head.inference import (
    Keypointer,
    KeypointPostProcessor,
    heatmaps_to_keypoints,
)
from maskrcnn_benchmark.modeling.roi_heads.keypoint_head.loss import (
    KeypointRCNNLossComputation,
    cat_boxlist_with_keypoints,
    has_visible_keypoint,
)
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.keypoint import PersonKeypoints
from maskrcnn_benchmark.structures.keypoint_ops import make_keypoints

CONFIGS = Path(__file__).parents[3] / "configs"
MATCHER, SAMPLER = Matcher(0.5, 0.5), BalancedPositiveNegativeSampler(1000, 1.0)


def regions(n: int, seed: int = 0) -> torch.Tensor:
    """Boxes of all shapes, some below one pixel, some of whole pixels."""
    generator = torch.Generator().manual_seed(seed)
    corner = 100 * torch.rand(n, 2, generator=generator)
    extent = torch.exp(5.5 * torch.rand(n, 2, generator=generator))
    extent[0], extent[1] = 0.3, torch.tensor([56.0, 20.0])
    return torch.cat((corner, corner + extent), dim=1)


def naive_keypoints(heatmaps: np.ndarray, roi: list[float]) -> tuple[np.ndarray, np.ndarray]:
    """float32 [K, R, R] -> [K, 3], [K]: OpenCV enlarges to whole pixels, the maximum counts."""
    width, height = max(roi[2] - roi[0], 1), max(roi[3] - roi[1], 1)
    columns, rows = int(np.ceil(width)), int(np.ceil(height))
    points, scores = [], []
    for heatmap in heatmaps:
        enlarged = cv2.resize(heatmap, (columns, rows), interpolation=cv2.INTER_CUBIC)
        y, x = np.unravel_index(enlarged.argmax(), enlarged.shape)
        points.append([(x + 0.5) * width / columns + roi[0], (y + 0.5) * height / rows + roi[1], 1])
        scores.append(enlarged[y, x])
    return np.array(points), np.array(scores)


@pytest.mark.parametrize("limit", [inference.MAX_ENLARGED, 50_000, 1])
@pytest.mark.parametrize("smooth", [False, True])
def test_decoding(monkeypatch, limit, smooth):
    """However many regions are enlarged at a time."""
    monkeypatch.setattr(inference, "MAX_ENLARGED", limit)
    rois = regions(24)
    maps = torch.randn(24, 5, 14, 14, generator=torch.Generator().manual_seed(1))
    if smooth:
        maps = nn.functional.interpolate(maps, scale_factor=2, mode="bilinear", align_corners=False)
    points, scores = heatmaps_to_keypoints(maps, rois)
    for i in range(24):
        expected, expected_scores = naive_keypoints(maps[i].numpy(), rois[i].double().tolist())
        np.testing.assert_allclose(points[i], expected, atol=1e-3)
        np.testing.assert_allclose(scores[i], expected_scores, rtol=1e-4, atol=1e-5)


def test_groups_stay_within_the_limit(monkeypatch):
    monkeypatch.setattr(inference, "MAX_ENLARGED", 10_000)
    sizes = [(int(w), int(h)) for w, h in torch.randint(1, 80, (50, 2), generator=torch.Generator().manual_seed(0))]
    groups = list(inference._groups(sizes, depth=3))
    assert [i for first, last, _, _ in groups for i in range(first, last)] == list(range(50))
    assert 1 < len(groups) < 50
    for first, last, width, height in groups:
        assert (width, height) == tuple(max(size[axis] for size in sizes[first:last]) for axis in (0, 1))
        assert last - first == 1 or (last - first) * width * height * 3 <= 10_000
    assert list(inference._groups([], depth=3)) == []


def test_nothing_to_decode():
    points, scores = heatmaps_to_keypoints(torch.zeros(0, 17, 56, 56), torch.zeros(0, 4))
    assert points.shape == (0, 17, 3) and scores.shape == (0, 17)


def test_several_images():
    rois = regions(9)
    maps = torch.randn(9, 17, 14, 14, generator=torch.Generator().manual_seed(2))
    boxes = [BoxList(part, (400, 400)) for part in rois.split([4, 0, 5])]
    for i, b in enumerate(boxes):
        b.add_field("scores", torch.rand(len(b)) + i)
    results = KeypointPostProcessor()(maps, boxes)
    points, scores = heatmaps_to_keypoints(maps, rois)
    assert [len(r.get_field("keypoints")) for r in results] == [4, 0, 5]
    assert all(isinstance(r.get_field("keypoints"), PersonKeypoints) and r.has_field("scores") for r in results)
    assert torch.equal(torch.cat([r.get_field("keypoints").keypoints for r in results]), points)
    assert torch.equal(torch.cat([r.get_field("keypoints").get_field("logits") for r in results]), scores)
    with pytest.raises(ValueError, match="got 9 for 4 boxes"):
        Keypointer()(maps, boxes[0])


def target(boxes, points, size=(128, 96)) -> BoxList:
    result = BoxList(boxes, size)
    result.add_field("labels", torch.ones(len(boxes), dtype=torch.int64))
    result.add_field("keypoints", make_keypoints(points, size, 17))
    return result


def person(x1: float, y1: float, x2: float, y2: float, visibility: float = 2.0, seed: int = 0) -> list:
    random = np.random.default_rng(seed)
    x, y = random.uniform(x1, x2, 17), random.uniform(y1, y2, 17)
    return np.stack((x, y, np.full(17, visibility)), axis=1).tolist()


BOXES = [[10.0, 12, 50, 60], [60, 20, 120, 80], [5, 5, 30, 90]]


def three_people() -> BoxList:
    """One with visible keypoints, one with none, one whose only labelled keypoint lies outside its box."""
    astray = [[100.0, 50.0, 2.0]] + [[0.0, 0, 0]] * 16
    return target(BOXES, [person(*BOXES[0]), person(*BOXES[1], 0), astray])


def proposals(labels: list[int], matched: list[int]) -> BoxList:
    boxes = BoxList(torch.tensor(BOXES)[matched] + torch.tensor([1.0, -2, 3, 1]), (128, 96))
    boxes.add_field("labels", torch.tensor(labels))
    boxes.add_field("matched_idxs", torch.tensor(matched))
    return boxes


def test_proposals_of_people_without_visible_keypoints_are_not_used():
    assert has_visible_keypoint(three_people()).tolist() == [True, False, False]
    given = [proposals([1, 1, 0, 1, 1], [0, 1, 0, 2, 0]), proposals([0, 0], [0, 0])]
    empty = BoxList(torch.zeros(0, 4), (128, 96))
    chosen = KeypointRCNNLossComputation(MATCHER, SAMPLER, 56).subsample(given, [three_people(), empty])
    assert [c.get_field("rows").tolist() for c in chosen] == [[0, 4], []]
    assert [len(c) for c in chosen] == [2, 0]
    assert torch.equal(chosen[0].bbox, given[0].bbox[[0, 4]])
    expected = three_people().get_field("keypoints").keypoints[[0, 0]]
    assert torch.equal(chosen[0].get_field("keypoints").keypoints, expected)


def test_loss():
    evaluator = KeypointRCNNLossComputation(MATCHER, SAMPLER, 8)
    objects = [three_people(), target(BOXES[1:2], [person(*BOXES[1], seed=1)])]
    given = [proposals([1, 1], [0, 0]), proposals([1], [1])]
    given[1].add_field("matched_idxs", torch.tensor([0]))
    chosen = evaluator.subsample(given, objects)
    logits = torch.randn(3, 17, 8, 8, generator=torch.Generator().manual_seed(0), requires_grad=True)
    total, count = 0.0, 0
    keypoints = torch.cat([c.get_field("keypoints").keypoints for c in chosen])
    for n, (x1, y1, x2, y2) in enumerate(torch.cat([c.bbox for c in chosen]).tolist()):
        for k, (x, y, v) in enumerate(keypoints[n].tolist()):
            column, row = int(np.floor((x - x1) / (x2 - x1) * 8)), int(np.floor((y - y1) / (y2 - y1) * 8))
            if v > 0 and 0 <= column < 8 and 0 <= row < 8:
                total += (logits[n, k].logsumexp((0, 1)) - logits[n, k, row, column]).item()
                count += 1
    assert 30 < count < 51  # some fall outside their proposals
    loss = evaluator(chosen, logits)
    assert loss.item() == pytest.approx(total / count, rel=1e-5)
    loss.backward()
    assert torch.isfinite(logits.grad).all()


def test_loss_without_valid_keypoints():
    evaluator = KeypointRCNNLossComputation(MATCHER, SAMPLER, 8)
    logits = torch.randn(1, 17, 8, 8, requires_grad=True)
    far = BoxList([[100.0, 70, 120, 90]], (128, 96))
    far.add_field("keypoints", three_people().get_field("keypoints")[[0]])
    for boxes, x in (([far], logits), ([far[[]]], logits[:0])):
        loss = evaluator(boxes, x)
        assert loss == 0
        loss.backward()
    assert not logits.grad.any()


def test_joining_boxes_with_keypoints():
    people = three_people()
    joined = cat_boxlist_with_keypoints([people[[2]], people])
    assert len(joined) == 4 and set(joined.fields()) == {"labels", "keypoints"}
    assert torch.equal(joined.get_field("keypoints").keypoints[0], people.get_field("keypoints").keypoints[2])


def keypoint_rcnn(**options) -> nn.Module:
    cfg = defaults.clone()
    cfg.merge_from_file(str(CONFIGS / "e2e_keypoint_rcnn_R_50_FPN_1x.yaml"))
    settings = {
        "MODEL.BACKBONE.CONV_BODY": "R-18-FPN",
        "MODEL.RESNETS.TRANS_FUNC": "BasicBlockWithFixedBatchNorm",
        "MODEL.RESNETS.RES2_OUT_CHANNELS": 64,
        "MODEL.RESNETS.BACKBONE_OUT_CHANNELS": 32,
        "MODEL.ROI_BOX_HEAD.MLP_HEAD_DIM": 32,
        "MODEL.ROI_KEYPOINT_HEAD.CONV_LAYERS": (32, 32),
        "MODEL.RPN.ANCHOR_SIZES": (16, 32, 64, 128, 256),
        "MODEL.RPN.FPN_POST_NMS_TOP_N_TRAIN": 100,
        "MODEL.RPN.STRADDLE_THRESH": -1,
        "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": 32,
        **{name.replace("__", "."): value for name, value in options.items()},
    }
    cfg.merge_from_list([word for pair in settings.items() for word in pair])
    torch.manual_seed(0)
    return build_detection_model(cfg)


@pytest.mark.parametrize("people", [(2, 0), (0, 0)])
def test_training(people):
    """With and without objects, every parameter takes part."""
    model = keypoint_rcnn().train()
    targets = [target(BOXES[:n], [person(*b) for b in BOXES[:n]]) for n in people]
    losses = model(torch.randn(2, 3, 96, 128), targets)
    assert losses.keys() == {"loss_objectness", "loss_rpn_box_reg", "loss_classifier", "loss_box_reg", "loss_kp"}
    assert (losses["loss_kp"] > 0) == any(people)
    sum(losses.values()).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters() if p.requires_grad)


def test_a_shared_feature_extractor():
    shared = {
        "MODEL__ROI_BOX_HEAD__FEATURE_EXTRACTOR": "ResNet50Conv5ROIFeatureExtractor",
        "MODEL__ROI_BOX_HEAD__PREDICTOR": "FastRCNNPredictor",
        "MODEL__RESNETS__TRANS_FUNC": "BottleneckWithFixedBatchNorm",
        "MODEL__BACKBONE__CONV_BODY": "R-50-C4",
        "MODEL__RESNETS__RES2_OUT_CHANNELS": 32,
        "MODEL__RESNETS__STEM_OUT_CHANNELS": 8,
        "MODEL__RESNETS__WIDTH_PER_GROUP": 8,
        "MODEL__RESNETS__BACKBONE_OUT_CHANNELS": 128,
        "MODEL__RPN__ANCHOR_STRIDE": (16,),
        "MODEL__RPN__PRE_NMS_TOP_N_TEST": 50,
        "MODEL__RPN__POST_NMS_TOP_N_TRAIN": 50,
        "MODEL__ROI_BOX_HEAD__POOLER_SCALES": (0.0625,),
        "MODEL__ROI_BOX_HEAD__POOLER_RESOLUTION": 14,
        "MODEL__ROI_KEYPOINT_HEAD__RESOLUTION": 28,
        "MODEL__ROI_KEYPOINT_HEAD__CONV_LAYERS": (256,),  # res5's depth: the predictor is made for its own extractor
        "MODEL__ROI_KEYPOINT_HEAD__SHARE_BOX_FEATURE_EXTRACTOR": True,
    }
    model = keypoint_rcnn(**shared)
    assert model.roi_heads["keypoint"].feature_extractor is model.roi_heads["box"].feature_extractor
    losses = model.train()(torch.randn(1, 3, 96, 128), [target(BOXES[:1], [person(*BOXES[0])])])
    assert losses["loss_kp"] > 0
    with torch.no_grad():
        assert model.eval()(torch.randn(1, 3, 96, 128))[0].has_field("keypoints")


@torch.no_grad()
def test_a_batch_gives_what_its_images_give():
    model = keypoint_rcnn(MODEL__ROI_HEADS__SCORE_THRESH=0.0, MODEL__ROI_HEADS__DETECTIONS_PER_IMG=4).eval()
    images = torch.randn(2, 3, 96, 128, generator=torch.Generator().manual_seed(3))
    together = model(images)
    for image, found in zip(images, together, strict=True):
        (alone,) = model(image[None])
        assert len(found) == len(alone) == 4
        torch.testing.assert_close(found.bbox, alone.bbox, atol=1e-3, rtol=1e-4)
        points = found.get_field("keypoints").keypoints
        torch.testing.assert_close(points, alone.get_field("keypoints").keypoints, atol=1e-2, rtol=0)
        x1, y1, x2, y2 = found.bbox.T[:, :, None]
        assert ((points[..., 0] >= x1) & (points[..., 0] <= x2 + 1) & (points[..., 1] <= y2 + 1)).all()
