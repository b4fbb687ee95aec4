"""Annotations in every form: what is read from files as the tools write them, and what comes back after a conversion."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pycocotools.mask as mask_utils
import pytest
import yaml
from PIL import Image, ImageOps

from maskrcnn_benchmark.cli import convert
from maskrcnn_benchmark.config.node import ConfigError
from maskrcnn_benchmark.data import formats
from maskrcnn_benchmark.data.datasets import COCODataset, PascalVOCDataset
from maskrcnn_benchmark.data.formats import voc
from maskrcnn_benchmark.data.formats.files import join_polygons, write_lines
from tests.support.helpers import write_coco
from tests.support.real_sets import AERIAL, BCCD, COCO, needs

WIDTH, HEIGHT = 200, 100


@pytest.fixture
def images(tmp_path) -> Path:
    """Three images, one of them in a folder with a space."""
    folder = tmp_path / "images"
    for name in ("a.jpg", "b.png", "with space/c.jpg"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (WIDTH, HEIGHT)).save(folder / name)
    return folder


def labels(images: Path, texts: dict[str, str]) -> Path:
    for name, text in texts.items():
        file = images.parent / "labels" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return images.parent


def objects(content: formats.Content) -> list[tuple]:
    """(file name, class, box) of every object."""
    files, names = {i["id"]: i["file_name"] for i in content.images}, content.names()
    return [(files[a["image_id"]], names[a["category_id"]], tuple(a["bbox"])) for a in content.annotations]


# YOLO


def test_yolo_boxes_and_outlines(images):
    folder = labels(images, {"a.txt": "1 0.5 0.5 0.2 0.4\n0 0.1 0.1 0.3 0.1 0.2 0.5\n", "with space/c.txt": ""})
    (folder / "classes.txt").write_text("red car\nbus\n")
    content = formats.read(str(folder))
    assert content.names() == {1: "red car", 2: "bus"}
    assert objects(content) == [("a.jpg", "bus", (80, 30, 40, 40)), ("a.jpg", "red car", (20, 10, 40, 40))]
    assert content.annotations[1]["segmentation"] == [[20, 10, 60, 10, 40, 50]]
    assert content.annotations[1]["area"] == 800
    assert [(i["file_name"], i["width"], i["height"]) for i in content.images] == [
        ("a.jpg", WIDTH, HEIGHT), ("b.png", WIDTH, HEIGHT), ("with space/c.jpg", WIDTH, HEIGHT),
    ]  # fmt: skip
    assert "images without a label file, taken as without objects: 1, first b.png" in content.notes.sentences()
    assert any(s.startswith("empty label files: images without objects: 1") for s in content.notes.sentences())


@pytest.mark.parametrize(
    "line, message",
    [
        ("7 0.5 0.5 0.2 0.4", r"a.txt, line 2: class 7, but there are names for 0 to 1 alone"),
        ("0 0.5 0.5 0.2", r"a.txt, line 2 has 4 numbers; a line has 5 numbers"),
        ("0" + " 0.5" * 1_000_000, r"a.txt, line 2 has 4,000,001 characters; a line has at most 4,000,000, an outline"),
        ("0 0.5 0.5 0.2 0.1 0.9", r"a.txt, line 2 has 6 numbers"),
        ("car 0.5 0.5 0.2 0.1", r"a.txt, line 2 holds something else than numbers"),
        ("0 0.5 nan 0.2 0.1", r"a.txt, line 2 holds a number that is not finite"),
        ("0.5 0.5 0.5 0.2 0.1", r"a.txt, line 2: a class is a whole number"),
        ("-1 0.5 0.5 0.2 0.1", r"a.txt, line 2: a class is a whole number from 0; got -1"),
    ],
)
def test_yolo_lines_that_are_refused(images, line, message):
    folder = labels(images, {"a.txt": f"0 0.5 0.5 0.1 0.1\n{line}\n"})
    (folder / "classes.txt").write_text("car\nbus\n")
    with pytest.raises(ValueError, match=message):
        formats.read(str(folder))


def test_yolo_boxes_that_leave_the_image_are_cut_and_counted(images):
    folder = labels(
        images, {"a.txt": "0 0.0 0.5 0.2 0.4\n0 1.5 0.5 0.1 0.1\n0 0.5 0.5 0 0.1\n0 0 .5 .2 .4\n0 0 .5 .2 .4"}
    )
    (folder / "labels" / "gone.txt").write_text("0 0.5 0.5 0.1 0.1\n")
    content = formats.read(str(folder), classes=("car",))
    assert objects(content) == [("a.jpg", "car", (0, 30, 20, 40)), ("a.jpg", "car", (0, 30, 20, 40))]
    notes = content.notes.counts
    assert notes["objects with numbers outside of 0 to 1, cut at the image's border"] == 1
    assert notes["objects without width or height inside the image, left out"] == 2
    assert notes["lines that repeat another one, left out"] == 1
    assert notes["label files without an image"] == 1


def test_yolo_labels_without_an_image_are_found_in_all_folders_of_labels(images, tmp_path):
    """Also where an image of that name lies elsewhere, or no image beside; of a split in its own folders."""
    (tmp_path / "data.yaml").write_text("train: images/train\nval: images/val\nnames: [car]\n")
    for name in ("train/p/a.jpg", "train/q/b.png", "val/c.jpg"):
        (images / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(images / "a.jpg", images / name)
    labels(images, dict.fromkeys(("train/p/a.txt", "train/q/b.txt", "val/c.txt"), "0 0.5 0.5 0.2 0.4"))

    def others(**keys: str) -> list[str]:
        places = formats.read(str(tmp_path / "data.yaml"), **keys).notes.places.get("label files without an image", [])
        return [str(Path(place).relative_to(tmp_path / "labels")) for place in places]

    assert others(split="train") == others(split="val") == []
    labels(images, dict.fromkeys(("train/a.txt", "train/r/d.txt", "val/e.TXT", "b.txt"), "0 0.5 0.5 0.2 0.4"))
    assert others(split="train") == ["train/a.txt", "train/r/d.txt"] and others(split="val") == ["val/e.TXT"]
    (tmp_path / "data.yaml").write_text("train: images\nnames: [car]\n")
    (images / "b.png").unlink()
    assert others() == ["b.txt", "train/a.txt", "train/r/d.txt", "val/e.TXT"]


UNREAD = "image files of kinds that are not read; convert them to JPEG or PNG"


@pytest.mark.parametrize("form", ["yolo", "voc", "labelme", "dota", "visdrone"])
def test_images_of_kinds_that_are_not_read_are_named(tmp_path, images, form):
    """Beside others, and where there are no others."""
    texts = {"yolo": "0 0.5 0.5 0.1 0.1", "dota": "1 1 9 1 9 9 1 9 car 0", "visdrone": "1,1,9,9,1,4,0,0"}
    texts |= {"voc": "<annotation/>", "labelme": '{"shapes": []}'}
    ending = {"voc": ".xml", "labelme": ".json"}.get(form, ".txt")
    (images / "x.HEIC").write_bytes(b"")
    labels(images, {f"a{ending}": texts[form], f"x{ending}": texts[form]})
    notes = formats.read(str(tmp_path / "labels"), form, images=str(images)).notes
    assert notes.places[UNREAD] == [str(images / "x.HEIC")]
    assert sum("without an image" in what for what in notes.counts) == 1
    for other in ("a.jpg", "b.png", "with space/c.jpg"):
        (images / other).unlink()
    (images.parent / "labels" / f"a{ending}").unlink()
    with pytest.raises((ValueError, FileNotFoundError), match="x.HEIC.*: convert .* to JPEG or PNG"):
        formats.read(str(tmp_path / "labels"), form, images=str(images)).check_images("set")


def test_yolo_data_yaml_names_splits(images, tmp_path):
    labels(images, {"a.txt": "0 0.5 0.5 0.2 0.4"})
    (tmp_path / "val.txt").write_text("images/a.jpg\n\nimages/with space/c.jpg\n")
    described = tmp_path / "data.yaml"
    described.write_text("path: .\ntrain: images\nval: val.txt\nnames: {0: car, 1: bus}\n")
    assert len(formats.read(str(described), split="train").images) == 3
    assert [i["file_name"] for i in formats.read(str(tmp_path), split="val").images] == ["a.jpg", "with space/c.jpg"]
    with pytest.raises(ValueError, match="has several splits; it has train, val"):
        formats.read(str(described))
    with pytest.raises(ValueError, match="has no split 'test'"):
        formats.read(str(described), split="test")
    described.write_text("train: nowhere\nnames: [car]\n")
    with pytest.raises(FileNotFoundError, match="no 'nowhere' of its split 'train'"):
        formats.read(str(described))
    for names, message in (
        ("{0: car, x: bus}", "numbers of `names` must be whole, from 0; got .'0', 'x'."),
        ("[car, bus]\nnc: 3", "nc is 3, but names has 2 names"),
        ("{0: car, 4: bus}\nnc: 4", "nc is 4, but names has 2 names"),
        ("[car]\nnc: 0", "nc is 0, but names has 1 name"),
    ):
        described.write_text(f"train: images\nnames: {names}\n")
        with pytest.raises(ValueError, match=message):
            formats.read(str(described))
    described.write_text("train: [images\n")
    with pytest.raises(ValueError, match="is not a YAML file"):
        formats.read(str(described))


def nested(name: str) -> str:
    """YAML of a few hundred bytes: lists of ten times the one before, ten levels deep."""
    levels = ["a0: &a0 [x]", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 11))]
    return "\n".join([*levels, name.replace("*", "*a10")])


@pytest.mark.parametrize(
    "text, message",
    [
        (nested("train: *\nnames: [c]"), "`train` must be a path or a list of paths; got "),
        (nested("train: images\nnames: *"), "each of `names` must be the name of a class; got "),
        (nested("train: images\nnames: [c]\nnc: *"), "nc must be the number of classes; got "),
        (nested("train: images\nnames: [c]\nkpt_shape: *"), "kpt_shape must be "),
        ("train: images\nnames: [c]\nkpt_shape: [1000000000, 3]", "kpt_shape must be "),
        (
            nested("train: images\nnames: [c]\nkpt_shape: [2, 3]\nflip_idx: *"),
            "flip_idx must list what each of 2 keypoints",
        ),
        ("train: images\nnames: [c]\nkpt_shape: [3, 3]\nflip_idx: [1, 2, 0]", "flip_idx must list .*; got .1, 2, 0."),
        ("train: images\nnames: {4000000000: c}", "has the number 4000000000; a set has at most 100,000 classes"),
        ("train: images\nnames: [[c, d]]", "each of `names` must be the name of a class"),
    ],
)
def test_a_small_data_yaml_takes_little_memory(images, tmp_path, text, message):
    (tmp_path / "data.yaml").write_text(text)
    with pytest.raises(ValueError, match=message) as refused:
        formats.read(str(tmp_path), split="train")
    assert len(str(refused.value)) < 500


def test_a_class_number_that_is_no_class(images):
    with pytest.raises(ValueError, match="line 1: the class 4006381333931 is none of a set of at most 100,000 classes"):
        formats.read(str(labels(images, {"a.txt": "4006381333931 0.5 0.5 0.2 0.1"})))


@pytest.mark.parametrize("count", ["", "\nnc: 2", "\nnc: 6"])
def test_yolo_names_with_gaps(images, tmp_path, count):
    """Labels are numbered without; a class in between is refused by its number."""
    labels(images, {"a.txt": "5 0.5 0.5 0.2 0.4"})
    (tmp_path / "data.yaml").write_text(f"train: images\nnames: {{5: bus, 0: car}}{count}\n")
    for classes, name in (((), "bus"), (("auto", "coach"), "coach")):
        content = formats.read(str(tmp_path), classes=classes)
        assert objects(content) == [("a.jpg", name, (80, 30, 40, 40))] and list(content.names()) == [1, 2]
    (note,) = [s for s in content.notes.sentences() if s.startswith("class numbers without a name")]
    assert ": 4, first " in note
    labels(images, {"a.txt": "3 0.5 0.5 0.2 0.4"})
    with pytest.raises(ValueError, match="a.txt, line 1: class 3, but there are names for 0, 5 alone"):
        formats.read(str(tmp_path))


@pytest.mark.parametrize("line", ["0 100 50 40 40", "0 1.5 2 3 4", "0 10 10 50 10 50 40 10 40", "1 0 50 9.5 40.25"])
def test_yolo_labels_in_pixels_are_named_as_such(images, line):
    folder = labels(images, {"a.txt": f"0 0.5 0.5 0.1 0.1\n{line}\n"})
    with pytest.raises(ValueError, match=r"a.txt, line 2: the numbers look like pixels \(.* Divide them"):
        formats.read(str(folder))


def pose(number: int, keypoints: int, dimensions: int) -> str:
    """A line of a box with keypoints in it."""
    rng = np.random.default_rng(number)
    center, extent = rng.uniform(0.3, 0.7, 2), rng.uniform(0.1, 0.3, 2)
    points = center + extent * rng.uniform(-0.5, 0.5, (keypoints, 2))
    if dimensions == 3:
        points = np.concatenate((points, rng.integers(1, 3, (keypoints, 1))), axis=1)
    return " ".join(["0", *(f"{v:.6g}" for v in (*center, *extent, *points.flatten()))])


@pytest.mark.parametrize("keypoints, dimensions", [(2, 3), (4, 3), (16, 3), (1, 2), (2, 2), (5, 2), (17, 2)])
def test_yolo_keypoints_without_their_shape_are_no_outlines(images, keypoints, dimensions):
    folder = labels(
        images, {f"{n}.txt": "\n".join(pose(7 * i + len(n), keypoints, dimensions) for i in range(4)) for n in "ab"}
    )
    with pytest.raises(
        ValueError, match=rf"boxes with {keypoints} keypoints?, .* kpt_shape: \[{keypoints}, {dimensions}\]"
    ):
        formats.read(str(folder))
    (folder / "data.yaml").write_text(f"train: images\nnames: [face]\nkpt_shape: [{keypoints}, {dimensions}]\n")
    assert len(formats.read(str(folder)).annotations) == 8
    (folder / "data.yaml").unlink()
    labels(images, {"a.txt": "0 0.1 0.1 0.3 0.1 0.3 0.3 0.1 0.3"})  # with a sound outline they may all be such
    assert len(formats.read(str(folder)).annotations) == 5


def test_yolo_keypoints_of_an_odd_count_name_what_is_missing(images):
    folder = labels(images, {"a.txt": pose(1, 17, 3)})
    with pytest.raises(ValueError, match="a.txt, line 1 has 56 numbers; .* where a data.yaml has kpt_shape a"):
        formats.read(str(folder))


def test_yolo_keypoints_or_outlines_as_data_yaml_says(images, tmp_path):
    labels(images, {"a.txt": "\n".join(pose(i, 5, 2) for i in range(4))})
    (tmp_path / "data.yaml").write_text("train: images\nnames: [person]\nkpt_shape: null\n")
    assert all(len(a["segmentation"][0]) == 14 for a in formats.read(str(tmp_path), split="train").annotations)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("straight", [True, False])
@pytest.mark.parametrize("count", [3, 20])
def test_yolo_small_outlines_of_four_corners_are_no_keypoints(images, seed, straight, count):
    """Rotated boxes of 1 to 5 % of the image, as labels of ships from the air have them, and the like drawn by hand."""
    rng, lines = np.random.default_rng(seed), []
    for _ in range(count):
        angle, (w, h) = rng.uniform(0, np.pi), rng.uniform(0.01, 0.05, 2)
        turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
        corners = np.array([[-w, -h], [w, -h], [w, h], [-w, h]]) / 2 @ turn + rng.uniform(0.1, 0.9, 2)
        corners += 0 if straight else rng.uniform(-0.005, 0.005, corners.shape)
        lines.append("0 " + " ".join(f"{v:.6f}" for v in corners.flatten()))
    content = formats.read(str(labels(images, {"a.txt": "\n".join(lines)})))
    assert [len(a["segmentation"][0]) for a in content.annotations] == [8] * count
    assert max(a["bbox"][2] for a in content.annotations) < 0.08 * WIDTH


@pytest.mark.parametrize("corners", [3, 4, 5, 8])
def test_yolo_outlines_of_as_many_corners_stay_outlines(images, corners):
    """Turned rectangles, and others whose lines are all of one length."""
    rng, lines = np.random.default_rng(0), []
    angles = np.arange(corners) * 2 * np.pi / corners
    for _ in range(6):
        center, radius, turn = rng.uniform(0.2, 0.8, 2), rng.uniform(0.05, 0.2), rng.uniform(0, 2 * np.pi)
        points = center + radius * np.stack((np.cos(angles + turn), np.sin(angles + turn)), axis=1)
        lines.append(" ".join(["0", *(f"{v:.6f}" for v in points.flatten())]))
    content = formats.read(str(labels(images, {"a.txt": "\n".join(lines)})))
    assert [len(a["segmentation"][0]) for a in content.annotations] == [2 * corners] * 6


def test_yolo_keypoints(images, tmp_path):
    labels(images, {"a.txt": "0 0.5 0.5 0.2 0.4 0.5 0.5 2 0.25 0.1 0"})
    (tmp_path / "data.yaml").write_text("train: images\nnames: [face]\nkpt_shape: [2, 3]\n")
    content = formats.read(str(tmp_path))
    assert (
        content.annotations[0]["keypoints"] == [100, 50, 2, 50, 10, 0] and content.annotations[0]["num_keypoints"] == 1
    )
    assert len(content.categories[0]["keypoints"]) == 2
    formats.write(content, "yolo", str(tmp_path / "again"))
    again = formats.read(str(tmp_path / "again"))
    assert again.annotations[0]["keypoints"] == content.annotations[0]["keypoints"] and objects(again) == objects(
        content
    )


@pytest.mark.parametrize("flips", [[1, 0, 2], [0, 1, 2], [], None])
def test_yolo_keypoints_that_change_places(images, tmp_path, flips):
    """A set of COCO's format made of them tells it too, and YOLO's again; names of left and right become YOLO's."""
    labels(images, {"a.txt": "0 0.5 0.5 0.2 0.4 0.5 0.5 2 0.25 0.1 0 0.5 0.4 2"})
    said = "" if flips is None else f"flip_idx: {flips}\n"
    (tmp_path / "data.yaml").write_text(f"train: images\nnames: [face]\nkpt_shape: [3, 3]\n{said}")
    content = formats.read(str(tmp_path))
    formats.write(content, "coco", str(tmp_path / "set.json"))
    assert COCODataset(str(tmp_path / "set.json"), str(images), True).keypoint_flips == (flips or None)
    formats.write(formats.read(str(tmp_path / "set.json"), images=str(images)), "yolo", str(tmp_path / "again"))
    assert yaml.safe_load((tmp_path / "again" / "data.yaml").read_text()).get("flip_idx") == (flips or None)
    content.categories[0] = {"id": 1, "name": "face", "keypoints": ["left eye", "nose", "right eye"]}
    formats.write(content, "yolo", str(tmp_path / "again"))
    assert yaml.safe_load((tmp_path / "again" / "data.yaml").read_text())["flip_idx"] == [2, 1, 0]


@needs(AERIAL)
def test_yolo_of_aerial_cars():
    """As its makers published it: every number of every line, by another way of computing."""
    content = formats.read(str(AERIAL / "train.txt"))
    lines = [
        (Path(name.strip()).name, *map(float, line.split()))
        for name in (AERIAL / "train.txt").read_text().splitlines()
        for line in (AERIAL / "labels" / f"{Path(name).stem}.txt").read_text().splitlines()
    ]
    sizes = {i["file_name"]: (i["width"], i["height"]) for i in content.images}
    assert len(content.images) == 69 and len(lines) == 1646 and not content.notes.counts
    names = (AERIAL / "classes.txt").read_text().split()
    for (file, name, (x, y, w, h)), (expected_file, label, cx, cy, *extent) in zip(
        objects(content), lines, strict=True
    ):
        assert (file, name) == (expected_file, names[int(label)])
        width, height = sizes[file]
        low, high = (np.array((cx, cy)) + sign * np.array(extent) / 2 for sign in (-1, 1))
        found = np.array((x, y, x + w, y + h)) / (width, height, width, height)
        np.testing.assert_allclose(found, np.clip((*low, *high), 0, 1), rtol=0, atol=1e-6)


# Pascal VOC


def voc_file(folder: Path, stem: str, *boxes: tuple, filename: str = "", size: str = "") -> None:
    text = "".join(
        f"<object><name>{name}</name><difficult>{difficult}</difficult><bndbox><xmin>{x1}</xmin><ymin>{y1}</ymin>"
        f"<xmax>{x2}</xmax><ymax>{y2}</ymax></bndbox></object>\r\n"
        for name, x1, y1, x2, y2, difficult in boxes
    )
    folder.mkdir(parents=True, exist_ok=True)
    whole = f"\ufeff<?xml version='1.0' encoding='utf-8'?><annotation><filename>{filename}</filename>{size}{text}</annotation>"
    (folder / f"{stem}.xml").write_text(whole, encoding="utf-8")


def test_voc_corners_are_counted_from_1_and_inside(images, tmp_path):
    voc_file(tmp_path / "Annotations", "a", ("Car", 1, 1, 200, 100, 0), ("car", 11.5, 21, 20.5, 40, 1))
    voc_file(tmp_path / "Annotations", "gone", ("bus", 1, 1, 5, 5, 0))
    content = formats.read(str(tmp_path), form="voc", images=str(images), classes=("bus", "car"))
    assert objects(content) == [("a.jpg", "car", (0, 0, 200, 100)), ("a.jpg", "car", (10.5, 20, 10, 20))]
    assert [a["iscrowd"] for a in content.annotations] == [0, 1]
    assert content.notes.counts["annotation files without an image, left out"] == 1
    zero_based = formats.read(str(tmp_path), "voc", str(images), classes=("bus", "car"), first_pixel=0)
    assert objects(zero_based)[1] == ("a.jpg", "car", (11.5, 21, 10, 20))


def test_voc_mistakes(images, tmp_path):
    folder = tmp_path / "xml"
    voc_file(folder, "a", ("car", 5, 5, "x", 9, 0))
    with pytest.raises(ValueError, match=r"a.xml is not a Pascal VOC annotation: <xmax> should be a number; got 'x'"):
        formats.read(str(folder), images=str(images))
    voc_file(folder, "a", ("car", 5, 5, 9, 9, 0))
    with pytest.raises(ValueError, match="the class 'car' is not one of bus"):
        formats.read(str(folder), images=str(images), classes=("bus",))
    (folder / "a.xml").write_text("<annotation>")
    with pytest.raises(ValueError, match=r"a.xml is not an XML file"):
        formats.read(str(folder), images=str(images))


def test_text_in_another_encoding(images, tmp_path):
    """A guess would make other names of classes; a file of XML may say its encoding."""
    (tmp_path / "a.csv").write_bytes("image,xmin,ymin,xmax,ymax,class\na.jpg,5,5,9,9,vélo\n".encode("latin-1"))
    with pytest.raises(ValueError, match=r"a.csv is no text in UTF-8: .*\. Save it as UTF-8"):
        formats.read(str(tmp_path / "a.csv"), images=str(images))
    voc_file(tmp_path / "xml", "a", ("vélo", 5, 5, 9, 9, 0))
    text = (tmp_path / "xml" / "a.xml").read_text(encoding="utf-8").partition("?>")[2]  # without a declaration
    (tmp_path / "xml" / "a.xml").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=r"a.xml is no text in UTF-8: .*\. Save it as UTF-8"):
        formats.read(str(tmp_path / "xml"), images=str(images))
    (tmp_path / "xml" / "a.xml").write_bytes(f'<?xml version="1.0" encoding="latin-1"?>{text}'.encode("latin-1"))
    assert formats.read(str(tmp_path / "xml"), images=str(images)).names() == {1: "vélo"}


def test_swapped_corners_are_taken_in_order(images, tmp_path):
    voc_file(tmp_path / "xml", "a", ("car", 9, 21, 5, 11, 0))
    (tmp_path / "a.csv").write_text("image,xmin,ymin,xmax,ymax,class\na.jpg,9,10,4,21,car\n")
    for source, box in ((tmp_path / "xml", [4, 10, 5, 11]), (tmp_path / "a.csv", [4, 10, 5, 11])):
        content = formats.read(str(source), images=str(images))
        assert [list(a["bbox"]) for a in content.annotations] == [box]
        assert content.notes.counts["boxes whose corners are swapped, taken in order"] == 1


def test_a_written_set_is_one_beside_other_images(images, tmp_path):
    """Lists of splits in the folder that --img-dir names are of the set that it was taken from."""
    for name in ("train", "val"):
        (images / f"{name}.txt").write_text("a.jpg\n")
    (tmp_path / "a.csv").write_text("image,xmin,ymin,xmax,ymax,class\na.jpg,4,10,9,21,car\n")
    formats.write(formats.read(str(tmp_path / "a.csv"), images=str(images)), "yolo", str(tmp_path / "as_yolo"))
    for folder in ("", str(images)):
        content = formats.read(str(tmp_path / "as_yolo"), images=folder)
        assert [image["file_name"] for image in content.images] == ["a.jpg"] and len(content.annotations) == 1


def test_where_the_images_of_what_was_written_lie_is_said(images, tmp_path, run_program):
    tool = Path(__file__).parents[3] / "tools" / "convert.py"
    (tmp_path / "a.csv").write_text("image,xmin,ymin,xmax,ymax,class\na.jpg,4,10,9,21,car\n")
    for form, is_said in (("csv", True), ("via", True), ("coco", True), ("voc", False)):
        out = tmp_path / form
        code, printed = run_program(tool, tmp_path / "a.csv", "--img-dir", images, "--to", form, "--out", out)
        assert code == 0 and (f"(its images are in {images}, for --img-dir or IMG_DIR)" in printed) == is_said


@needs(BCCD)
def test_voc_of_bccd():
    """Its own three classes, and the two boxes without area named; the boxes are those of the VOC data set."""

    class Cells(PascalVOCDataset):
        CLASSES = ("__background__", "platelets", "rbc", "wbc")

    content = formats.read(str(BCCD), split="train")
    whole = formats.read(str(BCCD))
    assert len(whole.images) == 364 and len(whole.annotations) == 4886
    assert list(whole.names().values()) == ["Platelets", "RBC", "WBC"]
    (note,) = whole.notes.sentences()
    assert (
        note.startswith("boxes of no size, left out: 2, first ") and "BloodImage_00338.xml: RBC 504, 337, 504" in note
    )
    cells = Cells(str(BCCD), "train", use_difficult=True)
    assert len(cells) == len(content.images)
    by_image = content.by_image()
    for index, image in enumerate(content.images[:40]):
        truth = cells.get_groundtruth(index).clip_to_image(remove_empty=True)
        boxes = np.array([a["bbox"] for a in by_image[image["id"]]])
        boxes[:, 2:] += boxes[:, :2] - 1  # inclusive corners
        np.testing.assert_allclose(boxes, truth.bbox.numpy(), atol=1e-4)
        assert [a["category_id"] for a in by_image[image["id"]]] == truth.get_field("labels").tolist()


# LabelMe, VIA, tables


def test_labelme_shapes(images, tmp_path):
    shapes = [
        {"label": "car", "points": [[50, 60], [10, 20]], "group_id": None, "shape_type": "rectangle", "flags": {}},
        {"label": "tree", "points": [[0, 0], [20, 0], [0, 20]], "group_id": 3, "shape_type": "polygon"},
        {"label": "tree", "points": [[60, 60], [80, 60], [60, 90]], "group_id": 3, "shape_type": "polygon"},
        {"label": "car", "points": [[100, 50], [110, 50]], "shape_type": "circle"},
        {"label": "car", "points": [[1, 1]], "shape_type": "point"},
    ]
    file = {
        "version": "5.2.1",
        "shapes": shapes,
        "imagePath": "..\\images\\a.jpg",
        "imageHeight": HEIGHT,
        "imageWidth": WIDTH,
    }
    (tmp_path / "json").mkdir()
    (tmp_path / "json" / "a.json").write_text(json.dumps(file))
    content = formats.read(str(tmp_path / "json"))
    assert formats.form_of(str(tmp_path / "json")) == "labelme"
    assert [(name, box) for _, name, box in objects(content)][:2] == [
        ("car", (10, 20, 40, 40)),
        ("tree", (0, 0, 80, 90)),
    ]
    assert "segmentation" not in content.annotations[0] and len(content.annotations[1]["segmentation"]) == 2
    assert content.annotations[1]["area"] == 200 + 300
    assert content.annotations[2]["bbox"] == [90, 40, 20, 20]
    assert content.annotations[2]["area"] == pytest.approx(np.pi * 100, rel=2e-3)
    assert content.notes.counts["points and lines, which are no objects, left out"] == 1
    shapes[0]["points"] = [[1, "x"]]
    (tmp_path / "json" / "a.json").write_text(json.dumps(file))
    with pytest.raises(ValueError, match=r"a.json, shape 0: `points` must be a list of pairs"):
        formats.read(str(tmp_path / "json"))


@pytest.mark.parametrize("project", [False, True])
@pytest.mark.parametrize("version_1", [False, True])
def test_via_regions(images, tmp_path, project, version_1):
    regions = [
        {"shape_attributes": {"name": "rect", "x": 10, "y": 20, "width": 30, "height": 40}, "region_attributes": {"type": "car"}},
        {
            "shape_attributes": {"name": "polygon", "all_points_x": [0, 20, 0], "all_points_y": [0, 0, 20]},
            "region_attributes": {"type": {"tree": True}, "note": "x"},
        },
        {"shape_attributes": {"name": "ellipse", "cx": 50, "cy": 50, "rx": 20, "ry": 10, "theta": np.pi / 2},
         "region_attributes": {"type": "tree"}},
        {"shape_attributes": {"name": "point", "cx": 1, "cy": 1}, "region_attributes": {"type": "car"}},
        {"shape_attributes": {"name": "rect", "x": 1, "y": 2, "width": 3, "height": 4}, "region_attributes": {}},
    ]  # fmt: skip
    listed = {str(i): region for i, region in enumerate(regions)} if version_1 else regions
    entries = {"a.jpg123": {"filename": "a.jpg", "size": 123, "regions": listed, "file_attributes": {}}}
    entries["gone.jpg1"] = {"filename": "gone.jpg", "size": 1, "regions": [], "file_attributes": {}}
    file = tmp_path / "via.json"
    file.write_text(json.dumps({"_via_settings": {}, "_via_img_metadata": entries} if project else entries))
    assert formats.form_of(str(file)) == "via"
    content = formats.read(str(file), images=str(images))
    assert [(n, b) for _, n, b in objects(content)] == [
        ("car", (10, 20, 30, 40)), ("tree", (0, 0, 20, 20)), ("tree", (40, 30, 20, 40)),
    ]  # fmt: skip
    assert content.annotations[1]["segmentation"] == [[0, 0, 20, 0, 0, 20]]
    assert content.notes.counts["regions without the attribute 'type', left out"] == 1
    assert content.notes.counts["entries without an image, left out"] == 1


TABLES = {
    "with a header": "filename,width,height,class,xmin,ymin,xmax,ymax\na.jpg,200,100,car,10,20,50,60\nb.png,200,100,,,,,\n",
    "in another order": "label;y2;x2;y1;x1;image\ncar;60;50;20;10;a.jpg\n;;;;;b.png\n",
    "without a header": "a.jpg,10,20,50,60,car\nb.png,,,,,\n",
    "with extents": "image_id\tx1\ty1\twidth\theight\tclass\na.jpg\t10\t20\t40\t40\tcar\nb.png\t\t\t\t\t\n",
}


@pytest.mark.parametrize("kind", TABLES)
def test_tables(images, tmp_path, kind):
    file = tmp_path / "boxes.csv"
    file.write_text(TABLES[kind], encoding="utf-8-sig")
    content = formats.read(str(file), images=str(images))
    assert objects(content) == [("a.jpg", "car", (10, 20, 40, 40))] and len(content.images) == 2


def test_a_table_with_the_line_ends_of_old_macs(images, tmp_path):
    text = TABLES[next(iter(TABLES))]
    (tmp_path / "boxes.csv").write_bytes(text.replace("\n", "\r").encode())
    content = formats.read(str(tmp_path / "boxes.csv"), images=str(images))
    assert objects(content) == [("a.jpg", "car", (10, 20, 40, 40))] and len(content.images) == 2


def test_mistakes_in_tables(images, tmp_path):
    file = tmp_path / "boxes.csv"
    for text, message in (
        ("", "is empty"),
        ("a,b,c\n1,2,3\n", "no header that is understood"),
        ("filename,class,xmin\na.jpg,car,1\n", "has no column for top"),
        ("a.jpg,10,x,50,60,car\n", "line 1: a box is four numbers"),
        ("a.jpg,10,inf,50,60,car\n", "line 1: a box is four numbers"),
        (f"a.jpg,10,20,50,60,{'x' * 140_000}\n", "is no table of comma-separated values: field larger than"),
    ):
        file.write_text(text)
        with pytest.raises(ValueError, match=message):
            formats.read(str(file), images=str(images))
    file.write_text("a.jpg,-10,20,500,60,car\na.jpg,9,9,9,20,car\nno.jpg,1,1,2,2,car\n")
    content = formats.read(str(file), images=str(images))
    assert objects(content) == [("a.jpg", "car", (0, 20, 200, 40))] and sum(content.notes.counts.values()) == 3


SIZES = {
    "labelme": lambda w, h: {"shapes": [SHAPE], "imagePath": "a.jpg", "imageWidth": w, "imageHeight": h},
    "csv": lambda w, h: f"filename,width,height,class,xmin,ymin,xmax,ymax\na.jpg,{w},{h},car,10,20,50,60\n",
    "voc": lambda w, h: f"<size><width>{w}</width><height>{h}</height></size>",
}
SHAPE = {"label": "car", "points": [[10, 20], [50, 60]], "shape_type": "rectangle"}


@pytest.mark.parametrize("form", SIZES)
def test_the_size_that_annotations_state_is_that_of_the_image(images, tmp_path, form):
    """Of another image they are refused; of the pixels before EXIF's turn they stay, and the data set reads it unturned."""
    folder = tmp_path / "set"
    folder.mkdir()
    image = Image.new("RGB", (WIDTH, HEIGHT))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(images / "a.jpg", exif=exif)

    def read(width: int, height: int):
        content = SIZES[form](width, height)
        if form == "voc":
            voc_file(folder, "a", ("car", 11, 21, 50, 60, 0), filename="a.jpg", size=content)
        else:
            (folder / f"a.{'json' if form == 'labelme' else 'csv'}").write_text(
                content if isinstance(content, str) else json.dumps(content)
            )
        return formats.read(str(folder / "a.csv" if form == "csv" else folder), form, str(images))

    for size in ((WIDTH, HEIGHT), (HEIGHT, WIDTH)):
        content = read(*size)
        assert (content.images[0]["width"], content.images[0]["height"]) == size
        assert objects(content) == [("a.jpg", "car", (10, 20, 40, 40))]
    with pytest.raises(ValueError, match=r"a.jpg is 100 x 200 pixels .*, but its annotations are of 960 x 640"):
        read(960, 640)


@pytest.mark.parametrize("form", ["yolo", "voc", "labelme"])
def test_images_of_one_name_keep_their_own_annotations(tmp_path, form):
    root = tmp_path / "images"
    content = formats.Content(str(root))
    content.name_classes(["one", "two"])
    names = ("x.jpg", "x.png", "a/x.png", "b/x.png", "a_x.png", "x_png.jpg")
    for i, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (WIDTH, HEIGHT), (i, i, i)).save(root / name)
        content.add(content.add_image(name), 1 + i % 2, (10 * i + 1, 5, 9, 9))
    formats.write(content, form, str(tmp_path / "out"))
    again = formats.read(str(tmp_path / "out"), form, "" if form == "yolo" else str(root))
    assert len(again.annotations) == len(names)

    def found(read: formats.Content) -> set[tuple]:
        files = {i["id"]: (Path(read.root) / i["file_name"]).resolve() for i in read.images}
        names = read.names()
        boxes = ((files[a["image_id"]], names[a["category_id"]], *np.round(a["bbox"], 2)) for a in read.annotations)
        return set(boxes)

    assert found(again) == found(content)


def test_a_table_of_fractions(images, tmp_path):
    file = tmp_path / "boxes.csv"
    file.write_text("ImageID,XMin,XMax,YMin,YMax,LabelName\na.jpg,0.1,0.5,0.2,0.6,car\n".replace("ImageID", "image_id"))
    content = formats.read(str(file), images=str(images))
    assert objects(content) == [("a.jpg", "car", (20, 20, 80, 40))]
    assert any(s.startswith("a table of fractions") for s in content.notes.sentences())
    file.write_text("picture,left_x,top_y,right_x,bottom_y,kind\na.jpg,1,2,30,40,cat\n")
    with pytest.raises(ValueError, match="no header that is understood"):
        formats.read(str(file), images=str(images))
    file.write_text("a.jpg,10,20,50,60,\n")
    with pytest.raises(ValueError, match="line 1: the box has no class"):
        formats.read(str(file), images=str(images))


def test_names_are_read_as_they_are_written(images, tmp_path):
    labels(images, {"a.txt": "1 0.5 0.5 0.2 0.4"})
    (tmp_path / "data.yaml").write_text("train: images\nnames: [yes, no, 1.10]\n")
    assert list(formats.read(str(tmp_path)).names().values()) == ["yes", "no", "1.10"]
    (tmp_path / "data.yaml").write_text("train: images\nnames: {0: on, 1: off}\n")
    assert list(formats.read(str(tmp_path)).names().values()) == ["on", "off"]


def test_linked_folders_are_followed(images, tmp_path):
    labels(images, {"a.txt": "0 0.5 0.5 0.2 0.4"})
    place = tmp_path / "linked"
    place.mkdir()
    (place / "images").symlink_to(images)
    (place / "labels").symlink_to(tmp_path / "labels")
    content = formats.read(str(place), classes=("car",))
    assert len(content.images) == 3 and len(content.annotations) == 1


def test_a_category_that_stands_for_none_is_left_out(images, tmp_path):
    content = {
        "images": [{"id": 1, "file_name": "a.jpg", "height": HEIGHT, "width": WIDTH}],
        "categories": [
            {"id": 0, "name": "project", "supercategory": "none"},
            {"id": 1, "name": "cat", "supercategory": "project"},
            {"id": 2, "name": "dog", "supercategory": "project"},
        ],
        "annotations": [{"id": 1, "image_id": 1, "category_id": 2, "bbox": [1, 2, 3, 4], "area": 12, "iscrowd": 0}],
    }
    (tmp_path / "robo.json").write_text(json.dumps(content))
    assert formats.read(str(tmp_path / "robo.json"), images=str(images)).names() == {1: "cat", 2: "dog"}


# all of them


@pytest.mark.parametrize("form", ["coco", "yolo", "voc", "labelme", "via", "csv"])
def test_a_linked_folder_of_images(form, tmp_path):
    """As data sets often lie: images keep their names below it."""
    write_coco(tmp_path)
    (tmp_path / "linked").symlink_to(tmp_path / "set")
    before = formats.read(str(tmp_path / "set.json"), images=str(tmp_path / "linked"))
    formats.write(before, form, str(tmp_path / "out"))
    names = {"coco": "annotations.json", "via": "annotations.json", "csv": "annotations.csv"}
    after = formats.read(str(tmp_path / "out" / names.get(form, "")), images="" if form == "yolo" else before.root)
    assert {i["file_name"] for i in after.images} == {i["file_name"] for i in before.images}


@needs(COCO)
@pytest.mark.parametrize("form", ["coco", "yolo", "voc", "labelme", "via", "csv"])
def test_there_and_back(form, tmp_path):
    """Real objects, some in several parts, keep boxes, classes and as far as the form holds them masks."""
    images = str(COCO / "val2017")
    before = formats.read(str(COCO / "annotations" / "instances_val2017.json"), images=images)
    formats.write(before, form, str(tmp_path / "out"))
    names = {"coco": "annotations.json", "via": "annotations.json", "csv": "annotations.csv"}
    written = str(tmp_path / "out" / names.get(form, ""))
    assert formats.form_of(written) == form
    after = formats.read(written, images="" if form == "yolo" else images)
    assert {i["file_name"] for i in after.images} == {i["file_name"] for i in before.images}
    crowds = form in ("coco", "voc", "csv")
    kept = [a for a in before.annotations if crowds or not a["iscrowd"]]
    assert len(after.annotations) == len(kept) == (815 if crowds else 804)
    if not crowds:
        assert any(what.startswith("crowds, ") for what in before.notes.counts)
    sizes = {i["id"]: (i["height"], i["width"]) for i in before.images}
    old, new = before.by_image(), after.by_image()
    ids = {i["file_name"]: i["id"] for i in after.images}
    overlaps = []
    for image in before.images:
        pairs = zip(
            (a for a in old[image["id"]] if crowds or not a["iscrowd"]), new[ids[image["file_name"]]], strict=True
        )
        for a, b in pairs:
            assert before.names()[a["category_id"]] == after.names()[b["category_id"]]
            np.testing.assert_allclose(a["bbox"], b["bbox"], rtol=0, atol=1e-3)
            assert a["iscrowd"] == b["iscrowd"]
            if b.get("segmentation") and not a["iscrowd"]:
                masks = [
                    mask_utils.merge(mask_utils.frPyObjects(o["segmentation"], *sizes[image["id"]])) for o in (a, b)
                ]
                overlaps.append(mask_utils.iou(masks[:1], masks[1:], [0])[0, 0])
    if form in ("coco", "yolo", "labelme", "via"):
        assert len(overlaps) == 804 and np.mean(overlaps) > 0.998 and min(overlaps) > 0.95


def test_run_lengths_become_outlines_of_the_same_pixels(images, tmp_path):
    mask = np.zeros((HEIGHT, WIDTH), np.uint8, order="F")
    mask[10:30, 20:61], mask[40:41, 5:9], mask[99, 199] = 1, 1, 1
    rle = mask_utils.encode(mask)
    segmentation = {"size": [HEIGHT, WIDTH], "counts": rle["counts"].decode()}
    content = formats.Content(str(images))
    content.name_classes(["thing"])
    image = content.add_image("a.jpg")
    content.add(image, 1, (5, 10, 195, 90), segmentation=segmentation, area=int(mask.sum()))
    formats.write(content, "labelme", str(tmp_path / "out"))
    (again,) = formats.read(str(tmp_path / "out"), images=str(images)).annotations
    back = mask_utils.decode(mask_utils.merge(mask_utils.frPyObjects(again["segmentation"], HEIGHT, WIDTH)))
    assert (back == mask).all()


def test_lvis_names_images_by_address(images, tmp_path):
    content = {
        "images": [{"id": 5, "coco_url": "http://images.org/with space/c.jpg", "height": HEIGHT, "width": WIDTH}],
        "categories": [{"id": 7, "name": "cat", "frequency": "r"}],
        "annotations": [
            {"id": 1, "image_id": 5, "category_id": 7, "bbox": [1, 2, 3, 4], "segmentation": [[1, 2, 4, 2, 4, 6]]}
        ],
    }
    (tmp_path / "lvis.json").write_text(json.dumps(content))
    read = formats.read(str(tmp_path / "lvis.json"), images=str(images))
    assert objects(read) == [("with space/c.jpg", "cat", (1, 2, 3, 4))] and read.annotations[0]["area"] == 6


def test_unknown_forms_get_the_names_of_the_known(tmp_path):
    (tmp_path / "x.bin").write_bytes(b"\x00\x01")
    (tmp_path / "empty").mkdir()
    for place in ("x.bin", "empty"):
        with pytest.raises(
            ValueError, match="is in none of the known forms: coco, lvis, via, labelme, .*, visdrone, yolo"
        ):
            formats.read(str(tmp_path / place))
    with pytest.raises(ConfigError, match="no form 'cvat' of annotations; known are coco"):
        formats.read(str(tmp_path), form="cvat")
    with pytest.raises(FileNotFoundError, match="There is no .*nothing"):
        formats.read(str(tmp_path / "nothing"))
    with pytest.raises(FileNotFoundError, match="no image folder"):
        formats.read(str(tmp_path), images=str(tmp_path / "nowhere"))


def test_a_coco_file_without_categories_is_said_to_lack_them(tmp_path):
    (tmp_path / "x.json").write_text('{"images": [{"id": 1, "file_name": "a.jpg"}], "annotations": []}')
    with pytest.raises(ValueError, match="x.json is not in COCO format: it has no categories"):
        formats.read(str(tmp_path / "x.json"))


def test_the_command(images, tmp_path, run_program):
    folder = labels(images, {"a.txt": "0 0.5 0.5 0.2 0.4 "})
    (folder / "classes.txt").write_text("car\n")
    tool = Path(__file__).parents[3] / "tools" / "convert.py"
    code, text = run_program(tool, folder, "--to", "voc", "--out", tmp_path / "voc")
    assert code == 0 and text.endswith(f"Wrote 3 images with 1 object of 1 class as voc: {tmp_path / 'voc'}\n")
    root = ET.parse(tmp_path / "voc" / "Annotations" / "a.xml").getroot()
    assert [e.text for e in next(root.iter("bndbox"))] == ["81", "31", "120", "70"]
    code, text = run_program(tool, tmp_path / "none", "--to", "voc", "--out", tmp_path / "x")
    assert code == 1 and text == f"error: There is no {tmp_path / 'none'}.\n"
    code, text = run_program(
        tool, folder / "classes.txt", "--to", "csv", "--out", folder / "classes.txt", "--form", "yolo"
    )
    assert code == 1 and "error: " in text


def test_ctrl_c_leaves_a_part_that_the_same_command_completes(images, tmp_path_factory, monkeypatch, capsys):
    folder, out = (
        labels(images, {"a.txt": "0 0.5 0.5 0.2 0.4 ", "b.txt": "0 0.5 0.5 0.2 0.4 "}),
        tmp_path_factory.mktemp("out") / "voc",
    )
    (folder / "classes.txt").write_text("car\n")
    written = []

    def stop_at_second(path, lines):
        written.append(path)
        if len(written) == 2:
            raise KeyboardInterrupt
        write_lines(path, lines)

    monkeypatch.setattr(sys, "argv", ["convert", str(folder), "--to", "voc", "--out", str(out)])
    with monkeypatch.context() as patch:
        patch.setattr(voc, "write_lines", stop_at_second)
        with pytest.raises(SystemExit):
            convert.main()
    assert f"{out} may hold part of the set" in capsys.readouterr().err and len(list(out.rglob("*.xml"))) == 1
    monkeypatch.setattr(sys, "argv", [*sys.argv, "--overwrite"])
    convert.main()
    assert len(objects(formats.read(str(out)))) == 2


FILES = {"coco": "annotations.json", "via": "annotations.json", "csv": "annotations.csv"}


@pytest.mark.parametrize("form", ["coco", "yolo", "voc", "labelme", "via", "csv"])
def test_what_was_written_is_a_source(images, tmp_path, form, run_program):
    """The folder too; where the form does not say where the images lie, what is missing is named."""
    (labels(images, {"a.txt": "0 0.5 0.5 0.2 0.4", "b.txt": "0 0.5 0.5 0.2 0.4"}) / "classes.txt").write_text("car\n")
    out = tmp_path / "out" / form
    mrb = Path(__file__).parents[3] / "tools"
    code, text = run_program(mrb / "convert.py", tmp_path, "--to", form, "--out", out)
    place = f" (its images are in {images}, for --img-dir or IMG_DIR)" if form in FILES else ""
    assert code == 0 and text.endswith(f"as {form}: {out / FILES.get(form, '')}{place}\n")
    assert formats.form_of(str(out)) == form
    expected = [(name, "car", (80, 30, 40, 40)) for name in ("a.jpg", "b.png")]
    named = objects(formats.read(str(out), images="" if form == "yolo" else str(images)))
    assert sorted((Path(name).name, *rest) for name, *rest in named) == expected
    if form in FILES:
        for tool in ("check_dataset", "suggest_config"):
            words = ["--out", tmp_path / "x.yaml"] if tool == "suggest_config" else []
            code, text = run_program(mrb / f"{tool}.py", out, *words)
            assert code == 1 and f"none of its images is in {out}" in text and "--img-dir" in text
        assert run_program(mrb / "check_dataset.py", out, "--img-dir", images)[0] == 0
    else:
        found = objects(formats.read(str(out)))
        assert sorted((Path(name).name, *rest) for name, *rest in found) == expected
        assert run_program(mrb / "check_dataset.py", out)[0] == 0


def test_a_folder_of_several_annotation_files_names_them(images):
    for name in ("train.json", "val.json"):
        (images / name).write_text('{"images": [], "categories": []}')
    with pytest.raises(ValueError, match=r"It holds train.json, val.json: name one file"):
        formats.read(str(images))
    (images / "val.json").unlink()
    assert formats.locate(str(images)) == ("coco", str(images / "train.json"))


def test_annotation_files_without_any_image_name_the_option(images, tmp_path):
    voc_file(tmp_path / "xml", "gone", ("car", 1, 1, 9, 9, 0))
    with pytest.raises(
        FileNotFoundError, match="none of its images is in .*xml; the first is gone. .* --img-dir, or IMG_DIR"
    ):
        formats.read(str(tmp_path / "xml"))


# What is lost, replaced or mixed


def test_yolo_folders_called_like_numbers(tmp_path):
    (tmp_path / "2024_01" / "0012").mkdir(parents=True)
    Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / "2024_01" / "0012" / "a.jpg")
    (tmp_path / "data.yaml").write_text("path: 2024_01\ntrain: 0012\nval: [0012]\nnames: [c]\n")
    for split in ("train", "val"):
        assert [i["file_name"] for i in formats.read(str(tmp_path), split=split).images] == ["a.jpg"]


def test_whatever_cocos_reader_leaves_out_is_said(images, tmp_path):
    entries = [(1, "a.jpg"), (2, "b.png"), (2, "with space/c.jpg")]
    box = {"category_id": 1, "bbox": [20, 10, 40, 20]}
    annotations = [
        box, {"category_id": 1}, {**box, "image_id": 77}, {**box, "category_id": 9}, {**box, "bbox": [20, 10, -40, 20]},
        {**box, "bbox": [300, 10, 40, 20]}, {**box, "segmentation": [[1, 2]]}, "none",
    ]  # fmt: skip
    content = {
        "images": [{"id": i, "file_name": n, "width": WIDTH, "height": HEIGHT} for i, n in entries]
        + [{"file_name": "x"}],
        "categories": [{"id": 1, "name": "c"}],
        "annotations": [
            {"image_id": 1, "id": i, **a} if a != "none" else a for i, a in enumerate(annotations, start=1)
        ],
    }
    (images / "set.json").write_text(json.dumps(content))
    found = formats.read(str(images / "set.json"))
    assert [a["bbox"] for a in found.annotations] == [[20, 10, 40, 20]] * 2
    assert {what: count for what, count in found.notes.counts.items() if what.endswith("left out")} == {
        "entries of images without an id, left out": 1,
        "images whose id another one has, left out": 1,
        "annotations that are no objects of JSON, left out": 1,
        "annotations without a box of four numbers, left out": 1,
        "annotations without an image, left out": 1,
        "annotations without a category, left out": 1,
        "annotations: zero or negative size, left out": 1,
        "annotations: outside the image, left out": 1,
        "masks that cannot be used, left out": 1,
    }


def test_yolo_boxes_are_written_within_the_image(images, tmp_path):
    content = formats.Content(str(images))
    content.category("c")
    content.add(content.add_image("a.jpg"), 1, (-30, -40, 900, 60))
    formats.write(content, "yolo", str(tmp_path / "out"))
    assert (tmp_path / "out" / "labels" / "a.txt").read_text() == "0 0.5 0.1 1 0.2\n"
    assert "boxes that leave the image, cut at its border: 1, first annotation 1" in content.notes.sentences()


@pytest.mark.parametrize(("first", "second", "read"), [(2, 0, [2, 0]), (2, 3, [0, 0])])
def test_yolo_lines_have_as_many_numbers_each(images, tmp_path, first, second, read):
    """Objects without keypoints have zeros beside others; of objects with different ones all are left out."""
    content = formats.Content(str(images))
    content.category("c")
    image = content.add_image("a.jpg")
    for left, count in ((20, first), (90, second)):
        content.add(image, 1, (left, 10, 40, 20), keypoints=[left + 5, 15, 2] * count or None)
    formats.write(content, "yolo", str(tmp_path / "out"))
    back = formats.read(str(tmp_path / "out"), split="train")
    assert [a["bbox"] for a in back.annotations] == [[20, 10, 40, 20], [90, 10, 40, 20]]
    assert [a.get("num_keypoints", 0) for a in back.annotations] == read
    assert any("keypoints are left out" in s for s in content.notes.sentences()) == (read == [0, 0])
    content.add(image, 1, (160, 10, 40, 20), keypoints=[165, 15, 2] * first)
    formats.write(content, "yolo", str(tmp_path / "most"))
    back = formats.read(str(tmp_path / "most"), split="train")
    assert [a.get("num_keypoints", 0) for a in back.annotations] == [2, 0, 2]
    assert any("written as not labelled: 1" in s for s in content.notes.sentences()) == (second == 3)


@pytest.mark.parametrize(("form", "kind"), [("yolo", "keypoints"), ("yolo", "segmentation"), ("via", "segmentation")])
@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_annotations_on_stored_pixels_are_turned_for_those_who_see_them_turned(tmp_path, form, kind, orientation):
    """A red block, annotated where it is stored: its box, outline and keypoint are where Pillow turns it."""
    stored = Image.new("RGB", (200, 120))
    stored.paste((255, 0, 0), (16, 8, 64, 40))
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "a.png", exif=exif)
    content = formats.Content(str(tmp_path))
    content.category("red")
    fields = {"keypoints": [17, 9, 2], "segmentation": [[16, 8, 64, 8, 64, 40, 16, 40]]}
    content.add(content.add_image("a.png", stored.size), 1, (16, 8, 48, 32), **{kind: fields[kind]})
    out = str(tmp_path / "out") if form == "yolo" else str(tmp_path / "out.json")
    formats.write(content, form, out)
    assert any("turned to how EXIF shows them: 1, first a.png" in s for s in content.notes.sentences())
    back = formats.read(out, split="train") if form == "yolo" else formats.read(out, images=str(tmp_path))
    with Image.open(tmp_path / "a.png") as image:
        seen = np.asarray(ImageOps.exif_transpose(image))
    assert seen.shape[:2] == (back.images[0]["height"], back.images[0]["width"]) == (200, 120)
    (found,) = back.annotations
    x, y, w, h = (round(v) for v in found["bbox"])
    assert seen[y : y + h, x : x + w, 0].min() == 255 and w * h == 48 * 32
    if kind == "segmentation":
        assert found["area"] == pytest.approx(48 * 32, rel=0.01)
    else:
        px, py, _ = found["keypoints"]
        assert min(px - x, x + w - px) == pytest.approx(1, abs=0.01) == min(py - y, y + h - py)


def test_a_conversion_never_replaces_its_source(images, tmp_path, run_program):
    tool = Path(__file__).parents[3] / "tools" / "convert.py"
    labels(images, {"a.txt": "0 0.5 0.5 0.2 0.4"})
    described = tmp_path / "data.yaml"
    described.write_text("train: images\nval: images/with space\nnames: [car]\n")
    coco = tmp_path / "annotations.json"
    assert run_program(tool, described, "--split", "train", "--to", "coco", "--out", tmp_path)[0] == 0
    before = {path: path.read_bytes() for path in (described, coco)}
    sole = tmp_path / "sole"  # a folder stands for its one file
    sole.mkdir()
    (sole / "annotations.json").write_bytes(before[coco])
    code, said = run_program(tool, sole, "--img-dir", images, "--to", "via", "--out", sole / "annotations.json")
    assert code == 1 and "would replace the source" in said.splitlines()[-1], said
    for source, form in ((described, "yolo"), (coco, "via"), (coco, "coco")):
        words = ("--img-dir", images) if source == coco else ("--split", "train")
        code, said = run_program(tool, source, *words, "--to", form, "--out", tmp_path, "--overwrite")
        assert code == 1 and "would replace the source" in said.splitlines()[-1], said
    code, said = run_program(tool, coco, "--img-dir", images, "--to", "yolo", "--out", tmp_path)
    assert code == 1 and "data.yaml is there already: name another place, or replace it with --overwrite" in said, said
    code, said = run_program(tool, coco, "--img-dir", images, "--to", "yolo", "--out", tmp_path, "--overwrite")
    assert code == 1 and "data.yaml describes another set" in said.splitlines()[-1], said
    described.unlink()
    code, said = run_program(tool, coco, "--img-dir", images, "--to", "yolo", "--out", tmp_path, "--overwrite")
    assert code == 1 and "The images lie in " in said.splitlines()[-1], said
    shutil.move(images, tmp_path / "elsewhere")
    (tmp_path / "images").mkdir()
    shutil.copy(tmp_path / "elsewhere" / "a.jpg", images)
    code, said = run_program(
        tool, coco, "--img-dir", tmp_path / "elsewhere", "--to", "yolo", "--out", tmp_path, "--overwrite"
    )
    assert code == 1 and "a.jpg is an image itself" in said.splitlines()[-1], said
    assert coco.read_bytes() == before[coco] and (tmp_path / "labels" / "a.txt").read_text() == "0 0.5 0.5 0.2 0.4"


@pytest.mark.parametrize("form", ["yolo", "voc", "labelme"])
def test_a_second_set_in_a_folder_has_its_own_images_and_the_first_is_named(tmp_path, form):
    for name, files in (("first", ("a.jpg", "b.jpg")), ("second", ("a.jpg",))):
        content = formats.Content(str(tmp_path / name))
        (tmp_path / name).mkdir()
        content.category(name)
        for file in files:
            Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / name / file)
            content.add(content.add_image(file), 1, (20, 10, 40, 20))
        formats.write(content, form, str(tmp_path / "out"))
    assert any("files of another set that stay in" in s and "b." in s for s in content.notes.sentences())
    if form == "yolo":
        assert (tmp_path / "out" / "images" / "a.jpg").resolve() == tmp_path / "second" / "a.jpg"


def test_an_image_of_the_same_name_is_not_taken_for_another(tmp_path):
    for file in ("images/train/1.jpg", "images/val/1.jpg", "labels/1.jpg", "labels/b/1.jpg"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (WIDTH, HEIGHT)).save(tmp_path / file)
    shape = {"label": "c", "shape_type": "rectangle", "points": [[1, 2], [30, 40]]}
    for file in ("labels/1.json", "labels/b/1.json"):
        (tmp_path / file).write_text(json.dumps({"imagePath": "1.jpg", "shapes": [shape]}))
    beside = formats.read(str(tmp_path / "labels"))
    assert [name for name, *_ in objects(beside)] == ["1.jpg", "b/1.jpg"]
    for path in (tmp_path / "labels" / "1.jpg", tmp_path / "labels" / "b" / "1.jpg"):
        path.unlink()
    with pytest.raises(ValueError, match=r"1.json: several images fit, .*train/1.jpg and .*val/1.jpg"):
        formats.read(str(tmp_path / "labels"), images=str(tmp_path / "images"))
    (tmp_path / "xml").mkdir()
    (tmp_path / "xml" / "1.xml").write_text("<annotation><filename>1.jpg</filename></annotation>")
    with pytest.raises(ValueError, match=r"1.xml: several images fit, .*train/1.jpg and .*val/1.jpg"):
        formats.read(str(tmp_path / "xml"), images=str(tmp_path / "images"))


@pytest.mark.parametrize("form", ["voc", "csv"])
def test_a_name_that_is_no_text_is_named(tmp_path, form):
    Image.new("RGB", (20, 10)).save(tmp_path / "a.jpg")
    odd = Path(os.fsdecode(os.fsencode(tmp_path / "a") + b"\xff.jpg"))
    (tmp_path / "a.jpg").rename(odd)
    content = formats.Content(str(tmp_path))
    content.add_image(odd.name)
    with pytest.raises(ValueError, match="is no text in UTF-8. Rename the file"):
        formats.write(content, form, str(tmp_path / "out"))


@pytest.mark.parametrize("label", [None, "", 7, ["c"]])
def test_a_shape_of_no_class(images, label):
    shape = {"label": label, "shape_type": "rectangle", "points": [[1, 2], [30, 40]]}
    (images / "a.json").write_text(json.dumps({"imagePath": "a.jpg", "shapes": [shape]}))
    with pytest.raises(ValueError, match="a.json, shape 0: its label must be the name of a class; got "):
        formats.read(str(images / "a.json"))


def test_a_mask_of_thousands_of_specks_is_joined_in_seconds():
    rng = np.random.default_rng(0)
    specks = [(c + [[0, 0], [1, 0], [1, 1], [0, 1]]).flatten().tolist() for c in rng.uniform(0, 2000, (6000, 1, 2))]
    begun = time.process_time()
    joined = join_polygons(specks)
    assert time.process_time() - begun < 10
    assert formats.content.polygon_area(joined) == pytest.approx(6000)
