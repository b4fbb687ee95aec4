"""tools/check_dataset.py: its exit status, its report and its sheet."""

import json
import re

import cv2
import pytest
from PIL import Image

from maskrcnn_benchmark.data import formats
from maskrcnn_benchmark.data.formats.content import BROKEN as BROKEN_IMAGES
from tests.support.helpers import write_annotations, write_coco
from tests.support.real_sets import AERIAL, BCCD, needs


def test_a_sound_set_and_a_broken_one(run_tool, tmp_path):
    content = write_coco(tmp_path)
    words = ("--ann-file", tmp_path / "set.json", "--img-dir", tmp_path / "set")
    code, printed = run_tool("check_dataset", *words, "--sheet", tmp_path / "s.jpg", "--json", tmp_path / "r.json")
    assert code == 0 and "Fine." in printed and "PROBLEM" not in printed
    assert cv2.imread(str(tmp_path / "s.jpg")) is not None
    (tmp_path / "set" / "1.jpg").unlink()
    content["annotations"][0]["category_id"] = 5
    write_annotations(tmp_path, "set", content)
    code, printed = run_tool("check_dataset", *words, "--json", tmp_path / "r.json")
    assert code == 1 and "PROBLEM: image files that do not exist: 1 (1.jpg)" in printed
    (report,) = json.loads((tmp_path / "r.json").read_text())
    assert {f["kind"] for f in report["findings"] if f["is_problem"]} == {"missing_file", "category_unknown"}


def test_what_is_broken_is_said_without_a_named_folder_too(run_tool, tmp_path):
    content = write_coco(tmp_path)
    first, second, third, *_ = content["annotations"]
    del first["bbox"]
    second["image_id"], third["category_id"] = 777, 9
    (tmp_path / "set" / "set.json").write_text(json.dumps(content))
    for words in ((), ("--img-dir", tmp_path / "set")):
        code, printed = run_tool("check_dataset", tmp_path / "set" / "set.json", *words)
        assert code == 1 and printed.count("PROBLEM") >= 3, printed


@pytest.mark.parametrize("words", [(), ("--img-dir", "set")])
def test_a_file_without_objects_is_a_problem_unless_it_has_no_list_of_them(run_tool, tmp_path, words):
    """As COCO's own test sets, of which `mrb convert` leaves the list out too."""
    content = write_coco(tmp_path)
    file = tmp_path / "set" / "x.json"
    words = [tmp_path / word if word == "set" else word for word in words]
    for annotations, expected, said in (
        (
            {"annotations": []},
            1,
            "PROBLEM: lists of the file that are empty: there is nothing to train on: 1 (annotations)",
        ),
        ({}, 0, 'note: files without "annotations"'),
    ):
        file.write_text(json.dumps({key: content[key] for key in ("images", "categories")} | annotations))
        code, printed = run_tool("check_dataset", file, *words)
        assert code == expected and said in printed, printed
        formats.write(formats.read(str(file)), "coco", str(tmp_path / "out.json"))
        assert ("annotations" in json.loads((tmp_path / "out.json").read_text())) == bool(annotations)


def test_the_sets_of_a_configuration(run_tool, tmp_path):
    write_coco(tmp_path)
    config = tmp_path / "my.yaml"
    config.write_text(
        f"DATASETS: {{TRAIN: \"('mine',)\", DEFINITIONS: {{mine: {{IMG_DIR: {tmp_path}/set, ANN_FILE: {tmp_path}/set.json}}}}}}"
    )
    for words in (("--config-file", config), (config,), (config, "DATASETS.TEST", "('mine',)")):
        code, printed = run_tool("check_dataset", *words)
        assert code == 0 and printed.startswith("mine\n")
        assert ("note: mine is trained on as well as tested on" in printed) == ("DATASETS.TEST" in words)
    code, printed = run_tool("check_dataset", "--ann-file", tmp_path / "set.json")
    assert code == 1 and "set.json: none of its images is in" in printed and "--img-dir" in printed


def test_classes_of_one_name_are_counted_by_themselves(run_tool, tmp_path):
    content = write_coco(tmp_path)
    counts = [sum(a["category_id"] == id for a in content["annotations"]) for id in (3, 7)]
    content["categories"] = [{"id": 3, "name": "a"}, {"id": 7, "name": "a"}]
    write_annotations(tmp_path, "set", content)
    _, printed = run_tool("check_dataset", tmp_path / "set.json", "--img-dir", tmp_path / "set")
    line = next(line for line in printed.splitlines() if "objects of category" in line)
    assert f"a: {counts[0]}" in line and f"a (2): {counts[1]}" in line
    assert "PROBLEM: names that several categories have; they are numbered: 1 (a)" in printed


def test_the_table_of_suggestions_follows(run_tool, tmp_path):
    write_coco(tmp_path)
    code, printed = run_tool("check_dataset", tmp_path / "set.json", "--img-dir", tmp_path / "set")
    assert code == 0 and "What mrb suggest would choose" in printed
    assert re.search(r"MODEL.ROI_BOX_HEAD.NUM_CLASSES +3 +2 classes and the background", printed)


@needs(BCCD)
def test_annotations_of_pascal_voc(run_tool, tmp_path):
    """Blood cells: the two boxes without area are named with their file."""
    code, printed = run_tool("check_dataset", BCCD, "--skip-images", "--json", tmp_path / "r.json")
    assert code == 1
    assert (
        "PROBLEM: boxes of no size, left out: 2 (" in printed
        and "BloodImage_00338.xml: RBC 504, 337, 504, 337" in printed
    )
    assert printed.split("PROBLEM: boxes")[1].splitlines()[0].count(".xml") == 2
    (report,) = json.loads((tmp_path / "r.json").read_text())
    texts = "".join(path.read_text() for path in (BCCD / "Annotations").iterdir())
    assert report["summary"]["objects"] == texts.count("<object>") - 2
    config = tmp_path / "own.yaml"
    config.write_text(f'DATASETS:\n  DEFINITIONS: {{cells: {{ANN_FILE: "{BCCD}"}}}}\n  TRAIN: ("cells",)\n')
    code, printed = run_tool("check_dataset", BCCD, "--split", "val", "--skip-images")
    listed = (BCCD / "ImageSets/Main/val.txt").read_text().split()
    assert f"images: {len(listed)}\n" in printed
    keys = ("DATASETS.TEST", "()")
    code, printed = run_tool("check_dataset", "--config-file", config, "--skip-images", *keys)
    assert code == 1 and "cells" in printed and "PROBLEM: boxes of no size, left out: 2" in printed


@needs(AERIAL)
def test_labels_of_yolo(run_tool):
    code, printed = run_tool("check_dataset", AERIAL / "val.txt")
    assert code == 0 and "images: 18" in printed and "INPUT.MAX_SIZE_TEST" in printed


def test_broken_labels_of_yolo(run_tool, tmp_path):
    """An orphan, a class beyond the names, a number beyond 1: counted, or refused with file and line."""
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
    for name in ("a", "b", "c"):
        Image.new("RGB", (40, 30)).save(tmp_path / "images" / f"{name}.png")
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    (tmp_path / "labels/a.txt").write_text("0 0.5 0.5 0.2 0.2\n1 0.95 0.5 0.2 0.2\n1 1.02 0.5 0.2 0.2\n")
    (tmp_path / "labels/b.txt").write_text("")
    (tmp_path / "labels/z.txt").write_text("0 0.5 0.5 0.2 0.2\n")
    code, printed = run_tool("check_dataset", tmp_path)
    assert code == 1, printed
    for said in (
        "PROBLEM: label files without an image: 1 (",
        "note: empty label files: images without objects: 1 (",
        "note: images without a label file, taken as without objects: 1 (",
    ):
        assert said in printed
    assert (
        "PROBLEM: objects with numbers outside of 0 to 1, cut at the image's border: 1 (" in printed
        and "a.txt" in printed
    )
    (tmp_path / "labels/c.txt").write_text("0 0.5 0.5 0.2 0.2\n7 0.5 0.5 0.2 0.2\n")
    code, printed = run_tool("check_dataset", tmp_path)
    assert code == 1 and "c.txt, line 2: class 7" in printed and "Traceback" not in printed


def test_reports_and_sheets_replace_no_annotations_and_no_images(run_tool, tmp_path):
    (tmp_path / "images").mkdir()
    Image.new("RGB", (40, 30)).save(tmp_path / "images" / "a.png")
    entry = {"id": 1, "file_name": "a.png", "width": 40, "height": 30}
    (tmp_path / "set.json").write_text(json.dumps({"images": [entry], "categories": [], "annotations": []}))
    before = {path: path.read_bytes() for path in (tmp_path / "set.json", tmp_path / "images" / "a.png")}
    words = ("check_dataset", tmp_path / "set.json", "--img-dir", tmp_path / "images")
    for option, path, said in (
        ("--json", tmp_path / "set.json", "is there already and is not a report of this command, so it stays"),
        ("--json", tmp_path / "images" / "a.png", "is there already and is not a report of this command, so it stays"),
        (
            "--sheet",
            "sheet.abc",
            "--sheet must end in one of .jpg, .jpeg, .png, .bmp, .webp, .tif, .tiff; got sheet.abc.",
        ),
        ("--sheet", tmp_path / "images" / "a.png", "itself, which would be replaced"),
    ):
        code, printed = run_tool(*words, option, path)
        assert code == 1 and said in printed, printed
    assert {path: path.read_bytes() for path in before} == before
    odd = {"images": [None, {**entry, "file_name": 7}, entry], "categories": [], "annotations": []}
    (tmp_path / "odd.json").write_text(json.dumps(odd))
    code, printed = run_tool("check_dataset", tmp_path / "odd.json", *words[2:], "--sheet", tmp_path / "sheet.png")
    assert code == 1 and "PROBLEM" in printed and (tmp_path / "sheet.png").is_file()
    for _ in range(2):
        run_tool(*words, "--json", tmp_path / "report.json")
    assert json.loads((tmp_path / "report.json").read_text())[0]["summary"]["images"] == 1


BROKEN = {  # what is written beside two sound images, and what is said of it, images that cannot be read first
    "yolo": ({"labels/a.txt": "0 0.5 0.5 x 0.2\n0 0.5 0.5 0.2 0.2\n9 0.5 0.5 0.2 0.2\n1 0.5\n"}, 3),
    "voc": ({"a.xml": "<annotation>", "b.xml": "<annotation><object><name>cat</name></object></annotation>"}, 2),
    "labelme": (
        {"a.json": '{"shapes": 3}', "b.json": json.dumps({"shapes": [{"label": "cat", "points": [[1, "x"]]}]})},
        2,
    ),
    "via": (
        {
            "v.json": json.dumps(
                {
                    "a": {"filename": "images/a.png", "regions": 3},
                    "b": {"filename": "images/b.png", "regions": [{"shape_attributes": {"name": "rect"}}]},
                    "x": {"filename": "images/x.png", "regions": []},
                    "y": {"filename": "images/y.png", "regions": []},
                }
            )
        },
        2,
    ),
    "csv": (
        {
            "t.csv": "images/a.png,1,1,x,9,cat\nimages/b.png,1,1,9,9,cat\nimages/b.png,1,1,9,9,\nimages/x.png,1,1,9,9,cat\n"
            "images/x.png,1,1,9,9,cat\nimages/y.png,,,,,\n"
        },
        2,
    ),
    "coco": ({"c.json": '{"categories": [], "images": [%s]}'}, 0),
}


@pytest.mark.parametrize("form", BROKEN)
def test_nothing_that_is_broken_ends_the_check(run_tool, tmp_path, form):
    """All images and labels that cannot be used are counted, the first of them named with what is wrong."""
    files, count = BROKEN[form]
    listed = ", ".join(f'{{"id": {i}, "file_name": "images/{n}.png"}}' for i, n in enumerate("abxy"))
    for name in "abxy":
        (tmp_path / "images").mkdir(exist_ok=True)
        Image.new("RGB", (40, 30)).save(tmp_path / "images" / f"{name}.png")
    for name in "xy":
        (tmp_path / "images" / f"{name}.png").write_bytes(b"")
    if form == "yolo":
        (tmp_path / "classes.txt").write_text("cat\ndog\n")
    texts = {"voc": "<annotation/>", "labelme": '{"shapes": []}'}
    for name in "xy" if form in texts else "":
        files = {**files, f"{name}.{'xml' if form == 'voc' else 'json'}": texts[form]}
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text % listed if form == "coco" else text)
    source = {"via": "v.json", "csv": "t.csv", "coco": "c.json", "yolo": ""}.get(form, "")
    words = ["--img-dir", tmp_path / "images"] if form in texts else []
    code, printed = run_tool("check_dataset", tmp_path / source, *words)
    assert code == 1 and "Traceback" not in printed
    assert "PROBLEM: image files that cannot be read, left out: 2 (" in printed
    assert "x.png cannot be read: it is no image" in printed and "y.png cannot be read" in printed
    assert (f"PROBLEM: labels that cannot be used; training and tests refuse them: {count} (" in printed) == (count > 0)
    where = {"images": str(words[1]) if words else ""}
    if count == 0:
        assert formats.read(str(tmp_path / source), **where).notes.counts[BROKEN_IMAGES] == 2
    else:  # for whoever wants to use them the first label is the end
        with pytest.raises(ValueError):
            formats.read(str(tmp_path / source), **where)
