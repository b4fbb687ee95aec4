"""FBNet's blocks against their formulas, and the sizes of maps in whole models."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F

from maskrcnn_benchmark.config import cfg as defaults
from maskrcnn_benchmark.modeling.backbone.fbnet import _get_head_stage, _get_rpn_stage, _get_trunk_cfg
from maskrcnn_benchmark.modeling.backbone.fbnet_blocks import get_divisible_by, make_block
from maskrcnn_benchmark.modeling.backbone.fbnet_builder import (
    PRIMITIVES,
    CascadeConv3x3,
    ChannelShuffle,
    FBNetBuilder,
    IRFBlock,
    SEModule,
    Shift,
    ShiftBlock5x5,
    _get_divisible_by,
    _get_upsample_op,
    _py2_round,
    expand_stages_cfg,
    get_blocks,
    get_num_stages,
    unify_arch_def,
)
from maskrcnn_benchmark.modeling.backbone.fbnet_modeldef import MODEL_ARCH, MODEL_ARCH_CHAM, add_archs
from maskrcnn_benchmark.modeling.detector import build_detection_model
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.segmentation_mask import SegmentationMask

CONFIGS = Path(__file__).parents[2] / "configs"
FILES = sorted(path.name for path in CONFIGS.glob("*fbnet*.yaml"))


@torch.no_grad()
@pytest.mark.parametrize(("dim_out", "stride", "size"), [(8, 1, 10), (8, 2, 5), (12, 1, 10), (8, -2, 20)])
def test_inverted_residual(dim_out, stride, size):
    torch.manual_seed(0)
    block = IRFBlock(8, dim_out, 3, stride, dw_skip_bn=True, dw_skip_relu=True).eval()
    x = torch.randn(2, 8, 10, 10)
    y = F.relu(block.pw.bn(F.conv2d(x, block.pw.conv.weight)))
    if stride < 0:
        y = y.repeat_interleave(2, 2).repeat_interleave(2, 3)
    y = F.conv2d(y, block.dw.conv.weight, stride=max(stride, 1), padding=1, groups=24)
    y = block.pwl.bn(F.conv2d(y, block.pwl.conv.weight))
    expected = y + x if stride == 1 and dim_out == 8 else y
    assert expected.shape == (2, dim_out, size, size)
    torch.testing.assert_close(block(x), expected)


@pytest.mark.parametrize(
    ("name", "kernel", "middle"),
    [
        ("ir_k3", 3, 16),
        ("ir_k5", 5, 16),
        ("ir_k7_e6", 7, 48),
        ("ir_k3_s4", 3, 32),
        ("ir_k3_s2_se", 3, 8),
        ("ir_k7_sep_e3", 7, 24),
        ("ir_k33_e3", 3, 24),
        ("shuffle", 3, 16),
    ],
)
def test_blocks_by_name(name, kernel, middle):
    block = make_block(name, 8, 8, 2, 1)
    convolutions = [block.dw] if hasattr(block.dw, "conv") else [block.dw.dw1, block.dw.dw2]
    assert len(convolutions) == (2 if "_sep" in name or "k33" in name else 1)
    assert all(c.conv.weight.shape == (middle, 1, kernel, kernel) for c in convolutions)
    assert isinstance(block.se4, SEModule) == name.endswith("_se")
    assert (block.shuffle is not None) == ("_s2" in name or "_s4" in name or name == "shuffle")
    assert block(torch.randn(2, 8, 6, 6)).shape == (2, 8, 6, 6)


@torch.no_grad()
def test_other_blocks():
    x = torch.randn(2, 8, 6, 6)
    assert torch.equal(make_block("skip", 8, 8, 1, 1)(x), x)
    assert make_block("skip", 8, 4, 1, 2)(x).shape == (2, 4, 3, 3)
    assert make_block("ir_k1", 8, 8, 2, 1)(x).shape == make_block("ir_k33_e3", 8, 8, 1, 1)(x).shape == x.shape
    cascade = CascadeConv3x3(8, 8, 1).eval()
    torch.testing.assert_close(cascade(x) - x, torch.nn.Sequential(*cascade.children())(x))
    assert make_block("basic_block", 8, 4, 1, 2)(x).shape == (2, 4, 3, 3)
    order = ChannelShuffle(2)(torch.arange(6.0).reshape(1, 6, 1, 1)).flatten().tolist()
    assert order == [0, 3, 1, 4, 2, 5]
    with pytest.raises(ValueError, match="no FBNet block 'ir_k9'"):
        make_block("ir_k9", 8, 8, 1, 1)


@pytest.mark.parametrize(("channels", "size", "stride"), [(9, 3, 1), (29, 3, 2), (60, 5, 1), (7, 3, 1)])
def test_shift(channels, size, stride):
    """Against moving whole maps by hand: (dy, dx) of each channel from the definition."""
    x = torch.randn(2, channels, 8, 10, generator=torch.Generator().manual_seed(0))
    shift, reach = Shift(channels, size, stride, size // 2), size // 2
    padded = F.pad(x, [reach] * 4)
    steps = [(dy, dx) for dy in range(size) for dx in range(size)]
    each = channels // size**2
    of_channel = [step for step in steps for _ in range(each + (channels % size**2 if step == (reach, reach) else 0))]
    moved = torch.stack([padded[:, c, dy : dy + 8, dx : dx + 10] for c, (dy, dx) in enumerate(of_channel)], dim=1)
    assert torch.equal(shift(x), moved[:, :, ::stride, ::stride])
    assert list(shift.state_dict()) == ["kernel"] and shift.kernel.shape == (channels, 1, size, size)
    assert not shift.kernel.requires_grad and shift(x[:0]).shape == (0, *shift(x).shape[1:])
    with pytest.raises(ValueError, match="1 or 2; got 3"):
        Shift(channels, size, 3, 1)


@torch.no_grad()
@pytest.mark.parametrize(("dim_out", "stride"), [(10, 1), (10, 2), (6, 1)])
def test_shift_block(dim_out, stride):
    torch.manual_seed(0)
    block, x = ShiftBlock5x5(10, dim_out, 3, stride).eval(), torch.randn(2, 10, 8, 8)
    assert block[0].weight.shape == (32, 10, 1, 1)  # the multiple of 8 nearest to 30
    y = Shift(32, 5, stride, 2)(F.relu(block[1](F.conv2d(x, block[0].weight))))
    y = block[5](F.conv2d(y, block[4].weight))
    torch.testing.assert_close(block(x), y + x if dim_out == 10 and stride == 1 else y)
    named = make_block("shift_5x5", 10, dim_out, 3, stride, bn_type="bn")
    assert isinstance(named, ShiftBlock5x5) and named.output_depth == dim_out
    assert [len(ShiftBlock5x5(2, 4, e, 1)[0].weight) for e in (1, 2, 5.5, 6)] == [64, 8, 8, 16]


def test_widths():
    assert [get_divisible_by(n, 8) for n in (1, 8, 11, 12, 19, 96)] == [64, 8, 8, 16, 16, 96]
    builder = FBNetBuilder(0.5, width_divisor=8)
    builder.add_first([32, 2])
    builder.add_blocks([{"stage_idx": 0, "block_idx": 0, "block": [1, 36, 1, 1], "block_op_type": "ir_k3"}])
    assert builder.last_depth == 16
    assert builder.add_last([1280, 0.0])(torch.zeros(1)).shape == (1,) and builder.last_depth == 16
    builder.add_last([100, 0.5])
    assert builder.last_depth == 48
    assert builder.add_last([0, -0.5]).conv.weight.shape == (24, 48, 1, 1)
    assert builder.add_first([32, 2, 5]).conv.padding == (2, 2)
    assert builder.add_first([32, 2, 5], pad=False).conv.padding == (0, 0)


def test_descriptions():
    assert expand_stages_cfg([[[1, 16, 1, 2]], [[6, 8, 2, 2], [3, 4, 1, -2]]]) == [
        [[1, 16, 1, 2]],
        [[6, 8, 1, 2], [6, 8, 1, 1], [3, 4, 1, -2]],
    ]
    arch = unify_arch_def(MODEL_ARCH["default"])
    assert unify_arch_def(arch) is arch and get_num_stages(arch) == 7
    names = [f"{b['stage_idx']}_{b['block_idx']}" for b in get_blocks(arch, [0, 4], [0, 2])["stages"]]
    assert names == ["0_0", "4_0", "4_2"]
    assert get_blocks(arch, [], [])["stages"] == arch["stages"]
    with pytest.raises(ValueError, match=r"names \[1\] blocks .* has \[2\]"):
        unify_arch_def({"block_op_type": [["ir_k3"]], "block_cfg": {"stages": [[[1, 8, 2, 1]]]}})
    with pytest.raises(ValueError, match="'default' already"):
        add_archs({"default": {}})


def test_blocks_of_ones_own(monkeypatch):
    """Forks add to PRIMITIVES, and the builder takes what is there."""

    def mine(c_in, c_out, expansion, stride, **options):
        return make_block("skip", c_in, c_out, expansion, stride)

    monkeypatch.setitem(PRIMITIVES, "mine", mine)
    builder = FBNetBuilder(1.0)
    builder.last_depth = 8
    assert builder.add_ir_block([6, 16, 1, 2], ["mine"])(torch.zeros(1, 8, 6, 6)).shape == (1, 16, 3, 3)


@torch.no_grad()
@pytest.mark.parametrize("name", PRIMITIVES)
@pytest.mark.parametrize("count", [2, 0])
def test_every_block_by_name(name, count):
    assert PRIMITIVES[name](16, 32, 4, 1)(torch.randn(count, 16, 7, 7)).shape[:2] == (count, 32)


def test_parts_of_an_architecture():
    arch = unify_arch_def(MODEL_ARCH["default"])

    def indices(blocks):
        return [(b["stage_idx"], b["block_idx"]) for b in blocks]

    assert {s for s, _ in indices(_get_trunk_cfg(arch)["stages"])} == {0, 1, 2, 3}
    without = {key: value for key, value in arch.items() if key not in ("backbone", "mask")}
    assert {s for s, _ in indices(_get_trunk_cfg(without)["stages"])} == set(range(6))
    assert indices(_get_rpn_stage(arch, 0)) == [(5, 0), (5, 1), (5, 2)]
    assert indices(_get_rpn_stage(arch, 2)) == [(5, 1), (5, 2)]  # the last ones
    with pytest.raises(ValueError, match="RPN_HEAD_BLOCKS is 4; the architecture has 3"):
        _get_rpn_stage(arch, 4)
    assert indices(_get_head_stage(arch, "bbox", [0, 2])) == [(4, 0), (4, 2)]
    assert indices(_get_head_stage({**arch, "head": [2]}, "kpts", None)) == [(2, 0), (2, 1), (2, 2)]
    assert indices(_get_head_stage(arch, "kpts", None)) == indices(arch["stages"])
    assert set(MODEL_ARCH_CHAM) == {"cham_v1a", "cham_v2"} and set(MODEL_ARCH_CHAM) < set(MODEL_ARCH)


def test_rounding_and_enlarging():
    assert [_py2_round(x) for x in (0.5, 1.5, 2.4, -0.5, -1.4)] == [1, 2, 2, -1, -1]
    assert [_get_divisible_by(n, 8, 1) for n in (3, 4, 20, 16)] == [8, 8, 24, 16]
    assert _get_upsample_op(2) == (None, 2)
    op, stride = _get_upsample_op((-2, -4))
    assert stride == 1 and op(torch.zeros(1, 1, 3, 3)).shape == (1, 1, 6, 12)


def test_an_architecture_of_ones_own():
    cfg = defaults.clone()
    cfg.merge_from_file(str(CONFIGS / "e2e_faster_rcnn_fbnet.yaml"))
    cfg.merge_from_list(["MODEL.FBNET.ARCH", "mine"])
    with pytest.raises(ValueError, match="ARCH 'mine' is not one of cham_v1a, cham_v2, default"):
        build_detection_model(cfg)
    stages = '"block_op_type": [["ir_k3"], ["ir_k5"]], "block_cfg": {"stages": [[[1, 8, 1, 8]], [[2, 16, 1, 1]]], '
    parts = '"first": [8, 2], "last": [0, 0], "backbone": [0], "rpn": [1], "bbox": [1]}'
    cfg.merge_from_list(["MODEL.FBNET.ARCH_DEF", "{" + stages + parts + "}"])
    model = build_detection_model(cfg)
    assert model.backbone.out_channels == 8 and model.roi_heads["box"].feature_extractor.out_channels == 16


@pytest.mark.parametrize(
    ("arch", "blocks", "channels", "rpn_head"),
    [
        ("default", 13, 96, "FBNet.rpn_head"),
        ("xirb16d_dsmask", 13, 128, "FBNet.rpn_head"),
        ("mobilenet_v2", 13, 96, "SingleConvRPNHead"),
        ("cham_v1a", 20, 88, "FBNet.rpn_head"),
        ("cham_v2", 20, 56, "FBNet.rpn_head"),
    ],
)
def test_every_architecture(arch, blocks, channels, rpn_head):
    cfg = defaults.clone()
    cfg.merge_from_file(str(CONFIGS / "e2e_faster_rcnn_fbnet.yaml"))
    cfg.merge_from_list(["MODEL.FBNET.ARCH", arch, "MODEL.RPN.RPN_HEAD", rpn_head])
    torch.manual_seed(0)
    model = build_detection_model(cfg).eval()
    assert len(model.backbone.body.stages) == blocks
    with torch.no_grad():
        assert model.backbone(torch.zeros(1, 3, 64, 96))[0].shape == (1, channels, 4, 6)
        model(torch.randn(1, 3, 64, 96))


def test_what_an_architecture_lacks_is_said():
    cfg = defaults.clone()
    cfg.merge_from_file(str(CONFIGS / "e2e_faster_rcnn_fbnet.yaml"))
    cfg.merge_from_list(["MODEL.FBNET.ARCH", "mobilenet_v2"])
    with pytest.raises(ValueError, match="has no 'rpn'; .*RPN_HEAD"):
        build_detection_model(cfg)


@pytest.mark.parametrize("name", FILES)
def test_models_train_and_detect(name):
    cfg = defaults.clone()
    cfg.merge_from_file(str(CONFIGS / name))
    options = ["MODEL.RPN.POST_NMS_TOP_N_TRAIN", 20, "MODEL.ROI_HEADS.SCORE_THRESH", 0.0]
    cfg.merge_from_list([*options, "MODEL.ROI_HEADS.DETECTIONS_PER_IMG", 3, "MODEL.RPN.STRADDLE_THRESH", -1])
    torch.manual_seed(0)
    model = build_detection_model(cfg).train()
    target = BoxList([[10.0, 12, 70, 60]], (128, 96))
    target.add_field("labels", torch.tensor([5]))
    target.add_field("masks", SegmentationMask([[[10.0, 12, 70, 12, 70, 60]]], (128, 96)))
    losses = model(torch.randn(2, 3, 96, 128), [target, target])
    assert ("loss_mask" in losses) == cfg.MODEL.MASK_ON
    sum(losses.values()).backward()
    assert all(p.grad is not None and torch.isfinite(p.grad).all() for p in model.parameters())
    with torch.no_grad():
        assert model.backbone(torch.zeros(1, 3, 96, 128))[0].shape[2:] == (6, 8)
        detections = model.eval()(torch.randn(1, 3, 96, 128))
    assert len(detections[0]) == 3
    if cfg.MODEL.MASK_ON:
        assert detections[0].get_field("mask").shape == (3, 1, 12, 12)
