"""Checking data sets: each defect is found, named and nothing else; a sound set has none."""

from __future__ import annotations

import copy
import json
import shutil

import cv2
import pytest

from maskrcnn_benchmark.data.check import check, contact_sheet, load
from tests.support.helpers import write_coco


@pytest.fixture
def sound(tmp_path):
    return tmp_path, write_coco(tmp_path)


def kinds(content: dict, root) -> set[str]:
    return {f.kind for f in check(content, str(root / "set"), "set").findings} - {"category_gaps"}


def test_a_sound_set(sound):
    root, content = sound
    report = check(load(str(root / "set.json")), str(root / "set"), "set")
    assert not report.problems
    assert [(f.kind, f.count, f.examples) for f in report.findings] == [("category_gaps", 3, [4, 5, 6])]
    expected = {"images": 4, "annotations": 8, "objects": 8, "crowds": 0, "categories": 2, "num_classes": 3}
    assert {key: report.summary[key] for key in expected} == expected
    assert report.summary["sizes_of_objects"]["small"] == "100.0%"
    assert report.summary["objects_of_category"] == {"blue": 4, "red": 4}
    assert report.summary["longer_sides"] == {"least": 64.0, "median": 72.0, "most": 80.0}


def changed(place: str, number: int, **values):
    def change(content: dict, root) -> None:
        content[place][number].update(values)

    return change


def without(place: str, number: int, key: str):
    return lambda content, root: content[place][number].pop(key)


def repeated(place: str, **values):
    return lambda content, root: content[place].append({**copy.deepcopy(content[place][0]), **values})


def on_disk(action):
    return lambda content, root: action(root / "set")


EMPTY_MASK = {"size": [64, 80], "counts": [64 * 80]}
DEFECTS = {
    "image_id": repeated("images", file_name="3.jpg"),
    "image_fields": without("images", 0, "file_name"),
    "image_size": changed("images", 0, width=90),
    "missing_file": on_disk(lambda folder: (folder / "0.jpg").unlink()),
    "broken_file": on_disk(lambda folder: (folder / "0.jpg").write_bytes(b"no picture")),
    "same_file_name": repeated("images", id=99),
    "same_picture": on_disk(lambda folder: shutil.copy(folder / "0.jpg", folder / "2.jpg")),
    "category_fields": without("categories", 0, "name"),
    "category_name": repeated("categories", id=8),
    "category_unused": lambda content, root: content["categories"].append({"id": 8, "name": "green"}),
    "category_unknown": changed("annotations", 0, category_id=5),
    "image_unknown": changed("annotations", 0, image_id=5),
    "annotation_id": changed("annotations", 0, id=2),
    "same_annotation": repeated("annotations", id=99),
    "box_form": changed("annotations", 0, bbox=[1, 2, float("nan"), 4]),
    "box_empty": changed("annotations", 0, bbox=[1, 2, 0, 4]),
    "box_outside": changed("annotations", 0, bbox=[200, 2, 3, 4]),
    "box_beyond": changed("annotations", 0, bbox=[60, 2, 40, 4]),
    "mask_missing": without("annotations", 0, "segmentation"),
    "mask_invalid": changed("annotations", 0, segmentation={"size": [9, 9], "counts": [81]}),
    "mask_empty": changed("annotations", 0, segmentation=EMPTY_MASK),
}
ALSO = {  # what one defect brings along
    "image_fields": {"image_unknown"},
    "image_id": {"same_file_name", "image_size"},
    "same_file_name": {"no_objects"},
    "category_fields": {"category_unknown", "no_objects"},
    "category_name": {"category_unused"},
}


@pytest.mark.parametrize("kind", DEFECTS)
def test_each_defect(kind, sound):
    root, content = sound
    DEFECTS[kind](content, root)
    found = kinds(content, root)
    assert kind in found and found - {kind} <= ALSO.get(kind, set())


def test_images_without_objects_are_a_note(tmp_path):
    content = write_coco(tmp_path, empty=(2,))
    report = check(content, str(tmp_path / "set"), "set")
    assert not report.problems
    assert [f.examples for f in report.findings if f.kind == "no_objects"] == [[12]]


def test_the_sheet_shows_the_boxes(sound):
    root, content = sound
    sheet = contact_sheet(content, str(root / "set"), count=1, columns=1)
    assert sheet is not None
    scale = 600 / 80
    plain = cv2.resize(cv2.imread(str(root / "set" / "0.jpg")), None, fx=scale, fy=scale).astype(int)
    x, y, w, h = (int(v * scale) for v in content["annotations"][0]["bbox"])
    changed = abs(sheet[: plain.shape[0]].astype(int) - plain).max(axis=2) > 40
    assert changed[y : y + h, x : x + w].mean() > 0.5  # tinted
    assert contact_sheet({**content, "images": []}, str(root / "set")) is None


@pytest.mark.parametrize(("text", "message"), [("{", "is not a JSON file"), ("[]", 'has no list "images"')])
def test_files_that_are_no_annotations(text, message, tmp_path):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(ValueError, match=message):
        load(str(tmp_path / "a.json"))
    with pytest.raises(FileNotFoundError, match="no annotation file"):
        load(str(tmp_path / "b.json"))


def test_a_report_is_json(sound):
    root, content = sound
    content["annotations"][0]["bbox"] = [1, 2, 0, 4]
    report = json.loads(json.dumps(check(content, str(root / "set"), "set").as_dict()))
    assert {"kind": "box_empty", "is_problem": True, "count": 1, "examples": [1]}.items() <= report["findings"][
        -1
    ].items()
