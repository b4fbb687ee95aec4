"""What tools/predict.py writes in other programs' forms, read back by this package and by other libraries."""

from __future__ import annotations

import contextlib
import csv
import io
import json
from pathlib import Path

import cv2
import numpy as np
import pycocotools.mask as mask_utils
import pytest
from PIL import Image
from pycocotools.coco import COCO

from maskrcnn_benchmark.data import formats
from maskrcnn_benchmark.data.formats.content import inside
from maskrcnn_benchmark.engine.prediction_forms import FORMS, write_forms
from maskrcnn_benchmark.utils.video import VideoWriter
from tests.support.tiny import write_model

PICTURES = {"a.png": (90, 70), "deep/a.png": (64, 80), "deep/b c.jpg": (64, 64)}
CLASSES = {1: "red", 2: "blue"}
OUTLINES = ("yolo", "labelme", "via")


@pytest.fixture
def predicted(run_tool, tmp_path):
    """The folder of results in all forms, and what the program said."""
    rng = np.random.default_rng(0)
    for name, size in PICTURES.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / "in" / name), rng.integers(0, 255, (*size[::-1], 3), dtype=np.uint8))
    with VideoWriter(tmp_path / "in" / "clip.mp4", 5) as writer:
        for i in range(3):
            writer.write(np.full((48, 64, 3), 60 * i, np.uint8))
    config, weights = write_model(tmp_path)
    words = ["--config-file", config, "--weights", weights, "--threshold", 0, "--top-k", 4, "--no-drawing"]
    code, printed = run_tool(
        "predict", *words, "--input", tmp_path / "in", "--out", tmp_path / "out", "--format", *FORMS
    )
    assert code == 0, printed
    return tmp_path / "out", printed


def test_boxes_are_inside_their_images(tmp_path):
    """A detection's far corner is a pixel inside the box: of an enlarged image it ends beyond the border."""
    Image.new("RGB", (40, 30)).save(tmp_path / "a.png")
    boxes = [[30.5, 20.25, 10.0, 10.0], [-0.25, 3, 5, 4], [0.1234, 2, 39.8766, 27.5]]
    categories = [{"id": 3, "name": "red"}]
    images = [{"id": 1, "file_name": str(tmp_path / "a.png"), "width": 40, "height": 30}]
    found = [{"image_id": 1, "category_id": 3, "bbox": box, "score": 0.5} for box in boxes]
    (tmp_path / "images.json").write_text(json.dumps({"images": images, "categories": categories}))
    (tmp_path / "predictions.json").write_text(json.dumps(found))
    forms = write_forms(str(tmp_path), FORMS)
    files = {"coco": "annotations.json", "via": "annotations.json", "csv": "annotations.csv"}
    for form in FORMS:
        assert not any("cut" in sentence for sentence in forms[form][1])
        content = formats.read(
            str(tmp_path / form / files.get(form, "")), images="" if form == "yolo" else str(tmp_path)
        )
        assert not any("border" in sentence for sentence in content.notes.sentences()), form
        expected = [[30.5, 20.25, 9.5, 9.75], [0, 3, 4.75, 4], boxes[2]]
        tolerance = 1e-3 if form == "yolo" else 1e-9
        assert [a["bbox"] for a in content.annotations] == [pytest.approx(box, abs=tolerance) for box in expected]
    assert json.loads((tmp_path / "predictions.json").read_text()) == found


def results(out: Path) -> dict[str, list[dict]]:
    """Detections by the name of their picture, without those of the video."""
    described, found = (json.loads((out / f"{name}.json").read_text()) for name in ("images", "predictions"))
    names = {
        i["id"]: Path(i["file_name"]).relative_to(out.parent / "in").as_posix()
        for i in described["images"]
        if "frame" not in i
    }
    assert set(names.values()) == set(PICTURES)
    return {name: [f for f in found if f["image_id"] == id] for id, name in names.items()}


def box_of(entry: dict, form: str) -> list[float]:
    """The box that a form holds: that of the mask where it has outlines."""
    has_outline = form in OUTLINES and mask_utils.area(entry["segmentation"])
    return mask_utils.toBbox(entry["segmentation"]).tolist() if has_outline else entry["bbox"]


@pytest.mark.parametrize("form", FORMS)
def test_read_back_by_this_package(predicted, form):
    out, printed = predicted
    files = {"coco": "annotations.json", "via": "annotations.json", "csv": "annotations.csv"}
    images = "" if form == "yolo" else str(out.parent / "in")
    content = formats.read(str(out / form / files.get(form, "")), images=images)
    read, found = content.by_image(), results(out)
    pictures = {Path(i["file_name"]).as_posix(): i for i in content.images if not i["file_name"].endswith("mp4")}
    assert set(pictures) == set(PICTURES)
    for name, image in pictures.items():
        assert (image["width"], image["height"]) == PICTURES[name]
        for entry, annotation in zip(found[name], read[image["id"]], strict=True):
            assert content.names()[annotation["category_id"]] == CLASSES[entry["category_id"]]
            # An outline that was traced in a grid of half pixels ends a quarter of one before the pixel's border.
            assert annotation["bbox"] == pytest.approx(box_of(entry, form), abs=0.6 if form in OUTLINES else 2e-3)
            if form == "coco":
                assert annotation["segmentation"] == entry["segmentation"] and annotation["score"] == entry["score"]
    said = printed.split(f"As {form}: ")[1].split("As ")[0]
    assert ("scores, which" in said) == (form in ("yolo", "voc", "via"))
    assert "frames of videos, which predictions.json alone holds, left out: 3" in said
    assert ("masks, which" in said) == (form in ("voc", "csv"))


def test_read_by_pycocotools_and_by_hand(predicted):
    out, _ = predicted
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(str(out / "coco" / "annotations.json"))
    predictions = json.loads((out / "predictions.json").read_text())
    found = results(out)
    sides = {name: dict(zip(("width", "height"), size, strict=True)) for name, size in PICTURES.items()}
    boxes = [inside(entry["bbox"], sides[name]) for name, of_image in found.items() for entry in of_image]
    assert [coco.anns[i]["bbox"] for i in sorted(coco.anns)] == boxes
    assert len(predictions) == 24 and len(coco.anns) == 12 and len(coco.imgs) == 3
    for annotation in coco.anns.values():
        assert coco.annToMask(annotation).sum() == annotation["area"] == mask_utils.area(annotation["segmentation"])
    for name in PICTURES:
        lines = (out / "yolo" / "labels" / Path(name).with_suffix(".txt")).read_text().splitlines()
        assert [("red", "blue")[int(line.split()[0])] for line in lines] == [
            CLASSES[e["category_id"]] for e in found[name]
        ]
        assert (out / "yolo" / "images" / name).resolve() == (out.parent / "in" / name).resolve()
        shapes = json.loads((out / "labelme" / Path(name).with_suffix(".json")).read_text())["shapes"]
        assert {shape["score"] for shape in shapes} == {entry["score"] for entry in found[name]}
    with open(out / "csv" / "annotations.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["filename"] for row in rows} == set(PICTURES)
    for name in PICTURES:
        of_image = [row for row in rows if row["filename"] == name]
        assert [float(row["score"]) for row in of_image] == [entry["score"] for entry in found[name]]
        extents = [(float(r["xmax"]) - float(r["xmin"]), float(r["ymax"]) - float(r["ymin"])) for r in of_image]
        assert extents == [pytest.approx(entry["bbox"][2:], abs=1e-3) for entry in found[name]]


@pytest.mark.parametrize("form", ["coco", "yolo", "voc"])
def test_read_by_supervision(predicted, form):
    sv = pytest.importorskip("supervision")
    out, _ = predicted
    pictures = str(out.parent / "in")
    if form == "coco":
        data = sv.DetectionDataset.from_coco(pictures, str(out / "coco" / "annotations.json"))
    elif form == "yolo":
        folders = [str(out / "yolo" / part) for part in ("images/deep", "labels/deep", "data.yaml")]
        data = sv.DetectionDataset.from_yolo(*folders)
    else:  # which finds files by the names of images in one folder
        data = sv.DetectionDataset.from_pascal_voc(pictures, str(out / "voc" / "Annotations"))
    found = results(out)
    read = 0
    for path, detections in data.annotations.items():
        name = Path(path).resolve().relative_to(Path(pictures).resolve()).as_posix()
        if name not in found:
            continue
        read += 1
        assert [data.classes[i] for i in detections.class_id] == [CLASSES[e["category_id"]] for e in found[name]]
        for corners, entry in zip(detections.xyxy.tolist(), found[name], strict=True):
            x, y, width, height = box_of(entry, form)
            # supervision takes the first pixel of VOC for 0, its corners exclusively, and rounds outlines to pixels.
            tolerance = {"coco": 1e-3, "yolo": 2, "voc": 1.01}[form]
            assert corners == pytest.approx([x, y, x + width, y + height], abs=tolerance)
    assert read == {"coco": 3, "yolo": 2, "voc": 1}[form]
