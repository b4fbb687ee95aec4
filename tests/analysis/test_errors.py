"""Kinds of errors by hand and against hotcoco's TIDE and confusion matrix; the report and its command."""

from __future__ import annotations

import contextlib
import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from maskrcnn_benchmark.analysis import errors
from maskrcnn_benchmark.analysis.error_report import FILES, examine
from maskrcnn_benchmark.analysis.errors import NAMES, confusion_matrix, find_errors
from maskrcnn_benchmark.config.areas import PRESETS
from maskrcnn_benchmark.visualization.crops import SUBJECT, Crop, crop_sheet
from tests.data.test_coco_evaluators import detections_of, random_truth
from tests.support.helpers import write_coco

ROOT = Path(__file__).parents[2]


def tree(annotations: list[dict], categories: int = 2, images: int = 1) -> COCO:
    truth = COCO()
    truth.dataset = {
        "info": {},
        "images": [{"id": i, "file_name": f"{i}.png", "width": 200, "height": 200} for i in range(1, images + 1)],
        "categories": [{"id": i, "name": f"c{i}"} for i in range(1, categories + 1)],
        "annotations": [
            {"id": i, "image_id": 1, "area": a["bbox"][2] * a["bbox"][3], "iscrowd": 0, **a}
            for i, a in enumerate(annotations, start=1)
        ],
    }
    with contextlib.redirect_stdout(io.StringIO()):
        truth.createIndex()
    return truth


def detected(box: list[float], score: float, category: int = 1, image: int = 1) -> dict:
    return {"image_id": image, "category_id": category, "bbox": box, "score": score}


def test_one_of_each_kind():
    truth = tree(
        [
            {"bbox": [0, 0, 20, 20], "category_id": 1},  # found
            {"bbox": [50, 0, 20, 20], "category_id": 1},  # localisation
            {"bbox": [100, 0, 20, 20], "category_id": 2},  # classification
            {"bbox": [150, 0, 20, 20], "category_id": 2},  # both: overlapped a little, by another class
            {"bbox": [0, 100, 20, 20], "category_id": 2},  # missed
            {"bbox": [100, 100, 90, 90], "category_id": 1, "iscrowd": 1},
        ]
    )
    results = [
        detected([0, 0, 20, 20], 0.9),
        detected([1, 0, 20, 20], 0.8),
        detected([50, 12, 20, 20], 0.7),
        detected([100, 1, 20, 20], 0.6),
        detected([150, 13, 20, 20], 0.5),
        detected([60, 60, 20, 20], 0.4),
        detected([110, 110, 20, 20], 0.3),
    ]
    found = find_errors(truth, results)
    assert found.detections.kind.tolist() == [
        *(errors.CORRECT, errors.DUPLICATE, errors.LOCALISATION, errors.CLASSIFICATION),
        *(errors.BOTH, errors.IN_BACKGROUND, errors.IGNORED),
    ]
    assert found.detections.object.tolist() == [0, 0, 1, 2, 3, -1, -1]
    assert found.objects.missed.tolist() == [False, False, False, True, True]
    assert found.objects.score.tolist() == [0.9, 0, 0, 0, 0]
    # Class 1 finds one of two at precision 1, class 2 nothing of three: precision 1 at recalls 0 to 0.5.
    assert found.ap() == pytest.approx(51 / 101 / 2)
    # Class 1's other object is third, behind a duplicate: precision 2/3 above recall 0.5.
    assert found.cost(errors.LOCALISATION) == pytest.approx(50 / 101 * 2 / 3 / 2)
    # One of class 2's three.
    assert found.cost(errors.CLASSIFICATION) == pytest.approx(34 / 101 / 2)
    assert found.cost(errors.MISSED) == 0  # class 2 has still no detection
    assert found.cost(errors.CLASSIFICATION, (0, 100)) == 0 < found.cost(errors.CLASSIFICATION, (400, 401))


def test_an_object_is_mended_once():
    truth = tree([{"bbox": [0, 0, 20, 20], "category_id": 1}])
    found = find_errors(truth, [detected([0, 12, 20, 20], 0.3), detected([0, 11, 20, 20], 0.8)])
    assert found.detections.is_best.tolist() == [True, False] and found.detections.score.tolist() == [0.8, 0.3]
    assert (found.ap(), found.cost(errors.LOCALISATION)) == (0, 1)


@pytest.mark.parametrize("task", ["bbox", "segm"])
@pytest.mark.parametrize("seed", range(4))
def test_numbers_are_those_of_hotcoco(seed, task):
    hotcoco = pytest.importorskip("hotcoco")
    truth = random_truth(seed)
    for annotation in truth.dataset["annotations"]:
        annotation["iscrowd"] = (
            0  # crowds are another matter there: they take errors, here only what would be background
        )
    results = detections_of(truth, np.random.default_rng(seed), task)
    scores = np.random.default_rng(seed).permutation(len(results)) / len(results)
    for entry, score in zip(results, scores.tolist(), strict=True):
        entry["score"] = score  # without ties, whose order is free
    found = find_errors(truth, results, task)
    theirs = hotcoco.COCO()
    theirs.dataset = json.loads(json.dumps(truth.dataset))
    theirs.createIndex()
    evaluation = hotcoco.COCOeval(theirs, theirs.loadRes([dict(r) for r in results]), task)
    evaluation.evaluate()
    tide = evaluation.tide_errors()
    short = {"Cls": "classification", "Loc": "localisation", "Both": "both"}
    short |= {"Dupe": "duplicate", "Bkg": "background", "Miss": "missed"}
    assert found.ap() == pytest.approx(tide["ap_base"], abs=1e-9)
    assert {label: len(found.of_kind(kind)) for kind, label in NAMES.items()} == {
        label: tide["counts"][name] for name, label in short.items()
    }
    assert sum(tide["counts"].values()) > 40
    for kind, label in NAMES.items():
        name = next(n for n in short if short[n] == label)
        assert found.cost(kind) == pytest.approx(tide["delta_ap"][name], abs=1e-9)
    matrix = evaluation.confusion_matrix(min_score=0.3)["matrix"]
    assert confusion_matrix(truth, results, 0.3, task).tolist() == matrix.tolist()


def test_figures_of_a_report():
    """AP is COCO's, the threshold is that of the best F1 by trying all, sizes add up."""
    truth = random_truth(6)
    results = detections_of(truth, np.random.default_rng(6), "bbox")
    report = examine(truth, results, "bbox", PRESETS["ai-tod"])
    with contextlib.redirect_stdout(io.StringIO()):
        by_hand = COCOeval(truth, truth.loadRes([dict(r) for r in results]), "bbox")
        by_hand.evaluate()
        by_hand.accumulate()
        by_hand.summarize()
    assert report.metrics["AP50"] == pytest.approx(by_hand.stats[1], abs=1e-12)
    assert np.mean(report.curves[""]) == pytest.approx(by_hand.stats[1], abs=1e-12)
    sizes = [name for name, _, _ in PRESETS["ai-tod"]]
    for label, counts in report.counts.items():
        assert sum(counts[size] for size in sizes) == counts[""], label
    assert sum(report.found[size]["objects"] for size in sizes) == len(report.errors.objects.entries)
    tried = {}
    for threshold in {r["score"] for r in results}:
        matrix = {k: [0, 0, 0] for k in (0, 1)}
        objects, found = report.errors.objects, report.errors.detections
        for k in matrix:
            ours = (found.category == k) & (found.score >= threshold) & (found.kind >= 0)
            tp = (ours & (found.kind == 0)).sum()
            matrix[k] = 2 * tp / (ours.sum() + (objects.category == k).sum())
        tried[threshold] = np.mean(list(matrix.values()))
    assert tried[report.threshold] >= max(tried.values()) - 0.005  # of 201 quantiles
    missed = report.missed_objects()
    assert (np.diff(report.errors.objects.score[missed]) >= 0).all() and len(missed) > 5
    wrong = report.false_positives()
    assert (np.diff(report.errors.detections.score[wrong]) <= 0).all() and len(wrong) > 5


def test_a_sheet_shows_the_place(tmp_path):
    """A crop's middle is the box's, enlarged, and each size is a part of its own."""
    image = np.full((100, 100, 3), 120, np.uint8)
    image[60:70, 20:30] = (250, 10, 10)
    crops = [Crop(5, [20, 60, 10, 10], "a 0.90", "background", group) for group in ("s", "m", "s", "s")]
    read = []
    assert (
        crop_sheet(crops, ["s", "m", "l"], lambda i: read.append(i) or image, str(tmp_path / "sheet.png"), most=2) == 3
    )
    assert read == [5]
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    header, cell, text = 26, 176, 18
    assert sheet.shape == (2 * (header + cell + 2 * text), 3 * cell, 3)
    assert sheet[header + 86, 86].tolist() == [250, 10, 10] and sheet[header + 30, 30].tolist() == [120] * 3
    assert (sheet[header : header + cell, :cell] == SUBJECT).all(axis=2).any()
    assert (
        crop_sheet([], ["s"], lambda i: image, str(tmp_path / "none.png")) == 0 and not (tmp_path / "none.png").exists()
    )


@pytest.fixture
def tested(tmp_path) -> Path:
    """A set of four images and the results of a test: each object found, but the last."""
    content = write_coco(tmp_path)
    folder = tmp_path / "run" / "inference" / "set"
    folder.mkdir(parents=True)
    found = [
        {**detected(a["bbox"], 0.9), "image_id": a["image_id"], "category_id": a["category_id"]}
        for a in content["annotations"]
    ]
    found[0]["category_id"] = 7 if found[0]["category_id"] == 3 else 3
    (folder / "bbox.json").write_text(json.dumps(found[:-1]))
    (tmp_path / "my.yaml").write_text(
        f"OUTPUT_DIR: {tmp_path}/run\nDATASETS:\n  DEFINITIONS:\n"
        f"    set: {{ANN_FILE: {tmp_path}/set.json, IMG_DIR: {tmp_path}/set}}\n  TEST: ('set',)\n"
    )
    return tmp_path


def test_the_command(tested, run_program):
    pytest.importorskip("matplotlib")
    words = ["--config-file", str(tested / "my.yaml"), "--out", str(tested / "out"), "TEST.COCO_AREAS", "ai-tod"]
    status, said = run_program(ROOT / "tools" / "analyze_errors.py", *words)
    assert status == 0 and "6 of 8 objects found at a score of 0.900 or more." in said
    assert {path.name for path in (tested / "out").iterdir()} == set(FILES)
    content = json.loads((tested / "out" / "errors.json").read_text())
    assert content["count"]["classification"]["all"] == 1 and content["count"]["missed"]["all"] == 1
    assert content["confusion"]["rows_true_columns_detected"] == ["red", "blue", "none"]
    assert np.sum(content["confusion"]["matrix"]) == 8
    assert [area[0] for area in content["areas"]] == ["vt", "t", "s", "m"]
    page = (tested / "out" / "report.md").read_text()
    assert "| objects | 8 |" in page and "vt 0 to 64; t 64 to 256" in page
    for file in FILES:
        if file.endswith(("png", "jpg")):
            assert cv2.imread(str(tested / "out" / file)).std() > 5, file
    given = ["--ann-file", str(tested / "set.json"), "--img-dir", str(tested / "set")]
    given += ["--results", str(tested / "run" / "inference" / "set"), "--out", str(tested / "again")]
    status, again = run_program(ROOT / "tools" / "analyze_errors.py", *given, "--threshold", "0.95")
    assert status == 0 and "0 of 8 objects found at a score of 0.950 or more." in again
    assert not (tested / "again" / "false_positives.jpg").exists()


def test_a_test_that_found_nothing(tested, run_program):
    (tested / "run" / "inference" / "set" / "bbox.json").write_text("[]")
    words = ["--config-file", str(tested / "my.yaml"), "--out", str(tested / "out")]
    status, said = run_program(ROOT / "tools" / "analyze_errors.py", *words)
    assert status == 0 and "0 of 8 objects found" in said
    content = json.loads((tested / "out" / "errors.json").read_text())
    assert content["count"]["missed"]["all"] == 8 and content["ap50"] == 0
    assert (tested / "out" / "missed.jpg").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "Give --config-file, or --ann-file with --img-dir and --results."),
        (["--ann-file", "set.json", "--img-dir", "set"], "--ann-file wants --results"),
        (["--config-file", "my.yaml", "--task", "segm"], "it has no segm.json"),
        (["--config-file", "my.yaml", "--crops", "0"], "--crops must be 1 or more"),
        (["--config-file", "my.yaml", "OUTPUT_DIR", "elsewhere"], "There is no elsewhere/inference/set/bbox.json"),
        (
            ["--ann-file", "other.json", "--img-dir", "set", "--results", "run/inference/set"],
            "none of its detections is of an image of the annotations",
        ),
    ],
)
def test_what_is_missing_is_named(tested, run_program, monkeypatch, words, said):
    monkeypatch.chdir(tested)
    content = json.loads((tested / "set.json").read_text())
    for image in content["images"]:
        image["id"] += 100
    for annotation in content["annotations"]:
        annotation["image_id"] += 100
    (tested / "other.json").write_text(json.dumps(content))
    status, printed = run_program(ROOT / "tools" / "analyze_errors.py", "--out", "out", *words)
    assert status == 1 and said in printed
