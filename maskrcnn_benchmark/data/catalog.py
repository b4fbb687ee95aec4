"""Data sets by name: those of DATASETS.DEFINITIONS, and those of the catalog in PATHS_CATALOG."""

import difflib
import inspect
import os
from typing import Any

from maskrcnn_benchmark.config.node import ConfigError
from maskrcnn_benchmark.config.options import options
from maskrcnn_benchmark.data import datasets as D
from maskrcnn_benchmark.data.formats.cache import as_coco_file
from maskrcnn_benchmark.data.registries import DATASETS
from maskrcnn_benchmark.utils.imports import import_file
from maskrcnn_benchmark.utils.registered import registered
from maskrcnn_benchmark.utils.wording import listed

OTHER_FORMS = (".yaml", ".yml", ".txt", ".csv", ".tsv")  # endings of annotation files that are not COCO's


def dataset_class(name: str) -> Any:
    """The class that an entry's "factory" names: one that data/datasets/__init__.py holds, or that is registered in DATASETS."""
    for known in D.__all__:  # late, and here: predictions ask for no class, and COCODataset imports torchvision
        getattr(D, known)
    return getattr(D, name, None) or registered(DATASETS, name, "FACTORY of a data set")


def tested_as_trained(cfg) -> list[str]:
    """A sentence for each data set of DATASETS.TEST whose images and annotations are those of one of DATASETS.TRAIN."""
    catalog = dataset_catalog(cfg)

    def place(name: str) -> dict | None:
        """What the set is read from, paths as they are on the disk; None for one that is in no catalog, which others say."""
        try:
            args = catalog.get(name)["args"]
        except (ConfigError, KeyError, RuntimeError):  # the last is upstream's
            return None
        return {key: os.path.realpath(v) if isinstance(v, str) and os.path.exists(v) else v for key, v in args.items()}

    trained = [place(name) for name in cfg.DATASETS.TRAIN]
    shared = [name for name in cfg.DATASETS.TEST if (found := place(name)) is not None and found in trained]
    return [f"{name} is trained on as well as tested on: its results say nothing of new images." for name in shared]


class ConfiguredCatalog:
    """A catalog of data sets in which the entries of DATASETS.DEFINITIONS come first.

    An entry in COCO format has IMG_DIR and ANN_FILE. One in another form of `data.formats` has ANN_FILE, a file or folder,
    and where they are needed IMG_DIR, FORM (its name; else the form is found), SPLIT and CLASSES, for example {ANN_FILE:
    cars/data.yaml, SPLIT: train}. One with FACTORY names a class of DATASETS and gives its arguments in capitals, for example
    {FACTORY: PascalVOCDataset, DATA_DIR: ..., SPLIT: train}.
    """

    def __init__(self, definitions: dict, catalog: Any):
        self.definitions, self.catalog = definitions, catalog

    def get(self, name: str) -> dict:
        if name not in self.definitions:
            return self._of_catalog(name)
        entry = self.definitions[name]
        key = f"DATASETS.DEFINITIONS.{name}"
        if not isinstance(entry, dict):
            raise ConfigError(f"{key} needs the keys IMG_DIR and ANN_FILE, or FACTORY; got {entry!r}.")
        if not all(isinstance(word, str) for word in entry):
            raise ConfigError(f"{key} must have names as keys, such as ANN_FILE; got {entry!r}.")
        factory = entry.get("FACTORY", "COCODataset")
        if factory == "COCODataset":
            ann_file, root = _coco_file(entry, key)
            return {"factory": factory, "args": {"root": root, "ann_file": ann_file}}
        args = {word.lower(): value for word, value in entry.items() if word != "FACTORY"}
        try:
            inspect.signature(dataset_class(factory)).bind(**args)
        except TypeError as error:
            raise ConfigError(f"{key} does not fit {factory}: {error}; got {entry!r}.") from None
        return {"factory": factory, "args": args}

    def _of_catalog(self, name: str) -> dict:
        failure: Exception
        try:
            return self.catalog.get(name)
        except (ConfigError, RuntimeError) as error:  # maskrcnn-benchmark's catalog raises the second
            failure = error
        except KeyError as error:  # as a catalog of one's own looks it up
            if error.args != (name,):
                raise
            failure = ConfigError(f"There is no data set {name!r}. The catalog of PATHS_CATALOG has none of that name.")
        if not self.definitions:
            raise failure
        close = difflib.get_close_matches(str(name), list(self.definitions), n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        rest = str(failure).removeprefix(f"There is no data set {name!r}. ")
        raise ConfigError(
            f"There is no data set {name!r}; {hint}DATASETS.DEFINITIONS has {listed(list(self.definitions), 20)}. {rest}"
        )


def annotations_of(ann_file: str, img_dir: str = "", form: str = "", split: str = "") -> tuple[str, str]:
    """A file in COCO's format with annotations of any form, and the folder of their images; arguments as in DEFINITIONS."""
    entry = {"ANN_FILE": ann_file, "IMG_DIR": img_dir, "FORM": form, "SPLIT": split}
    return _coco_file({key: value for key, value in entry.items() if value}, ann_file)


def _coco_file(entry: dict, key: str) -> tuple[str, str]:
    """The annotation file of an entry in COCO's or another form, and the folder of its images."""
    keys = set(entry) - {"FACTORY"}
    for word in ("ANN_FILE", "IMG_DIR", "FORM", "SPLIT"):
        if not isinstance(entry.get(word, ""), (str, int, float)):
            raise ConfigError(f"{key}.{word} must be text; got {entry[word]!r}.")
    ann_file, root = str(entry.get("ANN_FILE", "")), str(entry.get("IMG_DIR", ""))
    if keys == {"IMG_DIR", "ANN_FILE"} and not (os.path.isdir(ann_file) or ann_file.lower().endswith(OTHER_FORMS)):
        return ann_file, root
    unknown = {word for word in keys - {"IMG_DIR", "ANN_FILE"} if word != word.upper()}
    if not ann_file or unknown:
        wrong = f"the key {min(unknown)!r}" if unknown else "no ANN_FILE"
        raise ConfigError(
            f"{key} has {wrong}: an entry has ANN_FILE and, where needed, IMG_DIR, FORM, SPLIT and CLASSES; got {entry!r}."
        )
    names = entry.get("CLASSES", ())
    if not isinstance(names, (str, list, tuple)):
        raise ConfigError(f"{key}.CLASSES must be a list of names, or a file of them; got {names!r}.")
    classes = (names,) if isinstance(names, str) else tuple(map(str, names))
    options = tuple(
        (word.lower(), entry[word]) for word in sorted(keys - {"IMG_DIR", "ANN_FILE", "FORM", "SPLIT", "CLASSES"})
    )
    try:
        return as_coco_file(ann_file, str(entry.get("FORM", "")), root, str(entry.get("SPLIT", "")), classes, options)
    except ConfigError as error:
        raise ConfigError(f"{key}: {error}") from None


def dataset_catalog(cfg) -> ConfiguredCatalog:
    catalog = import_file("maskrcnn_benchmark.config.paths_catalog", cfg.PATHS_CATALOG, True).DatasetCatalog
    return ConfiguredCatalog(options(cfg).DATASETS.DEFINITIONS, catalog)
