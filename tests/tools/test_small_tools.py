"""tools/subset_coco.py and tools/draw_detections.py."""

import json
import runpy
import sys
from pathlib import Path

import cv2
import pytest
import torch

from tests.support.helpers import write_annotations, write_coco

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture
def tool(monkeypatch):
    def call(name: str, **flags: object) -> int:
        words = [str(w) for flag, value in flags.items() for w in (f"--{flag.replace('_', '-')}", value)]
        monkeypatch.setattr(sys, "argv", [name, *words])
        try:
            runpy.run_path(str(TOOLS / f"{name}.py"), run_name="__main__")
        except SystemExit as stop:
            return int(stop.code or 0)
        return 0

    return call


def test_subset_takes_the_first_images_with_enough_objects(tool, tmp_path):
    content = write_coco(tmp_path, images=5, empty=(1,))
    content["annotations"][0]["iscrowd"] = 1  # image 10 is left with one object
    write_annotations(tmp_path, "set", content)
    out = tmp_path / "made" / "subset.json"
    assert tool("subset_coco", ann_file=tmp_path / "set.json", out=out, count=2, min_objects=2) == 0
    subset = json.loads(out.read_text())
    assert [image["id"] for image in subset["images"]] == [12, 13]
    assert {a["image_id"] for a in subset["annotations"]} == {12, 13} and len(subset["annotations"]) == 4
    assert subset["categories"] == content["categories"]


def test_subset_without_such_images(tool, tmp_path, capfd):
    write_coco(tmp_path)
    assert tool("subset_coco", ann_file=tmp_path / "set.json", out=tmp_path / "o.json", min_objects=9) == 1
    assert "has 9 objects" in capfd.readouterr().err and not (tmp_path / "o.json").exists()


def test_a_subset_replaces_nothing_and_has_images(tool, tmp_path, capfd):
    write_coco(tmp_path)
    before = (tmp_path / "set.json").read_bytes()
    assert tool("subset_coco", ann_file=tmp_path / "set.json", out=tmp_path / "set.json") == 1
    assert (
        "set.json itself, which would be replaced" in capfd.readouterr().err
        and (tmp_path / "set.json").read_bytes() == before
    )
    assert tool("subset_coco", ann_file=tmp_path / "set.json", out=tmp_path / "o.json", count=0) == 1
    assert "--count must be 1 or more; got 0" in capfd.readouterr().err


def test_pictures_show_annotations_and_detections(tool, tmp_path, capfd):
    content = write_coco(tmp_path, images=3, empty=(2,))
    first = content["annotations"][0]
    detection = {"image_id": 10, "category_id": 7, "bbox": first["bbox"], "score": 0.9}
    weak = {"image_id": 11, "category_id": 3, "bbox": [1, 1, 20, 20], "score": 0.2}
    (tmp_path / "results").mkdir()
    (tmp_path / "results" / "bbox.json").write_text(json.dumps([detection, weak]))
    flags = {"ann_file": tmp_path / "set.json", "img_dir": tmp_path / "set", "results": tmp_path / "results"}
    assert tool("draw_detections", **flags, out=tmp_path / "pictures") == 0
    assert sorted(p.name for p in (tmp_path / "pictures").iterdir()) == ["0.png", "1.png", "2.png", "sheet.jpg"]

    plain = cv2.imread(str(tmp_path / "set" / "0.jpg"))
    factor = 480 // plain.shape[0] + (480 % plain.shape[0] > 0)
    enlarged = cv2.resize(plain, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC).astype(int)
    panel = cv2.imread(str(tmp_path / "pictures" / "0.png"))[24:, : enlarged.shape[1]].astype(int)
    changed = abs(panel - enlarged).max(axis=2) > 20
    x, y, w, h = (factor * v for v in first["bbox"])
    assert changed[y + h // 2, x : x + w].mean() > 0.9  # the mask is tinted
    assert tool("draw_detections", **flags, out=tmp_path / "set") == 1
    assert "itself, which what is written would replace" in capfd.readouterr().err
    right = cv2.imread(str(tmp_path / "pictures" / "0.png"))[24:, enlarged.shape[1] + 6 :][:, : enlarged.shape[1]]
    outline = abs(right.astype(int) - enlarged).max(axis=2) > 20
    assert outline[y - 1, x : x + w].mean() > 0.5 and not outline[y : y + h, x : x + w].any()
    nothing = cv2.imread(str(tmp_path / "pictures" / "1.png"))[24:, -enlarged.shape[0] - 6 : -6]
    again = cv2.resize(
        cv2.imread(str(tmp_path / "set" / "1.jpg")), None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC
    )
    assert (abs(nothing.astype(int) - again) <= 1).all()  # the weak detection is not drawn


def test_drawing_images_of_one_name_and_keypoints(tool, tmp_path, capfd, monkeypatch):
    content = write_coco(tmp_path, images=2)
    for annotation in content["annotations"]:
        x, y, w, h = annotation["bbox"]
        annotation.update(keypoints=[x, y, 2, x + w // 2, y + h // 2, 1, 0, 0, 0], num_keypoints=2)
    (tmp_path / "set" / "b").mkdir()
    (tmp_path / "set" / "1.jpg").rename(tmp_path / "set" / "b" / "0.jpg")
    content["images"][1]["file_name"] = "b/0.jpg"
    content["categories"] = [{**c, "skeleton": [[1, 2], [2, 9]]} for c in content["categories"]]
    write_annotations(tmp_path, "set", content)
    first = content["annotations"][0]
    (tmp_path / "results").mkdir()
    detection = {key: first[key] for key in ("image_id", "category_id")} | {"score": 0.9}
    flags = {"ann_file": tmp_path / "set.json", "img_dir": tmp_path / "set"}
    (tmp_path / "results" / "bbox.json").write_text(json.dumps([detection | {"bbox": first["bbox"]}]))
    drawn = {}
    for found in (None, first["keypoints"]):
        if found:
            (tmp_path / "results" / "keypoints.json").write_text(json.dumps([detection | {"keypoints": found}]))
        assert tool("draw_detections", **flags, results=tmp_path / "results", out=tmp_path / "pictures") == 0
        assert sorted(p.name for p in (tmp_path / "pictures").iterdir()) == ["0.png", "0_2.png", "sheet.jpg"]
        drawn[found is None] = cv2.imread(str(tmp_path / "pictures" / "0.png"))
    different = (drawn[True] != drawn[False]).any(axis=(0, 2))
    assert (
        different[len(different) // 2 :].any() and not different[: len(different) // 2].any()
    )  # the detections' side alone
    assert tool("draw_detections", **flags, results=tmp_path / "results/keypoints.json", out=tmp_path / "pictures") == 1
    assert "keypoints without boxes: name the folder" in capfd.readouterr().err
    monkeypatch.setattr(cv2, "imwrite", lambda *words: False)  # as on a full disk
    assert tool("draw_detections", **flags, results=tmp_path / "results", out=tmp_path / "pictures") == 1
    printed = capfd.readouterr()
    assert "0.png: the disk is full" in printed.err and "Wrote" not in printed.out


def test_drawing_without_results(tool, tmp_path, capfd):
    write_coco(tmp_path)
    flags = {"ann_file": tmp_path / "set.json", "img_dir": tmp_path / "set", "results": tmp_path / "none"}
    assert tool("draw_detections", **flags, out=tmp_path / "pictures") == 1
    assert "`mrb test` writes it" in capfd.readouterr().err


def test_publish_model(run_tool, tmp_path):
    weights = {"a.weight": torch.full((2, 2), 1.5), "a.num_batches_tracked": torch.tensor(3)}
    torch.save({"model": weights, "optimizer": {"x": 1}, "iteration": 7}, tmp_path / "model_final.pth")
    code, text = run_tool("publish_model", tmp_path / "model_final.pth", tmp_path / "small.pth")
    assert code == 0 and "2 tensors" in text
    content = torch.load(tmp_path / "small.pth", weights_only=True)
    assert list(content) == ["model"] and content["model"]["a.weight"].dtype == torch.float16
    assert content["model"]["a.num_batches_tracked"] == 3
    run = {"model": weights, "class_names": {1: "car", 2: "truck"}}
    torch.save(run, tmp_path / "named.pth")
    assert run_tool("publish_model", tmp_path / "named.pth", tmp_path / "given.pth")[0] == 0
    assert torch.load(tmp_path / "given.pth", weights_only=True)["class_names"] == run["class_names"]
    code, text = run_tool("publish_model", tmp_path / "named.pth", tmp_path / "." / "named.pth")
    assert code == 1 and "named.pth itself, which would be replaced" in text
    assert torch.load(tmp_path / "named.pth", weights_only=True)["model"]["a.weight"].dtype == torch.float32
    (tmp_path / "set.json").write_text("{}")
    code, text = run_tool("publish_model", tmp_path / "named.pth", tmp_path / "set.json")
    assert code == 1 and "set.json is there already and is not a checkpoint, so it stays. Name another file." in text
    assert (tmp_path / "set.json").read_text() == "{}"
    torch.save({"model": weights, "ema": {"a.weight": torch.full((2, 2), 7e4)}}, tmp_path / "model_final.pth")
    code, text = run_tool("publish_model", tmp_path / "model_final.pth", tmp_path / "other.pth")
    assert code == 1 and "Not a number in half precision: a.weight" in text and not (tmp_path / "other.pth").exists()
    code, text = run_tool("publish_model", tmp_path / "model_final.pth", tmp_path / "other.pth", "--full")
    assert code == 0 and (torch.load(tmp_path / "other.pth", weights_only=True)["model"]["a.weight"] == 7e4).all()
    code, text = run_tool("publish_model", tmp_path / "nothing.pth", tmp_path / "other.pth")
    assert code == 1 and "There is no " in text
