import json

import pytest

from maskrcnn_benchmark.config import ConfigError
from maskrcnn_benchmark.config import cfg as defaults
from maskrcnn_benchmark.data.categories import COCO_CATEGORIES, Categories, find_categories
from tests.support.helpers import write_coco


@pytest.fixture
def configured(tmp_path):
    """A configuration for three classes with the background, tested on a set of two categories, 3 red and 7 blue."""

    def make(*options):
        write_coco(tmp_path)
        cfg = defaults.clone()
        place = {"IMG_DIR": str(tmp_path / "set"), "ANN_FILE": str(tmp_path / "set.json")}
        cfg.merge_from_list(["DATASETS.DEFINITIONS", {"set": place}, "DATASETS.TEST", ("set",)])
        cfg.merge_from_list(["MODEL.ROI_BOX_HEAD.NUM_CLASSES", 3, *options])
        return cfg

    return make


def test_cocos_categories():
    """Against what COCO's own files say of a few."""
    ids = {entry["name"]: entry["id"] for entry in COCO_CATEGORIES}
    known = {"person": 1, "fire hydrant": 11, "stop sign": 13, "cat": 17, "backpack": 27, "wine glass": 46}
    known |= {"dining table": 67, "toilet": 70, "tv": 72, "refrigerator": 82, "book": 84, "toothbrush": 90}
    assert len(ids) == 80 and {name: ids[name] for name in known} == known


def test_of_the_data_set(configured):
    categories = find_categories(configured())
    assert categories.names == {1: "red", 2: "blue"} and categories.ids == {1: 3, 2: 7}
    assert categories.labels(["blue", 3, "7"]) == [2, 1, 2]
    assert categories.as_coco() == [{"id": 3, "name": "red"}, {"id": 7, "name": "blue"}]


def test_labels_beside_the_weights_come_first(configured, tmp_path):
    cfg, weights = configured(), str(tmp_path / "run" / "model.pth")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "labels.json").write_text(json.dumps({"COCODataset": {"1": "cat", "2": "dog"}}))
    categories = find_categories(cfg, weights)
    assert categories.names == {1: "cat", 2: "dog"} and categories.ids == {1: 1, 2: 2}
    (tmp_path / "run" / "model.labels.json").write_text(json.dumps({"1": "red", "2": "blue"}))
    categories = find_categories(cfg, weights)
    assert categories.names == {1: "red", 2: "blue"} and categories.ids == {1: 3, 2: 7}  # the set of these names


def test_labels_with_ids_beside_the_weights(configured, tmp_path):
    (tmp_path / "labels.json").write_text(json.dumps([{"id": 40, "name": "blue"}, {"id": 4, "name": "red"}]))
    categories = find_categories(configured(), str(tmp_path / "model.pth"))
    assert categories.names == {1: "red", 2: "blue"} and categories.ids == {1: 4, 2: 40}


def test_a_trainings_labels_are_in_the_order_of_its_file(configured, tmp_path):
    (tmp_path / "labels.json").write_text(json.dumps({"40": "red", "4": "blue"}))
    categories = find_categories(configured(), str(tmp_path / "model.pth"))
    assert categories.names == {1: "red", 2: "blue"} and categories.ids == {1: 40, 2: 4}
    (tmp_path / "labels.json").write_text(json.dumps({"r": "red", "b": "blue"}))  # a data set's ids may be text
    assert find_categories(configured(), str(tmp_path / "model.pth")).ids == {1: "r", 2: "b"}


def test_the_checkpoint_says_the_order_and_a_file_may_give_other_names(configured, tmp_path):
    weights, known = str(tmp_path / "model.pth"), {1: "blue", 2: "red"}
    (tmp_path / "labels.json").write_text(json.dumps({"4": "red", "40": "blue"}))
    categories = find_categories(configured(), weights, names=known)
    assert categories.names == known and categories.ids == {1: 40, 2: 4}
    (tmp_path / "labels.json").write_text(json.dumps({"4": "navy", "40": "red"}))
    assert find_categories(configured(), weights, names=known).names == {1: "navy", 2: "red"}
    (tmp_path / "labels.json").unlink()  # the ids are those that the data set has for these names
    categories = find_categories(configured(), weights, names=known)
    assert categories.names == known and categories.ids == {1: 7, 2: 3}


def test_labels_of_another_model_are_left_aside(configured, tmp_path, log):
    (tmp_path / "labels.json").write_text(json.dumps({"COCODataset": {str(i): f"c{i}" for i in range(1, 9)}}))
    assert find_categories(configured(), str(tmp_path / "model.pth")).names == {1: "red", 2: "blue"}
    assert "names 8 classes, the model has 2" in log.text
    (tmp_path / "labels.json").write_text("[3, 4]")
    with pytest.raises(ConfigError, match="labels.json is not a file of labels like"):
        find_categories(configured(), str(tmp_path / "model.pth"))


def test_what_is_given_counts_most(configured):
    assert find_categories(configured(), given=["one", "two"]).names == {1: "one", 2: "two"}
    assert find_categories(configured(), given={1: "one", 2: "two"}).ids == {1: 1, 2: 2}
    sorted_by_id = find_categories(configured(), given=[{"id": 9, "name": "nine"}, {"id": 4, "name": "four"}])
    assert sorted_by_id.names == {1: "four", 2: "nine"} and sorted_by_id.ids == {1: 4, 2: 9}


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (("MODEL.ROI_BOX_HEAD.NUM_CLASSES", 81, "DATASETS.TEST", ()), [e["name"] for e in COCO_CATEGORIES]),
        (("MODEL.ROI_BOX_HEAD.NUM_CLASSES", 21, "DATASETS.TEST", ("voc_2007_test",)), None),
        (("MODEL.ROI_BOX_HEAD.NUM_CLASSES", 4, "DATASETS.TEST", ()), ["class 1", "class 2", "class 3"]),
        (("MODEL.RETINANET_ON", True, "MODEL.RPN_ONLY", True, "MODEL.RETINANET.NUM_CLASSES", 3), ["red", "blue"]),
        (("MODEL.RPN_ONLY", True), ["object"]),
    ],
)
def test_without_files(configured, options, names):
    found = list(find_categories(configured(*options)).names.values())
    assert found == names if names else len(found) == 20 and found[0] == "aeroplane" and found[-1] == "tvmonitor"


def test_a_data_set_that_cannot_be_read_does_not_keep_from_detecting(configured, tmp_path, log):
    cfg = configured("DATASETS.TEST", ("elsewhere", "set"))
    assert find_categories(cfg).names == {1: "red", 2: "blue"}
    (tmp_path / "set.json").write_text("{")
    assert find_categories(cfg).names == {1: "class 1", 2: "class 2"}
    assert "not those of elsewhere: There is no data set 'elsewhere'" in log.text and "not those of set: " in log.text


def test_labels_beyond_the_names_have_a_number():
    assert Categories(["red"]).name(2) == "class 2" and Categories(["red"]).id(2) == 2
