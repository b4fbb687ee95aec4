"""tools/export_model.py on the model that comes with the project."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from enl_paper.relations import PRESETS, generate_scene
from maskrcnn_benchmark.cli.export import notes
from maskrcnn_benchmark.config import cfg
from maskrcnn_benchmark.data.categories import Categories
from maskrcnn_benchmark.engine.loading import load_detector
from maskrcnn_benchmark.export import ExportableDetector

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "demo" / "models"


@pytest.fixture
def export(run_program, tmp_path):
    """Its arguments -> its exit status and what it printed."""

    def call(*words: object) -> tuple[int, str]:
        model = ("--config-file", MODELS / "relations_enl.yaml", "--ckpt", MODELS / "relations_enl.pth")
        return run_program(ROOT / "tools" / "export_model.py", *model, *words, "OUTPUT_DIR", tmp_path / "run")

    return call


@pytest.fixture
def pictures(tmp_path) -> list[np.ndarray]:
    """Scenes of the test size in the folder photos, and in memory in RGB."""
    scenes = [cv2.resize(generate_scene(PRESETS["demo"], i, seed=7)[0], (320, 256)) for i in range(12)]
    (tmp_path / "photos").mkdir()
    for i, scene in enumerate(scenes):
        cv2.imwrite(str(tmp_path / "photos" / f"{i}.png"), scene)
    return [np.ascontiguousarray(scene[:, :, ::-1]) for scene in scenes]


def overlaps(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """IoU of xyxy boxes: [N, M]."""
    shared = np.minimum(a[:, None, 2:], b[:, 2:]) - np.maximum(a[:, None, :2], b[:, :2])
    shared = shared.clip(0).prod(-1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(-1) for boxes in (a, b)]
    return shared / (areas[0][:, None] + areas[1] - shared)


@pytest.mark.slow
@pytest.mark.no_cover
def test_eight_bits_find_the_same_objects(export, pictures, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime")
    pytest.importorskip("onnxscript")
    code, printed = export("--out", tmp_path / "narrow.onnx", "--int8", tmp_path / "photos")
    assert code == 0 and "image -> boxes, labels, scores, masks" in printed, printed
    config = cfg.clone()
    config.merge_from_file(str(MODELS / "relations_enl.yaml"))
    model = load_detector(config, str(MODELS / "relations_enl.pth"), torch.device("cpu"))
    detector = ExportableDetector(model, config)
    assert (tmp_path / "narrow.onnx").stat().st_size < 0.4 * 4 * sum(p.numel() for p in model.parameters())
    session = onnxruntime.InferenceSession(str(tmp_path / "narrow.onnx"))
    notes = session.get_modelmeta().custom_metadata_map
    assert notes["min_size"] == str(config.INPUT.MIN_SIZE_TEST)
    assert (notes["min_side"], notes["max_side"]) == ("1", "4096") and "(sides of 1 to 4,096 pixels)" in printed
    missing = count = 0
    for picture in pictures:
        with torch.no_grad():
            boxes, labels, scores, _ = (field.numpy() for field in detector(torch.from_numpy(picture)))
        b, named, s, _ = session.run(None, {"image": picture})
        sure = scores > 0.7
        found = (
            (overlaps(boxes[sure], b) > 0.8)
            & (np.abs(scores[sure][:, None] - s) < 0.2)
            & (labels[sure][:, None] == named)
        )
        missing, count = missing + int((~found.any(1)).sum()), count + int(sure.sum())
    assert count > 20 and missing <= 0.05 * count


def test_the_classes_in_a_file_are_in_the_models_order():
    categories = Categories.in_order({7: "red", 3: "blue"})
    assert list(json.loads(notes(cfg, 1, categories)["labels"]).values()) == ["red", "blue"]


def test_what_cannot_be_exported(export, tmp_path):
    for words, sentence in (
        (("--out", "model.caffe"), "--out must end in one of .onnx, .program.pt2, .package.pt2; got model.caffe"),
        (("--out", "m.package.pt2", "--int8", tmp_path), "--int8 is for files that end in .onnx; got m.package.pt2"),
        (("--out", tmp_path / "m.onnx", "--int8", tmp_path / "none"), "There is no file, folder or pattern"),
    ):
        code, printed = export(*words)
        assert code == 1 and sentence in printed
    assert not (tmp_path / "m.onnx").exists()
    code, printed = export("--out", tmp_path / "m.program.pt2", "INPUT.MIN_SIZE_TEST", 64)
    assert code == 1 and "images with sides of 65 pixels or more, and INPUT.MIN_SIZE_TEST 64 scales" in printed
