"""reproduce.py table1 | table2 | all: the plan, what is missing, runs that are done, and a small pipeline to its tables."""

from __future__ import annotations

import csv
import json
import os
from pathlib import Path

import pytest

from enl_paper import reproduction, tables
from tests.support.helpers import write_coco


def test_the_papers_rows():
    assert [len(rows) for rows in tables.TABLES.values()] == [9, 6]
    for table, rows in tables.TABLES.items():
        for row in rows:
            run = next(r for r in reproduction.plan([table], "runs", [0]) if r.row == row)
            cfg = run.cfg
            assert cfg.SOLVER.MAX_ITER == 360000 and cfg.MODEL.MASK_ON == (table == "table2")
            kinds = (cfg.MODEL.NON_LOCAL.BOTTOM_UP.TYPE, cfg.MODEL.NON_LOCAL.TOP_DOWN.TYPE)
            assert kinds == {"baseline": ("", ""), "+1NL, BU": ("nl", ""), "+3ENL, TD": ("", "enl")}[row.model]
            assert cfg.MODEL.BACKBONE.CONV_BODY == ("R-50-FPN" if row.backbone == "R-50" else "R-101-FPN")
            assert (cfg.MODEL.RESNETS.NUM_GROUPS == 32) == (row.backbone == "X-101")
            assert len(row.figures) == len(tables.COLUMNS[table])
    best = max(tables.TABLES["table1"], key=lambda row: row.figures[1])
    assert (best.backbone, best.model, best.figures[1]) == ("X-101", "+3ENL, TD", 26.29)


def test_a_dry_run_prints_everything_and_starts_nothing(run_tool, tmp_path, monkeypatch):
    monkeypatch.setenv("MRB_DATASETS", str(tmp_path / "nowhere"))
    code, text = run_tool("reproduce", "all", "--dry-run", "--out", tmp_path / "out", "--seeds", 1, 2, "--processes", 4)
    assert code == 1  # something is missing
    assert text.count("launch --standalone --nproc_per_node=4 -m maskrcnn_benchmark train --config-file enl/") == 30
    assert "mask_rcnn_R_101_FPN_3enl_td_seed2 SEED 2" in text and "43,200,000 images are left" in text
    assert "instances_train2017.json of coco_2017_train is missing" in text
    assert "Checkpoints need about 61" in text
    assert not (tmp_path / "out").exists()
    code, text = run_tool("reproduce", "table1", "--dry-run", "--out", tmp_path / "out", "--slurm=--nodes=2 --time=1-0")
    assert text.count("sbatch --nodes=2 --time=1-0 docker/slurm/train.sbatch --config-file enl/") == 9


def test_nothing_starts_while_something_is_missing(run_tool, tmp_path, monkeypatch):
    monkeypatch.setenv("MRB_DATASETS", str(tmp_path / "nowhere"))
    code, text = run_tool("reproduce", "table1", "--out", tmp_path / "out")
    assert code == 1 and "error: Nothing was started: see what is missing above." in text
    code, text = run_tool("reproduce", "table1", "--scale", tmp_path / "a", "b", "c", "d", "--out", tmp_path / "out")
    assert code == 1 and f"error: There is no {tmp_path / 'a'}." in text


def finish(run: reproduction.Run, ap: float) -> None:
    """What a run leaves behind."""
    folder = Path(run.folder, "inference", run.cfg.DATASETS.TEST[0])
    folder.mkdir(parents=True)
    entries = {"AP": ap, "APs": ap / 2, "APm": ap, "APl": -1.0}
    (folder / "metrics.json").write_text(json.dumps({"bbox": entries, "segm": entries}))
    Path(run.folder, "model_final.pth").touch()


def test_tables_hold_what_is_done(tmp_path):
    runs = reproduction.plan(["table2"], str(tmp_path), [0, 1])
    finish(runs[0], 0.375)
    finish(runs[1], 0.385)
    finish(runs[2], 0.39)
    results = reproduction.collect("table2", runs)
    assert results[0].mean(0) == pytest.approx(38.0) and results[0].deviation(0) == pytest.approx(0.7071, abs=1e-4)
    text = tables.as_markdown("table2", results, "About.")
    assert "| R-50 | baseline | 38.00 ± 0.71 (paper 37.80, +0.20) |" in text and "| 0, 1 |" in text
    assert "| R-50 | +1NL, BU | 39.00 (paper 38.42, +0.58) |" in text
    assert "not run (paper 40.80)" in text
    lines = list(csv.DictReader(tables.as_csv("table2", results).splitlines()))
    assert len(lines) == 3 * 4 and lines[0]["measured"] == "37.5000" and lines[0]["difference"] == "-0.3000"
    pytest.importorskip("matplotlib")
    tables.plot("table2", results, str(tmp_path / "x.png"))
    assert (tmp_path / "x.png").stat().st_size > 10000


@pytest.mark.parametrize(
    ("status", "sentence"), [(138, "Stopped; the same command goes on"), (1, "ended with status 1")]
)
def test_a_run_that_is_stopped_or_fails_ends_the_plan(tmp_path, monkeypatch, capsys, status, sentence):
    runs = reproduction.plan(["table1"], str(tmp_path), [0])
    finish(runs[0], 0.3)
    started = []
    monkeypatch.setattr(reproduction.subprocess, "call", lambda command: started.append(command) or status)
    try:
        assert reproduction.execute(runs, reproduction.Launch(1), lambda: None) == status
    except ChildProcessError as error:
        print(error)
    printed = capsys.readouterr()
    assert len(started) == 1 and "is done" in printed.out and sentence in printed.out + printed.err


@pytest.mark.slow
def test_a_small_pipeline_to_its_tables(run_tool, tmp_path):
    """Two of the six rows from nothing; the others are there already."""
    pytest.importorskip("matplotlib")
    write_coco(tmp_path)
    data = (tmp_path / "set", tmp_path / "set.json") * 2
    out = tmp_path / "out"
    words = ("table2", "--scale", *data, "--iterations", 2, "--out", out, "--processes", 1)
    small = ("MODEL.RESNETS.BACKBONE_OUT_CHANNELS", 32, "SOLVER.IMS_PER_BATCH", 2, "TEST.IMS_PER_BATCH", 2)
    small = (*small, "INPUT.MIN_SIZE_TRAIN", "(64,)", "INPUT.MIN_SIZE_TEST", 64, "MODEL.ROI_BOX_HEAD.MLP_HEAD_DIM", 32)
    planned = reproduction.plan_small(["table2"], str(out), [0], reproduction.small_data([*map(str, data)], 2))
    for run in planned:
        if run.row.model != "+3ENL, TD":
            finish(run, 0.25)
    code, text = run_tool("reproduce", *words, *small)
    assert code == 0, text
    assert text.count("is done") == 4 and "[3/6] starting: " in text
    table = (out / "table2.md").read_text()
    assert "not run" not in table and "A trial of the pipeline" in table and (out / "table2.png").exists()
    trained = Path(planned[2].folder)
    assert (
        "non_local_res5" in str(sorted(torch_names(trained)))
        and len((out / "table2.csv").read_text().splitlines()) == 25
    )
    before = os.stat(trained / "model_final.pth").st_mtime_ns
    code, text = run_tool("reproduce", *words, *small)
    assert code == 0 and text.count("is done") == 6 and "All 6 runs are done." in text
    assert os.stat(trained / "model_final.pth").st_mtime_ns == before


def torch_names(folder: Path) -> list[str]:
    import torch

    return list(torch.load(folder / "model_final.pth", weights_only=True)["model"])
