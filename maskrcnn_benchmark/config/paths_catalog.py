"""Data sets and pre-trained models by name.

A data set of your own needs no entry here: name it in YAML under DATASETS.DEFINITIONS.
"""

import os

from maskrcnn_benchmark.config.node import ConfigError

# name: (factory in maskrcnn_benchmark.data.datasets, its paths relative to DATA_DIR, its other arguments)
_DATASETS: dict[str, tuple[str, dict[str, str], dict]] = {}


def _coco_style(name: str, img_dir: str, ann_file: str) -> None:
    _DATASETS[name] = ("COCODataset", {"root": img_dir, "ann_file": f"{ann_file}.json"}, {})


for _split in ("train", "val"):
    _coco_style(f"coco_2017_{_split}", f"coco/{_split}2017", f"coco/annotations/instances_{_split}2017")
    _coco_style(
        f"keypoints_coco_2017_{_split}", f"coco/{_split}2017", f"coco/annotations/person_keypoints_{_split}2017"
    )
for _split, _folder in (("train", "train"), ("val", "val"), ("minival", "val"), ("valminusminival", "val")):
    for _name, _kind in (("coco", "instances"), ("keypoints_coco", "person_keypoints")):
        _coco_style(f"{_name}_2014_{_split}", f"coco/{_folder}2014", f"coco/annotations/{_kind}_{_split}2014")

for _year, _splits in ((2007, ("train", "val", "test")), (2012, ("train", "val", "test"))):
    for _split in _splits:
        _DATASETS[f"voc_{_year}_{_split}"] = ("PascalVOCDataset", {"data_dir": f"voc/VOC{_year}"}, {"split": _split})
        if (_year, _split) != (2012, "test"):  # its annotations are not public
            _coco_style(
                f"voc_{_year}_{_split}_cocostyle",
                f"voc/VOC{_year}/JPEGImages",
                f"voc/VOC{_year}/Annotations/pascal_{_split}{_year}",
            )

for _split in ("train", "val", "test"):
    _coco_style(
        f"cityscapes_fine_instanceonly_seg_{_split}_cocostyle",
        "cityscapes/images",
        f"cityscapes/annotations/instancesonly_filtered_gtFine_{_split}",
    )
# The class counts are those of configs/cityscapes: the polygons with caravan and trailer, the bitmaps without.
for _mode, _options in (("poly", {"all_classes": True}), ("mask", {})):
    for _name, _split in (("train", "train"), ("val", "val"), ("minival", "val")):
        _DATASETS[f"cityscapes_{_mode}_instance_{_name}"] = (
            "CityScapesDataset",
            {"img_dir": "cityscapes/leftImg8bit", "ann_dir": "cityscapes/gtFine"},
            {"split": _split, "mode": _mode, **_options, **({"mini": 10} if _name == "minival" else {})},
        )


class DatasetCatalog:
    """Where data sets lie. The environment variable MRB_DATASETS names the folder; default: datasets."""

    DATA_DIR = os.environ.get("MRB_DATASETS", "datasets")

    @staticmethod
    def get(name: str) -> dict:
        """{"factory": class name, "args": keyword arguments}. Raises ConfigError for an unknown name."""
        if name not in _DATASETS:
            raise ConfigError(
                f"There is no data set {name!r}. Known: {', '.join(sorted(_DATASETS))}. Name your own in YAML: "
                f"DATASETS.DEFINITIONS.{name} with IMG_DIR and ANN_FILE."
            )
        factory, paths, others = _DATASETS[name]
        paths = {key: os.path.join(DatasetCatalog.DATA_DIR, path) for key, path in paths.items()}
        return {"factory": factory, "args": {**paths, **others}}


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
        sets = [f"coco_2014_{split}" for split in ("train", "valminusminival")]
        if "keypoint" in config:
            sets = [f"keypoints_{s}" for s in sets]
        return (
            f"{ModelCatalog.S3_C2_DETECTRON_URL}/{run}/output/train/{'%3A'.join(sets)}/generalized_rcnn/model_final.pkl"
        )


def _unknown_model(name: str) -> ConfigError:
    known = [f"ImageNetPretrained/{n}" for n in ModelCatalog.C2_IMAGENET_MODELS]
    known += [f"Caffe2Detectron/COCO/{n}" for n in ModelCatalog.C2_DETECTRON_MODELS]
    return ConfigError(
        f"There is no model {name!r} in the catalog; give MODEL.WEIGHT the path or the URL of the file itself, or one of "
        f"these names: {', '.join(known)}."
    )
