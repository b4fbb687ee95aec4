"""FLOPs of the package's operators, against loops that count; and whole detectors, against counts made by hand."""

from __future__ import annotations

import itertools

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from maskrcnn_benchmark import layers
from maskrcnn_benchmark.analysis import FlopCount, Regions, build_without_data
from maskrcnn_benchmark.analysis.shapes import heads_as_a_whole
from maskrcnn_benchmark.config import cfg as defaults
from maskrcnn_benchmark.modeling.detector import build_detection_model
from maskrcnn_benchmark.modeling.registries import ROI_HEADS
from tests.analysis.helpers import CONFIGS, Tiny
from tests.extending.test_head import TwoBranches
from tests.support.helpers import SMALL

NONE = Regions(0, 0)


def flops(run) -> int:
    with FlopCounterMode(display=False) as counter:
        run()
    return counter.get_total_flops()


def boxes(count: int) -> torch.Tensor:
    return torch.tensor([[0.0, 1.0, 1.0, 6.0, 5.0]]).repeat(count, 1)


def test_every_bilinear_sample_is_four_multiply_adds():
    features = [torch.rand(1, 3, 8, 8, requires_grad=True), torch.rand(1, 3, 4, 4)]
    levels = torch.tensor([0, 1])
    count = 0
    for _ in itertools.product(range(2), range(3), range(2), range(5), range(4), range(4)):  # K, C, bins, samples
        count += 2 * 4
    pooled = []
    assert count == flops(
        lambda: pooled.append(layers.multiscale_roi_align(features, boxes(2), levels, [1.0, 0.5], (2, 5), 4))
    )
    assert flops(lambda: pooled[0].sum().backward()) == count


def test_adaptive_samples_count_as_two_along_each_axis():
    features = torch.rand(1, 3, 8, 8)
    two, adaptive = (flops(lambda s=s: layers.roi_align(features, boxes(2), (2, 5), 1.0, s)) for s in (2, 0))
    assert two == adaptive == 2 * 3 * 10 * 4 * 8


@pytest.mark.parametrize("groups", [1, 2])
@pytest.mark.parametrize("masked", [False, True])
def test_deformable_convolution(groups, masked):
    """A plain convolution's products, and four for each sample; backward, both kinds again for both gradients."""
    x = torch.rand(2, 4, 5, 6, requires_grad=True)
    weight = torch.rand(8, 4 // groups, 3, 3, requires_grad=True)
    offset = torch.zeros(2, 18, 5, 6)
    mask = torch.ones(2, 9, 5, 6) if masked else None
    product = 0
    for _ in itertools.product(range(2), range(8), range(5), range(6), range(4 // groups), range(9)):
        product += 2
    samples = 2 * 5 * 6 * 9 * 4 * 2 * 4  # images, positions, taps, channels
    out = []
    forward = flops(
        lambda: out.append(
            layers.dcn.deform_conv_func.modulated_deform_conv(x, offset, mask, weight, None, 1, 1, 1, groups)
        )
    )
    assert forward == product + samples
    assert flops(lambda: out[0].sum().backward()) == 2 * product + (5 if masked else 4) * samples


def test_deformable_pooling():
    data = torch.rand(1, 3 * 4, 8, 8)
    settings = (data.new_empty(0), 1.0, 5, 3, True, 2, 5, 4)
    assert flops(lambda: layers.deform_roi_pooling(data, boxes(2), *settings)) == 2 * 3 * 5 * 5 * (4 * 4) * 8


def test_comparisons_are_not_counted():
    assert flops(lambda: layers.nms(boxes(3)[:, 1:], torch.rand(3), 0.5)) == 0
    assert flops(lambda: layers.roi_pool(torch.rand(1, 3, 8, 8), boxes(2), (2, 2), 1.0)) == 0


@pytest.mark.parametrize("size", [(3, 4), (40, 50)])
def test_enl_counts_what_its_order_needs(size):
    """On a small map the paper's order: as its products one by one, biases aside. On a large one less than that."""
    x = torch.rand(1, 16, *size)
    module, literal = layers.EfficientNonLocal(16, dct_size=2), layers.EfficientNonLocal(16, dct_size=2, literal=True)
    ours, products = flops(lambda: module(x)), flops(lambda: literal(x))
    positions = size[0] * size[1]
    if positions < 16:
        assert ours - products == pytest.approx(
            2 * positions * 3 * 8, abs=2 * positions * 8
        )  # the biases of three maps
    else:
        assert ours < 0.85 * products
    on_meta = layers.EfficientNonLocal(16, dct_size=2).to("meta")
    assert flops(lambda: on_meta(x.to("meta"))) == ours


def test_a_detector_counted_by_hand():
    """A multiply-add is 2: a 3 x 3 stem 3 -> 4 on 4 x 6 positions, a 3 x 3 convolution 4 -> 4 and a 1 x 1 one on 24 + 6."""
    model, counter = Tiny().to("meta"), FlopCount()
    stem, pyramid, logits = 2 * 24 * 27 * 4, 2 * 30 * 36 * 4, 2 * 30 * 4 * 2
    expected = {
        "": stem + pyramid + logits,
        "backbone": stem + pyramid,
        "backbone.body": stem,
        "backbone.body.0": stem,
        "backbone.body.1": 0,
        "backbone.fpn": pyramid,
        "backbone.fpn.conv": pyramid,
        "rpn": logits,
        "rpn.head": logits,
        "rpn.head.logits": logits,
    }
    for _ in range(2):  # the second time from what is known
        assert counter.by_module(model, (8, 12), NONE) == expected
    other = counter.by_module(Tiny(kernel=5).to("meta"), (8, 12), NONE)
    assert other["backbone.body"] == 2 * 24 * 75 * 4 and other["backbone.fpn"] == pyramid
    mean = counter.mean(model, [(8, 12), (8, 12), (16, 12)], NONE)
    assert mean["backbone.body"] == pytest.approx(stem * 4 / 3)


@pytest.mark.parametrize(
    "name",
    ["enl/faster_rcnn_R_50_FPN_1nl_bu", "e2e_mask_rcnn_R_50_FPN_1x", "rpn_R_50_FPN_1x"]
    + ["dcn/e2e_mask_rcnn_mdconv_R_50_FPN_1x", "gn_baselines/e2e_faster_rcnn_R_50_FPN_Xconv1fc_1x_gn"],
)
def test_modules_add_up(name):
    """Every container is the sum of its modules, unless it computes something itself; and the names are the model's."""
    cfg = defaults.clone()
    cfg.merge_from_file(str(CONFIGS / f"{name}.yaml"))
    model = build_without_data(cfg)
    counts = FlopCount().by_module(model, (320, 416), Regions.in_testing(cfg))
    assert set(counts) <= {n for n, _ in model.named_modules()}
    containers = ["", "backbone", "backbone.body", "backbone.fpn", "rpn", "rpn.head", "backbone.body.layer3"]
    for container in [*containers, *(["roi_heads", "roi_heads.box"] if model.roi_heads else [])]:
        direct = [v for n, v in counts.items() if n and n != container and n.rpartition(".")[0] == container]
        assert counts[container] == sum(direct) > 0, container


def test_a_detector_agrees_with_running_it():
    """All of a real forward pass with as many proposals: what is left to the formulas of NMS and the rest is nothing."""
    cfg = defaults.clone()
    cfg.merge_from_file(str(CONFIGS / "demo" / "base_R_18_FPN.yaml"))
    cfg.merge_from_list(
        ["MODEL.RPN.NMS_THRESH", 0.0, "MODEL.ROI_HEADS.SCORE_THRESH", 2.0]
    )  # 200 proposals, 0 detections
    model = build_without_data(cfg)
    counted = FlopCount().by_module(model, (128, 160), Regions(200, 0))
    real = build_detection_model(cfg).eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        assert len(real(torch.rand(1, 3, 128, 160))[0]) == 0
    assert counter.get_total_flops() == counted[""]


def test_a_head_of_ones_own_is_counted_as_a_whole(monkeypatch):
    """Pooling is 4 products a sample; the layers as they are written, each of 1000 proposals."""
    monkeypatch.setitem(ROI_HEADS, "TwoBranches", TwoBranches)
    cfg = defaults.clone()
    cfg.merge_from_file(str(CONFIGS / "e2e_faster_rcnn_R_50_FPN_1x.yaml"))
    cfg.merge_from_list([*SMALL, "MODEL.ROI_BOX_HEAD.NAME", "TwoBranches"])
    model = build_without_data(cfg)
    counts = FlopCount().by_module(model, (320, 416), Regions(1000, 100))
    bins, samples = 7 * 7, 2 * 2
    expected = {
        "pooler": 2 * 1000 * 32 * bins * samples * 4,
        "conv": 2 * 1000 * bins * 9 * 32 * 64,
        "classes": 2 * 1000 * 32 * bins * 81,
        "boxes": 2 * 1000 * 64 * bins * 4 * 81,
    }
    for name, value in expected.items():
        assert counts[f"roi_heads.box.{name}"] == value, name
    assert counts["roi_heads.box"] == sum(expected.values())
    assert heads_as_a_whole(model) == ["roi_heads.box (TwoBranches)"]

    model.roi_heads["box"].conv = torch.nn.Conv2d(7, 8, 3, device="meta")
    with pytest.raises(RuntimeError, match="channel"):  # a fault of the head is no question for data
        FlopCount().by_module(model, (320, 416), Regions(1000, 100))


def test_heads_that_are_one_module_are_counted_too(monkeypatch):
    class Together(torch.nn.Module):
        def __init__(self, box):
            super().__init__()
            self.box = box

        def forward(self, features, proposals, targets=None):
            return self.box(features, proposals, targets)

    cfg = defaults.clone()
    cfg.merge_from_file(str(CONFIGS / "e2e_faster_rcnn_R_50_FPN_1x.yaml"))
    cfg.merge_from_list(SMALL)
    model = build_without_data(cfg)
    apart = FlopCount().by_module(model, (320, 416), Regions(50, 10))
    model.roi_heads = Together(model.roi_heads["box"])
    together = FlopCount().by_module(model, (320, 416), Regions(50, 10))
    assert together["roi_heads"] == apart["roi_heads"] and together[""] == apart[""]


def test_a_detector_without_the_parts_is_refused():
    with pytest.raises(ValueError, match="Linear lacks `backbone` or `rpn.head`"):
        FlopCount().by_module(torch.nn.Linear(1, 1), (8, 8), NONE)
