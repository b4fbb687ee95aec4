"""A Predictor with supervision, SAHI and Ray Data, where they are installed."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import cv2
import numpy as np
import pycocotools.mask as mask_utils
import pytest
import torch

from maskrcnn_benchmark.engine import Predictor
from maskrcnn_benchmark.structures.bounding_box import BoxList
from tests.support.tiny import write_model

DEMO = Path(__file__).parents[2] / "demo"


def found_by_hand() -> BoxList:
    masks = np.zeros((2, 30, 40), np.uint8)
    masks[0, 4:10, 3:13] = 1
    masks[1, 29, 39] = 1
    found = BoxList(torch.tensor([[3.0, 4.0, 12.0, 9.0], [39.0, 29.0, 39.0, 29.0]]), (40, 30))
    found.add_field("labels", torch.tensor([2, 1]))
    found.add_field("scores", torch.tensor([0.75, 0.5]))
    rles = [mask_utils.encode(np.asfortranarray(mask)) for mask in masks]
    found.add_field("rle", [{"size": rle["size"], "counts": rle["counts"].decode()} for rle in rles])
    return found


def test_supervision_there_and_back():
    sv = pytest.importorskip("supervision")
    module = runpy.run_path(str(DEMO / "with_supervision.py"))
    found = found_by_hand()
    detections = module["to_supervision"](found, {1: "red", 2: "blue"})
    assert isinstance(detections, sv.Detections)
    assert detections.xyxy.tolist() == [[3, 4, 13, 10], [39, 29, 40, 30]]
    assert detections.box_area.tolist() == detections.area.tolist() == [60, 1]  # of boxes, and of masks
    assert detections.class_id.tolist() == [1, 0] and list(detections["class_name"]) == ["blue", "red"]
    # supervision's own way from masks to boxes has inclusive corners, as this package.
    assert sv.mask_to_xyxy(detections.mask).tolist() == found.bbox.tolist()
    back = module["from_supervision"](detections, (40, 30))
    assert back.bbox.tolist() == found.bbox.tolist() and back.size == found.size
    for name in ("labels", "scores"):
        assert torch.equal(back.get_field(name), found.get_field(name))
    assert back.get_field("rle") == found.get_field("rle")
    assert len(module["to_supervision"](found[:0], {})) == 0
    assert len(module["from_supervision"](sv.Detections.empty(), (40, 30))) == 0
    boxes_alone = found.copy_with_fields(["labels", "scores"])
    assert module["to_supervision"](boxes_alone, {}).mask is None


@pytest.fixture
def predictor(tmp_path) -> Predictor:
    return Predictor(*write_model(tmp_path), threshold=0, top_k=6)


def test_sahi_with_one_slice_finds_what_the_predictor_does(predictor):
    pytest.importorskip("sahi")
    from sahi.predict import get_prediction, get_sliced_prediction

    module = runpy.run_path(str(DEMO / "with_sahi.py"))
    picture = np.random.default_rng(0).integers(0, 255, (60, 80, 3), dtype=np.uint8)
    found = predictor(picture)
    model = module["SahiModel"](predictor)
    rgb = np.ascontiguousarray(picture[:, :, ::-1])
    result = get_prediction(rgb, model)
    whole = [i for i, rle in enumerate(found.get_field("rle")) if mask_utils.area(rle)]
    assert len(whole) > 2
    predictions = result.object_prediction_list
    assert [p.category.id for p in predictions] == found.get_field("labels")[whole].tolist()
    assert [p.score.value for p in predictions] == pytest.approx(found.get_field("scores")[whole].tolist())
    for prediction, i in zip(predictions, whole, strict=True):
        left, top, width, height = mask_utils.toBbox(found.get_field("rle")[i])  # SAHI takes the box of a mask
        assert prediction.bbox.to_xyxy() == pytest.approx([left, top, left + width, top + height], abs=1.01)
        assert {1: "red", 2: "blue"}[prediction.category.id] == prediction.category.name
    # In a picture of two of them side by side, a slice each, the second half has the same, shifted.
    twice = np.concatenate((rgb, rgb), axis=1)
    arguments = {
        "slice_height": 60,
        "slice_width": 80,
        "overlap_height_ratio": 0,
        "overlap_width_ratio": 0,
        "verbose": 0,
    }
    sliced = get_sliced_prediction(
        twice, model, **arguments, perform_standard_pred=False, postprocess_type="NMS", postprocess_match_threshold=1.0
    ).object_prediction_list
    assert len(sliced) == 2 * len(predictions)
    left = sorted(p.bbox.to_xyxy() for p in sliced if p.bbox.minx < 80 and p.bbox.maxx <= 81)
    right = sorted([b[0] - 80, b[1], b[2] - 80, b[3]] for b in (p.bbox.to_xyxy() for p in sliced) if b[0] >= 80)
    assert left == right == sorted(p.bbox.to_xyxy() for p in predictions)


def test_ray_finds_what_the_predictor_does(predictor, tmp_path, monkeypatch):
    ray = pytest.importorskip("ray")
    monkeypatch.setenv("RAY_worker_niceness", "0")  # 15 by default, which starves on a machine that has other work
    pytest.importorskip("ray.data")
    paths = []
    for i in range(5):
        paths.append(str(tmp_path / f"{i}.png"))
        cv2.imwrite(paths[-1], np.random.default_rng(i).integers(0, 255, (50, 60, 3), dtype=np.uint8))
    (tmp_path / "broken.png").write_bytes(b"no picture")
    module = runpy.run_path(str(DEMO / "with_ray.py"))
    module["Detect"].__module__ = "__main__"  # pickled by value, as in the program itself
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    try:
        config, weights = str(tmp_path / "tiny.yaml"), str(tmp_path / "tiny.pth")
        done = module["detect"](
            [*paths, str(tmp_path / "broken.png")], config, weights, workers=2, threshold=0, top_k=6
        )
        rows = {row["path"]: row for row in done.take_all()}
    finally:
        ray.shutdown()
    for path in paths:
        assert json.loads(rows[path]["found"]) == json.loads(json.dumps(predictor.coco(predictor(path), path)))
    assert "cannot be read" in rows[str(tmp_path / "broken.png")]["error"] and len(rows) == 6
