"""projects/enl_paper/draw_comparison.py on two runs that differ where it is known."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

import draw_comparison
from maskrcnn_benchmark.config import cfg as defaults
from maskrcnn_benchmark.modeling.detector import build_detection_model
from tests.support.helpers import write_coco


@pytest.fixture
def runs(tmp_path) -> tuple[Path, Path, dict]:
    content = write_coco(tmp_path)
    folders = []
    for name, moved in (("a", 0.0), ("b", 40.0)):
        cfg = defaults.clone()
        cfg.merge_from_file(str(Path(__file__).parents[3] / "configs" / "demo" / "base_R_18_FPN.yaml"))
        definition = {"IMG_DIR": str(tmp_path / "set"), "ANN_FILE": str(tmp_path / "set.json")}
        (tmp_path / "more.yaml").write_text(json.dumps({"DATASETS": {"DEFINITIONS": {"set": definition}}}))
        cfg.merge_from_file(str(tmp_path / "more.yaml"))
        cfg.merge_from_list(["MODEL.RESNETS.BACKBONE_OUT_CHANNELS", 16, "MODEL.ROI_BOX_HEAD.MLP_HEAD_DIM", 16])
        cfg.merge_from_list(["INPUT.MIN_SIZE_TEST", 64, "MODEL.MASK_ON", False])
        folder = tmp_path / name
        (folder / "inference" / "set").mkdir(parents=True)
        (folder / "config.yml").write_text(cfg.dump())
        detections = [
            {
                "image_id": a["image_id"],
                "category_id": a["category_id"],
                "score": 0.9,
                "bbox": [a["bbox"][0] + (moved if a["image_id"] == content["images"][1]["id"] else 0), *a["bbox"][1:]],
            }
            for a in content["annotations"]
        ]
        (folder / "inference" / "set" / "bbox.json").write_text(json.dumps(detections))
        torch.save({"model": build_detection_model(cfg).state_dict()}, folder / "model_final.pth")
        folders.append(folder)
    return folders[0], folders[1], content


def test_the_image_that_differs_comes_first(run_tool, runs, tmp_path):
    a, b, content = runs
    out = tmp_path / "pictures" / "x.png"
    code, text = run_tool("draw_comparison", f"A={a}", f"B={b}", "--dataset", "set", "--out", out, "--count", 1)
    assert code == 0, text
    picture = cv2.imread(str(out)).astype(int)
    image = cv2.imread(str(tmp_path / "set" / content["images"][1]["file_name"]))
    enlarged = cv2.resize(image, (512, 512), interpolation=cv2.INTER_CUBIC).astype(int)
    left = picture[24 : 24 + 512, :512]
    assert np.median(np.abs(left - enlarged)) < 8  # that image, drawn into
    white = [(picture[24:536, x : x + 512] > 230).all(-1).sum() for x in (0, 518)]
    assert white[1] > white[0]  # dashes around what the second one missed


def test_proposals_of_both(run_tool, runs, tmp_path):
    a, b, _ = runs
    out = tmp_path / "p.jpg"
    code, text = run_tool("draw_comparison", f"A={a}", f"B={b}", "--dataset", "set", "--out", out, "--proposals", 50)
    assert code == 0 and cv2.imread(str(out)) is not None, text


def test_proposals_are_those_of_the_tested_weights(runs, tmp_path):
    """The averaged weights where a checkpoint has them, and the CPU where the GPU of the training is missing."""
    a, b, content = runs
    image = content["images"][0]
    paths = {image["id"]: str(tmp_path / "set" / image["file_name"])}
    expected, other = (draw_comparison.small_proposals(str(folder), paths, 50) for folder in (b, a))
    assert expected != other and expected[image["id"]]
    weights = [torch.load(folder / "model_final.pth", weights_only=True)["model"] for folder in (a, b)]
    torch.save({"model": weights[0], "ema": weights[1]}, a / "model_final.pth")
    if not torch.cuda.is_available():
        config = (a / "config.yml").read_text()
        (a / "config.yml").write_text(config.replace("DEVICE: cpu", "DEVICE: cuda"))
        assert "DEVICE: cuda" in (a / "config.yml").read_text()
    assert draw_comparison.small_proposals(str(a), paths, 50) == expected


def test_what_is_not_there_is_said(run_tool, runs, tmp_path):
    a, _, _ = runs
    out = tmp_path / "x.png"
    for words, sentence in (
        ((f"A={a}", "--dataset", "other"), "defines no data set 'other'"),
        ((f"A={tmp_path}", "--dataset", "set"), "must be the OUTPUT_DIR of a training"),
        ((str(a), "--dataset", "set"), "Runs are written NAME=FOLDER"),
    ):
        code, text = run_tool("draw_comparison", *words, "--out", out)
        assert code == 1 and sentence in text
