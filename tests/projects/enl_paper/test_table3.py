"""Table 3 of the paper: parameters to the last digit, GFLOPs within the bars, and its command line."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import pytest
import torch

from enl_paper import table3
from maskrcnn_benchmark.analysis import FlopCount, Regions, build_without_data, sizes
from tests.analysis.helpers import CONFIGS, call_tool

COCO_SIZES = Path(os.environ.get("MRB_TEST_COCO", "nowhere")).parent / "coco_image_sizes.json"
PARAMETERS = {
    "baseline": 41_481_636,
    "+1NL, BU": 43_581_348,
    "+3ENL, TD": 41_876_772,
    "+3NL, TD": 41_876_772,
}


def check_bars(baseline: float, nl: float, literal: float, ours: float) -> None:
    """GFLOPs as the paper counted, of the baseline, +3NL and the two forms of +3ENL."""
    assert baseline == pytest.approx(90.20, rel=0.005)
    assert nl == pytest.approx(146.85, rel=0.01)
    assert literal == pytest.approx(93.87, rel=0.01)
    assert ours < min(literal, 92.9)


def test_at_the_mean_size():
    rows = table3.table3(str(CONFIGS / "enl"), [sizes.MEAN_SIZE], torch.device("cpu"))
    assert [(row.model, row.trainable_parameters) for row in rows if row.form != "ours"] == list(PARAMETERS.items())
    assert all(f"{row.trainable_parameters / 1e6:.2f}" == f"{row.paper_parameters_millions:.2f}" for row in rows)
    counted = {(row.model, row.form): row.gflops_as_the_paper_counted for row in rows}
    check_bars(
        counted["baseline", ""],
        counted["+3NL, TD", "literal"],
        counted["+3ENL, TD", "literal"],
        counted["+3ENL, TD", "ours"],
    )
    assert all(counted[model, "ours"] == counted[model, "literal"] for model in ("+1NL, BU", "+3NL, TD"))
    complete = {(row.model, row.form): row.gflops_complete for row in rows}
    assert complete["baseline", ""] == pytest.approx(178.2, rel=0.002)  # 178.2 without RoIAlign
    left_out = {key: complete[key] - counted[key] for key in counted}
    assert max(left_out.values()) == pytest.approx(min(left_out.values()))  # the same of every model
    assert all(row.memory_mb is None for row in rows)
    assert "not measured" in table3.as_markdown(rows, "one image", torch.device("cpu"))


@pytest.mark.slow
@pytest.mark.skipif(not COCO_SIZES.is_file(), reason="needs coco_image_sizes.json beside MRB_TEST_COCO")
def test_over_sizes_of_coco():
    """Over each eighth of them in the order of their areas, which has the mean of all."""
    images, counter, counted = sizes.read_sizes(str(COCO_SIZES)), FlopCount(), {}
    for row, literal in ((0, False), (3, False), (2, True), (2, False)):
        cfg = table3.load(str(CONFIGS / "enl"), table3.PAPER[row], literal)
        seen = sorted(sizes.resized(cfg, images), key=lambda size: size[0] * size[1])[4::8]
        flops = counter.mean(build_without_data(cfg), seen, Regions.in_testing(cfg))
        counted[row, literal] = table3.as_the_paper_counted(flops) / 2e9
    check_bars(*counted.values())


def test_command_line(tmp_path, monkeypatch, capsys):
    assert (
        call_tool(
            monkeypatch, "projects/enl_paper/reproduce.py", "table3", "--out", tmp_path / "made", "--device", "cpu"
        )
        == 0
    )
    printed = capsys.readouterr().out
    markdown = (tmp_path / "made" / "table3.md").read_text()
    assert printed.startswith(markdown) and "800 x 1120 (no file of sizes was given)" in markdown
    with open(tmp_path / "made" / "table3.csv", newline="") as f:
        records = list(csv.DictReader(f))
    assert len(records) == 7 and records[0]["trainable_parameters"] == "41481636" and records[0]["memory_mb"] == ""
    assert float(records[6]["paper_gflops"]) == 146.85


def test_explanation(monkeypatch, capsys):
    """The choices that agree best with all rows, on an image of the mean size of the padded ones."""
    assert call_tool(monkeypatch, "projects/enl_paper/explain_table3.py", "--best", 1) == 0
    printed = capsys.readouterr().out
    assert "| 178.21 (" in printed and "| res4 | 19.88 | 2.10 M |" in printed
    assert "4704 combinations" in printed


@pytest.mark.parametrize("option", ["--sizes", "--ann-file"])
def test_a_file_that_is_not_there(option, tmp_path, monkeypatch, capsys):
    assert call_tool(monkeypatch, "projects/enl_paper/reproduce.py", "table3", option, tmp_path / "none.json") == 1
    assert "There is no file" in capsys.readouterr().err
