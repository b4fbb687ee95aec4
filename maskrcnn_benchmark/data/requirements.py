"""Whether data sets are what a configuration needs."""

import logging
from collections.abc import Sequence

from torch.utils.data import Dataset

from maskrcnn_benchmark.config.node import ConfigError
from maskrcnn_benchmark.data.datasets.facts import class_names
from maskrcnn_benchmark.utils.wording import counted


def check_same_categories(parts: list, names: Sequence[str]) -> None:
    """Labels are numbered by data set, so sets trained on together must number the same categories."""
    known = [(name, class_names(part)) for name, part in zip(names, parts, strict=True)]
    known = [(name, classes) for name, classes in known if classes]
    for name, classes in known[1:]:
        if classes != known[0][1]:
            raise ConfigError(
                f"{known[0][0]} and {name} cannot be trained on together: their categories differ "
                f"({', '.join(known[0][1].values())}; {', '.join(classes.values())})."
            )


def check_num_classes(
    dataset: Dataset, num_classes: int, name: str, key: str = "MODEL.ROI_BOX_HEAD.NUM_CLASSES"
) -> None:
    """Compare the value of `key` with the categories of a data set."""
    for part in getattr(dataset, "datasets", [dataset]):
        expected = getattr(part, "num_classes", num_classes)
        if expected > num_classes:
            raise ConfigError(
                f"{name} has {counted(expected - 1, 'category', 'categories')}, but {key} is {num_classes}; set it to "
                f"{expected} (the categories and the background)."
            )
        if expected < num_classes:
            logging.getLogger(__name__).warning(
                "%s has %s and the model %d: %s could be %d.",
                name,
                counted(expected - 1, "category", "categories"),
                num_classes - 1,
                key,
                expected,
            )


def check_masks(dataset: Dataset, name: str, need: str = "MODEL.MASK_ON is True; set it to False") -> None:
    """Raise for a data set that cannot train masks; `need` says what wants them and what to do."""
    if not all(getattr(part, "has_masks", True) for part in getattr(dataset, "datasets", [dataset])):
        raise ConfigError(f"{name} has objects without masks, but {need}.")


def check_num_keypoints(dataset: Dataset, num_keypoints: int, name: str) -> None:
    """Compare MODEL.ROI_KEYPOINT_HEAD.NUM_CLASSES with what a data set's objects have."""
    for part in getattr(dataset, "datasets", [dataset]):
        found = getattr(part, "num_keypoints", num_keypoints)
        if found != num_keypoints and getattr(part, "has_annotations", True):
            raise ConfigError(
                f"The objects of {name} have {counted(found, 'keypoint') if found else 'no keypoints'}, but "
                "MODEL.KEYPOINT_ON is True and "
                f"MODEL.ROI_KEYPOINT_HEAD.NUM_CLASSES {num_keypoints}; set the one to False or the other to what they have."
            )


def check_data_set(cfg, dataset: Dataset, name: str, is_train: bool) -> None:
    """Raise ConfigError where a data set does not fit the heads of a configuration."""
    if cfg.MODEL.RETINANET_ON:
        check_num_classes(dataset, cfg.MODEL.RETINANET.NUM_CLASSES, name, "MODEL.RETINANET.NUM_CLASSES")
    elif not cfg.MODEL.RPN_ONLY:
        check_num_classes(dataset, cfg.MODEL.ROI_BOX_HEAD.NUM_CLASSES, name)
    if is_train and cfg.MODEL.MASK_ON:
        check_masks(dataset, name)
    if cfg.MODEL.KEYPOINT_ON:
        check_num_keypoints(dataset, cfg.MODEL.ROI_KEYPOINT_HEAD.NUM_CLASSES, name)
