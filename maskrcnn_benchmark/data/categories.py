"""What a model's classes are called, and their ids in the data set."""

import difflib
import itertools
import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral
from typing import Any

from maskrcnn_benchmark.config.node import ConfigError
from maskrcnn_benchmark.config.options import options
from maskrcnn_benchmark.data.catalog import dataset_catalog, dataset_class
from maskrcnn_benchmark.data.datasets.coco_categories import without_placeholder
from maskrcnn_benchmark.data.datasets.coco_file import CocoFile
from maskrcnn_benchmark.data.datasets.facts import BACKGROUND
from maskrcnn_benchmark.data.datasets.voc_files import find_classes
from maskrcnn_benchmark.utils.files import read_json
from maskrcnn_benchmark.utils.wording import counted, listed

logger = logging.getLogger(__name__)

LABELS_FILE = "labels.json"  # beside the checkpoints of a training

# The ids of COCO's 80 categories are those from 1 to 90 without these.
_COCO_GAPS = (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)
COCO_NAMES = (
    *("person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck", "boat", "traffic light"),
    *("fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat", "dog", "horse", "sheep", "cow", "elephant"),
    *("bear", "zebra", "giraffe", "backpack", "umbrella", "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard"),
    *("sports ball", "kite", "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle"),
    *("wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange", "broccoli"),
    *("carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant", "bed", "dining table", "toilet"),
    *("tv", "laptop", "mouse", "remote", "keyboard", "cell phone", "microwave", "oven", "toaster", "sink"),
    *("refrigerator", "book", "clock", "vase", "scissors", "teddy bear", "hair drier", "toothbrush"),
)
_COCO_IDS = [i for i in range(1, 91) if i not in _COCO_GAPS]
COCO_CATEGORIES = [{"id": i, "name": name} for i, name in zip(_COCO_IDS, COCO_NAMES, strict=True)]

Given = Sequence[str] | Sequence[dict] | Mapping[int, str]


class Categories:
    """The classes of a model: labels from 1, each with a name and the id that the data set gives it.

    Args:
        given: names in the order of the labels; or a mapping of labels to names; or the "categories" of a COCO file (dicts
            with "id" and "name"), labelled in the order of their ids.
    """

    def __init__(self, given: Given):
        given = given if isinstance(given, (Mapping, Sequence)) else [given]
        if isinstance(given, Mapping):
            self.names = {int(label): str(name) for label, name in given.items()}
            self.ids = {label: label for label in self.names}
        elif all(isinstance(entry, dict) and {"id", "name"} <= set(entry) for entry in given):
            entries: Any = sorted(given, key=lambda entry: entry["id"])  # type: ignore[index,arg-type,return-value]
            self._label(entries)
        elif all(isinstance(name, str) for name in given) and not isinstance(given, str):
            self.names = {label: str(name) for label, name in enumerate(given, start=1)}
            self.ids = {label: label for label in self.names}
        else:
            raise ConfigError(
                "Class names are a list of names, a mapping of labels (from 1) to names, or the categories of a COCO file; got "
                f"{given!r}."
            )

    @classmethod
    def in_order(cls, names: Mapping[Any, str]) -> "Categories":
        """Classes labelled in the order of a mapping of ids to names."""
        result = cls([])
        result._label([{"id": id, "name": name} for id, name in names.items()])
        return result

    def _label(self, entries: Sequence[dict]) -> None:
        self.names = {label: str(entry["name"]) for label, entry in enumerate(entries, start=1)}
        self.ids = {label: entry["id"] for label, entry in enumerate(entries, start=1)}

    def __len__(self) -> int:
        return len(self.names)

    def name(self, label: int) -> str:
        return self.names.get(label, f"class {label}")

    def id(self, label: int) -> int:
        return self.ids.get(label, label)

    def labels(self, classes: Iterable[str | int]) -> list[int]:
        """The labels of classes given by name or by id. Raises ConfigError with the nearest name for an unknown one."""
        by_name = {name: label for label, name in self.names.items()}
        by_id = {category: label for label, category in self.ids.items()}
        found = []
        for wanted in classes if isinstance(classes, Iterable) and not isinstance(classes, str) else [classes]:
            if not isinstance(wanted, (str, Integral)):
                raise ConfigError(f"A class is chosen by its name, or by its id, a whole number; got {wanted!r}.")
            is_id = isinstance(wanted, Integral) or (wanted not in by_name and wanted.isdecimal())
            label = by_id.get(int(wanted)) if is_id else by_name.get(str(wanted))
            if label is None:
                close = difflib.get_close_matches(str(wanted), list(by_name), n=1)
                hint = f" Did you mean {close[0]!r}?" if close else ""
                known = ", ".join(f"{self.names[k]} ({self.ids[k]})" for k in self.names)
                raise ConfigError(f"The model knows no class {wanted!r}.{hint} Its classes and their ids: {known}.")
            found.append(label)
        return found

    def with_ids_of(self, entries: Sequence[dict]) -> "Categories":
        """The same classes with the ids that a COCO file's categories of their names have; those that it lacks get ids behind its
        own. Where no name agrees the ids stay, which is said unless the file has no categories."""
        ids = {str(entry["name"]): entry["id"] for entry in entries}
        if not set(ids) & set(self.names.values()):
            if ids:
                logger.warning(
                    "No class of the model (%s) is one of the annotation file's (%s): the ids are those of the model, and say "
                    "nothing about the file's.",
                    listed(list(self.names.values())),
                    listed(list(ids)),
                )
            return self
        others = itertools.count(max((i for i in ids.values() if isinstance(i, int)), default=0) + 1)
        result = Categories(self.names)
        result.ids = {label: ids[name] if name in ids else next(others) for label, name in self.names.items()}
        return result

    def as_coco(self) -> list[dict]:
        """The "categories" of a COCO file."""
        return [{"id": self.ids[label], "name": name} for label, name in self.names.items()]


def number_of_classes(cfg) -> int:
    """Classes that a model tells apart, without the background."""
    if cfg.MODEL.RETINANET_ON:
        return cfg.MODEL.RETINANET.NUM_CLASSES - 1
    return 1 if cfg.MODEL.RPN_ONLY else cfg.MODEL.ROI_BOX_HEAD.NUM_CLASSES - 1


def find_categories(
    cfg, weights: str = "", given: Given | None = None, names: Mapping[int, str] | None = None
) -> Categories:
    """The classes of a model.

    The first of these counts: `given`; the labels beside the weights (NAME.labels.json, or labels.json in their folder: what a
    training leaves there, or the categories of a COCO file, which hold ids too), else `names`, which their checkpoint holds; the
    data sets of the configuration, the tested ones first; COCO's 80 for a model of as many. Ids are those of the data set whose
    names agree. A file beside the weights may give classes other names than their checkpoint; its order is the checkpoint's.
    """
    count = number_of_classes(cfg)
    if given is not None:
        categories = Categories(given)
        if len(categories) != count:
            raise ConfigError(
                f"{counted(len(categories), 'class name was', 'class names were')} given, but the model tells "
                f"{counted(count, 'class', 'classes')} apart."
            )
        return categories
    if cfg.MODEL.RPN_ONLY and not cfg.MODEL.RETINANET_ON:
        return Categories(["object"])
    names = names if names and len(names) <= count else None
    written = _written_names(weights, count)
    if names and (written is None or _is_moved(written.names, names)):
        written = Categories(names) if written is None else Categories(names).with_ids_of(written.as_coco())
    if written and tuple(written.names.values()) == COCO_NAMES:
        return Categories(COCO_CATEGORIES)
    if written and written.ids != {label: label for label in written.names}:
        return written
    found = _of_data_sets(cfg, written, count) or written
    if found:
        return found
    if count == len(COCO_NAMES):
        return Categories(COCO_CATEGORIES)
    if count == 1 and cfg.MODEL.KEYPOINT_ON:
        return Categories(["person"])
    return Categories([f"class {label}" for label in range(1, count + 1)])


def _is_moved(names: Mapping[int, str], known: Mapping[int, str]) -> bool:
    """Whether a class that both know has another label in `names` than in `known`."""
    label_of = {name: label for label, name in known.items()}
    return any(label_of.get(name, label) != label for label, name in names.items())


def class_names_of(cfg, checkpoint: dict, weights: str) -> dict[int, str]:
    """What the labels of a model are called, from 1: as its checkpoint says, or the labels beside it; empty where neither does.

    Args:
        checkpoint: what a checkpoint holds beside the weights.
        weights: its file.
    """
    names = checkpoint.get("class_names") if isinstance(checkpoint, dict) else None
    count = number_of_classes(cfg)
    if isinstance(names, dict) and all(isinstance(k, int) and isinstance(n, str) for k, n in names.items()):
        return names if len(names) <= count else {}
    written = _written_names(weights, count)
    return {} if written is None else written.names


def _written_names(weights: str, count: int) -> Categories | None:
    """What a file of labels beside the weights says, if it is of this model."""
    beside = (f"{os.path.splitext(weights)[0]}.labels.json", os.path.join(os.path.dirname(weights), LABELS_FILE))
    path = next((p for p in beside if weights and os.path.isfile(p)), None)
    if path is None:
        return None
    try:
        content = _entries(read_json(path))
        categories = content if isinstance(content, Categories) else Categories(content)
    except (ValueError, AttributeError, TypeError):
        raise ConfigError(f'{path} is not a file of labels like {{"1": "car", "3": "truck"}}.') from None
    if len(categories) > count:
        logger.warning(
            "%s names %s, the model has %d: it is left aside.",
            path,
            counted(len(categories), "class", "classes"),
            count,
        )
        return None
    return categories


def _entries(content: Any) -> Given | Categories:
    """What a file of labels says. A training writes names by the ids of its data set in the order of the labels, as
    maskrcnn-benchmark did; versions of this package before wrote names by labels, under the class of the data set."""
    if not isinstance(content, dict) or not content:
        return content
    inner = next(iter(content.values()))
    if isinstance(inner, dict):
        return inner
    if not all(isinstance(name, str) for name in content.values()):
        raise TypeError("names are text")
    return Categories.in_order({_id(key): name for key, name in content.items() if name.strip() != BACKGROUND})


def _id(key: str) -> int | str:
    """An id as the data set has it: JSON has text alone for the keys of an object."""
    return int(key) if str(key).lstrip("-").isdecimal() else key


def _of_data_sets(cfg, written: Categories | None, count: int) -> Categories | None:
    """The categories of the first of the configuration's data sets that can be read here and has the names known already."""
    catalog = dataset_catalog(cfg)
    for name in (*cfg.DATASETS.TEST, *cfg.DATASETS.TRAIN):
        try:
            categories = _of_data_set(catalog.get(name), options(cfg).DATALOADER.ANNOTATION_CACHE)
        except (ConfigError, OSError, ValueError) as error:  # a detector needs no data set
            logger.warning("The classes are not those of %s: %s", name, error)
            continue
        if categories is None or len(categories) > count:
            continue
        if written is None or categories.names == written.names:
            return categories
        if set(categories.names.values()) == set(written.names.values()):
            return written.with_ids_of(categories.as_coco())
    return None


def _of_data_set(entry: dict, cache: str) -> Categories | None:
    """The categories that an entry of the catalog has, None where they cannot be known here."""
    if entry["factory"] == "COCODataset":
        ann_file = entry["args"]["ann_file"]
        if not os.path.isfile(ann_file):
            return None
        meta = CocoFile(ann_file, cache).index.meta
        return Categories(without_placeholder(meta["categories"], meta["placeholder"]))
    classes: Any = getattr(dataset_class(entry["factory"]), "CLASSES", None)
    if entry["factory"] == "PascalVOCDataset" and classes:
        classes = find_classes(entry["args"]["data_dir"], entry["args"].get("classes"), classes)
    return Categories(list(classes[1:])) if classes else None
