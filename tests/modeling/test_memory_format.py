"""Heads and losses of a fork take views of maps, as upstream's do. With such a module a detector is not in channels_last; a loss
is no module, so it gets contiguous maps from every one."""

from __future__ import annotations

import copy
import io
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from maskrcnn_benchmark.config import cfg as defaults
from maskrcnn_benchmark.modeling import registry
from maskrcnn_benchmark.modeling.detector import build_detection_model
from maskrcnn_benchmark.modeling.poolers import Pooler
from tests.support.helpers import SMALL

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.fixture
def of_a_fork(monkeypatch: pytest.MonkeyPatch):
    """Names of an extractor and a predictor that reshape by `view`."""

    class Extractor(nn.Module):
        def __init__(self, cfg, in_channels: int):
            super().__init__()
            self.pooler = Pooler((7, 7), (0.25, 0.125, 0.0625, 0.03125), 2)
            self.conv = nn.Conv2d(in_channels, 16, 3, padding=1)
            self.out_channels = 16 * 49

        def forward(self, x: Tensor, proposals: list) -> Tensor:
            x = self.conv(self.pooler(x, proposals))
            return x.view(x.size(0), -1)

    class Predictor(nn.Module):
        def __init__(self, cfg, in_channels: int):
            super().__init__()
            self.logits = nn.Conv2d(in_channels, 81, 1)

        def forward(self, x: Tensor) -> Tensor:
            y = self.logits(x.view(-1, x.shape[1], *x.shape[2:]))
            return y.view(y.size(0), -1).view(*y.shape)

    monkeypatch.setitem(registry.ROI_BOX_FEATURE_EXTRACTORS, "ViewExtractor", Extractor)
    monkeypatch.setitem(registry.ROI_MASK_PREDICTOR, "ViewPredictor", Predictor)


def model_of(name: str, *options):
    cfg = defaults.clone()
    cfg.merge_from_file(str(CONFIGS / name))
    cfg.merge_from_list(
        ["MODEL.DEVICE", "cpu", "MODEL.RPN.FPN_POST_NMS_TOP_N_TEST", 10, "MODEL.RPN.POST_NMS_TOP_N_TEST", 10, *options]
    )
    torch.manual_seed(0)
    return build_detection_model(cfg).eval()


@torch.no_grad()
def test_heads_of_a_fork_may_take_views(of_a_fork) -> None:
    names = ["MODEL.ROI_BOX_HEAD.FEATURE_EXTRACTOR", "ViewExtractor", "MODEL.ROI_MASK_HEAD.PREDICTOR", "ViewPredictor"]
    model = model_of("e2e_mask_rcnn_R_50_FPN_1x.yaml", *names, "MODEL.ROI_HEADS.SCORE_THRESH", 0.0)
    assert model(torch.randn(1, 3, 64, 64))[0].has_field("mask")


@torch.no_grad()
@pytest.mark.parametrize(
    ("config", "head"),
    [
        ("e2e_mask_rcnn_R_50_FPN_1x.yaml", "mask"),
        ("e2e_keypoint_rcnn_R_50_FPN_1x.yaml", "keypoint"),
        ("e2e_mask_rcnn_fbnet.yaml", "mask"),
    ],
)
def test_losses_get_contiguous_maps(config: str, head: str) -> None:
    model = model_of(config, "MODEL.ROI_HEADS.SCORE_THRESH", 0.0)
    outputs: list[Tensor] = []
    model.roi_heads[head].predictor.register_forward_hook(lambda module, args, output: outputs.append(output))
    model(torch.randn(1, 3, 64, 64))
    assert model.layout == torch.channels_last
    assert [x.ndim for x in outputs] == [4] and outputs[0].is_contiguous()


@torch.no_grad()
def test_the_weights_as_one_vector() -> None:
    """As docs/explanation/upstream.md says: in both directions, and equal to the vector of contiguous weights."""
    model = model_of("e2e_faster_rcnn_R_50_FPN_1x.yaml", *SMALL)
    vector = torch.cat([p.reshape(-1) for p in model.parameters()])
    contiguous = copy.deepcopy(model).to(memory_format=torch.contiguous_format)
    assert vector.equal(torch.nn.utils.parameters_to_vector(contiguous.parameters()))
    torch.nn.utils.vector_to_parameters(2 * vector, model.parameters())
    for ours, plain in zip(model.parameters(), contiguous.parameters(), strict=True):
        assert ours.equal(2 * plain)


@pytest.mark.filterwarnings("ignore:`torch.jit:FutureWarning")
def test_torchscript_is_refused_with_a_sentence() -> None:
    model, x = model_of("e2e_faster_rcnn_R_50_FPN_1x.yaml", *SMALL), torch.randn(1, 3, 64, 64)
    for compile in (lambda: torch.jit.script(model), lambda: torch.jit.trace(model, x)):
        with pytest.raises(NotImplementedError, match="mrb export"):
            compile()
    assert len(torch.jit.trace(model.backbone, x)(x)) == 5


@torch.no_grad()
@pytest.mark.parametrize("config", ["e2e_faster_rcnn_R_50_FPN_1x.yaml", "e2e_mask_rcnn_fbnet.yaml"])
def test_a_whole_model_is_saved_and_loaded(config: str) -> None:
    model, file = model_of(config, *SMALL, "MODEL.ROI_HEADS.SCORE_THRESH", 0.0), io.BytesIO()
    torch.save(model, file)
    file.seek(0)
    x = torch.randn(1, 3, 64, 64)
    (expected,) = model(x)
    for same in (torch.load(file, weights_only=False), copy.deepcopy(model)):
        assert same.layout == model.layout == torch.channels_last
        (found,) = same(x)
        assert len(found) and found.bbox.equal(expected.bbox)
