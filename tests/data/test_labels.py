"""Categories of data sets and models that differ in order, ids or number: what belongs together is decided by names."""

import copy
import json

import pytest
import torch

from maskrcnn_benchmark.config import ConfigError, cfg
from maskrcnn_benchmark.data import make_data_loader
from maskrcnn_benchmark.data.datasets import COCODataset, PascalVOCDataset
from maskrcnn_benchmark.data.datasets.evaluation import evaluate
from maskrcnn_benchmark.data.labels import match_labels, names_of, parts_of
from tests.support.helpers import CONFIG, options, write_annotations, write_coco
from tests.support.voc_set import write_voc

MODEL = {1: "red", 2: "blue"}


@pytest.fixture
def make(tmp_path):
    """The set of write_coco ("red" has the id 3, "blue" 7) with other categories: old id -> (new id, name)."""

    def build(name: str, categories: dict[int, tuple], more: tuple = ()) -> COCODataset:
        content = copy.deepcopy(write_coco(tmp_path, name))
        content["categories"] = [{"id": i, "name": n} for i, n in (*categories.values(), *more)]
        for annotation in content["annotations"]:
            annotation["category_id"] = categories[annotation["category_id"]][0]
        write_annotations(tmp_path, name, content)
        return COCODataset(str(tmp_path / f"{name}.json"), str(tmp_path / name), False)

    return build


def labels(dataset) -> list[int]:
    return [label for _, target, _ in dataset for label in target.get_field("labels").tolist()]


def perfect(dataset) -> list:
    found = []
    for _, target, _ in dataset:
        target.add_field("scores", torch.ones(len(target)))
        found.append(target.copy_with_fields(["labels", "scores"]))
    return found


@pytest.mark.parametrize(
    "categories",
    [
        {3: (3, "red"), 7: (7, "blue")},
        {3: (9, "red"), 7: (1, "blue")},  # another order
        {3: (9, "Red "), 7: (1, "BLUE")},
        {3: ("b", "red"), 7: ("a", "blue")},
    ],
)
def test_a_model_finds_its_classes_whatever_their_ids(make, categories):
    sound = labels(make("sound", {3: (3, "red"), 7: (7, "blue")}))
    dataset = make("other", categories)
    match_labels(dataset, MODEL, "other")
    assert labels(dataset) == sound and dataset.labels_by_image()[0].tolist() == sound
    results, entries = evaluate(dataset, perfect(dataset), None, box_only=False, iou_types=("bbox",))
    assert results.results["bbox"]["AP"] == pytest.approx(1)
    assert {e["category_id"] for e in entries["bbox"]} == {i for i, _ in categories.values()}


def test_a_class_that_the_set_lacks_is_left_out_of_the_mean(make, log):
    dataset = make("fewer", {3: (1, "blue"), 7: (2, "red")})
    match_labels(dataset, {1: "green", **{label + 1: name for label, name in MODEL.items()}}, "fewer")
    assert set(labels(dataset)) == {2, 3} and dataset.num_classes == 4
    detections = perfect(dataset)
    for found in detections:  # also some of the class that there is none of
        found.bbox = found.bbox.repeat(2, 1)
        found.add_field(
            "labels", torch.cat((found.get_field("labels"), torch.ones(len(found) // 2, dtype=torch.int64)))
        )
        found.add_field("scores", torch.ones(len(found)))
    results, _ = evaluate(dataset, detections, None, box_only=False, iou_types=("bbox",))
    assert results.results["bbox"]["AP"] == pytest.approx(1) and set(results.per_class["bbox"]) == {"red", "blue"}
    assert "fewer has no category green, which the model knows: left out of the mean" in log.text


def test_objects_that_the_model_does_not_know_are_refused(make):
    dataset = make("more", {3: (1, "violet"), 7: (2, "blue")})
    with pytest.raises(
        ConfigError, match="more has objects of violet, which the model does not know. It knows: red, blue"
    ):
        match_labels(dataset, MODEL, "more")
    dataset = make("unused", {3: (1, "red"), 7: (2, "blue")}, more=((5, "violet"),))
    match_labels(dataset, MODEL, "unused")  # nothing is of that class
    assert set(labels(dataset)) == {1, 2}


def test_a_set_of_other_classes_alone_is_refused(make, tmp_path):
    """Without objects too, whose table would have numbers in place of names."""
    make("others", {3: (1, "cat"), 7: (2, "dog")})
    for key in ("annotations", ""):
        content = json.loads((tmp_path / "others.json").read_text())
        content["annotations"] = []
        content.pop(key, None)
        write_annotations(tmp_path, "empty", content)
        dataset = COCODataset(str(tmp_path / "empty.json"), str(tmp_path / "others"), False)
        with pytest.raises(ConfigError, match=r"of empty \(cat, dog\) is one that the model knows: red, blue"):
            match_labels(dataset, MODEL, "empty")


def test_names_that_differ_in_capitals_alone_are_different(make):
    dataset = make("capitals", {3: (1, "A"), 7: (2, "a")})
    match_labels(dataset, {1: "a", 2: "A"}, "capitals")
    assert dataset.class_names() == {1: "a", 2: "A"}


@pytest.mark.parametrize("name", ["things", "red", "blue"])
def test_roboflows_category_0_is_no_class(make, name):
    dataset = make("roboflow", {3: (1, "red"), 7: (2, "blue")}, more=((0, name),))
    assert dataset.num_classes == 3 and dataset.class_names() == MODEL
    match_labels(dataset, {1: "blue", 2: "red"}, "roboflow")
    assert dataset.contiguous_category_id_to_json_id == {1: 2, 2: 1}


def loader(root, **keys):
    config = cfg.clone()
    config.merge_from_file(str(CONFIG))
    config.merge_from_list(options(root, **keys))
    return make_data_loader(config, is_train=keys.pop("is_train", True))


@pytest.mark.parametrize(("num_classes", "names"), [(3, MODEL), (4, {1: "things", 2: "red", 3: "blue"})])
def test_a_model_may_count_roboflows_category_as_upstreams_do(make, tmp_path, num_classes, names, log):
    make("set", {3: (1, "red"), 7: (2, "blue")}, more=((0, "things"),))
    dataset = loader(tmp_path, MODEL__ROI_BOX_HEAD__NUM_CLASSES=num_classes).dataset
    assert dataset.class_names() == names and "NUM_CLASSES" not in log.text
    assert (tmp_path / "run" / "labels.json").exists()


def test_sets_that_are_trained_on_together_are_matched_too(make, tmp_path):
    make("set", {3: (3, "red"), 7: (7, "blue")})
    make("other", {3: (9, "red"), 7: (1, "blue")})
    joined = loader(tmp_path, train="set", test="other", DATASETS__TRAIN='("set", "other")').dataset
    first, second = (labels(part) for part in parts_of(joined))
    assert first == second and names_of(joined) == MODEL
    make("other", {3: (9, "red"), 7: (1, "violet")})
    with pytest.raises(
        ConfigError, match=r"set and other cannot be trained on together: .* \(red, blue; violet, red\)"
    ):
        loader(tmp_path, train="set", test="other", DATASETS__TRAIN='("set", "other")')


def test_voc_takes_the_models_order_too(tmp_path):
    write_voc(tmp_path)
    dataset = PascalVOCDataset(str(tmp_path), "val", classes=["car", "chair", "person"])
    match_labels(dataset, {1: "person", 2: "Chair", 3: "sofa", 4: "car"}, "val")
    assert dataset[0][1].get_field("labels").tolist() == [2, 2] and dataset[1][1].get_field("labels").tolist() == [4]
    with pytest.raises(ConfigError, match="val has objects of .*sofa, which the model does not know"):
        match_labels(dataset, {1: "person", 2: "chair", 3: "car"}, "val")


def test_other_kinds_of_sets_must_have_the_models_order():
    class Other:
        def __init__(self, names):
            self.names = names

        def class_names(self):
            return self.names

    match_labels(Other({1: "a", 2: "b"}), {1: "a", 2: "B", 3: "c"}, "other")
    with pytest.raises(ConfigError, match="other calls label 1 'b', the model 'a'"):
        match_labels(Other({1: "b", 2: "a"}), {1: "a", 2: "b"}, "other")
