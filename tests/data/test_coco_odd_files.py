"""COCO files as tools write them: each odd form gives what the sound file gives, in targets and evaluation, or a sentence."""

import copy
import json
import math
from collections.abc import Callable

import numpy as np
import pycocotools.mask as mask_utils
import pytest
import torch

from maskrcnn_benchmark.data.datasets import COCODataset
from maskrcnn_benchmark.data.datasets.coco_tree import load_coco
from maskrcnn_benchmark.data.datasets.evaluation import evaluate
from maskrcnn_benchmark.data.datasets.facts import groundtruth
from maskrcnn_benchmark.structures.bounding_box import BoxList
from tests.support.helpers import write_coco

Change = Callable[[dict], object]


@pytest.fixture
def open_set(tmp_path):
    """The set of write_coco with a change of its content, written in an encoding."""
    sound = write_coco(tmp_path, images=4)

    def load(change: Change = lambda content: None, encoding: str = "utf-8", **keys) -> COCODataset:
        content = copy.deepcopy(sound)
        change(content)
        path = tmp_path / f"set{len(list(tmp_path.iterdir()))}.json"
        path.write_bytes(json.dumps(content, ensure_ascii=False).encode(encoding))
        return COCODataset(str(path), str(tmp_path / "set"), False, **keys)

    return load


def each(key: str, value_of: Callable[[dict], object], where: str = "annotations", every: int = 1) -> Change:
    def change(content: dict) -> None:
        for entry in content[where][::every]:
            value = value_of(entry)
            entry.pop(key, None)
            if value is not KeyError:
                entry[key] = value

    return change


def again(where: str, **values) -> Change:
    """The last entry once more, with other values."""
    return lambda content: content[where].append({**content[where][-1], **values})


def huge(where: str, key: str) -> Change:
    """Ids beyond 64 bits, and annotations that refer to them."""
    return both(
        each("id", lambda e: e["id"] + 20230101123456789012, where),
        each(key, lambda a: a[key] + 20230101123456789012),
    )


def missing(entry: dict) -> object:
    return KeyError


def perfect(dataset: COCODataset) -> list[BoxList]:
    """The objects themselves as detections."""
    found = []
    for i in range(len(dataset)):
        target = dataset[i][1]
        target.add_field("scores", torch.linspace(0.9, 0.5, len(target)))
        target.add_field("objectness", torch.linspace(0.9, 0.5, len(target)))
        if target.has_field("masks"):
            masks = target.get_field("masks").convert("mask").instances.masks
            rles = [mask_utils.encode(np.asfortranarray(m)) for m in masks.numpy()]
            target.add_field("rle", [{**r, "counts": r["counts"].decode()} for r in rles])
        found.append(target.copy_with_fields([f for f in target.fields() if f not in ("masks", "has_mask")]))
    return found


def both(*changes: Change) -> Change:
    return lambda content: [change(content) for change in changes]


SAME: dict[str, Change] = {
    "annotation ids from 0": each("id", lambda a: a["id"] - 1),
    "annotation ids repeated": each("id", lambda a: 1 + a["id"] % 3),
    "a category twice": again("categories"),
    "annotation ids missing": each("id", missing, every=3),
    "annotation ids as text": each("id", lambda a: f"é{a['id']}"),
    "annotation ids as lists": each("id", lambda a: [a["id"]]),
    "annotation ids negative": each("id", lambda a: -a["id"]),
    "area missing": each("area", missing),
    "area null in some": each("area", lambda a: None, every=2),
    "area as text": each("area", lambda a: "large"),
    "area not a number": each("area", lambda a: math.nan),
    "area of the image": each("area", lambda a: 64.0 * 64 * 100),
    "area 0": each("area", lambda a: 0),
    "iscrowd missing": each("iscrowd", missing, every=2),
    "iscrowd null": each("iscrowd", lambda a: None),
    "iscrowd as text": each("iscrowd", lambda a: "0"),
    "iscrowd false": each("iscrowd", lambda a: False),
    "area and iscrowd missing": both(each("area", missing), each("iscrowd", missing)),
    "image ids as text there": each("image_id", lambda a: str(a["image_id"])),
    "image ids as floats": each("image_id", lambda a: float(a["image_id"])),
    "image ids as text here": each("id", lambda i: str(i["id"]), "images", every=2),
    "category ids as text there": each("category_id", lambda a: str(a["category_id"])),
    "category ids as floats": each("id", lambda c: float(c["id"]), "categories"),
    "boxes as text": each("bbox", lambda a: [f" {v}" for v in a["bbox"]]),
    "sizes as floats": both(*(each(k, lambda i, k=k: float(i[k]), "images") for k in ("width", "height"))),
    "sizes as text": both(*(each(k, lambda i, k=k: str(i[k]), "images") for k in ("width", "height"))),
    "sizes missing": both(each("width", missing, "images"), each("height", missing, "images", 2)),
    "sizes null, 0 and -1": both(
        each("width", lambda i: None, "images"),
        each("height", lambda i: 0, "images"),
        each("width", lambda i: -1, "images", 2),
    ),
    "file_name missing, coco_url present": both(
        each("coco_url", lambda i: f"http://images.org/train/{i['file_name']}?x=1", "images"),
        each("file_name", missing, "images"),
    ),
    "file_name null, path present": both(
        each("path", lambda i: f"C:\\data\\{i['file_name']}", "images"), each("file_name", lambda i: None, "images")
    ),
    "info null": lambda content: content.update(info=None),
    "info a list": lambda content: content.update(info=[]),
    "null among the annotations": lambda content: content["annotations"].append(None),
    "null among the images": lambda content: content["images"].insert(0, None),
    "an image without an id": lambda content: content["images"].append({"file_name": "x.jpg"}),
    "polygons as text": each("segmentation", lambda a: _polygons(a, str)),
    "flat polygons": each("segmentation", lambda a: s[0] if isinstance(s := a["segmentation"], list) else s),
    "polygons of points": each("segmentation", lambda a: _points(a["segmentation"])),
    "a polygon of points": each(
        "segmentation", lambda a: s[0] if isinstance(s := _points(a["segmentation"]), list) else s
    ),
    "boxes for polygons": each(
        "segmentation", lambda a: [a["bbox"]] if isinstance(a["segmentation"], list) else a["segmentation"]
    ),
    "run lengths in a list": each("segmentation", lambda a: s if isinstance(s := a["segmentation"], list) else [s]),
    "compressed run lengths": each("segmentation", lambda a: _compressed(a["segmentation"])),
    "two points beside a polygon": each(
        "segmentation", lambda a: s + [[1, 2, 3, 4]] if isinstance(s := a["segmentation"], list) else s
    ),
}


def _polygons(annotation: dict, kind: Callable) -> object:
    segmentation = annotation["segmentation"]
    return [[kind(v) for v in p] for p in segmentation] if isinstance(segmentation, list) else segmentation


def _points(segmentation: object) -> object:
    if not isinstance(segmentation, list):
        return segmentation
    return [np.array(p).reshape(-1, 2).tolist() for p in segmentation]


def _compressed(segmentation: object) -> object:
    if not isinstance(segmentation, dict):
        return segmentation
    rle = mask_utils.frPyObjects(segmentation, *segmentation["size"])
    return {**rle, "counts": rle["counts"].decode()}


@pytest.mark.parametrize("name", SAME)
def test_an_odd_form_gives_what_the_sound_file_gives(name, open_set):
    sound, odd = open_set(), open_set(SAME[name])
    assert [int(i) for i in odd.ids] == sound.ids and odd.class_names() == sound.class_names()
    assert odd.image_sizes().tolist() == sound.image_sizes().tolist()
    for i in range(4):
        image, target, _ = odd[i]
        expected_image, expected, _ = sound[i]
        assert image.tobytes() == expected_image.tobytes() and torch.equal(target.bbox, expected.bbox)
        assert torch.equal(target.get_field("labels"), expected.get_field("labels"))
        masks = (t.get_field("masks").convert("mask").instances.masks for t in (target, expected))
        assert torch.equal(*masks) and not target.has_field("has_mask")
    results, _ = evaluate(odd, perfect(odd), None, box_only=False, iou_types=("bbox", "segm"))
    assert results.results["bbox"]["AP"] == pytest.approx(1) and results.results["segm"]["AP"] == pytest.approx(1)
    expected, _ = evaluate(sound, perfect(sound), None, box_only=False, iou_types=("bbox", "segm"))
    assert results.results == expected.results and results.per_class == expected.per_class
    recall, _ = evaluate(odd, perfect(odd), None, box_only=True, iou_types=("bbox",))
    expected, _ = evaluate(sound, perfect(sound), None, box_only=True, iou_types=("bbox",))
    assert recall.results == expected.results


@pytest.mark.parametrize("name", ["annotation ids from 0", "area missing", "image ids as text there"])
def test_the_fast_evaluator_takes_odd_files_too(name, open_set):
    pytest.importorskip("faster_coco_eval")
    odd = open_set(SAME[name])
    results, _ = evaluate(
        odd, perfect(odd), None, box_only=False, iou_types=("bbox", "segm"), evaluator="faster-coco-eval"
    )
    assert results.results["bbox"]["AP"] == results.results["segm"]["AP"] == pytest.approx(1)


@pytest.mark.parametrize("evaluator", ["pycocotools", "faster-coco-eval"])
def test_ids_that_are_text(evaluator, open_set):
    """They stay what they are in results."""
    if evaluator != "pycocotools":
        pytest.importorskip("faster_coco_eval")
    change = both(
        *(each(k, lambda e, k=k: f"img {e[k]}", w) for k, w in (("image_id", "annotations"), ("id", "images"))),
        *(each(k, lambda e, k=k: f"c{e[k]}", w) for k, w in (("category_id", "annotations"), ("id", "categories"))),
    )
    dataset = open_set(change)
    results, entries = evaluate(
        dataset, perfect(dataset), None, box_only=False, iou_types=("bbox",), evaluator=evaluator
    )
    assert results.results["bbox"]["AP"] == pytest.approx(1) and set(results.per_class["bbox"]) == {"red", "blue"}
    assert {e["image_id"] for e in entries["bbox"]} == {f"img {i}" for i in range(10, 14)}
    recall, _ = evaluate(dataset, perfect(dataset), None, box_only=True, iou_types=("bbox",))
    assert recall.results["box_proposal"]["AR@100"] == pytest.approx(1)


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
def test_every_encoding_of_unicode(encoding, open_set):
    def change(content: dict) -> None:
        for i, image in enumerate(content["images"]):
            image["note"] = "é漢😀" * i
        content["annotations"][3]["note"] = "😀"

    sound, odd = open_set(change), None
    expected = [sound[i][1].bbox.tolist() for i in range(4)], [sound.get_img_info(i) for i in range(4)]
    odd = open_set(change, encoding)
    assert ([odd[i][1].bbox.tolist() for i in range(4)], [odd.get_img_info(i) for i in range(4)]) == expected
    assert len(load_coco(odd.ann_file).anns) == 8


LEFT_OUT: dict[str, tuple[object, str]] = {
    "null": (None, 'no "bbox" of four numbers'),
    "three numbers": ([1, 2, 3], 'no "bbox" of four numbers'),
    "text": ("1 2 3 4", 'no "bbox" of four numbers'),
    "not a number": ([1, 2, math.nan, 4], 'no "bbox" of four numbers'),
    "infinite": ([1, 2, math.inf, 4], 'no "bbox" of four numbers'),
    "a null in it": ([1, None, 3, 4], 'no "bbox" of four numbers'),
    "no size": ([1, 2, 0, 4], "zero or negative size"),
    "x2 < x1": ([20, 20, -5, 4], "zero or negative size"),
    "outside": ([500, 2, 5, 4], "outside the image"),
}


@pytest.mark.parametrize("name", LEFT_OUT)
def test_boxes_that_are_none_are_left_out_and_counted(name, open_set, log):
    box, reason = LEFT_OUT[name]
    dataset = open_set(lambda content: content["annotations"][0].update(bbox=box))
    assert len(dataset[0][1]) == 1
    assert f"left out 1 annotation ({reason}), for example id 1." in log.text
    results, _ = evaluate(dataset, perfect(dataset), None, box_only=False, iou_types=("bbox",))
    assert results.results["bbox"]["AP"] == pytest.approx(1)


NO_MASK: dict[str, Callable[[dict], object]] = {
    "missing": missing,
    "null": lambda a: None,
    "an empty list": lambda a: [],
    "an empty list in a list": lambda a: [[]],
    "an empty object": lambda a: {},
    "text": lambda a: "x",
    "a number": lambda a: 7,
    "two points": lambda a: [[1, 2, 3, 4]],
    "an odd count": lambda a: [[1, 2, 3, 4, 5, 6, 7]],
    "a null in it": lambda a: [[1, 2, None, 4, 5, 6]],
    "run lengths of another size": lambda a: {"size": [9, 9], "counts": [40, 41]},
    "run lengths of swapped size": lambda a: {"size": [80, 64], "counts": [64 * 80 - 200, 200]},
    "run lengths of a huge size": lambda a: {"size": [10**6, 10**6], "counts": [10**12]},
    "compressed ones of a huge size": lambda a: {"size": [10**6, 10**6], "counts": "PPYo1Z"},
}


@pytest.mark.parametrize("name", NO_MASK)
def test_an_object_without_a_usable_mask_keeps_its_box(name, open_set, log):
    dataset = open_set(lambda content: each("segmentation", NO_MASK[name])({"annotations": content["annotations"][:1]}))
    assert dataset.without_mask == 1 and dataset.has_masks
    target = dataset[0][1]
    assert len(target) == 2 and target.get_field("has_mask").tolist() == [False, True]
    assert dataset[1][1].get_field("has_mask").all()  # the same fields in every image
    detections = perfect(dataset)
    results, _ = evaluate(dataset, detections, None, box_only=False, iou_types=("bbox", "segm"))
    assert results.results["bbox"]["AP"] == results.results["segm"]["AP"] == pytest.approx(1)
    assert 'masks: 1 object without a usable "segmentation", for example id 1.' in log.text
    without = [d[1:] if i == 0 else d for i, d in enumerate(detections)]  # it need not be found
    results, _ = evaluate(dataset, without, None, box_only=False, iou_types=("segm",))
    assert results.results["segm"]["AP"] == pytest.approx(1)


WRONG_RUNS = [[5, 6], [64 * 80 + 1], [-5, 64 * 80 + 5], [True] * 3, ["a"], "", "\x01", "é", "PPYo1", "0" * 40]


@pytest.mark.parametrize("counts", WRONG_RUNS)
def test_run_lengths_that_do_not_fill_the_image(counts, open_set):
    dataset = open_set(lambda c: c["annotations"][0].update(segmentation={"size": [64, 80], "counts": counts}))
    assert dataset[0][1].get_field("has_mask").tolist() == [False, True]
    assert "segmentation" not in dataset.coco.anns[1]


def test_what_was_computed_is_said_once_with_counts(open_set, log):
    open_set(
        both(
            each("area", missing, every=2),
            each("iscrowd", lambda a: None, every=4),
            each("width", missing, "images", 4),
        )
    )
    said = [r.getMessage().partition(": ")[2] for r in log.records]
    assert said == [
        '1 image has no usable "width" and "height"; they are read from the files, for example of id 10.',
        '4 annotations have no usable "area"; it is computed from the mask or the box, for example of id 1.',
        '2 annotations have no usable "iscrowd"; it is taken as 0, for example of id 1.',
    ]


def test_areas_are_those_of_the_masks_or_the_boxes(open_set):
    def change(content: dict) -> None:
        each("area", missing)(content)
        triangle = [[0, 0, 20, 0, 0, 20]]
        content["annotations"][0].update(bbox=[0, 0, 20, 20], segmentation=triangle)
        del content["annotations"][1]["segmentation"]
        content["annotations"][1]["bbox"] = [3, 4, 5.5, 6]

    annotations = open_set(change).coco.anns
    assert annotations[1]["area"] == pytest.approx(200, abs=15) and annotations[2]["area"] == 33


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            each("id", lambda i: "a" if i["id"] == 10 else i["id"], "images"),
            r"the ids of images must be all integers or all strings",
        ),
        (each("id", lambda i: 1.5, "images"), 'none of its 4 "images" has an "id"'),
        (each("id", lambda c: [c["id"]], "categories"), "the ids of categories must be"),
        (each("name", missing, "categories"), 'every entry of "categories" must have an "id" and a "name"'),
        (each("category_id", lambda a: None), "has the category id None, which is not among its categories"),
        (
            both(*(each(k, lambda i: 10**6, "images") for k in ("width", "height"))),
            "image 10 is said to be 1000000 x 1000000 pixels",
        ),
        (again("categories", name="azure"), r"its categories give the id \d+ to '\w+' and to 'azure'"),
        (huge("images", "image_id"), r"the id 20230101123456789\d+ of images is larger than an integer of 64 bits"),
        (huge("categories", "category_id"), r"the id 20230101123456789\d+ of categories is larger than"),
        (each("id", lambda i: -(2**63) - i["id"], "images"), r"the id -92233720368547758\d\d of images is larger than"),
        (lambda content: content.update(annotations={"1": 2}), '"annotations" is no list'),
        (lambda content: content.update(images=None), "it has no images"),
    ],
)
def test_what_cannot_be_understood_gets_a_sentence(change, sentence, open_set):
    with pytest.raises(ValueError, match=rf"set\d.json.*{sentence}"):
        open_set(change)


def test_the_whole_tree_refuses_one_category_id_with_two_names(tmp_path):
    write_coco(tmp_path, images=1)
    content = json.loads((tmp_path / "set.json").read_text())
    again("categories", name="azure")(content)
    path = tmp_path / "twice.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match="twice.json: its categories give the id .* and to 'azure'"):
        load_coco(str(path))


def test_the_whole_tree_refuses_ids_beyond_64_bits(tmp_path):
    content = write_coco(tmp_path, images=1)
    huge("images", "image_id")(content)
    path = tmp_path / "huge.json"
    path.write_text(json.dumps(content))
    with pytest.raises(ValueError, match=r"huge.json: the id 20230101123456789\d+ of images is larger than"):
        load_coco(str(path))


def test_annotations_null_are_none(open_set):
    assert not open_set(lambda content: content.update(annotations=None)).has_annotations


def test_an_image_that_is_smaller_than_said_is_refused(open_set):
    dataset = open_set(lambda content: content["images"][0].update(width=10_000, height=10_000))
    with pytest.raises(OSError, match="is 80 x 64 pixels .* are of 10000 x 10000"):
        dataset[0]


def test_categories_of_one_name_are_told_apart(open_set, caplog):
    """In the order of their ids; category 0, which no object has, is no class and takes no name from one."""

    def same_names(content: dict) -> None:
        content["categories"] = [{"id": i, "name": "car"} for i in (7, 0, 3)] + [{"id": 9, "name": "car (2)"}]

    dataset = open_set(same_names)
    assert dataset.class_names() == {1: "car", 2: "car (3)", 3: "car (2)"}
    assert (
        "1 category has the name of another one and a number behind it here, for example id 7, car (3)" in caplog.text
    )
    assert {c["id"]: c["name"] for c in dataset.coco.cats.values()}[7] == "car (3)"
    found = []
    for index in range(len(dataset)):
        target = groundtruth(dataset, index)
        boxes = target.copy_with_fields(["labels"])
        boxes.add_field("scores", torch.ones(len(boxes)))
        found.append(boxes)
    results, _ = evaluate(
        dataset, found, None, box_only=False, iou_types=("bbox",), expected_results=(), expected_results_sigma_tol=4
    )
    assert results.per_class["bbox"] == pytest.approx({"car": 1, "car (3)": 1, "car (2)": -1})
