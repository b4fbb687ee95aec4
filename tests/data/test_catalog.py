"""Names of data sets: the built-in ones, and those that a configuration defines."""

from pathlib import Path

import pytest
from PIL import Image

from maskrcnn_benchmark.config import ConfigError, cfg
from maskrcnn_benchmark.config.paths_catalog import DatasetCatalog
from maskrcnn_benchmark.data.build import build_dataset
from maskrcnn_benchmark.data.catalog import ConfiguredCatalog, dataset_catalog
from maskrcnn_benchmark.data.datasets import AbstractDataset, COCODataset, PascalVOCDataset
from maskrcnn_benchmark.data.datasets.images import BrokenImageError
from maskrcnn_benchmark.data.formats.cache import as_coco_file
from maskrcnn_benchmark.data.registries import DATASETS
from tests.support.voc_set import write_voc

COCO_FORMAT = [
    *(f"{kind}coco_2017_{split}" for kind in ("", "keypoints_") for split in ("train", "val")),
    *(
        f"{kind}coco_2014_{split}"
        for kind in ("", "keypoints_")
        for split in ("train", "val", "minival", "valminusminival")
    ),
    *(f"voc_2007_{split}_cocostyle" for split in ("train", "val", "test")),
    *(f"voc_2012_{split}_cocostyle" for split in ("train", "val")),
    *(f"cityscapes_fine_instanceonly_seg_{split}_cocostyle" for split in ("train", "val", "test")),
]
OTHERS = {
    **{f"voc_{year}_{split}": "PascalVOCDataset" for year in (2007, 2012) for split in ("train", "val", "test")},
    **{
        f"cityscapes_{mode}_instance_{split}": "CityScapesDataset"
        for mode in ("poly", "mask")
        for split in ("train", "val", "minival")
    },
}


def test_the_names_of_upstream(monkeypatch):
    monkeypatch.setattr(DatasetCatalog, "DATA_DIR", "/sets")
    for name in COCO_FORMAT:
        entry = DatasetCatalog.get(name)
        assert entry["factory"] == "COCODataset" and set(entry["args"]) == {"root", "ann_file"}
        assert all(path.startswith("/sets/") for path in entry["args"].values())
    for name, factory in OTHERS.items():
        assert DatasetCatalog.get(name)["factory"] == factory
    args = {name: DatasetCatalog.get(name)["args"] for name in (*COCO_FORMAT, *OTHERS)}
    assert args["coco_2014_valminusminival"] == {
        "root": "/sets/coco/val2014",
        "ann_file": "/sets/coco/annotations/instances_valminusminival2014.json",
    }
    assert args["keypoints_coco_2014_minival"] == {
        "root": "/sets/coco/val2014",
        "ann_file": "/sets/coco/annotations/person_keypoints_minival2014.json",
    }
    assert args["voc_2012_val_cocostyle"] == {
        "root": "/sets/voc/VOC2012/JPEGImages",
        "ann_file": "/sets/voc/VOC2012/Annotations/pascal_val2012.json",
    }
    assert args["voc_2007_test"] == {"data_dir": "/sets/voc/VOC2007", "split": "test"}
    city = {"img_dir": "/sets/cityscapes/leftImg8bit", "ann_dir": "/sets/cityscapes/gtFine"}
    assert args["cityscapes_mask_instance_val"] == {**city, "split": "val", "mode": "mask"}
    assert args["cityscapes_poly_instance_minival"] == {
        **{**city, "split": "val", "mode": "poly"},
        **{"mini": 10, "all_classes": True},
    }
    with pytest.raises(ConfigError, match="no data set 'voc_2012_test_cocostyle'"):
        DatasetCatalog.get("voc_2012_test_cocostyle")


def defined(*pairs: object):
    config = cfg.clone()
    config.merge_from_list([str(word) for word in pairs])
    return dataset_catalog(config)


def test_a_definition_may_name_any_factory(tmp_path, monkeypatch):
    write_voc(tmp_path)
    key = "DATASETS.DEFINITIONS.mine."
    catalog = defined(f"{key}FACTORY", "PascalVOCDataset", f"{key}DATA_DIR", tmp_path, f"{key}SPLIT", "val")
    (testing,) = build_dataset(["mine"], None, catalog, is_train=False)
    (training,) = build_dataset(["mine"], None, catalog, is_train=True)
    assert type(testing) is PascalVOCDataset and testing.root == str(tmp_path) and len(testing) == 3
    assert testing.keep_difficult and not training.keep_difficult

    class Mine(AbstractDataset):
        def __init__(self, length: int, transforms=None):
            self.length = length

        def __len__(self):
            return self.length

    monkeypatch.setitem(DATASETS, "Mine", Mine)
    (mine,) = build_dataset(["mine"], None, defined(f"{key}FACTORY", "Mine", f"{key}LENGTH", 5), is_train=False)
    assert type(mine) is Mine and len(mine) == 5


def test_sets_trained_on_together(tmp_path, monkeypatch):
    monkeypatch.setattr(DatasetCatalog, "DATA_DIR", str(tmp_path))
    for split in ("train", "val"):
        write_voc(tmp_path / "voc" / "VOC2007", split)
    (both,) = build_dataset(["voc_2007_train", "voc_2007_val"], None, DatasetCatalog, is_train=True)
    assert len(both) == 6 and both.get_idxs(4) == (1, 1) and both.get_img_info(4)["id"] == "000007"
    _, target, index = both[4]
    assert index == 4 and target.get_field("labels").tolist() == [7]
    separate = build_dataset(["voc_2007_train", "voc_2007_val"], None, DatasetCatalog, is_train=False)
    assert [len(part) for part in separate] == [3, 3]


def test_a_set_without_annotations_is_for_testing(tmp_path, monkeypatch):
    monkeypatch.setattr(DatasetCatalog, "DATA_DIR", str(tmp_path))
    write_voc(tmp_path / "voc" / "VOC2012", "test", annotated=False)
    assert len(build_dataset(["voc_2012_test"], None, DatasetCatalog, is_train=False)[0]) == 3
    with pytest.raises(ValueError, match="voc_2012_test has no annotations to train on"):
        build_dataset(["voc_2012_test"], None, DatasetCatalog, is_train=True)


def test_definitions_that_do_not_fit(tmp_path):
    key = "DATASETS.DEFINITIONS.mine."
    with pytest.raises(ConfigError, match="'PascalVOC' is not one of .*PascalVOCDataset.*Did you mean"):
        defined(f"{key}FACTORY", "PascalVOC").get("mine")
    with pytest.raises(ConfigError, match="DEFINITIONS.mine does not fit PascalVOCDataset: .*split"):
        defined(f"{key}FACTORY", "PascalVOCDataset", f"{key}DATA_DIR", "x").get("mine")
    with pytest.raises(
        ConfigError, match="DEFINITIONS.mine has no ANN_FILE: an entry has ANN_FILE and, where needed, IMG_DIR"
    ):
        defined(f"{key}FACTORY", "COCODataset", f"{key}IMG_DIR", "x").get("mine")
    with pytest.raises(ConfigError, match="mine: .* does not fit its form, voc: .*unexpected keyword argument 'color'"):
        write_voc(tmp_path, "train")
        defined(f"{key}ANN_FILE", str(tmp_path), f"{key}COLOR", "red").get("mine")
    with pytest.raises(ConfigError, match="no form 'cvat' of annotations"):
        defined(f"{key}ANN_FILE", str(tmp_path), f"{key}FORM", "cvat").get("mine")
    with pytest.raises(ConfigError, match="mine must have names as keys"):
        defined("DATASETS.DEFINITIONS.mine", {"ANN_FILE": str(tmp_path), 3: "x"}).get("mine")
    for value in ({3: "x", "a": 1}, ["x"], None):
        with pytest.raises(ConfigError, match="mine.IMG_DIR must be text; got"):
            ConfiguredCatalog({"mine": {"ANN_FILE": str(tmp_path), "IMG_DIR": value}}, None).get("mine")
    with pytest.raises(ConfigError, match="mine.CLASSES must be a list of names, or a file of them; got 5"):
        defined(f"{key}ANN_FILE", str(tmp_path), f"{key}CLASSES", 5).get("mine")


def test_an_unknown_name_is_told_ones_own_first(monkeypatch):
    key = "DATASETS.DEFINITIONS.my_cars."
    catalog = defined(f"{key}ANN_FILE", "x.json", f"{key}IMG_DIR", "x")
    with pytest.raises(ConfigError) as error:
        catalog.get("my_car")
    said = str(error.value)
    assert said.startswith(
        "There is no data set 'my_car'; did you mean 'my_cars'? DATASETS.DEFINITIONS has my_cars. Known: city"
    )
    assert said.count("There is no") == 1

    def old(name: str) -> dict:
        raise RuntimeError(f"Dataset not available: {name}")

    monkeypatch.setattr(catalog.catalog, "get", staticmethod(old))
    with pytest.raises(ConfigError, match="'other'; DATASETS.DEFINITIONS has my_cars. Dataset not available: other"):
        catalog.get("other")
    with pytest.raises(RuntimeError):
        ConfiguredCatalog({}, catalog.catalog).get("other")

    monkeypatch.setattr(catalog.catalog, "get", staticmethod(lambda name: {"here": {}}[name]))
    assert ConfiguredCatalog({}, catalog.catalog).get("here") == {}
    for definitions in (catalog.definitions, {}):
        with pytest.raises(ConfigError, match="There is no data set 'other'.*The catalog of PATHS_CATALOG has none"):
            ConfiguredCatalog(definitions, catalog.catalog).get("other")
    monkeypatch.setattr(catalog.catalog, "get", staticmethod(lambda name: {}["its folder"]))
    with pytest.raises(KeyError, match="its folder"):
        catalog.get("other")


def test_a_converted_set_is_called_by_the_users_file(tmp_path):
    """Not by the file in COCO's format that was made of it."""
    for name in ("a", "b"):
        Image.new("RGB", (40, 30)).save(tmp_path / f"{name}.png")
    table = tmp_path / "boxes.csv"
    table.write_text("a.png,,,,,\nb.png,,,,,\n")
    key = "DATASETS.DEFINITIONS.mine."
    with pytest.raises(ValueError, match="mine holds no image with an object: .*boxes.csv"):
        build_dataset(["mine"], None, defined(f"{key}ANN_FILE", table), is_train=True)
    table.write_text("a.png,1,1,9,9,cat\nb.png,1,1,9,9,cat\n")
    as_coco_file.cache_clear()
    (mine,) = build_dataset(["mine"], None, defined(f"{key}ANN_FILE", table), is_train=True)
    Image.new("RGB", (20, 30)).save(tmp_path / "a.png")
    with pytest.raises(BrokenImageError, match=r"the annotations \(.*boxes.csv\) are of 40 x 30"):
        mine[0]
    with pytest.raises(KeyError, match="boxes.csv has no image with the id 7"):
        mine._entry(7)


def test_entries_in_other_forms(tmp_path):
    """YOLO, by a list of images; VOC with classes of its own order; read as the same kind of data set as COCO's."""
    (tmp_path / "images").mkdir()
    (tmp_path / "labels").mkdir()
    for name in ("a", "b"):
        Image.new("RGB", (40, 20), (9, 9, 9)).save(tmp_path / "images" / f"{name}.png")
        (tmp_path / "labels" / f"{name}.txt").write_text("1 0.5 0.5 0.5 0.5\n" if name == "a" else "")
    (tmp_path / "classes.txt").write_text("cat\ndog\n")
    (tmp_path / "train.txt").write_text("images/a.png\nimages/b.png\n")
    key = "DATASETS.DEFINITIONS.mine."
    catalog = defined(f"{key}ANN_FILE", str(tmp_path / "train.txt"))
    assert catalog.get("mine") == catalog.get("mine")
    (dataset,) = build_dataset(["mine"], None, catalog, is_train=False)
    assert type(dataset) is COCODataset and dataset.class_names() == {1: "cat", 2: "dog"} and len(dataset) == 2
    _, target, _ = dataset[0]
    assert target.bbox.tolist() == [[10, 5, 29, 14]] and target.get_field("labels").tolist() == [2]
    assert len(build_dataset(["mine"], None, catalog, is_train=True)[0]) == 1
    write_voc(tmp_path / "voc", "train")
    words = (f"{key}ANN_FILE", str(tmp_path / "voc"), f"{key}FORM", "voc", f"{key}SPLIT", "train")
    voc = build_dataset(["mine"], None, defined(*words, f"{key}FIRST_PIXEL", 1), is_train=False)[0]
    assert len(voc) == 3 and len(voc.class_names()) >= 1


def test_the_configurations_name_data_sets_that_there_are():
    folder = Path(__file__).parents[2] / "configs"
    names = set()
    for path in folder.rglob("*.yaml"):
        config = cfg.clone()
        config.merge_from_file(str(path))
        for name in (*config.DATASETS.TRAIN, *config.DATASETS.TEST):
            assert dataset_catalog(config).get(name)["args"], path
            names.add(name)
    assert {"coco_2014_minival", "voc_2012_val_cocostyle", "cityscapes_poly_instance_val"} <= names
