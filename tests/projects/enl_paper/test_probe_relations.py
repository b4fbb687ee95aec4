"""probe_relations.py, from the folder of an experiment to its table."""

from __future__ import annotations

import torch

from enl_paper import experiment
from enl_paper.relations import PRESETS, write_relations
from maskrcnn_benchmark.modeling.detector import build_detection_model


def test_a_table_of_steps(run_tool, tmp_path):
    size = experiment.Size("small", 2, 2, 8, 2)
    start, runs = experiment.plan("small", size, str(tmp_path), [0])
    write_relations(tmp_path / "data" / "true", {"train": 8}, PRESETS["small"], progress=False)
    torch.manual_seed(0)
    (tmp_path / "pretraining").mkdir()
    torch.save({"model": build_detection_model(runs[0].cfg).state_dict()}, runs[0].cfg.MODEL.WEIGHT)
    words = ("--scenes", 4, "--steps", 2, "--seeds", 0, 1, "--modules", "none", "ENL", "--stds", 0.06, "--rates", 0.004)
    table = tmp_path / "table.md"
    code, text = run_tool("probe_relations", "--experiment", tmp_path, *words, "--markdown", table)
    assert code == 0, text
    lines = table.read_text().splitlines()
    assert lines[0] == "| module | initial weights | rate 0.004 |" and lines[2:] == [
        "| none | - | > 2, > 2 |",
        "| ENL | 0.06 | > 2, > 2 |",
    ]
