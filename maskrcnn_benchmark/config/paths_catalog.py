"""Data sets and pre-trained models by name.

A data set of your own needs no entry here: name it in YAML under DATASETS.DEFINITIONS.
"""

import os
from typing import Any

from maskrcnn_benchmark.config.node import ConfigError


def _coco_sets() -> dict[str, dict[str, Any]]:
    sets = {}

    def add(name: str, img_dir: str, ann_file: str) -> None:
        sets[name] = {"img_dir": img_dir, "ann_file": f"{ann_file}.json"}

    kinds = (("", "instances"), ("keypoints_", "person_keypoints"))
    for prefix, kind in kinds:
        for split in ("train", "val"):
            add(f"{prefix}coco_2017_{split}", f"coco/{split}2017", f"coco/annotations/{kind}_{split}2017")
        for split, folder in (("train", "train"), ("val", "val"), ("minival", "val"), ("valminusminival", "val")):
            add(f"{prefix}coco_2014_{split}", f"coco/{folder}2014", f"coco/annotations/{kind}_{split}2014")
    for year in (2007, 2012):
        for split in ("train", "val", "test"):
            if (year, split) != (2012, "test"):  # its annotations are not public
                folder = f"voc/VOC{year}"
                add(
                    f"voc_{year}_{split}_cocostyle",
                    f"{folder}/JPEGImages",
                    f"{folder}/Annotations/pascal_{split}{year}",
                )
    for split in ("train", "val", "test"):
        name = f"cityscapes_fine_instanceonly_seg_{split}_cocostyle"
        add(name, "cityscapes/images", f"cityscapes/annotations/instancesonly_filtered_gtFine_{split}")
    return sets


def _voc_sets() -> dict[str, dict[str, Any]]:
    years_and_splits = [(year, split) for year in (2007, 2012) for split in ("train", "val", "test")]
    return {f"voc_{y}_{s}": {"data_dir": f"voc/VOC{y}", "split": s} for y, s in years_and_splits}


def _cityscapes_sets() -> dict[str, dict[str, Any]]:
    sets = {}
    # The class counts are those of configs/cityscapes: the polygons with caravan and trailer, the bitmaps without.
    for mode, others in (("poly", {"all_classes": True}), ("mask", {})):
        for name, split in (("train", "train"), ("val", "val"), ("minival", "val")):
            sets[f"cityscapes_{mode}_instance_{name}"] = {
                "img_dir": "cityscapes/leftImg8bit",
                "ann_dir": "cityscapes/gtFine",
                "split": split,
                "mode": mode,
                **others,
                **({"mini": 10} if name == "minival" else {}),
            }
    return sets


# The keys that name files below DATA_DIR.
_PATHS = ("img_dir", "ann_file", "data_dir", "ann_dir", "root")


class DatasetCatalog:
    """Where data sets lie. The environment variable MRB_DATASETS names the folder; default: datasets.

    DATASETS: name -> the arguments of the data set's class, paths below DATA_DIR. Those with "ann_file" are in COCO format
    ("img_dir" is their folder of images), those with "ann_dir" Cityscapes, those with "data_dir" Pascal VOC; an entry may name
    another class as its "factory". Entries may be added.
    """

    DATA_DIR = os.environ.get("MRB_DATASETS", "datasets")
    DATASETS: dict[str, dict[str, Any]] = {**_coco_sets(), **_voc_sets(), **_cityscapes_sets()}

    @staticmethod
    def get(name: str) -> dict[str, Any]:
        """{"factory": class name, "args": keyword arguments}. Raises ConfigError for an unknown name."""
        if name not in DatasetCatalog.DATASETS:
            raise ConfigError(
                f"There is no data set {name!r}. Known: {', '.join(sorted(DatasetCatalog.DATASETS))}. Name your own in "
                f"YAML: DATASETS.DEFINITIONS.{name} with IMG_DIR and ANN_FILE."
            )
        args = dict(DatasetCatalog.DATASETS[name])
        factory = args.pop("factory", None) or (
            "COCODataset" if "ann_file" in args else "CityScapesDataset" if "ann_dir" in args else "PascalVOCDataset"
        )
        for key in _PATHS:
            if key in args:
                args[key] = os.path.join(DatasetCatalog.DATA_DIR, args[key])
        if factory == "COCODataset" and "img_dir" in args:
            args["root"] = args.pop("img_dir")
        return {"factory": factory, "args": args}


class ModelCatalog:
    """Addresses of Detectron's pre-trained models, by the names that MODEL.WEIGHT gives after "catalog://"."""

    S3_C2_DETECTRON_URL = "https://dl.fbaipublicfiles.com/detectron"
    # ImageNetPretrained/<name>: path below the address above
    C2_IMAGENET_MODELS = {
        "MSRA/R-50": "ImageNetPretrained/MSRA/R-50.pkl",
        "MSRA/R-50-GN": "ImageNetPretrained/47261647/R-50-GN.pkl",
        "MSRA/R-101": "ImageNetPretrained/MSRA/R-101.pkl",
        "MSRA/R-101-GN": "ImageNetPretrained/47592356/R-101-GN.pkl",
        "FAIR/20171220/X-101-32x8d": "ImageNetPretrained/20171220/X-101-32x8d.pkl",
    }
    # What follows the run's folder in the address of a detector; {} is "keypoints_" for those of keypoints.
    C2_DETECTRON_SUFFIX = (
        "output/train/{}coco_2014_train%3A{}coco_2014_valminusminival/generalized_rcnn/model_final.pkl"
    )
    # Caffe2Detectron/COCO/<model id>/<configuration>: when and as what the training was started
    C2_DETECTRON_MODELS = {
        "35857197/e2e_faster_rcnn_R-50-C4_1x": "01_33_49.iAX0mXvW",
        "35857345/e2e_faster_rcnn_R-50-FPN_1x": "01_36_30.cUF7QR7I",
        "35857890/e2e_faster_rcnn_R-101-FPN_1x": "01_38_50.sNxI7sX7",
        "36761737/e2e_faster_rcnn_X-101-32x8d-FPN_1x": "06_31_39.5MIHi1fZ",
        "35858791/e2e_mask_rcnn_R-50-C4_1x": "01_45_57.ZgkA7hPB",
        "35858933/e2e_mask_rcnn_R-50-FPN_1x": "01_48_14.DzEQe4wC",
        "35861795/e2e_mask_rcnn_R-101-FPN_1x": "02_31_37.KqyEK4tT",
        "36761843/e2e_mask_rcnn_X-101-32x8d-FPN_1x": "06_35_59.RZotkLKI",
        "37129812/e2e_mask_rcnn_X-152-32x8d-FPN-IN5k_1.44x": "09_35_36.8pzTQKYK",
        "37697547/e2e_keypoint_rcnn_R-50-FPN_1x": "08_42_54.kdzV35ao",
    }

    @staticmethod
    def get(name: str) -> str:
        """The URL of "ImageNetPretrained/..." or "Caffe2Detectron/COCO/...". Raises ConfigError for an unknown name."""
        if name.startswith("Caffe2Detectron/COCO/"):
            return ModelCatalog.get_c2_detectron_12_2017_baselines(name)
        return ModelCatalog.get_c2_imagenet_pretrained(name)

    @staticmethod
    def get_c2_imagenet_pretrained(name: str) -> str:
        path = ModelCatalog.C2_IMAGENET_MODELS.get(name.removeprefix("ImageNetPretrained/"))
        if path is None or not name.startswith("ImageNetPretrained/"):
            raise _unknown_model(name)
        return f"{ModelCatalog.S3_C2_DETECTRON_URL}/{path}"

    @staticmethod
    def get_c2_detectron_12_2017_baselines(name: str) -> str:
        model = name.removeprefix("Caffe2Detectron/COCO/")
        if model not in ModelCatalog.C2_DETECTRON_MODELS:
            raise _unknown_model(name)
        model_id, config = model.split("/")
        run = f"{model_id}/12_2017_baselines/{config}.yaml.{ModelCatalog.C2_DETECTRON_MODELS[model]}"
        prefix = "keypoints_" if "keypoint" in config else ""
        suffix = ModelCatalog.C2_DETECTRON_SUFFIX.format(prefix, prefix)
        return f"{ModelCatalog.S3_C2_DETECTRON_URL}/{run}/{suffix}"


def _unknown_model(name: str) -> ConfigError:
    known = [f"ImageNetPretrained/{n}" for n in ModelCatalog.C2_IMAGENET_MODELS]
    known += [f"Caffe2Detectron/COCO/{n}" for n in ModelCatalog.C2_DETECTRON_MODELS]
    return ConfigError(
        f"There is no model {name!r} in the catalog; give MODEL.WEIGHT the path or the URL of the file itself, or one of "
        f"these names: {', '.join(known)}."
    )
