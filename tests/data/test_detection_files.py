"""Detections that a test wrote are read back as they were, or refused in a sentence."""

from __future__ import annotations

import json
import logging
import shutil

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
    sizes = {10: [64, 80], 11: [64, 64]}
    masks = [{**e, "segmentation": {"size": sizes[e["image_id"]], "counts": str(i)}} for i, e in enumerate(FOUND)]
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


@pytest.fixture
def predicted(tmp_path, coco):
    """Folders -> what is read of a prediction on their images, one detection in each, with the annotations' folder known."""

    def read(*folders: str, **changes: object) -> dict:
        paths = [path for folder in folders for path in sorted((tmp_path / folder).glob("*.jpg"))]
        images = [{"id": i, "file_name": str(path), **changes} for i, path in enumerate(paths, start=10)]
        found = [{**FOUND[0], "image_id": image["id"]} for image in images]
        write(tmp_path, predictions=found, images={"images": images})
        return read_detections(str(tmp_path), coco, img_dir=str(tmp_path / "set"))

    return read


def other_images(tmp_path) -> None:
    """The folder "other", of images of the same names and sizes as those of "set"."""
    write_coco(tmp_path, "other", images=3)
    for path in (tmp_path / "other").glob("*.jpg"):
        path.write_bytes((tmp_path / "set" / path.name).read_bytes() + b"of another image")


def test_images_of_the_same_names_in_another_folder_are_refused(tmp_path, predicted):
    other_images(tmp_path)
    with pytest.raises(ValueError, match=r"image 10 is .*other/0.jpg, and .* is .*set/0.jpg, which is another image"):
        predicted("other")


def test_a_copy_of_the_folder_counts_as_the_folder(tmp_path, predicted):
    shutil.copytree(tmp_path / "set", tmp_path / "copy")
    assert set(predicted("copy")) == set(predicted("set")) == {10, 11, 12}
    shutil.move(tmp_path / "copy", tmp_path / "moved")
    write(tmp_path, images={"images": [{"id": 10, "file_name": "copy/0.jpg"}]})  # from where nobody is now
    coco = load_coco(str(tmp_path / "set.json"))
    assert len(read_detections(str(tmp_path), coco, img_dir=str(tmp_path / "set"))) == 3


@pytest.mark.parametrize("folders", [("other", "set"), ("set", "other"), ("other", "copy")])
def test_of_several_folders_the_annotations_own_counts(tmp_path, predicted, folders, caplog):
    other_images(tmp_path)
    shutil.copytree(tmp_path / "set", tmp_path / "copy")
    assert {id: len(found) for id, found in predicted(*folders).items()} == {10: 1, 11: 1, 12: 1}
    assert "3 images are none of the annotations' and are left out, for example" in caplog.text
    assert "of images that the annotations do not have" not in caplog.text


def test_images_that_were_not_predicted_on_are_counted(tmp_path, coco, caplog):
    write(tmp_path, predictions=FOUND[:1], images={"images": [{"id": 10, "file_name": "0.jpg"}]})
    assert set(read_detections(str(tmp_path), coco)) == {10}
    assert "of the annotations, 2 images are not among its images, for example 1.jpg" in caplog.text
    write(tmp_path, predictions=[], images={"images": []})
    with pytest.raises(ValueError, match="lists no image: none of what was predicted on could be used"):
        read_detections(str(tmp_path), coco)


def test_images_and_masks_of_other_sizes_are_refused(tmp_path, coco, predicted):
    with pytest.raises(ValueError, match=r"0.jpg is of 64 x 80 pixels .* 0.jpg, of 80 x 64: .* turned or scaled"):
        predicted("set", width=64, height=80)
    for size, is_refused in (([64, 80], False), ([128, 160], True)):
        masks = [{**FOUND[0], "segmentation": {"size": size, "counts": "0"}}]
        folder = write(tmp_path, bbox=FOUND[:1], segm=masks)
        if is_refused:
            with pytest.raises(ValueError, match="the mask of entry 0 is of 160 x 128 pixels .* 0.jpg .* of 80 x 64"):
                read_detections(folder, coco)
        else:
            assert len(read_detections(folder, coco)) == 1


def test_categories_that_mean_others_are_refused(tmp_path, coco):
    for name, is_refused in (("Blue", False), ("class 7", False), ("red", True)):
        write(
            tmp_path,
            predictions=FOUND,
            images={"images": [{"id": 10, "file_name": "0.jpg"}], "categories": [{"id": 7, "name": name}]},
        )
        if is_refused:
            with pytest.raises(ValueError, match="its category 7 is red, and that of the annotations is blue"):
                read_detections(str(tmp_path), coco)
        else:
            assert len(read_detections(str(tmp_path), coco)) == 2


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
        ({"bbox": "[" + "9" * 5000 + "]"}, "is not a JSON file: it holds a whole number of more than 4,300 digits.?$"),
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
