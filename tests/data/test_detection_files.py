"""Detections that a test wrote are read back as they were, or refused in a sentence."""

from __future__ import annotations

import json
import logging

import pytest

from maskrcnn_benchmark.data.datasets.coco_tree import load_coco
from maskrcnn_benchmark.data.detection_files import read_detections
from tests.support.helpers import write_coco

FOUND = [
    {"image_id": 10, "category_id": 7, "bbox": [1.0, 2.0, 8.0, 9.0], "score": 0.9},
    {"image_id": 10, "category_id": 3, "bbox": [1.0, 2.0, 8.0, 9.0], "score": 0.2},
    {"image_id": 11, "category_id": 3, "bbox": [0.0, 0.0, 5.0, 5.0], "score": 0.5},
]


@pytest.fixture
def coco(tmp_path):
    write_coco(tmp_path, images=3)
    return load_coco(str(tmp_path / "set.json"))


def write(folder, **contents) -> str:
    for name, content in contents.items():
        (folder / f"{name}.json").write_text(content if isinstance(content, str) else json.dumps(content))
    return str(folder)


def test_detections_are_grouped_by_image_with_their_masks(tmp_path, coco):
    masks = [{**entry, "segmentation": {"size": [1, 2], "counts": str(i)}} for i, entry in enumerate(FOUND)]
    folder = write(tmp_path, bbox=FOUND, segm=masks)
    expected = {10: [{**masks[0]}], 11: [{**masks[2]}]}
    assert read_detections(folder, coco, 0.5) == expected
    assert [len(found) for found in read_detections(folder, coco).values()] == [2, 1]


@pytest.mark.parametrize("name", ["bbox", "predictions", "of another program"])
def test_a_folder_or_a_file_of_detections(tmp_path, coco, name):
    folder = tmp_path / "found"
    folder.mkdir()
    write(folder, **{name: FOUND})
    expected = {10: FOUND[:2], 11: FOUND[2:]}
    assert read_detections(str(folder / f"{name}.json"), coco) == expected
    if name != "of another program":
        assert read_detections(str(folder), coco) == expected


def test_predictions_that_number_their_images_themselves_are_refused(tmp_path, coco):
    """Their 10 would be another image than that of the annotations, 0.jpg."""
    for file, is_refused in (("photos/0.jpg", False), ("photos/7.jpg", True)):
        write(tmp_path, predictions=FOUND, images={"images": [{"id": 10, "file_name": file}]})
        if not is_refused:
            assert set(read_detections(str(tmp_path), coco)) == {10, 11}
            continue
        with pytest.raises(ValueError, match="image 10 is photos/7.jpg, .* is 0.jpg. Predict with --ann-file"):
            read_detections(str(tmp_path), coco)


def test_ids_as_text_are_the_annotations_own(tmp_path, coco):
    folder = write(tmp_path, bbox=[{**FOUND[0], "image_id": "10", "category_id": "7", "score": "0.9"}])
    assert read_detections(folder, coco, 0.5) == {10: [FOUND[0]]}


def test_detections_of_other_images_are_counted(tmp_path, coco, caplog):
    folder = write(tmp_path, bbox=[*FOUND, {**FOUND[0], "image_id": 99}])
    with caplog.at_level(logging.WARNING):
        assert set(read_detections(folder, coco)) == {10, 11}
    assert "1 detection is of images that the annotations do not have" in caplog.text


@pytest.mark.parametrize(
    ("contents", "said"),
    [
        ({}, "`mrb test` writes it"),
        ({"bbox": "[1, "}, "is not a JSON file"),
        ({"bbox": "[" * 100_000}, "is not a JSON file"),
        ({"bbox": "[" + "9" * 5000 + "]"}, "is not a JSON file"),
        ({"bbox": {"a": 1}}, "holds no detections"),
        ({"bbox": [3]}, "holds no detections"),
        ({"bbox": [{**FOUND[0], "bbox": [1, 2, 3]}]}, "entry 0 is no detection"),
        ({"bbox": [FOUND[0], {**FOUND[1], "score": None}]}, "entry 1 is no detection"),
        ({"bbox": [{**FOUND[0], "category_id": 99}]}, "is of category 99"),
        ({"bbox": [FOUND[0], {**FOUND[1], "score": 62.9}]}, "entry 1 has the score 62.9; scores are from 0 to 1"),
        ({"bbox": [{**FOUND[0], "score": -0.5}]}, "entry 0 has the score -0.5"),
        ({"bbox": FOUND, "segm": FOUND[:1]}, "holds 1 detection and bbox.json 3"),
    ],
)
def test_what_is_no_file_of_detections(tmp_path, coco, contents, said):
    with pytest.raises((ValueError, FileNotFoundError), match=said):
        read_detections(write(tmp_path, **contents), coco)
