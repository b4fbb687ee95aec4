"""Checking data sets: each defect is found, named and nothing else; a sound set has none."""

from __future__ import annotations

import copy
import json
import random
import shutil

import cv2
import pytest
from PIL import Image

from maskrcnn_benchmark.data.check import check, contact_sheet, load
from maskrcnn_benchmark.data.datasets import COCODataset
from tests.support.helpers import write_annotations, write_coco


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


def as_corners(annotation: dict) -> None:
    x, y, width, height = annotation["bbox"]
    annotation["bbox"] = [x, y, x + width, y + height]


def as_centre(annotation: dict) -> None:
    x, y, width, height = annotation["bbox"]
    annotation["bbox"] = [x + width / 2, y + height / 2, width, height]


def exchange_masks(annotations: list[dict]) -> None:
    """Those of the first two objects that lie apart."""
    first = annotations[0]
    other = next(a for a in annotations if a["image_id"] == first["image_id"] and a is not first)
    first["segmentation"], other["segmentation"] = other["segmentation"], first["segmentation"]


EMPTY_MASK = [[200, 200, 210, 200, 210, 210]]
DEFECTS = {
    "image_id": repeated("images", file_name="3.jpg"),
    "image_fields": without("images", 0, "file_name"),
    "image_size": changed("images", 0, width=90),
    "missing_file": on_disk(lambda folder: (folder / "0.jpg").unlink()),
    "broken_file": on_disk(lambda folder: (folder / "0.jpg").write_bytes(b"no picture")),
    "same_file_name": repeated("images", id=99),
    "same_picture": on_disk(lambda folder: shutil.copy(folder / "0.jpg", folder / "2.jpg")),
    "nothing": lambda content, root: content.update(annotations=[]),
    "not_annotated": lambda content, root: content.pop("annotations"),
    "category_fields": without("categories", 0, "name"),
    "category_name": repeated("categories", id=8),
    "category_placeholder": lambda content, root: content["categories"].insert(0, {"id": 0, "name": "red"}),
    "category_unused": lambda content, root: content["categories"].append({"id": 8, "name": "green"}),
    "category_unknown": changed("annotations", 0, category_id=5),
    "image_unknown": changed("annotations", 0, image_id=5),
    "annotation_id": changed("annotations", 0, id=2),
    "same_annotation": repeated("annotations", id=99),
    "box_form": changed("annotations", 0, bbox=[1, 2, float("nan"), 4]),
    "box_fractions": lambda content, root: [a.update(bbox=[0.1, 0.2, 0.3, 0.4]) for a in content["annotations"]],
    "box_corners": lambda content, root: [as_corners(a) for a in content["annotations"]],
    "box_centres": lambda content, root: [as_centre(a) for a in content["annotations"]],
    "crowds_alone": lambda content, root: [a.update(iscrowd=1) for a in content["annotations"]],
    "mask_elsewhere": lambda content, root: exchange_masks(content["annotations"]),
    "box_empty": changed("annotations", 0, bbox=[1, 2, 0, 4]),
    "box_outside": changed("annotations", 0, bbox=[200, 2, 3, 4]),
    "box_beyond": changed("annotations", 0, bbox=[60, 2, 40, 4]),
    "mask_missing": without("annotations", 0, "segmentation"),
    "mask_invalid": changed("annotations", 0, segmentation={"size": [9, 9], "counts": [81]}),
    "image_size_form": changed("images", 0, width=80.0),
    "image_huge": changed("images", 0, width=10**6, height=10**6),
    "id_form": changed("annotations", 0, image_id="10"),
    "file_name_form": lambda content, root: content["images"][0].update(path="/data/0.jpg", file_name=None),
    "info_form": lambda content, root: content.update(info=None),
    "annotation_form": lambda content, root: content["annotations"].append(None),
    "annotation_id_form": changed("annotations", 0, id=0),
    "area": without("annotations", 0, "area"),
    "iscrowd": changed("annotations", 0, iscrowd=None),
    "box_text": lambda content, root: content["annotations"][0].update(
        bbox=[str(v) for v in content["annotations"][0]["bbox"]], area=str(content["annotations"][0]["area"])
    ),
    "mask_form": lambda content, root: content["annotations"][0].update(
        segmentation=content["annotations"][0]["segmentation"][0]
    ),
    "keypoints_form": changed("annotations", 0, keypoints=[1, 2]),
    "keypoints_mirror": changed("annotations", 0, keypoints=[1, 2, 2]),
    "keypoints_none": changed("annotations", 0, keypoints=[0, 0, 0]),
    "keypoints_unseen": lambda content, root: [
        annotation.update(keypoints=[5, 6, 2] if annotation["image_id"] == 10 else [0, 0, 0])
        for annotation in content["annotations"]
    ],
    "category_spelling": lambda content, root: content["categories"].append(
        {"id": 8, "name": f" {content['categories'][0]['name'].upper()}"}
    ),
    "category_text": changed("categories", 0, name="\ud800"),
    "category_name_form": changed("categories", 0, name=5),
    "mask_empty": changed("annotations", 0, segmentation=EMPTY_MASK),
}
ALSO = {  # what one defect brings along
    "image_fields": {"image_unknown"},
    "image_id": {"same_file_name", "image_size"},
    "same_file_name": {"no_objects"},
    "category_fields": {"category_unknown", "no_objects"},
    "category_name": {"category_unused"},
    "category_spelling": {"category_unused"},
    "crowds_alone": {"category_unused", "no_objects"},
    "box_beyond": {"mask_elsewhere"},
    "keypoints_none": {"keypoints_mirror"},
    "keypoints_unseen": {"keypoints_mirror"},
}


@pytest.mark.parametrize("kind", DEFECTS)
def test_each_defect(kind, sound):
    root, content = sound
    DEFECTS[kind](content, root)
    found = kinds(content, root)
    assert kind in found and found - {kind} <= ALSO.get(kind, set())


def test_a_few_boxes_that_leave_their_image_are_no_corners(sound):
    root, content = sound
    for annotation in content["annotations"][:3]:
        annotation.update(bbox=[60, 2, 70, 4], segmentation=[[60, 2, 80, 2, 80, 6, 60, 6]])
    assert kinds(content, root) == {"box_beyond"}


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


def test_a_set_with_text_for_ids_throughout_has_the_sizes_of_its_objects(sound):
    """Whatever is mended counts as mended."""
    root, content = sound
    for annotation in content["annotations"]:
        annotation.update(image_id=str(annotation["image_id"]), area=None)
    report = check(content, str(root / "set"), "set")
    assert {f.kind: f.count for f in report.problems} == {"id_form": 8, "area": 8}
    assert report.summary["objects"] == 8 and report.summary["sizes_of_objects"]["small"] == "100.0%"


def test_the_category_that_roboflow_adds_is_none(sound):
    root, content = sound
    content["categories"].insert(0, {"id": 0, "name": "red", "supercategory": "none"})
    report = check(content, str(root / "set"), "set")
    assert not report.problems and report.summary["num_classes"] == 3


def test_photographs_annotated_as_stored_are_a_note_and_shown_so(sound):
    root, content = sound
    image = Image.new("RGB", (80, 64), (200, 200, 200))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(root / "set" / "0.jpg", exif=exif)
    report = check(content, str(root / "set"), "set")
    assert not report.problems and [f.examples for f in report.findings if f.kind == "unturned"] == [["0.jpg"]]
    assert contact_sheet(content, str(root / "set"), count=1, columns=1).shape == (480, 600, 3)
    content["images"][0].update(width=64, height=80)
    assert contact_sheet(content, str(root / "set"), count=1, columns=1).shape == (750, 600, 3)


def mutated(rng: random.Random, value: object, depth: int = 0) -> object:
    """A JSON value with something in it replaced."""
    odd = [
        None,
        True,
        "",
        "7",
        -1,
        0,
        1.5,
        1e300,
        10**30,
        float("nan"),
        [],
        {},
        [[]],
        [1, 2],
        {"size": [1], "counts": 3},
        "x\0y",
    ]
    if isinstance(value, dict) and value and depth < 3 and rng.random() < 0.9:
        key = rng.choice(list(value))
        changed = {**value, key: mutated(rng, value[key], depth + 1)}
        if rng.random() < 0.1:
            del changed[key]
        return changed
    if isinstance(value, list) and value and depth < 4 and rng.random() < 0.9:
        place = rng.randrange(len(value))
        return [*value[:place], mutated(rng, value[place], depth + 1), *value[place + 1 :]]
    return rng.choice(odd)


def test_no_content_ends_the_check_in_a_traceback(sound):
    root, content = sound
    content["annotations"][0]["keypoints"] = [1, 2, 2]
    for seed in range(400):
        rng = random.Random(seed)
        changed_content = mutated(rng, mutated(rng, content))
        (root / "odd.json").write_text(json.dumps(changed_content))
        try:
            read = load(str(root / "odd.json"))
        except ValueError:
            continue
        report = check(read, str(root / "set"), "set", read_images=seed % 10 == 0)
        json.dumps(report.as_dict()), report.as_text()
        if seed % 10 == 0:
            contact_sheet(read, str(root / "set"), count=2)


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


def test_ids_beyond_64_bits(sound):
    root, content = sound
    for place, key in (("images", "image_id"), ("categories", "category_id")):
        changed = copy.deepcopy(content)
        old = changed[place][0]["id"]
        changed[place][0]["id"] = 10**20
        for annotation in changed["annotations"]:
            annotation[key] = 10**20 if annotation[key] == old else annotation[key]
        assert kinds(changed, root) >= {"id_huge"} and kinds(changed, root) <= {"id_huge", "id_form"}
        with pytest.raises(ValueError, match="larger than an integer of 64 bits"):
            write_annotations(root, "huge", changed)
            COCODataset(str(root / "huge.json"), str(root / "set"), True)


def test_one_object_with_other_keypoints_is_not_laid_to_the_others(sound):
    root, content = sound
    for place, annotation in enumerate(content["annotations"]):
        annotation["keypoints"] = [5, 6, 2] if place == 0 else [5, 6, 2] * 5
    found = check(content, str(root / "set"), "set").findings
    assert [f.examples for f in found if f.kind == "keypoints_form"] == [[1]]
    for annotation in content["annotations"][:-1]:  # the names say how many, though most have others
        annotation["keypoints"] = [5, 6, 2]
    content["categories"][0]["keypoints"] = list("abcde")
    (finding,) = (f for f in check(content, str(root / "set"), "set").findings if f.kind == "keypoints_form")
    assert finding.count == 7


def test_objects_without_visible_keypoints_are_counted(sound):
    root, content = sound
    for annotation in content["annotations"]:
        annotation["keypoints"] = [5, 6, 2, 0, 0, 0] if annotation["id"] == 1 else [0, 0, 0] * 2
    found = {f.kind: f for f in check(content, str(root / "set"), "set").findings}
    assert found["keypoints_unseen"].count == 6 and not found["keypoints_unseen"].is_problem
    content["annotations"][0]["keypoints"] = [0] * 6
    found = {f.kind: f for f in check(content, str(root / "set"), "set").findings}
    assert found["keypoints_none"].count == 8 and found["keypoints_none"].is_problem


def test_a_name_that_is_no_text_can_be_shown(sound):
    root, content = sound
    content["categories"][0]["name"] = "red\ud800"
    report = check(content, str(root / "set"), "set")
    report.as_text().encode()
    (finding,) = report.problems
    assert finding.kind == "category_text" and finding.examples == [r"category 3: 'red\ud800'"]


def test_keypoints_that_share_a_name(sound):
    root, content = sound
    for category in content["categories"]:
        category["keypoints"] = ["left_eye", "right_eye", "left_eye"]
    for annotation in content["annotations"]:
        annotation["keypoints"] = [5, 6, 2] * 3
    assert "keypoints_names" in kinds(content, root)
