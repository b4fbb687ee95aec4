"""tools/train_net.py and tools/test_net.py as a user runs them."""

import json
import os
import re
import runpy
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from maskrcnn_benchmark.data.datasets import AbstractDataset
from maskrcnn_benchmark.data.registries import DATASETS
from maskrcnn_benchmark.engine import run
from tests.support.helpers import CONFIG, options, write_annotations, write_coco

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture
def tool(monkeypatch):
    """Run a tool in this process with a fresh configuration; returns its exit status."""

    def call(name: str, *words: str) -> int:
        monkeypatch.setattr(run, "cfg", pristine.clone())
        monkeypatch.setattr(sys, "argv", [name, *words])
        try:
            runpy.run_path(str(TOOLS / f"{name}.py"), run_name="__main__")
        except SystemExit as stop:
            return int(stop.code or 0)
        return 0

    pristine = run.cfg.clone()
    return call


def train(tool, root: Path, *flags: str, **keys: object) -> int:
    return tool("train_net", *flags, "--config-file", str(CONFIG), *options(root, **keys))


def scalars(folder: Path) -> dict[str, list[int]]:
    """The iterations of each scalar that TensorBoard finds."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return {tag: [e.step for e in events.Scalars(tag)] for tag in events.Tags()["scalars"]}


def losses(root: Path, name: str = "run") -> dict[int, float]:
    lines = (root / name / "metrics.jsonl").read_text().splitlines()
    return {entry["iteration"]: entry["loss"] for entry in map(json.loads, lines)}


def test_averaged_weights_that_a_resumed_training_drops_are_said(tool, tmp_path):
    write_coco(tmp_path)
    assert train(tool, tmp_path, "--skip-test", SOLVER__MAX_ITER=1, SOLVER__EMA=0.5) == 0
    written = tmp_path / "run" / "log.txt"
    assert "this training keeps none" not in written.read_text()
    assert train(tool, tmp_path, "--skip-test", SOLVER__MAX_ITER=2) == 0
    assert "this training keeps none" in written.read_text()


def test_a_run_leaves_what_the_readme_names(tool, tmp_path, capfd):
    write_coco(tmp_path)
    assert train(tool, tmp_path, TENSORBOARD=True) == 0
    out = tmp_path / "run"
    assert scalars(out)["loss_mask"] == [1, 2, 3, 4]
    assert {"model_final.pth", "last_checkpoint", "log.txt", "metrics.jsonl", "config.yml", "labels.json"} <= set(
        os.listdir(out)
    )
    assert sorted(losses(tmp_path)) == [1, 2, 3, 4]
    entry = json.loads((out / "metrics.jsonl").read_text().splitlines()[-1])
    assert {"loss", "loss_mask", "loss_objectness", "lr", "time", "data", "memory_mb"} <= set(entry)
    metrics = json.loads((out / "inference" / "set" / "metrics.json").read_text())
    recall = ("AR@1", "AR@10", "AR@100", "ARs", "ARm", "ARl")
    assert tuple(metrics["bbox"]) == ("AP", "AP50", "AP75", "APs", "APm", "APl", *recall)
    assert set(metrics["per_class"]["segm"]) == {"red", "blue"}
    assert (out / "inference" / "set" / "bbox.json").exists() and (out / "inference" / "set" / "segm.json").exists()
    printed = capfd.readouterr().out
    assert "APs" in printed and "eta" in printed

    (out / "inference" / "set" / "metrics.json").unlink()
    weights = str(out / "model_final.pth")
    assert tool("test_net", "--config-file", str(CONFIG), "--ckpt", weights, *options(tmp_path)) == 0
    assert json.loads((out / "inference" / "set" / "metrics.json").read_text()) == metrics


def test_a_run_is_recorded(tool, tmp_path, capfd):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    write_coco(tmp_path)
    assert train(tool, tmp_path, TENSORBOARD=True, SOLVER__TEST_PERIOD=2, SOLVER__EMA=0.5) == 0
    out = tmp_path / "run"
    record = (out / "environment.txt").read_text()
    assert "started: " in record and f"\ncommand: {sys.orig_argv[0]}" in record and "PyTorch version" in record
    assert re.search(r"code: ([0-9a-f]{40} |the package is not in)", record)
    events = EventAccumulator(str(out))
    events.Reload()
    assert events.Tags()["images"] == [f"detections/{i}.jpg" for i in range(4)]
    assert [e.step for e in events.Scalars("test/set/bbox/AP")] == [2]
    assert {"loss_mask", "lr", "memory_mb", "images_s", "test/set/segm/AP50"} <= set(events.Tags()["scalars"])
    saved = torch.load(out / "model_best.pth", weights_only=True)
    assert saved["iteration"] == 2 and saved["best"]["metric"] == "set/bbox/AP" and "ema" in saved
    assert "in model_best.pth" in capfd.readouterr().out
    # The averaged weights are what was tested, and what is tested by name.
    metrics = (out / "inference" / "set" / "metrics.json").read_text()
    assert tool("test_net", "--config-file", str(CONFIG), *options(tmp_path)) == 0
    assert "averaged weights are used" in capfd.readouterr().out
    assert (out / "inference" / "set" / "metrics.json").read_text() == metrics


def test_warnings_of_the_configuration_stand_in_the_log(tool, tmp_path):
    write_coco(tmp_path)
    twice = tmp_path / "twice.yaml"
    twice.write_text(f'_BASE_: "{CONFIG}"\nSOLVER:\n  MAX_ITER: 5\nSOLVER:\n  GAMMA: 0.5\n')
    assert tool("train_net", "--skip-test", "--config-file", str(twice), *options(tmp_path, SOLVER__MAX_ITER=0)) == 0
    said = "twice.yaml, line 4: SOLVER stands in line 2 already."
    assert (tmp_path / "run" / "log.txt").read_text().count(said) == 1


@pytest.mark.slow
def test_a_run_that_ended_early_goes_on_when_asked(tool, tmp_path, capfd):
    write_coco(tmp_path)
    assert train(tool, tmp_path, "--skip-test", SOLVER__MAX_ITER=2) == 0
    final = tmp_path / "run" / "model_final.pth"
    torch.save({**torch.load(final, weights_only=True), "early_stopped": True}, final)
    assert train(tool, tmp_path, "--skip-test", SOLVER__MAX_ITER=3, SOLVER__EARLY_STOP=2) == 0
    assert "the last tests brought nothing better (SOLVER.EARLY_STOP)" in capfd.readouterr().out
    assert train(tool, tmp_path, "--skip-test", SOLVER__MAX_ITER=3) == 0
    saved = torch.load(final, weights_only=True)
    assert saved["iteration"] == 3 and not saved.get("early_stopped")


def test_a_run_without_a_folder_writes_nothing(tool, tmp_path, monkeypatch, capfd):
    write_coco(tmp_path)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    assert train(tool, tmp_path, OUTPUT_DIR="", SOLVER__MAX_ITER=2) == 0
    printed = capfd.readouterr().out
    assert not os.listdir() and "iter 2/2" in printed
    assert printed.count("OUTPUT_DIR is empty: no checkpoint") == 1
    assert printed.index("OUTPUT_DIR is empty") < printed.index("iter ")
    assert train(tool, tmp_path, "--skip-test", OUTPUT_DIR="out", SOLVER__MAX_ITER=2) == 0
    assert "OUTPUT_DIR is empty" not in capfd.readouterr().out


@pytest.mark.slow
def test_a_resumed_run_equals_an_uninterrupted_one_to_the_last_digit(tool, tmp_path, capfd):
    write_coco(tmp_path, images=5)
    augment = {"INPUT__BRIGHTNESS": 0.3, "INPUT__MIN_SIZE_TRAIN": "(56, 64)"}
    assert train(tool, tmp_path, "--skip-test", SOLVER__MAX_ITER=6, **augment) == 0
    whole = torch.load(tmp_path / "run" / "model_final.pth", weights_only=True)
    expected = losses(tmp_path)

    (tmp_path / "run").rename(tmp_path / "whole")
    assert train(tool, tmp_path, "--skip-test", SOLVER__MAX_ITER=3, **augment) == 0
    # Another seed would give other batches: a resumed run keeps the one it began with.
    assert train(tool, tmp_path, "--skip-test", SOLVER__MAX_ITER=6, **augment) == 0
    assert "Loading checkpoint" in capfd.readouterr().out
    assert losses(tmp_path) == expected
    resumed = torch.load(tmp_path / "run" / "model_final.pth", weights_only=True)
    for name, value in whole["model"].items():
        assert torch.equal(value, resumed["model"][name]), name
    for index, state in whole["optimizer"]["state"].items():
        assert torch.equal(state["momentum_buffer"], resumed["optimizer"]["state"][index]["momentum_buffer"])


def test_a_run_without_a_named_seed_resumes_with_the_one_it_drew(tool, tmp_path):
    write_coco(tmp_path)
    assert train(tool, tmp_path, "--skip-test", SOLVER__MAX_ITER=2, SEED=-1) == 0
    first = torch.load(tmp_path / "run" / "model_final.pth", weights_only=True)["seed"]
    assert train(tool, tmp_path, "--skip-test", SOLVER__MAX_ITER=3, SEED=-1) == 0
    assert torch.load(tmp_path / "run" / "model_final.pth", weights_only=True)["seed"] == first >= 0


@pytest.mark.parametrize("dtype", ["bfloat16"])
def test_reduced_precision_trains_and_tests(tool, tmp_path, dtype):
    write_coco(tmp_path)
    assert train(tool, tmp_path, DTYPE=dtype, SOLVER__MAX_ITER=2) == 0
    assert all(value == value for value in losses(tmp_path).values())


@pytest.mark.slow
def test_a_signal_stops_with_a_checkpoint_and_the_same_command_goes_on(tmp_path):
    write_coco(tmp_path)
    words = [str(TOOLS / "train_net.py"), "--skip-test", "--config-file", str(CONFIG)]
    words += options(tmp_path, SOLVER__MAX_ITER=100000)
    process = subprocess.Popen([sys.executable, *words], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    metrics = tmp_path / "run" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not (metrics.exists() and metrics.stat().st_size) and time.monotonic() < deadline:
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == 130, errors
    assert "Traceback" not in errors
    saved = torch.load((tmp_path / "run" / "last_checkpoint").read_text(), weights_only=True)
    assert saved["iteration"] == max(losses(tmp_path))


def bad(name: str, sentence: str, **keys: object):
    return pytest.param(keys, sentence, id=name)


@pytest.mark.parametrize(
    ("keys", "sentence"),
    [
        bad("unknown data set", "There is no data set 'nowhere'", DATASETS__TRAIN='("nowhere",)'),
        bad("no data set", "DATASETS.TRAIN names no data set", DATASETS__TRAIN="()"),
        bad("no annotation file", "There is no annotation file", DATASETS__DEFINITIONS__set__ANN_FILE="missing.json"),
        bad("no image folder", "There is no image folder", DATASETS__DEFINITIONS__set__IMG_DIR="missing"),
        bad(
            "too few classes",
            "has 2 categories, but MODEL.ROI_BOX_HEAD.NUM_CLASSES is 2",
            MODEL__ROI_BOX_HEAD__NUM_CLASSES=2,
        ),
        bad("no weights", "There is no checkpoint 'missing.pth'", MODEL__WEIGHT="missing.pth"),
        bad("unknown key", "did you mean 'SOLVER.BASE_LR'", SOLVER__BASE_LRR=1),
        bad("wrong type", "SOLVER.BASE_LR must be a float", SOLVER__BASE_LR="fast"),
        bad("unknown body", "'R-19-FPN' is not one of", MODEL__BACKBONE__CONV_BODY="R-19-FPN"),
        bad("unknown dtype", "DTYPE is 'float8'; it must be one of", DTYPE="float8"),
        bad("no GPU", "finds no GPU", MODEL__DEVICE="cuda"),
    ],
)
def test_a_mistake_gets_a_sentence(tool, tmp_path, capfd, keys, sentence):
    if keys.get("MODEL__DEVICE") == "cuda" and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    write_coco(tmp_path)
    assert train(tool, tmp_path, **keys) == 1
    errors = capfd.readouterr().err
    assert sentence in errors and "Traceback" not in errors


@pytest.mark.parametrize(
    ("flags", "period", "is_found"), [((), 0, True), (("--skip-test",), 1, True), (("--skip-test",), 0, False)]
)
def test_an_unknown_evaluator_is_found_before_the_training(tool, tmp_path, capfd, monkeypatch, flags, period, is_found):
    class Misnamed(AbstractDataset):
        evaluator = "coko"

        def __init__(self, folder: str, transforms=None):
            raise AssertionError("made before the training")

    monkeypatch.setitem(DATASETS, "Misnamed", Misnamed)
    monkeypatch.setattr(run, "train", lambda device: print("trained"))
    write_coco(tmp_path)
    key = "DATASETS__DEFINITIONS__mine__"
    mine = {f"{key}FACTORY": "Misnamed", f"{key}FOLDER": "later", "DATASETS__TEST": '("set", "mine")'}
    status = train(tool, tmp_path, *flags, SOLVER__TEST_PERIOD=period, **mine)
    printed = capfd.readouterr()
    assert (status == 1) == is_found and ("trained" in printed.out) != is_found
    said = "error: The data set mine cannot be tested: Misnamed has the evaluator 'coko'; there are cityscapes, coco"
    assert (said in printed.err) == is_found


def test_missing_config_file(tool, capfd):
    assert tool("train_net", "--config-file", "nowhere.yaml") == 1
    assert "no configuration file 'nowhere.yaml'" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("text", "sentence"),
    [("{", "is not a JSON file"), ("[]", "not in COCO format"), ('{"images": []}', "no categories")],
)
def test_unreadable_annotations(tool, tmp_path, capfd, text, sentence):
    write_coco(tmp_path)
    (tmp_path / "set.json").write_text(text)
    assert train(tool, tmp_path) == 1
    assert sentence in capfd.readouterr().err


def test_annotations_of_an_unknown_category(tool, tmp_path, capfd):
    content = write_coco(tmp_path)
    content["annotations"][1]["category_id"] = 99
    write_annotations(tmp_path, "set", content)
    assert train(tool, tmp_path) == 1
    assert "annotation 2 has the category id 99" in capfd.readouterr().err


def test_a_data_set_of_empty_images_only(tool, tmp_path, capfd):
    write_coco(tmp_path, images=2, empty=(0, 1))
    assert train(tool, tmp_path) == 1
    assert "holds no image with an object" in capfd.readouterr().err
    assert train(tool, tmp_path, "--skip-test", DATALOADER__FILTER_EMPTY_ANNOTATIONS=False) == 0
    assert all(value == value for value in losses(tmp_path).values())


def test_checkpoint_of_another_shape(tool, tmp_path, capfd):
    write_coco(tmp_path)
    assert train(tool, tmp_path, "--skip-test", SOLVER__MAX_ITER=1) == 0
    weights = tmp_path / "run" / "model_final.pth"
    other = {"MODEL__WEIGHT": weights, "MODEL__ROI_BOX_HEAD__NUM_CLASSES": 5, "OUTPUT_DIR": tmp_path / "other"}
    capfd.readouterr()
    assert train(tool, tmp_path, "--skip-test", **other) == 1
    errors = capfd.readouterr().err
    assert "roi_heads.box.predictor.cls_score.weight: [3, 32] in the file, [5, 32] in the model" in errors
    assert "roi_heads.mask.predictor.mask_fcn_logits.bias" in errors and "WEIGHT_ALLOW_MISMATCH" in errors
    assert train(tool, tmp_path, "--skip-test", MODEL__WEIGHT_ALLOW_MISMATCH=True, SOLVER__MAX_ITER=1, **other) == 0
    described = (tmp_path / "run" / "config.yml").read_bytes()
    assert train(tool, tmp_path, "--skip-test", **{**other, "OUTPUT_DIR": tmp_path / "run"}) == 1
    assert (tmp_path / "run" / "config.yml").read_bytes() == described  # the run is still what it was


def test_a_truncated_checkpoint(tool, tmp_path, capfd):
    write_coco(tmp_path)
    assert train(tool, tmp_path, "--skip-test", SOLVER__MAX_ITER=1) == 0
    weights = tmp_path / "run" / "model_final.pth"
    weights.write_bytes(weights.read_bytes()[:1000])
    assert train(tool, tmp_path, "--skip-test") == 1
    assert "is not a readable checkpoint (1,000 bytes)" in capfd.readouterr().err


def test_a_truncated_image_is_named_and_skipped_until_there_are_too_many(tool, tmp_path, capfd):
    write_coco(tmp_path)
    picture = tmp_path / "set" / "1.jpg"
    picture.write_bytes(picture.read_bytes()[:400])
    assert train(tool, tmp_path) == 0
    output = capfd.readouterr().out
    assert output.count(f"{picture} cannot be read") == 2  # once in training, once in testing
    assert "1 image has no predictions" in output
    for workers in (0, 1):
        strict = {
            "DATALOADER__MAX_BROKEN_IMAGES": 0,
            "DATALOADER__NUM_WORKERS": workers,
            "OUTPUT_DIR": tmp_path / "strict",
        }
        assert train(tool, tmp_path, **strict) == 1
        errors = capfd.readouterr().err
        assert "error: 1 image could not be read, more than DATALOADER.MAX_BROKEN_IMAGES = 0" in errors
        assert "Traceback" not in errors


def test_testing_without_annotations_writes_predictions(tool, tmp_path, capfd):
    content = write_coco(tmp_path)
    del content["annotations"]
    write_coco(tmp_path, "plain")
    write_annotations(tmp_path, "plain", content)
    assert train(tool, tmp_path, test="plain", SOLVER__MAX_ITER=1) == 0
    assert "nothing is measured" in capfd.readouterr().out
    assert (tmp_path / "run" / "inference" / "plain" / "bbox.json").exists()


def test_a_test_in_tiles(tool, tmp_path, capfd):
    """Through the loader, the network and the evaluation; detections are in pixels of the images."""
    write_coco(tmp_path)
    keys = {"INPUT__TILES__SIZE": 32, "INPUT__TILES__SCALE": 2.0, "MODEL__WEIGHT_ALLOW_MISSING": True}
    words = options(tmp_path, **keys, MODEL__ROI_HEADS__SCORE_THRESH=0.0)
    assert tool("test_net", "--config-file", str(CONFIG), *words) == 0, capfd.readouterr().err
    (folder,) = (tmp_path / "run" / "inference").iterdir()
    assert (folder / "metrics.json").is_file()
    found = torch.load(folder / "predictions.pth", weights_only=False)
    sizes = {(image["width"], image["height"]) for image in json.loads((tmp_path / "set.json").read_text())["images"]}
    assert {boxlist.size for boxlist in found} == sizes and all(len(boxlist) for boxlist in found)
    for boxlist in found:
        assert (boxlist.bbox >= 0).all() and (boxlist.bbox[:, 2] <= boxlist.size[0]).all()


def test_without_a_set_to_test_on_that_is_said(tool, tmp_path, capfd):
    write_coco(tmp_path)
    said = "DATASETS.TEST names no data set"
    assert train(tool, tmp_path, DATASETS__TEST="()") == 0
    assert f"{said}: this training ends without a test." in capfd.readouterr().out
    assert train(tool, tmp_path, "--skip-test", DATASETS__TEST="()") == 0
    assert said not in capfd.readouterr().out
    assert tool("test_net", "--config-file", str(CONFIG), *options(tmp_path, DATASETS__TEST="()")) == 1
    assert f"error: {said} to test on" in capfd.readouterr().err


def test_a_set_without_objects_is_said_to_measure_nothing(tool, tmp_path, capfd):
    content = write_coco(tmp_path, "plain")
    write_annotations(tmp_path, "plain", {**content, "annotations": []})
    write_coco(tmp_path)
    assert train(tool, tmp_path, test="plain", SOLVER__MAX_ITER=1) == 0
    assert "Nothing could be measured on plain: it has no objects of the model's classes." in capfd.readouterr().out
    assert tool("test_net", "--config-file", str(CONFIG), *options(tmp_path)) == 0
    assert "Nothing could be measured" not in capfd.readouterr().out
