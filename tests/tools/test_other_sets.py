"""tools/test_net.py and tools/train_net.py on other data sets than COCO's, and with test-time augmentation."""

import json
import runpy
import sys
from pathlib import Path

import pytest

from maskrcnn_benchmark.engine import bbox_aug, run
from tests.support.cityscapes_set import write_cityscapes
from tests.support.helpers import CONFIG, options, write_coco
from tests.support.voc_set import write_voc

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture
def tool(monkeypatch):
    """Run a tool in this process with a fresh configuration; returns its exit status."""

    def call(name: str, *words: object) -> int:
        fresh = pristine.clone()
        for module in (run, bbox_aug):  # those that read the global configuration
            monkeypatch.setattr(module, "cfg", fresh)
        monkeypatch.setattr(sys, "argv", [name, "--config-file", str(CONFIG), *map(str, words)])
        try:
            runpy.run_path(str(TOOLS / f"{name}.py"), run_name="__main__")
        except SystemExit as stop:
            return int(stop.code or 0)
        return 0

    pristine = run.cfg.clone()
    return call


def defined(root: Path, **keys: object) -> list[str]:
    """Options of a tiny model on a set that `keys` define."""
    definition = {f"DATASETS__DEFINITIONS__other__{key}": value for key, value in keys.items()}
    words = options(root, train="other", test="other", **definition)
    unwanted = {f"DATASETS.DEFINITIONS.other.{key}" for key in ("IMG_DIR", "ANN_FILE")}
    pairs = zip(words[::2], words[1::2], strict=True)
    return [w for key, value in pairs if key not in unwanted or key.rpartition(".")[2] in keys for w in (key, value)]


@pytest.mark.parametrize("masks", ["identity", "average"])
def test_augmented(tool, tmp_path, masks):
    write_coco(tmp_path)
    augmentation = {"ENABLED": True, "H_FLIP": True, "SCALES": "(48,)", "SCALE_H_FLIP": True, "MASKS": masks}
    keys = {f"TEST__BBOX_AUG__{key}": value for key, value in augmentation.items()}
    assert tool("test_net", *options(tmp_path, MODEL__WEIGHT_ALLOW_MISSING=True, **keys)) == 0
    folder = tmp_path / "run" / "inference" / "set"
    boxes, masks = (json.loads((folder / f"{task}.json").read_text()) for task in ("bbox", "segm"))
    assert len(boxes) == len(masks) > 100
    assert set(json.loads((folder / "metrics.json").read_text())["segm"]) >= {"AP", "AP50"}


def test_voc(tool, tmp_path):
    write_voc(tmp_path / "voc")
    words = defined(tmp_path, FACTORY="PascalVOCDataset", DATA_DIR=tmp_path / "voc", SPLIT="val")
    words += ["MODEL.ROI_BOX_HEAD.NUM_CLASSES", 21, "MODEL.MASK_ON", False, "SOLVER.MAX_ITER", 2]
    assert tool("train_net", *words) == 0
    results = (tmp_path / "run" / "inference" / "other" / "result.txt").read_text().splitlines()
    assert results[0].startswith("mAP: ") and any(line.startswith("chair") for line in results)
    assert json.loads((tmp_path / "run" / "labels.json").read_text())["20"] == "tvmonitor"


def test_masks_cannot_be_trained_on_voc(tool, tmp_path, capsys):
    write_voc(tmp_path / "voc")
    words = defined(tmp_path, FACTORY="PascalVOCDataset", DATA_DIR=tmp_path / "voc", SPLIT="val")
    assert tool("train_net", *words, "MODEL.ROI_BOX_HEAD.NUM_CLASSES", 21) == 1
    assert "other has objects without masks, but MODEL.MASK_ON is True" in capsys.readouterr().err


@pytest.mark.parametrize("mode", ["mask", "poly"])
def test_cityscapes(tool, tmp_path, mode):
    write_cityscapes(tmp_path)
    folders = {"IMG_DIR": tmp_path / "leftImg8bit", "ANN_DIR": tmp_path / "gtFine"}
    words = defined(tmp_path, FACTORY="CityScapesDataset", SPLIT="val", MODE=mode, **folders)
    words += ["MODEL.ROI_BOX_HEAD.NUM_CLASSES", 9, "SOLVER.MAX_ITER", 2]
    assert tool("train_net", *words) == 0
    for task in ("bbox", "segm"):
        results = json.loads((tmp_path / "run" / "inference" / "other" / f"cityscapes_{task}.json").read_text())
        assert 0 <= results["averages"]["allAp"] <= 1 and results["instLabels"][2] == "car"
