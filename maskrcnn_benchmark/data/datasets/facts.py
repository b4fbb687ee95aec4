"""What can be asked of any data set, also of a fork's own, which has maskrcnn-benchmark's methods and attributes alone."""

import copy
from typing import Any

import numpy as np

from maskrcnn_benchmark.config.node import ConfigError
from maskrcnn_benchmark.structures.bounding_box import BoxList

BACKGROUND = "__background__"


def has_annotations(dataset: Any) -> bool:
    """Whether there is something to train on, or to compare detections with."""
    if hasattr(dataset, "has_annotations"):
        return bool(dataset.has_annotations)
    return "annotations" in dataset.coco.dataset if hasattr(dataset, "coco") else True


def class_names(dataset: Any) -> dict[int, str]:
    """The name of each label, from 1; empty where the data set does not tell."""
    if hasattr(dataset, "class_names"):
        return dict(dataset.class_names())
    if getattr(dataset, "CLASSES", None):
        return dict(enumerate(dataset.CLASSES[1:], start=1))
    ids = getattr(dataset, "contiguous_category_id_to_json_id", {})
    return {label: category_names(dataset).get(category, str(category)) for label, category in ids.items()}


def category_names(dataset: Any) -> dict[int, str]:
    """The name of each category by the id that the data set gives it; for VOC and its like the label, the background 0."""
    if isinstance(getattr(dataset, "categories", None), dict):
        return dict(dataset.categories)
    if hasattr(dataset, "coco"):
        return {c["id"]: c["name"] for c in dataset.coco.cats.values()}
    if getattr(dataset, "CLASSES", None):
        return dict(enumerate(dataset.CLASSES))
    return dict(dataset.class_names()) if hasattr(dataset, "class_names") else {}


def labelled_categories(dataset: Any) -> dict[Any, str]:
    """`category_names` in the order of the labels."""
    names = category_names(dataset)
    ids = getattr(dataset, "contiguous_category_id_to_json_id", {})
    return {**{ids[label]: names[ids[label]] for label in sorted(ids) if ids[label] in names}, **names}


def groundtruth(dataset: Any, index: int) -> BoxList:
    """The objects in pixels of the image as it lies on the disk, untransformed."""
    if hasattr(dataset, "get_groundtruth"):
        return dataset.get_groundtruth(index)
    plain = copy.copy(dataset)
    for name in ("transforms", "_transforms"):
        if hasattr(plain, name):
            setattr(plain, name, None)
    return plain[index][1]


def image_sizes(dataset: Any) -> np.ndarray:
    """Height and width of each image of any data set in pixels, [len(dataset), 2], one by one where it has to be."""
    if hasattr(dataset, "image_sizes"):
        return dataset.image_sizes()
    return np.array([_size(dataset, i) for i in range(len(dataset))]).reshape(-1, 2)


def _size(dataset: Any, index: int) -> tuple[int, int]:
    info = dataset.get_img_info(index)
    try:
        return info["height"], info["width"]
    except (KeyError, TypeError, IndexError):
        raise ConfigError(
            f'{type(dataset).__name__}.get_img_info({index}) must return a dictionary with the "height" and "width" of the image '
            f"in pixels; got {info!r}."
        ) from None


def box_extents(dataset: Any, index: int) -> np.ndarray:
    """Width and height of an image's objects in pixels, float64 [N, 2]; raises ValueError where they need the image."""
    if hasattr(dataset, "box_extents"):
        return dataset.box_extents(index)
    if not hasattr(dataset, "get_groundtruth"):
        raise ValueError(f"{type(dataset).__name__} has neither box_extents nor get_groundtruth.")
    boxes = dataset.get_groundtruth(index).convert("xyxy").bbox.double().numpy()
    return boxes[:, 2:] - boxes[:, :2] + 1


def labels_by_image(dataset: Any) -> tuple[np.ndarray, np.ndarray]:
    """`ConcatDataset.labels_by_image` of any data set; raises ValueError for one whose objects need its images."""
    if hasattr(dataset, "labels_by_image"):
        return dataset.labels_by_image()
    if not hasattr(dataset, "get_groundtruth"):
        raise ValueError(
            f"DATALOADER.REPEAT_FACTOR_THRESHOLD needs the objects of each image, but {type(dataset).__name__} has neither "
            "labels_by_image nor get_groundtruth; set it to 0."
        )
    labels = [dataset.get_groundtruth(i).get_field("labels").numpy() for i in range(len(dataset))]
    return np.concatenate([np.zeros(0, np.int64), *labels]), np.concatenate(
        ([0], np.cumsum([len(v) for v in labels], dtype=np.int64))
    )
