"""Where the non-local modules stand, what passes through them, and what they add to a detector."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from maskrcnn_benchmark.config import cfg as defaults
from maskrcnn_benchmark.config.node import ConfigError
from maskrcnn_benchmark.layers.non_local import NON_LOCAL, NonLocal, NonLocal2d
from maskrcnn_benchmark.modeling.backbone import build_backbone
from maskrcnn_benchmark.modeling.backbone.fpn import FPN, LastLevelMaxPool
from maskrcnn_benchmark.modeling.detector import build_detection_model
from maskrcnn_benchmark.modeling.make_layers import conv_with_kaiming_uniform

CONFIGS = Path(__file__).parents[2] / "configs"
R18 = ["MODEL.BACKBONE.CONV_BODY", "R-18-FPN", "MODEL.RESNETS.TRANS_FUNC", "BasicBlockWithFixedBatchNorm"]
R18 += ["MODEL.RESNETS.RES2_OUT_CHANNELS", 64, "MODEL.RESNETS.BACKBONE_OUT_CHANNELS", 32]
TOP_DOWN, BOTTOM_UP = "MODEL.NON_LOCAL.TOP_DOWN", "MODEL.NON_LOCAL.BOTTOM_UP"
LEVEL_OF_STAGE = {"res3": 2, "res4": 3, "res5": 4}


def r18_backbone(*options) -> nn.Module:
    cfg = defaults.clone()
    cfg.merge_from_list([*R18, *options])
    torch.manual_seed(0)
    return build_backbone(cfg).eval()


def faster_rcnn(*options) -> nn.Module:
    cfg = defaults.clone()
    cfg.merge_from_file(str(CONFIGS / "e2e_faster_rcnn_R_50_FPN_1x.yaml"))
    cfg.merge_from_list(list(options))
    with torch.device("meta"):
        return build_detection_model(cfg)


def fpn(stages: tuple[str, ...], type: str = "enl") -> FPN:
    torch.manual_seed(0)
    pyramid = FPN([8, 8, 8, 8], 8, conv_with_kaiming_uniform(), LastLevelMaxPool())
    for stage in stages:
        pyramid.set_context(stage, NON_LOCAL[type](8, init_std=0.3))
    return pyramid.double()


def maps(sizes) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return [torch.randn(1, 8, *size, generator=generator, dtype=torch.float64) for size in sizes]


@torch.no_grad()
def far_effect(pyramid: FPN, stage: str) -> torch.Tensor:
    """How much the far quarter of the outputs at res2 and res3 changes with the near corner of the input of `stage`."""
    inputs = maps([(64, 64), (32, 32), (16, 16), (8, 8)])
    changed = [x.clone() for x in inputs]
    changed[LEVEL_OF_STAGE[stage] - 1][..., :2, :2] += 1.0
    change = [
        (a - b)[..., a.shape[-2] // 4 * 3 :, a.shape[-1] // 4 * 3 :].abs().max()
        for a, b in zip(pyramid(inputs), pyramid(changed), strict=True)
    ]
    return torch.stack(change[:2])


@pytest.mark.parametrize("type", ["nl", "nl_dot", "enl"])
@pytest.mark.parametrize("stage", ["res5", "res4", "res3"])
def test_a_corner_reaches_the_far_side_through_the_module_alone(stage, type):
    """Both the level's own output and the finer ones see the module's result; convolutions reach a few pixels."""
    assert (far_effect(fpn((stage,), type), stage) > 1e-3).all()
    assert (far_effect(fpn(()), stage) == 0).all()


def test_a_module_does_not_act_on_coarser_levels():
    plain, with_module = fpn(()), fpn(("res4",))
    with_module.load_state_dict(plain.state_dict(), strict=False)
    inputs = maps([(32, 32), (16, 16), (8, 8), (4, 4)])
    same = [torch.equal(a, b) for a, b in zip(plain(inputs), with_module(inputs), strict=True)]
    assert same == [False, False, False, True, True]


def test_the_module_stands_after_the_sum_and_before_the_upsampling():
    pyramid, inputs = fpn(("res4",)), maps([(16, 16), (8, 8), (4, 4), (2, 2)])
    outputs = pyramid(inputs)
    inner = [getattr(pyramid, f"fpn_inner{i}")(x) for i, x in enumerate(inputs, start=1)]

    def twice(x):
        return x.repeat_interleave(2, dim=2).repeat_interleave(2, dim=3)

    top = {4: inner[3]}
    top[3] = pyramid.non_local_res4(inner[2] + twice(top[4]))
    top[2] = inner[1] + twice(top[3])
    top[1] = inner[0] + twice(top[2])
    for level in range(1, 5):
        torch.testing.assert_close(outputs[level - 1], getattr(pyramid, f"fpn_layer{level}")(top[level]))
    assert torch.equal(outputs[4], outputs[3][..., ::2, ::2])


@pytest.mark.parametrize("sizes", [[(50, 49), (25, 25), (13, 13), (7, 7)], [(9, 3), (5, 2), (3, 1), (2, 1)]])
def test_levels_need_not_halve(sizes):
    """A map of 13 below one of 25: each position takes the nearest coarser one, floor(i * 13 / 25)."""
    pyramid, inputs = fpn(()), maps(sizes)
    outputs = pyramid(inputs)
    assert [tuple(o.shape[-2:]) for o in outputs[:4]] == sizes
    coarse = pyramid.fpn_inner4(inputs[3])
    rows, columns = (torch.arange(fine) * coarser // fine for fine, coarser in zip(sizes[2], sizes[3], strict=True))
    expected = pyramid.fpn_layer3(pyramid.fpn_inner3(inputs[2]) + coarse[..., rows, :][..., columns])
    torch.testing.assert_close(outputs[2], expected)


def test_bottom_up_module_stands_before_the_last_block():
    body = r18_backbone(f"{BOTTOM_UP}.TYPE", "enl").body
    order = []
    watched = {
        "first": body.layer3[0],
        "non_local": body.non_local_res4,
        "last": body.layer3[-1],
        "res5": body.layer4[0],
    }
    for name, module in watched.items():
        module.register_forward_hook(lambda _, inputs, output, name=name: order.append((name, inputs[0], output)))
    body(torch.randn(1, 3, 64, 64))
    names, inputs, outputs = zip(*order, strict=True)
    assert names == ("first", "non_local", "last", "res5")
    assert (
        torch.equal(inputs[1], outputs[0]) and torch.equal(inputs[2], outputs[1]) and torch.equal(inputs[3], outputs[2])
    )
    assert not torch.equal(inputs[1], outputs[1])


@pytest.mark.parametrize("place", [TOP_DOWN, BOTTOM_UP])
def test_all_other_keys_stay_where_they_are(place):
    plain, modified = (r18_backbone(*options).state_dict() for options in ((), (f"{place}.TYPE", "enl")))
    prefixes = {
        TOP_DOWN: ["fpn.non_local_res3", "fpn.non_local_res4", "fpn.non_local_res5"],
        BOTTOM_UP: ["body.non_local_res4"],
    }[place]
    new = {f"{p}.{m}.{k}" for p in prefixes for m in ("theta", "phi", "g", "out") for k in ("weight", "bias")}
    assert set(modified) - set(plain) == new
    assert all(modified[key].shape == value.shape for key, value in plain.items())
    assert list(plain) == [key for key in modified if key not in new]


@pytest.mark.parametrize("place", [TOP_DOWN, BOTTOM_UP])
def test_linear_attention_changes_nothing_before_the_first_step(place):
    """A trained detector keeps its detections when it is added for a fine-tuning."""
    torch.manual_seed(0)
    plain = r18_backbone().eval()
    modified = r18_backbone(f"{place}.TYPE", "linear_attention").eval()
    missing, unexpected = modified.load_state_dict(plain.state_dict(), strict=False)
    assert missing and all("non_local" in name for name in missing) and not unexpected
    images = torch.randn(2, 3, 64, 96)
    with torch.no_grad():
        assert all(map(torch.equal, plain(images), modified(images)))


def test_settings_reach_the_modules():
    options = (f"{TOP_DOWN}.TYPE", "enl", f"{TOP_DOWN}.STAGES", ("res4",), "MODEL.NON_LOCAL.LITERAL", True)
    options += ("MODEL.NON_LOCAL.DCT_SIZE", 5, "MODEL.NON_LOCAL.REDUCTION", 4, "MODEL.NON_LOCAL.INIT_STD", 0.5)
    options += ("MODEL.NON_LOCAL.OUT_INIT_STD", 0.0)
    pyramid = r18_backbone(*options).fpn
    modules = {name: m for name, m in pyramid.named_modules() if isinstance(m, NonLocal2d)}
    assert list(modules) == ["non_local_res4"]
    module = modules["non_local_res4"]
    assert (module.literal, module.dct_size, module.theta.out_channels) == (True, 5, 8)
    assert "dct_size=5, literal=True" in repr(module)
    assert 0.4 < module.theta.weight.std() < 0.6
    assert not module.out.weight.any()


@pytest.mark.parametrize(
    ("options", "trainable"),
    [
        ((), 41_481_636),
        ((f"{BOTTOM_UP}.TYPE", "nl"), 43_581_348),
        ((f"{TOP_DOWN}.TYPE", "enl"), 41_876_772),
        ((f"{TOP_DOWN}.TYPE", "nl"), 41_876_772),
    ],
    ids=["baseline", "+1NL BU", "+3ENL TD", "+3NL TD"],
)
def test_trainable_parameters_of_table_3(options, trainable):
    assert sum(p.numel() for p in faster_rcnn(*options).parameters() if p.requires_grad) == trainable


@pytest.mark.parametrize(
    ("place", "stage", "said"),
    [
        (TOP_DOWN, "res2", "names 'res2'; the levels that are upsampled are res3, res4, res5"),
        (TOP_DOWN, "layer4", "names 'layer4'"),
        (BOTTOM_UP, "res6", "names 'res6'; this body has res2, res3, res4, res5"),
    ],
)
def test_unknown_stages(place, stage, said):
    with pytest.raises(ValueError, match=f"{place}.STAGES {said}"):
        r18_backbone(f"{place}.TYPE", "enl", f"{place}.STAGES", (stage,))


def test_unknown_type():
    with pytest.raises(ConfigError, match="'gaussian' is not one of enl, linear_attention, nl, nl_dot"):
        r18_backbone(f"{TOP_DOWN}.TYPE", "gaussian")


class Half(NonLocal):
    """No module of this package: it has no parameters, and makes a smaller map."""

    def forward(self, x):
        return x[:, :, ::2]


def test_kinds_that_do_not_fit_are_named(monkeypatch):
    monkeypatch.setitem(NON_LOCAL, "half", Half)
    with pytest.raises(ValueError, match=r"Half made a map of shape \[1, 32, 1, 3\] of one of shape \[1, 32, 2, 3\]"):
        r18_backbone(f"{TOP_DOWN}.TYPE", "half")(torch.randn(1, 3, 64, 96))
    with pytest.raises(ValueError, match="Half made a map"):
        r18_backbone(f"{BOTTOM_UP}.TYPE", "half")(torch.randn(1, 3, 64, 96))
    monkeypatch.setitem(NON_LOCAL, "linear", nn.Identity)
    with pytest.raises(ConfigError, match="'linear' of NON_LOCAL makes a Identity, which is no context module"):
        r18_backbone(f"{TOP_DOWN}.TYPE", "linear")
    for place in (TOP_DOWN, BOTTOM_UP):
        with pytest.raises(ConfigError, match=f"{place}.STAGES is empty: name the stages"):
            r18_backbone(f"{place}.TYPE", "enl", f"{place}.STAGES", ())


def test_a_kind_may_be_a_function_of_the_channels(monkeypatch):
    monkeypatch.setitem(NON_LOCAL, "smaller", lambda channels: NON_LOCAL["enl"](channels, reduction=4))
    backbone = r18_backbone(f"{TOP_DOWN}.TYPE", "smaller", f"{BOTTOM_UP}.TYPE", "smaller")
    assert backbone.fpn.non_local_res5.g.out_channels == 8 and backbone.body.non_local_res4.g.out_channels == 64
