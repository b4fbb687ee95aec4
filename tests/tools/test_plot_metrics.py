"""tools/plot_metrics.py: what is drawn, and what is said if nothing can be."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest

from maskrcnn_benchmark.visualization import curves


def write_run(folder: Path, lines: int, cut: bool = False) -> Path:
    folder.mkdir(parents=True)
    entries = [
        {"iteration": i, "loss": 2.0 / i, "loss_mask": 1.0 / i, "lr": 0.1, "note": "x"} for i in range(1, lines + 1)
    ]
    entries.append({"iteration": lines, "test/val/bbox/AP": 0.5, "test/val/bbox/AP50": 0.7})
    text = "".join(json.dumps(entry) + "\n" for entry in entries)
    (folder / "metrics.jsonl").write_text(text + '{"iteration": 9, "lo' * cut)
    return folder


def test_several_runs_in_one_picture(run_tool, tmp_path):
    pytest.importorskip("matplotlib")
    runs = [write_run(tmp_path / "a" / "run", 100), write_run(tmp_path / "b" / "run", 5, cut=True)]
    out = tmp_path / "made" / "curves.png"
    assert run_tool("plot_metrics", *runs, "--out", out) == (0, f"4 curves of 2 runs: {out}\n")
    picture = cv2.imread(str(out))
    assert picture.shape[1] > picture.shape[0] > 300 and picture.std() > 10


def test_series_are_chosen_by_name_or_pattern():
    assert curves.labels(["/x/a/run", "/x/b/run"]) == ["a", "b"] and curves.labels(["/x/a/run"]) == ["run"]
    assert curves.smooth([1.0, 1.0, 1.0], 0.9) == pytest.approx([1, 1, 1])
    assert curves.smooth([0.0, 1.0], 0.5) == pytest.approx([0, 2 / 3])


def test_lines_and_values_that_cannot_be_drawn_are_left_out(run_tool, tmp_path):
    pytest.importorskip("matplotlib")
    run = write_run(tmp_path / "a", 3)
    kept = curves.load_series(str(run))
    huge = "9" * 400
    odd = [
        '{"iteration": true, "loss": 1}',
        f'{{"iteration": {huge}, "loss": 1}}',
        f'{{"iteration": 4, "loss": NaN, "lr": {huge}, "note": true}}',
        '{"iteration": 5, "loss": [1]}',
        "[" * 100_000,
        "7",
    ]
    with open(run / "metrics.jsonl", "a") as f:
        f.write("\n".join(odd) + "\n")
    assert curves.load_series(str(run)) == kept
    assert run_tool("plot_metrics", run, "--out", tmp_path / "x.png")[0] == 0


def test_mistakes_get_a_sentence(run_tool, tmp_path):
    pytest.importorskip("matplotlib")
    run = write_run(tmp_path / "a", 3)
    assert run_tool("plot_metrics", tmp_path / "b") == (
        1,
        f"error: There is no {tmp_path / 'b'}; a training writes it to its OUTPUT_DIR.\n",
    )
    code, text = run_tool("plot_metrics", run, "--metrics", "AP60", "--out", tmp_path / "x.png")
    assert code == 1 and "No series is called AP60; there are loss, loss_mask, lr" in text
    (tmp_path / "a" / "metrics.jsonl").write_text("")
    assert "--out must end in one of .png" in run_tool("plot_metrics", run, "--out", tmp_path / "x.abc")[1]
    assert "holds no number yet" in run_tool("plot_metrics", run)[1]
