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
