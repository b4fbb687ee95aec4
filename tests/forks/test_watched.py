"""What waits for the call of a module, or changes what its class computes, is not passed by where modules are fused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

from maskrcnn_benchmark.config import cfg as defaults
from maskrcnn_benchmark.layers import FrozenBatchNorm2d, ROIAlign
from maskrcnn_benchmark.modeling.backbone.resnet import ResNet
from maskrcnn_benchmark.modeling.balanced_positive_negative_sampler import BalancedPositiveNegativeSampler
from maskrcnn_benchmark.modeling.matcher import Matcher
from maskrcnn_benchmark.modeling.optimize import fold_norms
from maskrcnn_benchmark.modeling.poolers import LevelMapper, Pooler
from maskrcnn_benchmark.modeling.roi_heads.box_head.inference import PostProcessor
from maskrcnn_benchmark.modeling.roi_heads.keypoint_head.inference import heatmaps_to_keypoints
from maskrcnn_benchmark.modeling.roi_heads.mask_head import loss as mask_loss
from maskrcnn_benchmark.modeling.roi_heads.mask_head.loss import MaskRCNNLossComputation
from maskrcnn_benchmark.modeling.rpn.anchor_generator import AnchorGenerator
from maskrcnn_benchmark.modeling.rpn.inference import RPNPostProcessor
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.segmentation_mask import SegmentationMask
from tests.modeling.test_training_step import batch, build


@pytest.fixture
def body() -> ResNet:
    cfg = defaults.clone()
    cfg.merge_from_list(["MODEL.BACKBONE.CONV_BODY", "R-50-FPN", "MODEL.BACKBONE.FREEZE_CONV_BODY_AT", 0])
    torch.manual_seed(0)
    return ResNet(cfg)


IMAGE = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_every_module_of_a_body_calls_its_hooks(body):
    called = set()
    expected = [plain.double() for plain in body(IMAGE)]
    for name, module in body.named_modules():
        module.register_forward_hook(lambda *_, name=name: called.add(name))
    for a, b in zip(body(IMAGE), expected, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=1e-4, atol=1e-4 * b.abs().max().item())
    children = {name for name, module in body.named_modules() if not isinstance(module, nn.Sequential)}
    assert called >= children and "layer2.0.downsample" in called


@pytest.mark.parametrize("normalize", [nn.utils.spectral_norm, nn.utils.parametrizations.spectral_norm])
def test_normalized_weights_are_trained(body, normalize):
    conv = body.layer2[0].conv2
    normalize(conv)
    named = dict(conv.named_parameters())
    for _ in range(2):
        body.zero_grad()
        body(IMAGE)[-1].sum().backward()
    (parameter,) = named.values()
    assert parameter.grad is not None and parameter.grad.norm() > 0


def test_a_convolution_of_someones_own_is_called(body):
    class Halved(nn.Conv2d):
        def forward(self, x):
            return super().forward(x) / 2

    own = Halved(64, 64, 3, padding=1, bias=False)
    own.load_state_dict(body.layer1[0].conv2.state_dict())
    plain = body.layer1[0](torch.ones(1, 64, 8, 8))
    body.layer1[0].conv2 = own
    changed = body.layer1[0](torch.ones(1, 64, 8, 8))
    assert not torch.allclose(changed, plain)
    fold_norms(body)
    torch.testing.assert_close(body.layer1[0](torch.ones(1, 64, 8, 8)), changed, rtol=1e-4, atol=1e-4)


def test_poolers_of_a_level_call_their_hooks():
    pooler = Pooler(2, (0.25, 0.125), 2)
    boxes = [BoxList(torch.tensor([[0.0, 0, 20, 20], [0, 0, 500, 500]]), (512, 512))]
    maps = [torch.randn(1, 2, 128, 128), torch.randn(1, 2, 64, 64)]
    expected, called = pooler(maps, boxes), []
    for pool in pooler.poolers:
        pool.register_forward_hook(lambda *_: called.append(1))
    torch.testing.assert_close(pooler(maps, boxes), expected)
    assert len(called) == 2


PATCHES = {
    FrozenBatchNorm2d: ["forward"],
    ROIAlign: ["forward"],
    LevelMapper: ["__call__"],
    AnchorGenerator: ["add_visibility_to"],
    Matcher: ["__call__"],
    BalancedPositiveNegativeSampler: ["__call__"],
    RPNPostProcessor: ["forward_for_single_feature_map", "select_over_all_levels"],
    PostProcessor: ["prepare_boxlist", "filter_results"],
    MaskRCNNLossComputation: ["match_targets_to_proposals"],
    mask_loss: ["project_masks_on_boxes"],
}


def test_patches_of_upstreams_steps_are_called(monkeypatch):
    """As notebooks make them, on the class or in the module, after the model was built."""
    model = build()
    images, targets = batch(1, 2)

    def run():
        torch.manual_seed(0)
        losses = model.train()(images, targets)
        with torch.no_grad():
            return losses, model.eval()(images)

    expected, called = run(), set()

    def patched(own, *key):
        return lambda *args: (called.add(key), own(*args))[1]

    for owner, names in PATCHES.items():
        for name in names:
            monkeypatch.setattr(owner, name, patched(getattr(owner, name), owner.__name__, name))
    losses, results = run()
    assert called == {(owner.__name__, name) for owner, names in PATCHES.items() for name in names}
    for name, loss in expected[0].items():
        torch.testing.assert_close(losses[name], loss, rtol=1e-3, atol=1e-4)
    for result, other in zip(results, expected[1], strict=True):
        torch.testing.assert_close(result.bbox, other.bbox, rtol=1e-4, atol=1e-2)


def test_a_mask_loss_with_a_match_of_its_own():
    class Last(MaskRCNNLossComputation):
        """Every proposal stands for the last object."""

        def match_targets_to_proposals(self, proposal, target):
            matched = target[torch.full((len(proposal),), len(target) - 1)]
            matched.add_field("matched_idxs", torch.zeros(len(proposal), dtype=torch.int64))
            return matched

    boxes = torch.tensor([[0.0, 0, 7, 7], [8, 8, 15, 15]])
    target = BoxList(boxes, (16, 16))
    target.add_field("labels", torch.tensor([1, 2]))
    target.add_field("masks", SegmentationMask([[[0, 0, 8, 0, 8, 8, 0, 8]], [[8, 8, 16, 8, 16, 16, 8, 16]]], (16, 16)))
    matcher = Matcher(0.5, 0.5)
    labels, masks = MaskRCNNLossComputation(matcher, 4).prepare_targets([BoxList(boxes, (16, 16))], [target])
    assert labels[0].tolist() == [1, 2] and masks[0].mean(dim=(1, 2)).min() > 0.9
    labels, masks = Last(matcher, 4).prepare_targets([BoxList(boxes, (16, 16))], [target])
    assert labels[0].tolist() == [2, 2]
    assert masks[0][0].sum() == 0 and masks[0][1].mean() > 0.9


def test_heatmaps_as_arrays_give_arrays():
    maps = np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype(np.float32)
    rois = np.array([[0, 0, 10, 12], [3, 4, 9, 20]], dtype=np.float32)
    points, scores = heatmaps_to_keypoints(maps, rois)
    expected = heatmaps_to_keypoints(torch.from_numpy(maps), torch.from_numpy(rois))
    assert isinstance(points, np.ndarray) and points.shape == (2, 3, 3)
    assert np.array_equal(points, expected[0].numpy()) and np.array_equal(scores, expected[1].numpy())
