"""Data sets by name: those of DATASETS.DEFINITIONS, and those of the catalog in PATHS_CATALOG."""

import inspect
from typing import Any

from maskrcnn_benchmark.config.node import ConfigError
from maskrcnn_benchmark.config.options import options
from maskrcnn_benchmark.data import datasets as D
from maskrcnn_benchmark.data.registries import DATASETS
from maskrcnn_benchmark.utils.imports import import_file


def dataset_class(name: str) -> Any:
    """The class that an entry's "factory" names: one that data/datasets/__init__.py holds, or that is registered in DATASETS."""
    return getattr(D, name, None) or DATASETS[name]


class ConfiguredCatalog:
    """A catalog of data sets in which the entries of DATASETS.DEFINITIONS come first.

    An entry in COCO format has IMG_DIR and ANN_FILE; one with FACTORY names a class of DATASETS and gives its arguments
    in capitals, for example {FACTORY: PascalVOCDataset, DATA_DIR: ..., SPLIT: train}.
    """

    def __init__(self, definitions: dict, catalog: Any):
        self.definitions, self.catalog = definitions, catalog

    def get(self, name: str) -> dict:
        if name not in self.definitions:
            return self.catalog.get(name)
        entry = self.definitions[name]
        key = f"DATASETS.DEFINITIONS.{name}"
        if not isinstance(entry, dict):
            raise ConfigError(f"{key} needs the keys IMG_DIR and ANN_FILE, or FACTORY; got {entry!r}.")
        factory = entry.get("FACTORY", "COCODataset")
        if factory == "COCODataset":
            if set(entry) - {"FACTORY"} != {"IMG_DIR", "ANN_FILE"}:
                raise ConfigError(f"{key} needs exactly the keys IMG_DIR and ANN_FILE; got {entry!r}.")
            return {"factory": factory, "args": {"root": str(entry["IMG_DIR"]), "ann_file": str(entry["ANN_FILE"])}}
        args = {word.lower(): value for word, value in entry.items() if word != "FACTORY"}
        try:
            inspect.signature(dataset_class(factory)).bind(**args)
        except TypeError as error:
            raise ConfigError(f"{key} does not fit {factory}: {error}; got {entry!r}.") from None
        return {"factory": factory, "args": args}


def dataset_catalog(cfg) -> ConfiguredCatalog:
    catalog = import_file("maskrcnn_benchmark.config.paths_catalog", cfg.PATHS_CATALOG, True).DatasetCatalog
    return ConfiguredCatalog(options(cfg).DATASETS.DEFINITIONS, catalog)
