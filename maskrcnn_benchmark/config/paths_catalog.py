"""Data sets and pre-trained models by name.

A data set of your own needs no entry here: name it in YAML under DATASETS.DEFINITIONS.
"""

import os

from maskrcnn_benchmark.config.node import ConfigError

# name: (factory in maskrcnn_benchmark.data.datasets, its arguments with paths relative to DATA_DIR)
_DATASETS: dict[str, tuple[str, dict]] = {}


def _coco(name: str, img_dir: str, ann_file: str) -> None:
    _DATASETS[name] = ("COCODataset", {"root": f"coco/{img_dir}", "ann_file": f"coco/annotations/{ann_file}.json"})


for _split in ("train", "val"):
    _coco(f"keypoints_coco_2017_{_split}", f"{_split}2017", f"person_keypoints_{_split}2017")
    _coco(f"keypoints_coco_2014_{_split}", f"{_split}2014", f"person_keypoints_{_split}2014")
    _coco(f"coco_2017_{_split}", f"{_split}2017", f"instances_{_split}2017")
    _coco(f"coco_2014_{_split}", f"{_split}2014", f"instances_{_split}2014")
for _split in ("minival", "valminusminival"):
    _coco(f"coco_2014_{_split}", "val2014", f"instances_{_split}2014")
    _coco(f"keypoints_coco_2014_{_split}", "val2014", f"person_keypoints_{_split}2014")


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
        factory, args = _DATASETS[name]
        return {"factory": factory, "args": {k: os.path.join(DatasetCatalog.DATA_DIR, v) for k, v in args.items()}}
