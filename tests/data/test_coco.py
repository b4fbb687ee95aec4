"""COCODataset against pycocotools and against what was written into small sets."""

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO

from maskrcnn_benchmark.data.datasets import COCODataset, ConcatDataset
from maskrcnn_benchmark.data.datasets.coco import has_valid_annotation
from maskrcnn_benchmark.data.datasets.images import BrokenImageError
from tests.support.helpers import uncompressed_rle, write_annotations, write_coco


def square(x: float, y: float, w: float, h: float, **keys: object) -> dict:
    """An annotation of image 1, category 3, with its outline."""
    outline = [[x, y, x + w, y, x + w, y + h, x, y + h]]
    return {
        "image_id": 1,
        "category_id": 3,
        "bbox": [x, y, w, h],
        "area": w * h,
        "iscrowd": 0,
        "segmentation": outline,
    } | keys


@pytest.fixture
def make(tmp_path):
    """A data set of empty 40 x 30 images with the given annotations (ids are filled in)."""

    def build(annotations: list[dict] | None, images: int = 1, remove: bool = False, **keys: object) -> COCODataset:
        (tmp_path / "set").mkdir(exist_ok=True)
        entries = [{"id": i, "file_name": f"{i}.png", "width": 40, "height": 30} for i in range(1, images + 1)]
        for entry in entries:
            Image.new("RGB", (40, 30)).save(tmp_path / "set" / entry["file_name"])
        content = {"images": entries, "categories": [{"id": 7, "name": "b"}, {"id": 3, "name": "a"}]} | keys
        if annotations is not None:
            content["annotations"] = [{"id": i, **a} for i, a in enumerate(annotations, start=100)]
        write_annotations(tmp_path, "set", content)
        return COCODataset(str(tmp_path / "set.json"), str(tmp_path / "set"), remove)

    return build


def test_labels_have_no_gaps_and_follow_the_ids(make):
    dataset = make([square(1, 1, 5, 5, category_id=7), square(2, 2, 6, 6)])
    assert dataset[0][1].get_field("labels").tolist() == [2, 1]
    assert dataset.class_names() == {1: "a", 2: "b"} and dataset.num_classes == 3
    assert dataset.contiguous_category_id_to_json_id == {1: 3, 2: 7}


def test_an_item_is_the_image_its_objects_and_its_index(make):
    dataset = make([square(1, 2, 5, 6)], images=2)
    image, target, index = dataset[0]
    assert image.size == target.size == (40, 30) and image.mode == "RGB" and index == 0
    assert target.mode == "xyxy" and target.bbox.tolist() == [[1, 2, 5, 7]]  # corners belong to the box
    assert dataset.get_img_info(1)["file_name"] == "2.png"
    assert len(dataset[1][1]) == 0 and len(dataset[1][1].get_field("labels")) == 0


def test_transforms_get_the_image_and_its_objects(make):
    dataset = make([square(1, 2, 5, 6)])
    dataset._transforms = lambda image, target: (image.size, target.bbox.tolist())
    assert dataset[0] == ((40, 30), [[1, 2, 5, 7]], 0)


def test_crowds_are_left_out(make):
    mask = np.zeros((30, 40), np.uint8)
    mask[5:9, 5:9] = 1
    crowd = square(5, 5, 4, 4, iscrowd=1, segmentation=uncompressed_rle(mask))
    target = make([crowd, square(1, 1, 9, 9)])[0][1]
    assert target.bbox.tolist() == [[1, 1, 9, 9]] and target.get_field("masks").mode == "poly"


def test_polygons_and_run_lengths_in_one_image(make):
    mask = np.zeros((30, 40), np.uint8)
    mask[10:20, 5:25] = 1
    target = make([square(2, 3, 8, 4), square(5, 10, 20, 10, segmentation=uncompressed_rle(mask))])[0][1]
    outline, runs = target.get_field("masks").get_mask_tensor().numpy()
    assert (runs == mask).all()
    expected = np.zeros_like(mask)
    expected[3:7, 2:10] = 1
    assert (outline == expected).all()


def test_objects_without_masks_have_their_boxes_and_are_marked(make):
    plain = square(5, 5, 4, 4)
    del plain["segmentation"]
    dataset = make([plain, square(1, 1, 9, 9)])
    target = dataset[0][1]
    assert target.get_field("has_mask").tolist() == [False, True]
    assert dataset.has_masks and dataset.without_mask == 1
    assert target.get_field("masks").get_mask_tensor()[0, 5:9, 5:9].all()
    assert not make([plain]).has_masks and not make([plain])[0][1].has_field("masks")
    everything = make([{**plain, "iscrowd": 1}, square(1, 1, 9, 9)])  # nobody trains on a crowd
    assert everything.without_mask == 0 and not everything[0][1].has_field("has_mask")


def test_iteration_ends(make):
    assert [index for _, _, index in make([square(1, 1, 9, 9)], images=3)] == [0, 1, 2]


def test_images_without_objects_are_kept_or_removed(make):
    objects = [square(1, 1, 5, 5, image_id=2), square(1, 1, 1, 1, image_id=3)]
    assert make(objects, images=4).ids == [1, 2, 3, 4]
    assert make(objects, images=4, remove=True).ids == [2]  # a box of one pixel is nothing to train on


def test_useless_boxes_are_dropped_and_counted(make, log):
    annotations = [
        square(1, 1, 9, 9),
        square(1, 1, 0, 9),
        square(1, 1, 9, -2),
        square(40, 1, 5, 5),
        square(-5, 1, 5, 5),
        square(1, 1, 9, 9, image_id=99),
        square(30, 20, 50, 50),
    ]
    target = make(annotations)[0][1]
    assert target.bbox.tolist() == [[1, 1, 9, 9], [30, 20, 39, 29]]  # the last is cut at the image's edge
    assert len(target.get_field("masks")) == 2
    warnings = [r.getMessage().partition(": ")[2] for r in log.records if r.levelname == "WARNING"]
    assert warnings == [
        "left out 2 annotations (zero or negative size), for example id 101.",
        "left out 2 annotations (outside the image), for example id 103.",
        "left out 1 annotation (unknown image), for example id 105.",
    ]


def test_a_set_without_annotations(make):
    dataset = make(None)
    assert not dataset.has_annotations and len(dataset[0][1]) == 0
    assert make([]).has_annotations


def test_an_unknown_category_is_named(make):
    with pytest.raises(ValueError, match=r"annotation 101 has the category id 5, .*\[3, 7\]"):
        make([square(1, 1, 5, 5), square(1, 1, 5, 5, category_id=5)])


def keypoints(visible: int) -> dict:
    return square(1, 1, 5, 5, keypoints=[4, 4, 2] * visible + [0, 0, 0] * (17 - visible))


@pytest.mark.parametrize(
    ("annotations", "valid"),
    [
        ([], False),
        ([square(1, 1, 1, 5), square(1, 1, 5, 1)], False),
        ([square(1, 1, 1, 5), square(1, 1, 2, 2)], True),
        ([keypoints(9)], False),
        ([keypoints(10)], True),
        ([keypoints(4), keypoints(6)], True),
        ([keypoints(4), keypoints(5)], False),
    ],
)
def test_what_is_worth_training_on(annotations, valid):
    assert has_valid_annotation(annotations) is valid


def test_images_that_cannot_be_read_are_named(make, tmp_path):
    dataset = make([square(1, 1, 5, 5)], images=3)
    (tmp_path / "set" / "1.png").unlink()
    (tmp_path / "set" / "2.png").write_bytes(b"not an image")
    whole = (tmp_path / "set" / "3.png").read_bytes()
    (tmp_path / "set" / "3.png").write_bytes(whole[: len(whole) // 2])
    for index in range(3):
        with pytest.raises(BrokenImageError, match=f"{index + 1}.png cannot be read"):
            dataset[index]


def test_grey_images_become_rgb(make, tmp_path):
    dataset = make([])
    Image.new("L", (40, 30), 77).save(tmp_path / "set" / "1.png")
    assert dataset[0][0].getpixel((0, 0)) == (77, 77, 77)


def test_concatenated_sets_know_their_images(tmp_path):
    sets = []
    for name, count in (("first", 3), ("second", 2)):
        write_coco(tmp_path, name, images=count)
        sets.append(COCODataset(str(tmp_path / f"{name}.json"), str(tmp_path / name), False))
    joined = ConcatDataset(sets)
    assert [joined.get_idxs(i) for i in range(5)] == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1)]
    for i in range(5):
        part, index = joined.get_idxs(i)
        assert joined.get_img_info(i) is sets[part].get_img_info(index)
        _, target, carried = joined[i]
        assert carried == i and torch.equal(target.bbox, sets[part][index][1].bbox)


@pytest.mark.skipif("MRB_TEST_COCO" not in os.environ, reason="MRB_TEST_COCO names no folder with COCO 2017")
@pytest.mark.parametrize("split", ["train2017", "val2017"])
def test_targets_are_those_of_pycocotools(split):
    root = Path(os.environ["MRB_TEST_COCO"])
    ann_file = str(root / "annotations" / f"instances_{split}.json")
    dataset = COCODataset(ann_file, str(root / split), remove_images_without_annotations=False)
    coco = COCO(ann_file)
    category_ids = sorted(c["id"] for c in json.loads(Path(ann_file).read_text())["categories"])
    compared = 0
    for index in range(min(len(dataset), 80)):
        info = dataset.get_img_info(index)
        annotations = coco.loadAnns(coco.getAnnIds(imgIds=info["id"], iscrowd=False))
        x, y, w, h = np.array([a["bbox"] for a in annotations], np.float64).reshape(-1, 4).T
        columns, rows = info["width"] - 1, info["height"] - 1
        corners = np.stack((x, y, x + np.maximum(w - 1, 0), y + np.maximum(h - 1, 0)), axis=1)
        corners = np.clip(corners, 0, [columns, rows, columns, rows])
        kept = (corners[:, 2] > corners[:, 0]) & (corners[:, 3] > corners[:, 1])
        annotations = [a for a, k in zip(annotations, kept, strict=True) if k]

        image, target, _ = dataset[index]
        assert image.size == (info["width"], info["height"])
        np.testing.assert_allclose(target.bbox.numpy(), corners[kept], atol=1e-3)
        labels = target.get_field("labels").tolist()
        assert [category_ids[label - 1] for label in labels] == [a["category_id"] for a in annotations]
        if annotations and index < 20:
            masks = target.get_field("masks").convert("mask").instances.masks.numpy()
            for mask, annotation in zip(masks, annotations, strict=True):
                # Coordinates are kept in float32, as upstream keeps them; some edges move by a pixel for it.
                polygons = [np.float32(p).tolist() for p in annotation["segmentation"]]
                assert (mask == coco.annToMask(annotation | {"segmentation": polygons})).all()
        compared += len(annotations)
    assert compared > 300
