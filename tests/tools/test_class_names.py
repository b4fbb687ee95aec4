"""Class names travel from a training through its checkpoint to the tests of other annotations."""

import copy
import json
import runpy
import sys
from pathlib import Path

import pytest
import torch

from maskrcnn_benchmark.config import cfg
from maskrcnn_benchmark.engine.predictor import Predictor
from tests.support.helpers import CONFIG, options, write_annotations, write_coco

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture
def run_tool(capfd, monkeypatch):
    """Run a tool with the configuration of its own: exit status and what it printed."""

    def call(name: str, *words: object) -> tuple[int, str]:
        before = copy.deepcopy(cfg)
        monkeypatch.setattr(sys, "argv", [name, *map(str, words)])
        code = 0
        try:
            runpy.run_path(str(TOOLS / f"{name}.py"), run_name="__main__")
        except SystemExit as stop:
            code = int(stop.code or 0)
        cfg.defrost()
        cfg.clear()
        cfg.update(before)
        printed = capfd.readouterr()
        return code, printed.out + printed.err

    return call


@pytest.mark.slow
def test_a_checkpoint_knows_what_its_labels_are_called(run_tool, tmp_path):
    write_coco(tmp_path, "set")
    other = copy.deepcopy(write_coco(tmp_path, "other"))
    other["categories"] = [{"id": 3, "name": "blue"}, {"id": 7, "name": "red"}]
    for annotation in other["annotations"]:
        annotation["category_id"] = {3: 7, 7: 3}[annotation["category_id"]]
    write_annotations(tmp_path, "other", other)
    whole = copy.deepcopy(other)
    words = ("--config-file", CONFIG)
    first_run = options(tmp_path, "set", "other", SOLVER__MAX_ITER=1, MODEL__MASK_ON=False)
    code, printed = run_tool("train_net", *words, *first_run)
    assert code == 0, printed
    assert "other: categories are matched with the model's by name" in printed
    checkpoint = tmp_path / "run" / "model_final.pth"
    assert torch.load(checkpoint, weights_only=True)["class_names"] == {1: "red", 2: "blue"}
    first = json.loads((tmp_path / "run" / "inference" / "other" / "metrics.json").read_text())
    assert set(first["per_class"]["bbox"]) == {"red", "blue"}
    (tmp_path / "run" / "labels.json").unlink()  # the checkpoint alone says it
    opts = options(tmp_path, "other", "other", MODEL__MASK_ON=False, OUTPUT_DIR=tmp_path / "again")
    code, printed = run_tool("test_net", *words, "--ckpt", checkpoint, *opts)
    assert code == 0 and "other: categories are matched with the model's by name" in printed, printed
    again = json.loads((tmp_path / "again" / "inference" / "other" / "metrics.json").read_text())
    assert again["per_class"] == first["per_class"]

    assert "trained on as well as tested on" not in printed
    # Trainings that start from these weights, or go on from them, keep their order.
    tuned = options(tmp_path, "other", "set", SOLVER__MAX_ITER=1, MODEL__MASK_ON=False, MODEL__WEIGHT=checkpoint)
    gone_on = options(tmp_path, "other", "set", SOLVER__MAX_ITER=2, MODEL__MASK_ON=False)
    same = options(tmp_path, "other", "other", SOLVER__MAX_ITER=0, MODEL__MASK_ON=False, OUTPUT_DIR="")
    assert "other is trained on as well as tested on" in run_tool("train_net", *words, "--skip-test", *same)[1]
    for words_of_run, folder in (([*tuned, "OUTPUT_DIR", tmp_path / "tuned"], "tuned"), (gone_on, "run")):
        code, printed = run_tool("train_net", *words, "--skip-test", *words_of_run)
        assert code == 0 and "The training data: categories are matched with the model's by name" in printed, printed
        names = torch.load(tmp_path / folder / "model_final.pth", weights_only=True)["class_names"]
        assert names == {1: "red", 2: "blue"}
        assert (tmp_path / folder / "labels.json").read_text() == '{"7": "red", "3": "blue"}'  # ids of the new data
        categories = Predictor(CONFIG, tmp_path / folder / "model_final.pth", opts=tuned).categories
        assert categories.names == names and categories.ids == {1: 7, 2: 3}

    # Data without one of the classes leave the others their labels.
    other["annotations"] = [a for a in other["annotations"] if a["category_id"] == 3]
    other["categories"] = other["categories"][:1]
    write_annotations(tmp_path, "fewer", other)
    fewer = [*tuned, "DATASETS.TRAIN", ("other",), "DATASETS.DEFINITIONS.other.ANN_FILE", tmp_path / "fewer.json"]
    code, printed = run_tool("train_net", *words, "--skip-test", *fewer, "OUTPUT_DIR", tmp_path / "fewer_run")
    assert code == 0 and "The training data has no category red, which the model knows" in printed, printed
    assert (tmp_path / "fewer_run" / "labels.json").read_text() == '{"4": "red", "3": "blue"}'

    other = copy.deepcopy(whole)
    other["categories"][0]["name"] = "violet"
    write_annotations(tmp_path, "other", other)
    code, printed = run_tool("train_net", *words, "--skip-test", *tuned, "OUTPUT_DIR", tmp_path / "violet")
    assert code == 0 and "of other classes (red, blue) than the data (violet, red)" in printed, printed
    code, printed = run_tool("test_net", *words, "--ckpt", checkpoint, *opts)
    assert (
        code == 1
        and "error: other has objects of violet, which the model does not know. It knows: red, blue." in printed
    )
