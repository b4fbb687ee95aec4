"""How to add a context module: a subclass of NonLocal, and its name in MODEL.NON_LOCAL.TOP_DOWN.TYPE or BOTTOM_UP.TYPE."""

from __future__ import annotations

import pytest
import torch

from maskrcnn_benchmark.analysis.context import context_weights, non_local_modules
from maskrcnn_benchmark.config import cfg as defaults
from maskrcnn_benchmark.layers.non_local import NON_LOCAL, NonLocal, PairWeights
from tests.modeling.test_non_local_places import BOTTOM_UP, TOP_DOWN, r18_backbone


class MeanContext(NonLocal):
    """x plus its mean over all positions, each channel scaled. Only `forward` is needed; pictures of the context ask for
    `pair_weights`."""

    def __init__(self, channels: int):
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(channels, 1, 1))

    def forward(self, x):
        return x + self.scale * x.mean((2, 3), keepdim=True)

    def pair_weights(self, x, row, column):
        mean = torch.full(x.shape[1:], 1 / x[0].numel())
        return PairWeights(mean, torch.zeros_like(mean), mean)


def test_a_kind_of_ones_own_is_used_at_every_place(monkeypatch):
    monkeypatch.setitem(NON_LOCAL, "mean", MeanContext)
    backbone = r18_backbone(f"{TOP_DOWN}.TYPE", "mean", f"{BOTTOM_UP}.TYPE", "mean")
    kinds = {name: type(module) for name, module in non_local_modules(backbone).items()}
    names = ("fpn.non_local_res5", "fpn.non_local_res4", "fpn.non_local_res3", "body.non_local_res4")
    assert kinds == dict.fromkeys(names, MeanContext)
    maps = backbone(torch.randn(1, 3, 64, 96))
    maps[0].sum().backward()
    assert all(module.scale.grad.abs().sum() > 0 for module in non_local_modules(backbone).values())

    model = torch.nn.Module()
    model.backbone = backbone
    weights = context_weights(model, torch.randn(3, 64, 96), (50.0, 20.0), "fpn.non_local_res3").total
    torch.testing.assert_close(weights, torch.full((8, 12), 1 / 96))


class KeyedContext(MeanContext):
    """A kind with a configuration key of its own."""

    def __init__(self, channels: int, gain: float):
        super().__init__(channels)
        self.gain = gain

    @classmethod
    def from_config(cls, non_local, channels):
        return cls(channels, non_local.KEYED_GAIN)


def test_a_kind_may_have_a_key_of_its_own(monkeypatch):
    monkeypatch.setitem(NON_LOCAL, "keyed", KeyedContext)
    monkeypatch.setitem(defaults.MODEL.NON_LOCAL, "KEYED_GAIN", 4.0)
    backbone = r18_backbone(f"{TOP_DOWN}.TYPE", "keyed", "MODEL.NON_LOCAL.KEYED_GAIN", 2)
    assert {module.gain for module in non_local_modules(backbone).values()} == {2.0}


def test_without_pair_weights_there_are_no_pictures():
    class Plain(NonLocal):
        """Its `view` asks for maps as PyTorch orders them, which a model with modules of one's own has."""

        def forward(self, x):
            return x + x.view(*x.shape[:2], -1).mean(2)[..., None, None]

    model = torch.nn.Module()
    model.backbone = torch.nn.Sequential(Plain())
    with pytest.raises(ValueError, match="Plain has no method `pair_weights`, .* training and detection do not"):
        context_weights(model, torch.randn(3, 64, 96), (50.0, 20.0), "0")
