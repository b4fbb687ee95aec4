"""Blood cells in Pascal VOC's form with classes of their own, from the files to AP of each class, by commands alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.real_sets import BCCD, needs

ROOT = Path(__file__).parents[1]
CLASSES = {"Platelets", "RBC", "WBC"}
# A trial of seconds, on images a fourth as large.
SHORT = [
    "SOLVER.MAX_ITER",
    "6",
    "INPUT.MIN_SIZE_TRAIN",
    "(160,)",
    "INPUT.MIN_SIZE_TEST",
    "160",
    "INPUT.TILES.SIZE",
    "0",
]


def mrb(folder: Path, *words: str, status: int = 0) -> str:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-m", "maskrcnn_benchmark", *words],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == status, f"{words}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.slow
@needs(BCCD)
def test_from_voc_files_to_ap_by_class(tmp_path):
    said = mrb(tmp_path, "check", str(BCCD), status=1)
    assert "PROBLEM: boxes of no size, left out: 2 (" in said
    assert "BloodImage_00338.xml: RBC 504, 337, 504, 337" in said and said.count(".xml") == 2
    base = str(ROOT / "configs" / "demo" / "base_R_18_FPN.yaml")
    said = mrb(
        tmp_path,
        "suggest",
        str(BCCD),
        "--split",
        "train",
        "--test-split",
        "test",
        "--base",
        base,
        "--out",
        "cells.yaml",
    )
    assert "MODEL.ROI_BOX_HEAD.NUM_CLASSES" in said
    run = ["--config-file", "cells.yaml", "OUTPUT_DIR", "run", "DATALOADER.NUM_WORKERS", "0", *SHORT]
    mrb(tmp_path, "train", "--skip-test", *run)
    said = mrb(tmp_path, "test", *run)
    rows = said.split("AP of each category, bbox:\n")[1].splitlines()
    assert {row.split()[0] for row in rows[1:4]} == CLASSES and rows[0].split()[:2] == ["AP", "AP50"]
    metrics = json.loads((tmp_path / "run" / "inference" / "cells_test" / "metrics.json").read_text())
    assert set(metrics["per_class"]["bbox"]) == set(metrics["per_class_metrics"]["bbox"]) == CLASSES
    assert all(0 <= value <= 1 for value in metrics["per_class"]["bbox"].values())
    said = mrb(tmp_path, "analyze", "errors", "--out", "errors", "--crops", "4", *run)
    assert "objects found at a score of" in said and (tmp_path / "errors" / "missed.jpg").exists()
