"""The model that comes with the project finds things in scenes that it was not trained on, and is as small as it should be."""

from __future__ import annotations

from pathlib import Path

import torch

from enl_paper.outcome import FOUND, image_outcome
from enl_paper.relations import PRESETS, RELATIONS_CATEGORIES, generate_scene
from maskrcnn_benchmark.engine import Predictor
from maskrcnn_benchmark.ops.winograd import WinogradConv2d

MODELS = Path(__file__).parents[2] / "demo" / "models"


def test_weights_are_small_and_of_half_precision():
    path = MODELS / "relations_enl.pth"
    assert path.stat().st_size < 5_000_000
    weights = torch.load(path, weights_only=True)["model"]
    assert {v.dtype for v in weights.values() if v.is_floating_point()} == {torch.float16}
    assert "backbone.fpn.non_local_res3.theta.weight" in weights


def test_it_detects_in_new_scenes():
    predictor = Predictor(MODELS / "relations_enl.yaml", MODELS / "relations_enl.pth", threshold=0.5)
    assert [predictor.categories.id(i + 1) for i in range(12)] == [c["id"] for c in RELATIONS_CATEGORIES]
    found = total = extra = 0
    for index in range(12):
        scene, objects = generate_scene(PRESETS["demo"], index, seed=4242)
        objects = [o for o in objects if o["role"] in ("alone", "repeated", "decider")]
        ids = {c["id"] for c in RELATIONS_CATEGORIES if c["role"] in ("alone", "repeated", "decider")}
        results = [r for r in predictor.coco(predictor(scene)) if r["category_id"] in ids]
        outcome = image_outcome(objects, results)
        found += outcome.of_object.count(FOUND)
        total += sum(not o["iscrowd"] for o in objects)
        extra += len(outcome.extra)
    assert total > 30 and found > 0.7 * total and extra < 0.4 * total


def test_optimised_it_finds_the_same():
    """Folded norms and Winograd's convolutions: the same objects, scores to 1e-5 and boxes to 1e-3 pixels."""
    files = (MODELS / "relations_enl.yaml", MODELS / "relations_enl.pth")
    plain, fast = (
        Predictor(*files, threshold=0.3, opts=["TEST.OPTIMIZE", use, "DTYPE", "float32"]) for use in (False, True)
    )
    total = 0
    for index in range(6):
        scene, _ = generate_scene(PRESETS["demo"], index, seed=77)
        first, second = plain(scene), fast(scene)
        torch.testing.assert_close(second.bbox, first.bbox, rtol=0, atol=1e-3)
        torch.testing.assert_close(second.get_field("scores"), first.get_field("scores"), rtol=0, atol=1e-5)
        assert torch.equal(second.get_field("labels"), first.get_field("labels"))
        total += len(first)
    assert total > 15
    assert any(isinstance(m, WinogradConv2d) for m in fast.model.modules())
