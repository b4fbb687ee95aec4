"""tools/check_dataset.py: its exit status, its report and its sheet."""

import json

import cv2

from tests.support.helpers import write_annotations, write_coco


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
    assert code == 1 and "PROBLEM: 1 image files that do not exist (1.jpg)" in printed
    (report,) = json.loads((tmp_path / "r.json").read_text())
    assert {f["kind"] for f in report["findings"] if f["is_problem"]} == {"missing_file", "category_unknown"}


def test_another_form_with_what_did_not_fit(run_tool, tmp_path):
    """YOLO's labels: objects of no size are a problem, each named, and the rest are notes."""
    write_coco(tmp_path, "images", images=4)
    labels = {"0": "0 0.5 0.5 0.2 0.4\n", "1": "1 0.5 0.5 0 0.4\n0 0.2 0.2 0.1 0.1\n", "2": "1 0.5 0.5 0.3 0\n"}
    (tmp_path / "labels").mkdir()
    for name, text in labels.items():
        (tmp_path / "labels" / f"{name}.txt").write_text(text)
    (tmp_path / "classes.txt").write_text("red\nblue\n")
    (tmp_path / "images.json").unlink()
    code, printed = run_tool("check_dataset", "--ann-file", tmp_path, "--json", tmp_path / "r.json")
    assert code == 1 and "PROBLEM: 2 boxes without width or height" in printed
    assert f"{tmp_path}/labels/1.txt, line 1" in printed and f"{tmp_path}/labels/2.txt, line 1" in printed
    assert "note: images without a label file, taken as without objects: 1, first 3.jpg" in printed
    (report,) = json.loads((tmp_path / "r.json").read_text())
    assert report["summary"]["objects"] == 2 and report["notes"][0].startswith("images without a label file")


def test_the_sets_of_a_configuration(run_tool, tmp_path):
    write_coco(tmp_path)
    config = tmp_path / "my.yaml"
    config.write_text(
        f"DATASETS: {{TRAIN: \"('mine',)\", DEFINITIONS: {{mine: {{IMG_DIR: {tmp_path}/set, ANN_FILE: {tmp_path}/set.json}}}}}}"
    )
    code, printed = run_tool("check_dataset", "--config-file", config)
    assert code == 0 and printed.startswith("mine\n")
    code, printed = run_tool("check_dataset", "--ann-file", tmp_path / "set.json")
    assert code == 1 and "Give --ann-file and --img-dir, or --config-file." in printed
