"""projects/enl_paper/reproduce.py relations: what it would run, and all of it, with two small models."""

from __future__ import annotations

import csv

import pytest

from enl_paper import experiment


def test_models_differ_in_their_modules_alone(tmp_path):
    start, runs = experiment.plan("small", experiment.SIZES["small"], str(tmp_path), [0, 1, 2])
    assert len(runs) == 30 and len(start) == 1
    configs = {run.row.model: run.cfg for run in runs}
    places = {
        model: (cfg.MODEL.NON_LOCAL.BOTTOM_UP.TYPE, cfg.MODEL.NON_LOCAL.TOP_DOWN.TYPE, cfg.MODEL.NON_LOCAL.POSITION)
        for model, cfg in configs.items()
    }
    assert places["baseline"] == ("", "", "dct") and places["+1NL, BU"] == ("nl", "", "dct")
    assert places["+3ENL, TD"] == ("", "enl", "dct") and places["+3ENL, TD without position"] == ("", "enl", "")
    assert places["+3NL, TD"] == ("", "nl", "dct")
    assert places["+3LA, TD"] == ("", "linear_attention", "dct")
    assert [configs[f"+1ENL, TD res{i}"].MODEL.NON_LOCAL.TOP_DOWN.STAGES for i in (5, 4, 3)] == [
        (f"res{i}",) for i in (5, 4, 3)
    ]
    for cfg in configs.values():
        cfg.MODEL.NON_LOCAL = configs["baseline"].MODEL.NON_LOCAL
        assert cfg.dump() == configs["baseline"].dump()
        assert cfg.MODEL.WEIGHT == str(tmp_path / "pretraining" / "model_final.pth")


def test_the_full_size_starts_from_imagenet(tmp_path):
    start, runs = experiment.plan("full", experiment.SIZES["full"], str(tmp_path), [0])
    weights = {run.cfg.MODEL.WEIGHT for run in runs}
    assert not start and weights == {"catalog://ImageNetPretrained/MSRA/R-50"}


def test_a_dry_run_names_every_command(run_tool, tmp_path):
    code, text = run_tool("reproduce", "relations", "--size", "full", "--dry-run", "--out", tmp_path, "--processes", 1)
    assert code == 0 and text.count("mrb scenes ") == 3 and text.count("-m maskrcnn_benchmark train ") == 24
    words = ("relations", "--models", "+3ENL, TD", "baseline", "--seeds", 0, 1, "--dry-run", "--out", tmp_path)
    text = run_tool("reproduce", *words)[1]
    assert text.count("/3enl_td.yaml") == 2 == text.count("/baseline.yaml")
    assert text.count("-m maskrcnn_benchmark train ") == 5  # and the pretraining


@pytest.mark.slow
def test_from_scenes_to_tables(run_tool, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.setitem(experiment.SIZES, "small", experiment.Size("small", 2, 2, 4, 4))
    monkeypatch.setattr(experiment, "MODELS", {m: experiment.MODELS[m] for m in ("baseline", "+3ENL, TD")})
    small = (
        "MODEL.RESNETS.BACKBONE_OUT_CHANNELS",
        32,
        "SOLVER.IMS_PER_BATCH",
        2,
        "MODEL.ROI_BOX_HEAD.MLP_HEAD_DIM",
        32,
    )
    words = ("relations", "--out", tmp_path / "out", "--processes", 1, "--seeds", 0, 1, "--jobs", 2, *small)
    code, text = run_tool("reproduce", *words)
    assert code == 0, text
    assert text.count("starting: ") == 5 and "Results: " in text
    table = (tmp_path / "out" / "relations.md").read_text()
    assert "| baseline | " in table and "Difference to baseline" in table and "| +3ENL, TD | " in table
    lines = list(csv.DictReader((tmp_path / "out" / "relations.csv").read_text().splitlines()))
    assert len(lines) == 4 * 3 * 11 and {line["context"] for line in lines} == {"true", "removed", "shuffled"}
    assert (tmp_path / "out" / "curves.png").stat().st_size > 10000
    code, text = run_tool("reproduce", *words)
    assert code == 0 and text.count("is done") == 5
