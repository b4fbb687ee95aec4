"""docs/how-to/small-objects.md from its first command to its last, on photographs with labels as their makers published them."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from tests.docs.blocks import blocks_of
from tests.support.real_sets import AERIAL, needs

ROOT = Path(__file__).parents[2]


@pytest.fixture
def cars(tmp_path):
    """Six of the photographs at half their size, with all that YOLO's layout has."""
    (tmp_path / "cars/images").mkdir(parents=True)
    (tmp_path / "cars/labels").mkdir()
    for split, count in (("train", 4), ("val", 2)):
        names = [Path(line).name for line in (AERIAL / f"{split}.txt").read_text().split()][:count]
        for name in names:
            image = Image.open(AERIAL / "images" / name)
            image.resize((image.width // 2, image.height // 2)).save(tmp_path / "cars/images" / name)
            labels = (AERIAL / "labels" / name).with_suffix(".txt")
            (tmp_path / "cars/labels" / labels.name).write_text(labels.read_text())
        (tmp_path / f"cars/{split}.txt").write_text("".join(f"images/{name}\n" for name in names))
    (tmp_path / "cars/classes.txt").write_text((AERIAL / "classes.txt").read_text())
    return tmp_path


@pytest.mark.slow
@needs(AERIAL)
def test_the_page(cars):
    text = (ROOT / "docs" / "how-to" / "small-objects.md").read_text()
    lines = (
        "".join(block.text for block in blocks_of(text) if block.language == "shell").replace("\\\n", " ").splitlines()
    )
    steps = [shlex.split(line)[1:] for line in lines if line.startswith("mrb ")]
    names = [words[0] for words in steps]
    assert names == ["check", "suggest", "train", "predict", "test", "convert"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    for words in steps:
        given = ["0.2" if w == "10" and words[0] == "train" else w for w in words]
        done = subprocess.run(
            [sys.executable, "-m", "maskrcnn_benchmark", *given],
            cwd=cars,
            env=environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
        if words[0] == "train":
            assert "Training from iteration 0 for 12 seconds" in done.stdout + done.stderr
            assert re.search(r"bbox +AP +AP50", done.stdout + done.stderr)
    text = (cars / "cars.yaml").read_text()
    assert "INPUT" in text and "_BASE_" in text and "so that the longer side does not limit the scale" in text
    assert json.loads((cars / "runs/cars/inference/cars_test/metrics.json").read_text())["bbox"]["AP50"] >= 0
    assert len(json.loads((cars / "runs/cars/found/images.json").read_text())["images"]) == 6
    assert len(json.loads((cars / "all.json").read_text())["images"]) == 4
