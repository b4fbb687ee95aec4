"""Pascal VOC: reading, and AP against the definition written out with loops."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from maskrcnn_benchmark.config import cfg
from maskrcnn_benchmark.data.build import build_dataset
from maskrcnn_benchmark.data.catalog import dataset_catalog
from maskrcnn_benchmark.data.datasets import PascalVOCDataset
from maskrcnn_benchmark.data.datasets.evaluation import evaluate
from maskrcnn_benchmark.data.datasets.evaluation.voc import do_voc_evaluation
from maskrcnn_benchmark.data.datasets.evaluation.voc.voc_eval import (
    calc_detection_voc_ap,
    calc_detection_voc_prec_rec,
    eval_detection_voc,
)
from maskrcnn_benchmark.data.datasets.images import BrokenImageError
from maskrcnn_benchmark.data.datasets.voc_boxes import KINDS, LEFT_OUT, kinds_of
from maskrcnn_benchmark.structures.bounding_box import BoxList
from tests.support.voc_set import SIZE, write_voc


def boxlist(boxes, labels, scores=None, difficult=None, size=(200, 100)) -> BoxList:
    result = BoxList(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), size)
    result.add_field("labels", torch.tensor(labels, dtype=torch.int64))
    if scores is not None:
        result.add_field("scores", torch.tensor(scores, dtype=torch.float32))
    if difficult is not None:
        result.add_field("difficult", torch.tensor(difficult, dtype=torch.bool))
    return result


def test_annotations_are_read(tmp_path):
    write_voc(tmp_path)
    dataset = PascalVOCDataset(str(tmp_path), "val", use_difficult=True)
    image, target, index = dataset[0]
    assert image.size == target.size == SIZE and index == 0
    assert target.bbox.tolist() == [[0, 0, 19, 29], [10, 5, 59, 39], [30, 1, 49, 24]]
    assert [dataset.map_class_id_to_class_name(i) for i in target.get_field("labels").tolist()] == [
        "chair",
        "person",
        "chair",
    ]
    assert target.get_field("difficult").tolist() == [False, True, False]
    assert len(dataset) == 3 and len(dataset[2][1]) == 0 and dataset.num_classes == 21
    info = dataset.get_img_info(1)
    assert (info["width"], info["height"], info["id"], info["file_name"]) == (64, 48, "000007", "000007.jpg")
    assert dataset.class_names()[20] == "tvmonitor" and dataset.name_to_id["aeroplane"] == 1
    assert len(PascalVOCDataset(str(tmp_path), "val")[0][1]) == 2


def test_transforms_act_on_items_and_not_on_the_ground_truth(tmp_path):
    write_voc(tmp_path)
    dataset = PascalVOCDataset(str(tmp_path), "val", transforms=lambda image, target: (image, target.resize((128, 96))))
    assert dataset[1][1].bbox.tolist() == [[8, 8, 126, 94]]
    assert dataset.get_groundtruth(1).bbox.tolist() == [[4, 4, 63, 47]]


def write_own(
    root: Path, objects: list[tuple[str, tuple]], size: str = "", ending: str = "png", name: str = "im 1"
) -> None:
    """A set of one image in VOC's layout: objects as (class, box)."""
    for folder in ("Annotations", "ImageSets/Main", "JPEGImages"):
        (root / folder).mkdir(parents=True, exist_ok=True)
    (root / "ImageSets" / "Main" / "train.txt").write_text(f"\ufeff{name}\r\n\r\n", encoding="utf-8", newline="")
    Image.new("RGB", (50, 40)).save(root / "JPEGImages" / f"{name}.{ending}")
    entries = "".join(
        f"<object>\r\n<name> {label} </name><part><name>head</name></part><bndbox>"
        + "".join(f"<{k}>{v}</{k}>" for k, v in zip(("xmin", "ymin", "xmax", "ymax"), box, strict=True))
        + "</bndbox></object>"
        for label, box in objects
    )
    text = f'\ufeff<?xml version="1.0" encoding="utf-8"?>\r\n<annotation>{size}{entries}</annotation>\r\n'
    (root / "Annotations" / f"{name}.xml").write_text(text, encoding="utf-8", newline="")


OWN = [("Traffic  Light", (1.5, 2.0, 20.25, 30)), ("cat", (3, 4, 50, 40)), ("traffic light", (11, 12, 20, 20))]


@pytest.mark.parametrize("ending", ["jpg", "JPG", "jpeg", "png", "bmp", "tif", "webp"])
def test_classes_and_images_of_ones_own(tmp_path, ending, log):
    write_own(tmp_path, OWN, ending=ending)
    dataset = PascalVOCDataset(str(tmp_path), "train")
    assert dataset.ids == ["im 1"] and dataset.class_names() == {1: "cat", 2: "Traffic Light", 3: "traffic light"}
    assert "Traffic Light, traffic light differ in capitals or spaces alone: they stay apart" in log.text
    image, target, _ = dataset[0]
    assert image.size == target.size == (50, 40)  # no <size>
    assert target.get_field("labels").tolist() == [2, 1, 3]
    assert target.bbox.tolist() == [[0.5, 1, 19.25, 29], [2, 3, 49, 39], [10, 11, 19, 19]]
    assert dataset.get_img_info(0) == {"id": "im 1", "file_name": f"im 1.{ending}", "height": 40, "width": 50}


def test_where_the_names_of_classes_come_from(tmp_path):
    write_own(tmp_path, OWN)
    listed = PascalVOCDataset(str(tmp_path), "train", classes=["traffic light", "Cat", "dog"])
    assert listed.class_names() == {1: "traffic light", 2: "Cat", 3: "dog"}
    assert listed[0][1].get_field("labels").tolist() == [1, 2, 1]
    (tmp_path / "names.txt").write_text("dog\n\ncat\ntraffic light\n")
    assert PascalVOCDataset(str(tmp_path), "train", classes=str(tmp_path / "names.txt")).name_to_id["cat"] == 2
    (tmp_path / "classes.txt").write_text("cat\nTRAFFIC LIGHT\n")
    assert PascalVOCDataset(str(tmp_path), "train").class_names() == {1: "cat", 2: "TRAFFIC LIGHT"}
    (tmp_path / "classes.txt").write_text("cat\nTraffic Light\ntraffic light\n")
    assert PascalVOCDataset(str(tmp_path), "train")[0][1].get_field("labels").tolist() == [2, 1, 3]
    (tmp_path / "classes.txt").write_text("cat\ncat\n")
    with pytest.raises(ValueError, match="classes.txt must name at least one class, and each once"):
        PascalVOCDataset(str(tmp_path), "train")
    with pytest.raises(FileNotFoundError, match=r"no file of class names .*no.txt"):
        PascalVOCDataset(str(tmp_path), "train", classes="no.txt")

    class Mine(PascalVOCDataset):
        CLASSES = ("__background__ ", "traffic light", "cat")

    assert Mine(str(tmp_path), "train")[0][1].get_field("labels").tolist() == [1, 2, 1]


def test_classes_are_those_of_the_whole_folder(tmp_path):
    """So that the parts of a set number them alike."""
    write_own(tmp_path, OWN)
    (tmp_path / "ImageSets" / "Main" / "val.txt").write_text("other\n")
    text = "<annotation><object><name>zebra</name></object></annotation>"
    (tmp_path / "Annotations" / "other.xml").write_text(text)
    (tmp_path / "Annotations" / "broken.xml").write_text("<annotation>")
    names = [PascalVOCDataset(str(tmp_path), split).class_names() for split in ("train", "val")]
    assert names[0] == names[1] == {1: "cat", 2: "Traffic Light", 3: "traffic light", 4: "zebra"}


@pytest.mark.parametrize(
    "size", ["", "<size><width>0</width><height>0</height></size>", "<size><width>inf</width></size>"]
)
def test_a_size_that_is_none_is_that_of_the_image(tmp_path, size):
    write_own(tmp_path, OWN, size)
    assert PascalVOCDataset(str(tmp_path), "train")[0][1].size == (50, 40)


def test_a_size_of_another_image_is_refused(tmp_path):
    write_own(tmp_path, OWN, "<size><width>40</width><height>50</height></size>")
    with pytest.raises(BrokenImageError, match="is 50 x 40 pixels .* are of 40 x 50"):
        PascalVOCDataset(str(tmp_path), "train")[0]


def test_boxes_counted_from_0(tmp_path):
    write_own(tmp_path, OWN[1:2])
    assert PascalVOCDataset(str(tmp_path), "train", first_pixel=0)[0][1].bbox.tolist() == [[3, 4, 49, 39]]


def test_keys_of_a_definition_reach_the_data_set(tmp_path):
    write_own(tmp_path, OWN)
    config = cfg.clone()
    entry = {
        "FACTORY": "PascalVOCDataset",
        "DATA_DIR": str(tmp_path),
        "SPLIT": "train",
        "CLASSES": ["cat", "traffic light"],
    }
    for key, value in {**entry, "FIRST_PIXEL": 0}.items():
        config.merge_from_list([f"DATASETS.DEFINITIONS.mine.{key}", value])
    (dataset,) = build_dataset(("mine",), None, dataset_catalog(config))
    assert dataset.class_names() == {1: "cat", 2: "traffic light"} and dataset.first_pixel == 0


def test_boxes_that_do_not_fit_are_said_and_no_truth(tmp_path, log):
    boxes = {
        "good": (11, 11, 30, 30),
        "inverted": (30, 11, 11, 30),
        "upside_down": (11, 30, 30, 11),
        "thin": (20, 11, 20, 30),
        "outside": (60, 11, 70, 30),
        "beyond": (41, 31, 60, 50),
    }
    write_own(tmp_path, list(boxes.items()))
    dataset = PascalVOCDataset(str(tmp_path), "train", use_difficult=True)
    said = [r.getMessage() for r in log.records if r.levelno == logging.WARNING]
    assert [message.split(": ", 1)[1].split(", for")[0] for message in said] == [
        "left out 2 boxes (xmax below xmin or ymax below ymin)",
        "left out 1 box (only one pixel wide or high)",
        "left out 1 box (outside the image)",
        "clipped 1 box (reaching beyond the image)",
    ]
    assert all("im 1.xml" in message for message in said)
    for target in (dataset[0][1], dataset.get_groundtruth(0)):
        names = [dataset.map_class_id_to_class_name(i) for i in target.get_field("labels").tolist()]
        assert dict(zip(names, target.bbox.tolist(), strict=True)) == {
            "good": [10, 10, 29, 29],
            "beyond": [40, 30, 49, 39],
        }
    found = dataset[0][1].copy_with_fields(["labels"])
    found.add_field("scores", torch.ones(len(found)))
    assert do_voc_evaluation(dataset, [found], None, logging.getLogger("test"))["map"] == pytest.approx(1)
    assert len([r for r in log.records if r.levelno == logging.WARNING]) == 4


def test_boxes_said_to_be_left_out_or_clipped_are():
    corners = np.random.default_rng(0).integers(-3, 13, (2000, 4)).astype(float)
    kinds = kinds_of(corners.tolist(), (10, 8))
    assert set(kinds.tolist()) == {-1, *range(len(KINDS))}
    for box, kind in zip(corners, kinds.tolist(), strict=True):
        kept = boxlist([box.tolist()], [1], size=(10, 8)).clip_to_image().bbox.numpy()
        assert (len(kept) == 0) == (0 <= kind < len(LEFT_OUT))
        assert len(kept) == 0 or (kept[0] == box).all() == (kind == -1)


def test_flags_in_the_image_set_of_a_class(tmp_path):
    write_voc(tmp_path)
    (tmp_path / "ImageSets" / "Main" / "car_val.txt").write_text("000005 -1\n000007  1\n000009.jpg\n")
    dataset = PascalVOCDataset(str(tmp_path), "car_val")
    assert dataset.ids == ["000005", "000007", "000009.jpg"] and dataset[2][0].size == SIZE


def test_files_that_do_not_fit(tmp_path):
    with pytest.raises(FileNotFoundError, match="no image set .*trainval.txt"):
        PascalVOCDataset(str(tmp_path), "trainval")
    write_voc(tmp_path)
    dataset = PascalVOCDataset(str(tmp_path), "val")
    annotation = tmp_path / "Annotations" / "000007.xml"
    whole = annotation.read_text()
    for text, said in (
        (whole[:50], "000007.xml is not an XML file"),
        (whole.replace("car", "unicorn"), "000007.xml has an object of the class 'unicorn'"),
        (whole.replace("<xmax>64</xmax>", ""), "<bndbox> has no <xmax>"),
        (whole.replace("<xmax>64</xmax>", "<xmax>?</xmax>"), r"<xmax> should be a number; got '\?'"),
        (whole.replace("<xmax>64</xmax>", "<xmax>inf</xmax>"), r"<xmax> should be a number; got 'inf'"),
    ):
        annotation.write_text(text)
        with pytest.raises(ValueError, match=said):
            dataset[1]
    annotation.unlink()
    with pytest.raises(FileNotFoundError, match="no annotation file .*000007.xml"):
        dataset[1]


def random_boxes(rng: np.random.Generator, n: int) -> np.ndarray:
    corner, extent = rng.integers(0, 60, (n, 2)), rng.integers(8, 40, (n, 2))
    return np.concatenate((corner, corner + extent), 1)


@pytest.fixture
def detections() -> tuple[list[BoxList], list[BoxList]]:
    """Twenty images, three classes of which the last is never there, scores with ties, difficult objects."""
    rng = np.random.default_rng(5)
    predictions, truths = [], []
    for i in range(20):
        n = 0 if i == 3 else int(rng.integers(1, 6))
        boxes, labels = random_boxes(rng, n), rng.integers(1, 3, n)
        near = np.concatenate([boxes + rng.integers(-4, 5, boxes.shape) for _ in range(2)] + [random_boxes(rng, 2)])
        near_labels = np.concatenate((labels, labels, rng.integers(1, 4, 2)))
        keep = rng.random(len(near)) < (0 if i == 7 else 0.7)
        scores = np.round(rng.random(len(near)), 2)
        truths.append(boxlist(boxes, labels, difficult=rng.random(n) < 0.3))
        predictions.append(boxlist(near[keep], near_labels[keep], scores[keep]))
    return predictions, truths


def overlap(a, b) -> float:
    w = min(a[2], b[2]) - max(a[0], b[0]) + 1
    h = min(a[3], b[3]) - max(a[1], b[1]) + 1
    shared = max(w, 0) * max(h, 0)
    return shared / ((a[2] - a[0] + 1) * (a[3] - a[1] + 1) + (b[2] - b[0] + 1) * (b[3] - b[1] + 1) - shared)


def naive_ap(predictions, truths, label: int, threshold: float, use_07: bool) -> float:
    """The development kit's description, a detection at a time."""
    ranked = []
    for image, prediction in enumerate(predictions):
        fields = prediction.get_field("scores"), prediction.get_field("labels"), prediction.bbox
        for score, k, box in zip(*(f.tolist() for f in fields), strict=True):
            if k == label:
                ranked.append((score, image, box))
    ranked.sort(key=lambda entry: -entry[0])
    objects = [
        [[box, hard, False] for box, k, hard in zip(*fields, strict=True) if k == label]
        for fields in (
            (t.bbox.tolist(), t.get_field("labels").tolist(), t.get_field("difficult").tolist()) for t in truths
        )
    ]
    total = sum(not hard for image in objects for _, hard, _ in image)
    right = wrong = 0
    curve = []
    for _, image, box in ranked:
        overlaps = [overlap(box, o[0]) for o in objects[image]]
        best = objects[image][int(np.argmax(overlaps))] if overlaps else None
        if best is None or max(overlaps) < threshold:
            wrong += 1
        elif best[1]:
            continue
        elif best[2]:
            wrong += 1
        else:
            right, best[2] = right + 1, True
        curve.append((right / total, right / (right + wrong)))
    if use_07:
        return sum(max([p for r, p in curve if r >= t], default=0.0) for t in np.arange(0.0, 1.1, 0.1)) / 11
    area, before = 0.0, 0.0
    for i, (recall, _) in enumerate(curve):
        area += (recall - before) * max(p for _, p in curve[i:])
        before = recall
    return area


@pytest.mark.parametrize("use_07", [False, True])
@pytest.mark.parametrize("threshold", [0.5, 0.7])
def test_ap_is_the_development_kits(detections, threshold, use_07):
    predictions, truths = detections
    result = eval_detection_voc(predictions, truths, threshold, use_07)
    expected = [naive_ap(predictions, truths, label, threshold, use_07) for label in (1, 2)]
    assert 0.05 < min(expected) and max(expected) < 0.95
    np.testing.assert_allclose(result["ap"][1:3], expected, atol=1e-9)
    assert np.isnan(result["ap"][[0, 3]]).all()
    assert result["map"] == pytest.approx(np.mean(expected))


def test_the_area_and_the_eleven_points_by_hand():
    precision = [None, np.array([1.0, 0.5, 2 / 3, 0.5])]
    recall = [None, np.array([0.25, 0.25, 0.5, 0.5])]
    assert calc_detection_voc_ap(precision, recall)[1] == pytest.approx(0.25 + 0.25 * 2 / 3)
    assert calc_detection_voc_ap(precision, recall, True)[1] == pytest.approx((3 * 1 + 3 * 2 / 3) / 11)


def test_difficult_objects_do_not_count():
    truths = [boxlist([[0, 0, 9, 9], [50, 0, 59, 9]], [1, 1], difficult=[False, True])]
    found = boxlist([[50, 0, 59, 9], [50, 0, 59, 9], [0, 0, 9, 9]], [1, 1, 1], [0.9, 0.8, 0.7])
    assert eval_detection_voc([found], truths)["map"] == 1.0
    assert eval_detection_voc([found[:2]], truths)["map"] == 0.0
    precision, recall = calc_detection_voc_prec_rec(truths, [found])
    assert recall[1].tolist() == [0, 0, 1] and precision[1][-1] == 1


def test_nothing_found_and_nothing_there():
    nothing = boxlist([], [], [])
    assert eval_detection_voc([nothing], [boxlist([[0, 0, 9, 9]], [1])])["ap"][1] == 0
    assert np.isnan(eval_detection_voc([nothing], [boxlist([], [])])["map"])
    with pytest.raises(ValueError, match="predictions of 1 image for 2 images"):
        eval_detection_voc([nothing], [nothing, nothing])


def some_predictions(scale: int = 1) -> list[BoxList]:
    size = (SIZE[0] * scale, SIZE[1] * scale)
    found = [
        boxlist([[0, 0, 19, 29], [30, 1, 49, 24], [10, 5, 59, 39]], [9, 9, 15], [0.9, 0.4, 0.8], size=SIZE),
        boxlist([[0, 0, 20, 20]], [7], [0.5], size=SIZE),
        boxlist([[0, 0, 20, 20]], [9], [0.5], size=SIZE),
    ]
    return [prediction.resize(size) for prediction in found]


def test_a_data_set_is_evaluated_by_its_own_metric(tmp_path):
    write_voc(tmp_path / "set")
    dataset = PascalVOCDataset(str(tmp_path / "set"), "val", use_difficult=True)
    result = evaluate(dataset, some_predictions(scale=2), str(tmp_path), box_only=False, iou_types=("bbox",))
    assert np.isnan(result["ap"][15])  # the only person is difficult
    assert result["ap"][7] == 0 and result["ap"][9] == pytest.approx((6 + 5 * 2 / 3) / 11)
    lines = (tmp_path / "result.txt").read_text().splitlines()
    assert lines[0] == f"mAP: {result['map']:.4f}" and f"{'chair':<16}: {result['ap'][9]:.4f}" in lines
    logger = logging.getLogger("maskrcnn_benchmark.test")
    area = do_voc_evaluation(dataset, some_predictions(), None, logger, use_07_metric=False)
    assert area["ap"][9] == pytest.approx(0.5 + 0.5 * 2 / 3)


def test_proposals_and_expectations(tmp_path, log):
    write_voc(tmp_path)
    dataset = PascalVOCDataset(str(tmp_path), "val", use_difficult=True)
    evaluate(dataset, some_predictions(), None, box_only=False, expected_results=[["bbox", "AP50", 0.9, 0.01]])
    assert "NOT as expected" in log.text
    proposals = some_predictions()
    for p in proposals:
        p.add_field("objectness", p.get_field("scores"))
    results, _ = evaluate(dataset, proposals, None, box_only=True, iou_types=("bbox",))
    assert results.results["box_proposal"]["AR@100"] == pytest.approx(2 / 3)  # not the car; the person does not count


def test_without_annotations_detections_are_written(tmp_path):
    write_voc(tmp_path / "set", "test", annotated=False)
    dataset = PascalVOCDataset(str(tmp_path / "set"), "test")
    assert len(dataset[0][1]) == 0 and dataset.get_img_info(0)["width"] == SIZE[0]
    assert evaluate(dataset, some_predictions(), str(tmp_path), box_only=False) == {}
    assert (tmp_path / "comp4_det_test_person.txt").read_text() == "000005 0.800000 11.00 6.00 60.00 40.00\n"
    assert (tmp_path / "comp4_det_test_cow.txt").read_text() == ""
