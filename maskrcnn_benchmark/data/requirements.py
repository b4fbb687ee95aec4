"""Whether data sets are what a configuration needs."""

import logging
from collections.abc import Sequence

from torch.utils.data import Dataset

from maskrcnn_benchmark.config.node import ConfigError
from maskrcnn_benchmark.config.options import options
from maskrcnn_benchmark.config.standard import STANDARD
from maskrcnn_benchmark.data.datasets.coco_keypoints import flip_indices, repeated_names
from maskrcnn_benchmark.data.items import ItemCheck
from maskrcnn_benchmark.data.labels import keep_placeholder, match_parts, parts_of
from maskrcnn_benchmark.data.size_checks import check_sizes
from maskrcnn_benchmark.utils.wording import counted, listed

logger = logging.getLogger(__name__)


def check_same_categories(parts: list, names: Sequence[str]) -> None:
    """Labels are numbered by data set, so sets trained on together must number the same categories; they are matched by name."""
    match_parts(parts, list(names))


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
    """Raise for a data set that cannot train masks, and say how many objects cannot; `need` says what wants masks, and what
    to do."""
    parts = parts_of(dataset)
    if not all(getattr(part, "has_masks", True) for part in parts):
        raise ConfigError(f"{name} has objects without masks, but {need}.")
    without = sum(getattr(part, "without_mask", 0) for part in parts)
    if without:
        logger.warning(
            '%s: %s no usable "segmentation": left out of the training of masks, their boxes are trained on.',
            name,
            counted(without, "object has", "objects have"),
        )


def check_flips(cfg, dataset: Dataset, name: str) -> None:
    """Learn which keypoints change places in a mirror. Where nothing tells, images are not mirrored by default, and that is
    said; it is an error where the configuration asks for mirrored ones."""
    pairs, source = options(cfg).INPUT.KEYPOINT_FLIP_PAIRS, cfg.INPUT
    for part in parts_of(dataset):
        if not getattr(part, "num_keypoints", 0) or not hasattr(part, "keypoint_flips"):
            continue
        if not cfg.MODEL.KEYPOINT_ON:  # nobody will look at them
            part.keypoint_flips = part.keypoint_flips or list(range(part.num_keypoints))
            continue
        if repeated := repeated_names(part.keypoint_names):
            raise ConfigError(
                f"{name}: several of its keypoints are called {listed(repeated)}, so that nothing can tell them apart. Give each "
                'a name of its own in the "keypoints" of the categories.'
            )
        if pairs:
            part.keypoint_flips, part.is_of_persons = _flips_of_pairs(part.keypoint_names, pairs, name), False
        if part.keypoint_flips is not None:
            continue
        names = listed(part.keypoint_names, 20) or "without names"
        problem = (
            f"{name}: nothing tells which of its keypoints ({names}) change places in a mirror: their names do not differ in "
            "left and right, no flip_idx of a data.yaml says so, and INPUT.KEYPOINT_FLIP_PAIRS names no pairs."
        )
        default = STANDARD.INPUT.HORIZONTAL_FLIP_PROB_TRAIN
        if source.VERTICAL_FLIP_PROB_TRAIN > 0 or source.HORIZONTAL_FLIP_PROB_TRAIN not in (0, default):
            raise ConfigError(
                f"{problem} Name them, or set INPUT.HORIZONTAL_FLIP_PROB_TRAIN and INPUT.VERTICAL_FLIP_PROB_TRAIN to 0."
            )
        if source.HORIZONTAL_FLIP_PROB_TRAIN:
            logger.warning("%s Its images are not mirrored.", problem)


def _flips_of_pairs(names: list[str], pairs: Sequence, name: str) -> list[int]:
    if not names:
        raise ConfigError(
            f'INPUT.KEYPOINT_FLIP_PAIRS names keypoints, but no category of {name} names its "keypoints".'
        )
    try:
        return flip_indices(names, pairs)  # type: ignore[return-value]
    except ValueError as error:
        raise ConfigError(f"INPUT.KEYPOINT_FLIP_PAIRS does not fit {name}: {error}.") from None


def check_num_keypoints(dataset: Dataset, num_keypoints: int, name: str) -> None:
    """Compare MODEL.ROI_KEYPOINT_HEAD.NUM_CLASSES with what a data set's objects have."""
    for part in getattr(dataset, "datasets", [dataset]):
        found = getattr(part, "num_keypoints", num_keypoints)
        odd, ids = getattr(part, "odd_keypoints", (0, []))
        if odd:
            more = f" and {odd - len(ids):,} more" if odd > len(ids) else ""
            raise ConfigError(
                f"{name}: {counted(odd, 'object has', 'objects have')} another number of keypoints than "
                f"{f'the others, {found}' if found else 'others'}: {listed(ids)}{more} (ids of annotations). Each "
                '"keypoints" holds x, y and visibility of as many; correct these, or set MODEL.KEYPOINT_ON False.'
            )
        if found != num_keypoints and getattr(part, "has_annotations", True):
            raise ConfigError(
                f"The objects of {name} have {counted(found, 'keypoint') if found else 'no keypoints'}, but "
                "MODEL.KEYPOINT_ON is True and "
                f"MODEL.ROI_KEYPOINT_HEAD.NUM_CLASSES {num_keypoints}; set the one to False or the other to what they have."
            )


def classes_of(cfg) -> tuple[str, int]:
    """The key that counts a model's classes with the background, and its value; ("", 0) where it has none."""
    if cfg.MODEL.RETINANET_ON:
        return "MODEL.RETINANET.NUM_CLASSES", cfg.MODEL.RETINANET.NUM_CLASSES
    return ("", 0) if cfg.MODEL.RPN_ONLY else ("MODEL.ROI_BOX_HEAD.NUM_CLASSES", cfg.MODEL.ROI_BOX_HEAD.NUM_CLASSES)


def make_item_check(cfg, dataset: Dataset, is_train: bool, is_raw: bool) -> ItemCheck:
    """In a test, labels are looked at where the data set counts its classes: no model learns from them."""
    is_counted = is_train or all(hasattr(part, "num_classes") for part in parts_of(dataset))
    return ItemCheck(classes_of(cfg)[1] if is_counted else 0, is_train, is_raw)


def fit_labels(cfg, dataset: Dataset) -> None:
    """See `keep_placeholder`."""
    key, num_classes = classes_of(cfg)
    if key:
        keep_placeholder(dataset, num_classes)


def check_data_set(cfg, dataset: Dataset, name: str, is_train: bool) -> None:
    """Raise ConfigError where a data set does not fit the heads of a configuration."""
    key, num_classes = classes_of(cfg)
    if key:
        check_num_classes(dataset, num_classes, name, key)
    if is_train and cfg.MODEL.MASK_ON:
        check_masks(dataset, name)
    if is_train:
        check_flips(cfg, dataset, name)
    check_sizes(cfg, dataset, name, is_train)
    if cfg.MODEL.KEYPOINT_ON:
        check_num_keypoints(dataset, cfg.MODEL.ROI_KEYPOINT_HEAD.NUM_CLASSES, name)
