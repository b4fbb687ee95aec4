"""MODEL.COMPILE: the compiled body and pyramid, ENL included, compute what the plain ones do, forwards and backwards."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from maskrcnn_benchmark.engine import run

CONFIGS = Path(__file__).parents[2] / "configs"


@pytest.mark.slow
@pytest.mark.no_cover
def test_the_compiled_backbone_is_the_plain_one(monkeypatch):
    config = run.cfg.clone()
    config.merge_from_file(str(CONFIGS / "demo" / "relations_R_18_FPN_enl.yaml"))
    config.merge_from_list(["MODEL.COMPILE", True, "SEED", 0, "MODEL.RESNETS.BACKBONE_OUT_CHANNELS", 64])
    monkeypatch.setattr(run, "cfg", config)
    torch._dynamo.reset()
    # In float64, as rounding can take another way through a ReLU or a maximum.
    model = run.build_model(torch.device("cpu")).double().train()
    plain = run.build_detection_model(config).double().train()
    assert list(model.state_dict()) == list(plain.state_dict())  # checkpoints are the same
    plain.load_state_dict(model.state_dict())
    x = torch.randn(2, 3, 96, 128, dtype=torch.float64)
    torch._dynamo.utils.counters.clear()
    maps = {}
    for name, module in (("compiled", model), ("plain", plain)):
        maps[name] = module.backbone(x)
        sum(m.square().mean() for m in maps[name]).backward()
    assert torch._dynamo.utils.counters["stats"]["unique_graphs"] == 1
    pairs = [("map", ours, theirs) for ours, theirs in zip(*maps.values(), strict=True)]
    pairs += [
        (name, p.grad, q.grad)
        for (name, p), q in zip(model.named_parameters(), plain.parameters(), strict=True)
        if q.grad is not None
    ]
    assert any("non_local" in name for name, _, _ in pairs)
    for name, ours, theirs in pairs:
        error = (ours - theirs).abs().max() / theirs.abs().max().clamp(min=1e-6)
        assert error <= 1e-6, (name, error)
