"""optimize_for_inference: folded, narrowed and compiled detectors against the plain ones."""

from __future__ import annotations

import copy
import io
import pickle
from pathlib import Path

import pytest
import torch
from torch import nn
from torchvision.models.resnet import BasicBlock

from maskrcnn_benchmark.config import cfg
from maskrcnn_benchmark.layers import FrozenBatchNorm2d
from maskrcnn_benchmark.modeling import optimize
from maskrcnn_benchmark.modeling.backbone.fbnet_blocks import CascadeConv3x3
from maskrcnn_benchmark.modeling.detector import build_detection_model
from maskrcnn_benchmark.modeling.optimize import fold_norms, optimize_for_inference, use_winograd
from maskrcnn_benchmark.modeling.registries import ROI_HEADS
from maskrcnn_benchmark.ops.winograd import WinogradConv2d
from maskrcnn_benchmark.structures.boxes import box_iou
from tests.extending.test_head import TwoBranches
from tests.support.helpers import SMALL

CONFIGS = Path(__file__).parents[2] / "configs"
FEW = (
    "MODEL.RPN.PRE_NMS_TOP_N_TEST",
    100,
    "MODEL.RPN.FPN_POST_NMS_TOP_N_TEST",
    30,
    "MODEL.ROI_HEADS.SCORE_THRESH",
    0.0,
)


def make(name: str, *keys: object) -> nn.Module:
    """A model whose norms do something: statistics and factors are random."""
    config = cfg.clone()
    config.merge_from_file(str(CONFIGS / name))
    config.merge_from_list(list(keys))
    torch.manual_seed(0)
    model = build_detection_model(config).eval()
    for norm in model.modules():
        if isinstance(norm, (nn.BatchNorm2d, FrozenBatchNorm2d)):
            for tensor, low in (
                (norm.weight, 0.8),
                (norm.bias, -0.1),
                (norm.running_mean, -0.1),
                (norm.running_var, 0.8),
            ):
                tensor.data.uniform_(low, low + 0.4 if low > 0 else -low)
    return model


def image(height: int, width: int) -> torch.Tensor:
    return torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(height)) * 40


@torch.inference_mode()
def assert_same_detections(model: nn.Module, other: nn.Module, x: torch.Tensor, atol: float = 1e-5) -> None:
    (ours,), (theirs,) = model(x), other(x)
    assert len(ours) == len(theirs) > 0
    torch.testing.assert_close(theirs.bbox, ours.bbox, rtol=1e-4, atol=1e-2)
    assert theirs.fields() == ours.fields()
    for field in ours.fields():
        torch.testing.assert_close(theirs.get_field(field), ours.get_field(field), rtol=1e-4, atol=atol)


@torch.inference_mode()
def assert_rounds_likewise(model: nn.Module, other: nn.Module, x: torch.Tensor) -> None:
    """Random weights magnify rounding, on some processors beyond a hundredth of a pixel: it is measured by what float64 finds."""
    (plain,), (found,), (exact,) = model(x), other(x), copy.deepcopy(model).double()(x.double())
    assert len(plain) == len(found) == len(exact) > 0 and plain.fields() == found.fields()
    assert torch.equal(plain.get_field("labels"), found.get_field("labels"))
    for value in (
        lambda d: d.bbox,
        *(lambda d, f=field: d.get_field(f) for field in plain.fields() if field != "labels"),
    ):
        rounding = (value(plain) - value(exact)).abs().max()
        assert rounding < 0.05 and (value(found) - value(exact)).abs().max() <= 4 * rounding


@pytest.mark.parametrize(
    ("name", "keys", "norms"),
    [
        ("e2e_mask_rcnn_R_50_FPN_1x.yaml", [*SMALL, *FEW], 53),  # 1 + 3 * 16 + 4 shortcuts
        ("demo/relations_R_18_FPN_enl.yaml", ["MODEL.ROI_HEADS.SCORE_THRESH", 0.0], 20),
        ("e2e_faster_rcnn_fbnet.yaml", ["MODEL.ROI_HEADS.SCORE_THRESH", 0.0], None),
    ],
)
def test_folding_changes_nothing(name, keys, norms, monkeypatch):
    monkeypatch.setattr(optimize, "WINOGRAD_CHANNELS", 1_000_000)
    model = make(name, *keys)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    fast = optimize_for_inference(model)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())  # the model stays as it is
    left = [m for m in fast.modules() if isinstance(m, (nn.BatchNorm2d, FrozenBatchNorm2d))]
    assert not left
    if norms is not None:
        assert sum(isinstance(m, nn.Identity) for m in fast.modules()) == norms
    x = image(128, 160)
    with torch.inference_mode():
        for ours, theirs in zip(model.backbone(x), fast.backbone(x), strict=True):
            assert (ours - theirs).abs().max() <= 1e-4 * ours.abs().max()
    if norms is not None:  # an FBNet of random weights scores boxes alike to the last digits
        assert_rounds_likewise(model, fast, x)


def test_norms_that_do_not_follow_a_convolution_stay():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.bn2 = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)

    model = nn.Sequential(nn.BatchNorm2d(3), nn.Conv2d(3, 4, 1), nn.GroupNorm(2, 4), nn.Sequential(Block())).eval()
    assert fold_norms(model) == 0
    unsupported = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4, track_running_stats=False)).eval()
    assert fold_norms(unsupported) == 0 and isinstance(unsupported[1], nn.BatchNorm2d)


def test_names_of_ones_own_modules_promise_no_order():
    class NormFirst(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)

        def forward(self, x):
            return self.conv1(self.bn1(x).relu())

    class Backwards(nn.Sequential):
        def forward(self, x):
            return self[0](self[1](x))

    model = nn.Sequential(NormFirst(), Backwards(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)), BasicBlock(4, 4)).eval()
    for norm in model.modules():
        if isinstance(norm, nn.BatchNorm2d):
            norm.running_mean.data.uniform_(-1, 1)
    x = torch.randn(1, 4, 6, 6)
    with torch.no_grad():
        expected = model(x)
        assert fold_norms(model) == 2  # of torchvision's block
        torch.testing.assert_close(model(x), expected)


def test_a_sequential_of_the_packages_own_is_folded():
    block = CascadeConv3x3(16, 16, 1).eval()  # adds its input to what its modules make of it
    x = torch.randn(1, 16, 6, 6)
    with torch.no_grad():
        expected = block(x)
        assert fold_norms(block) == 2
        torch.testing.assert_close(block(x), expected)


def test_bfloat16_finds_the_same_objects():
    """Weights and maps have 8 bits: maps to 5 %, boxes of the same proposals to an IoU of 0.9, scores to 0.05."""
    model = make("demo/relations_R_18_FPN_enl.yaml", "MODEL.ROI_HEADS.SCORE_THRESH", 0.0)
    with torch.no_grad():  # norms that keep maps in range, as trained ones do
        for norm in model.modules():
            if isinstance(norm, nn.BatchNorm2d):
                norm.momentum = 1.0
        model.backbone.train()(image(192, 160))
        model.eval()
    fast = optimize_for_inference(model, torch.bfloat16)
    x = image(128, 160)
    with torch.inference_mode():
        for ours, theirs in zip(model.backbone(x), fast.backbone(x), strict=True):
            assert theirs.dtype == torch.bfloat16
            assert (ours - theirs).norm() <= 0.05 * ours.norm()
        # The same proposals for both: random weights score all alike, so which ones are chosen is chance.
        maps = model.backbone(x)
        images = torch.nn.Module()
        images.image_sizes = [(128, 160)]
        proposals, _ = model.rpn(images, maps)
        ours, theirs = (
            m.roi_heads.box.predictor(m.roi_heads.box.feature_extractor([v.to(t) for v in maps], proposals))
            for m, t in ((model, torch.float32), (fast, torch.bfloat16))
        )
        difference = ours[0].softmax(1) - theirs[0].float().softmax(1)
        assert difference.abs().max() <= 0.05
        coder = model.roi_heads.box.post_processor.box_coder
        boxes = [coder.decode(deltas.float(), proposals[0].bbox).reshape(-1, 4) for deltas in (ours[1], theirs[1])]
        assert box_iou(*boxes).diagonal().min() > 0.9
        (found,) = fast(x)
    assert len(found) > 0 and found.bbox.dtype == found.get_field("scores").dtype == torch.float32


def test_winograd_in_place_of_large_convolutions():
    model = make("e2e_mask_rcnn_R_50_FPN_1x.yaml", *FEW, "MODEL.MASK_ON", True)
    x = image(101, 133)
    with torch.inference_mode():
        expected = model.backbone(x)
        # 3 x 3 of stride 1: 16 of the body, which has its strides in 1 x 1, 4 of the pyramid, the RPN's and 4 of the masks
        assert use_winograd(model) == 25 and use_winograd(model) == 0
        for ours, theirs in zip(expected, model.backbone(x), strict=True):
            assert (ours - theirs).abs().max() <= 1e-4 * ours.abs().max()


@pytest.mark.slow
@pytest.mark.no_cover
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_one_compilation_for_several_sizes(dtype):
    keys = [*SMALL, *FEW, "MODEL.BACKBONE.CONV_BODY", "R-50-FPN"]
    model = make("e2e_mask_rcnn_R_50_FPN_1x.yaml", *keys)
    torch._dynamo.reset()
    fast = optimize_for_inference(model, dtype, compile=True)
    plain = optimize_for_inference(model, dtype)
    torch._dynamo.utils.counters.clear()
    for size in ((128, 160), (160, 192), (101, 133)):
        x = image(*size)
        if dtype == torch.float32:
            assert_same_detections(plain, fast, x, atol=1e-3)
            continue
        with torch.inference_mode():
            for ours, theirs in zip(plain.backbone(x), fast.backbone(x), strict=True):
                assert (ours - theirs).float().norm() <= 0.05 * ours.float().norm()
            assert len(fast(x)[0]) > 0
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] > 0


def own_head(monkeypatch, *keys: object) -> nn.Module:
    monkeypatch.setitem(ROI_HEADS, "TwoBranches", TwoBranches)
    # 64 channels, so that the 3 x 3 convolutions of pyramid and head become Winograd's
    keys = (*SMALL, "MODEL.RESNETS.BACKBONE_OUT_CHANNELS", 64, *FEW, "MODEL.ROI_BOX_HEAD.NAME", "TwoBranches", *keys)
    return make("e2e_mask_rcnn_R_50_FPN_1x.yaml", *keys)


def test_a_head_of_ones_own_finds_the_same(monkeypatch):
    model = own_head(monkeypatch, "MODEL.MASK_ON", False)
    fast = optimize_for_inference(model)
    assert sum(isinstance(m, WinogradConv2d) for m in fast.roi_heads["box"].modules()) == 1
    assert_rounds_likewise(model, fast, image(128, 160))


def test_an_optimised_detector_is_saved_copied_and_loaded(monkeypatch):
    fast, file = optimize_for_inference(own_head(monkeypatch)), io.BytesIO()
    torch.save(fast, file)
    file.seek(0)
    for same in (torch.load(file, weights_only=False), pickle.loads(pickle.dumps(fast)), copy.deepcopy(fast)):
        assert_same_detections(fast, same, image(128, 160))


def test_an_optimised_detector_may_change_its_dtype(monkeypatch):
    model = own_head(monkeypatch)
    fast, x = optimize_for_inference(model), image(128, 160)
    with torch.autocast("cpu", torch.bfloat16), torch.inference_mode():
        assert len(fast(x)[0]) > 0
    for dtype in (torch.bfloat16, torch.float16):
        with torch.inference_mode():
            assert len(copy.deepcopy(fast).to(dtype)(x.to(dtype))[0]) > 0
    with torch.inference_mode():
        (ours,), (theirs,) = model.double()(x.double()), fast.double()(x.double())
    torch.testing.assert_close(ours.bbox, theirs.bbox, rtol=1e-4, atol=1e-2)


def test_a_head_of_ones_own_keeps_its_dtype(monkeypatch):
    fast = optimize_for_inference(own_head(monkeypatch), torch.bfloat16)
    dtypes = [
        {p.dtype for m in part.modules() if not isinstance(m, WinogradConv2d) for p in m.parameters(recurse=False)}
        for part in (fast.backbone, *fast.roi_heads.values())
    ]
    assert dtypes == [{torch.bfloat16}, {torch.float32}, {torch.bfloat16}]
    with torch.inference_mode():
        (found,) = fast(image(128, 160))
    assert len(found) and found.bbox.dtype == torch.float32 and found.has_field("mask")


def test_what_others_see_of_a_body_is_not_overwritten():
    """A body of one's own may keep the maps of all blocks; this package's own needs them no more."""

    class AllBlocks(nn.Module):
        def __init__(self, body):
            super().__init__()
            self.layer1 = body.layer1

        def forward(self, x):
            maps = []
            for block in self.layer1:
                x = block(x)
                maps.append(x)
            return maps

    body = make("e2e_mask_rcnn_R_50_FPN_1x.yaml", *SMALL, *FEW).backbone.body
    x = torch.randn(1, body.layer1[0].conv1.in_channels, 12, 16).contiguous(memory_format=torch.channels_last)
    with torch.inference_mode():
        kept, expected = optimize_for_inference(AllBlocks(body))(x), AllBlocks(body)(x)
        for ours, theirs in zip(kept, expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)
    fast = optimize_for_inference(body)
    assert [block.owns_input for block in fast.layer1] == [False, True, True]
    assert not any(block.owns_input for block in body.layer1)


@pytest.mark.parametrize("has_units", [False, True])
def test_in_bfloat16_a_processor_without_matrix_units_filters(has_units, monkeypatch):
    monkeypatch.setattr(optimize, "has_matrix_units", lambda: has_units)
    fast = optimize_for_inference(own_head(monkeypatch), torch.bfloat16)
    assert any(isinstance(m, WinogradConv2d) for m in fast.backbone.modules()) != has_units
    with torch.inference_mode():
        assert len(fast(image(128, 160))[0])


def test_what_is_shared_with_a_head_of_ones_own_keeps_its_dtype(monkeypatch):
    """As a mask head shares the extractor of a box head that has a layer of its own besides."""
    model = make("e2e_mask_rcnn_R_50_FPN_1x.yaml", *SMALL, *FEW)
    heads = model.roi_heads
    heads["box"].extra = nn.Linear(1, 1)
    heads["box"].shared = heads["mask"].predictor
    fast = optimize_for_inference(model, torch.bfloat16)
    assert {p.dtype for p in fast.roi_heads.parameters()} == {torch.float32}
    with torch.inference_mode():
        assert len(fast(image(128, 160))[0])


def test_heads_and_detectors_that_are_one_module():
    class Together(nn.Module):
        def __init__(self, heads):
            super().__init__()
            self.heads = heads

        def forward(self, features, proposals, targets=None):
            return self.heads(features, proposals, targets)

    model = make("e2e_mask_rcnn_R_50_FPN_1x.yaml", *SMALL, *FEW)
    plain = copy.deepcopy(model)
    model.roi_heads = Together(model.roi_heads)
    assert_same_detections(plain, optimize_for_inference(model), image(128, 160), atol=1e-3)
    fast = optimize_for_inference(model, torch.bfloat16)
    assert fast.roi_heads.heads["box"].predictor.cls_score.weight.dtype == torch.float32
    with torch.inference_mode():
        assert len(fast(image(128, 160))[0])

    detector = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)).eval()
    fast = optimize_for_inference(detector, torch.bfloat16)
    torch.testing.assert_close(fast(image(8, 8)), detector(image(8, 8)), rtol=1e-4, atol=1e-4)


def test_a_dtype_that_is_no_floating_point():
    with pytest.raises(ValueError, match="floating-point type such as torch.bfloat16; got torch.int8"):
        optimize_for_inference(nn.Linear(1, 1), torch.int8)
