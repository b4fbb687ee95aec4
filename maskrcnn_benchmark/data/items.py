"""Whether what a data set and its transforms give is what a detector takes."""

import inspect
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from maskrcnn_benchmark.config.node import ConfigError
from maskrcnn_benchmark.data.datasets.abstract import AbstractDataset
from maskrcnn_benchmark.data.labels import parts_of
from maskrcnn_benchmark.utils.wording import counted

SAMPLE = 20  # images of each data set whose objects are looked at before anything is loaded
# The argument of a data set's constructor that is told DATALOADER.FILTER_EMPTY_ANNOTATIONS; in tests False.
FILTER = "filter_empty_annotations"


class ItemError(ConfigError):
    """An item of a data set, or what a transform makes of it, that a detector cannot take."""

    def __init__(self, text: str):
        super().__init__(last_words(text, type(self)))


def last_words(text: str, kind: type) -> str:
    """The message of an error of a worker process: it arrives inside the text of that process's traceback, as the last line."""
    return text.rpartition(f"{kind.__name__}: ")[2].strip()


def described(value: Any) -> str:
    """What was given in the place of something else."""
    if isinstance(value, Image.Image):
        return f"an image of the mode {value.mode}"
    if isinstance(value, (Tensor, np.ndarray)):
        return f"a {'Tensor' if isinstance(value, Tensor) else 'numpy array'} of the shape {list(value.shape)}"
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of {len(value)}"
    return "None" if value is None else f"a {type(value).__name__}"


class ItemCheck:
    """Called with an item of a data set; raises ItemError. It refuses what cannot work and lets pass what it does not know.

    Args:
        num_classes: labels are 1 to num_classes - 1; 0 for a model without classes.
        is_train: objects with labels are needed.
        is_raw: images stay as they are, for tiles and test-time augmentation.
    """

    def __init__(self, num_classes: int, is_train: bool, is_raw: bool = False):
        self.num_classes, self.is_train, self.is_raw = num_classes, is_train, is_raw

    def __call__(self, item: Any) -> None:
        if not isinstance(item, (tuple, list)) or len(item) < 3:
            raise ItemError(
                f"__getitem__ must return three things, the image, a BoxList and the index; got {described(item)}."
            )
        image, target = item[:2]
        if not self.is_raw and (image is None or isinstance(image, (Image.Image, np.ndarray))):
            raise ItemError(
                "__getitem__ must give image and BoxList to `self.transforms`, which makes a Tensor[3, H, W] of a PIL image of "
                f"the mode RGB; got {described(image)}."
            )
        if hasattr(target, "has_field") and (target.has_field("labels") or not self.num_classes):
            self.check_labels(target)
        elif self.is_train:
            raise ItemError(
                'the objects must be a BoxList with the field "labels"; got '
                + ("one without it." if hasattr(target, "has_field") else f"{described(target)}.")
            )

    def check_labels(self, target: Any) -> None:
        if not self.num_classes:
            return
        labels = target.get_field("labels")
        if not isinstance(labels, Tensor) or labels.shape[:1] != (len(target),):
            raise ItemError(
                f'the field "labels" must be a Tensor[N], of {len(target)} here as there are boxes; got {described(labels)}.'
            )
        wrong = [v for v in labels.flatten().tolist() if not 1 <= v < self.num_classes]
        if wrong:
            raise ItemError(
                f"an object has the label {wrong[0]}; labels must be 1 to {self.num_classes - 1}, as 0 is the background."
            )


def place_of(dataset: Any, names: Sequence[str], index: int) -> str:
    """What messages call an image.

    Args:
        names: of the data set, or of those that it is joined from.
    """
    if len(names) > 1 and hasattr(dataset, "get_idxs"):
        part, index = dataset.get_idxs(index)
        names = [names[part]]
    return f"Image {index} of {' + '.join(names)}" if names else f"Image {index}"


def check_sample(dataset: Any, names: Sequence[str], check: ItemCheck) -> None:
    """Look at the labels of some images of data sets of one's own that tell their objects without reading the images."""
    for index, target in _sample(dataset):
        try:
            check.check_labels(target)
        except ItemError as error:
            raise ItemError(f"{place_of(dataset, names, index)}: {error}") from None


def say_empty(dataset: Any, name: str) -> None:
    """Say where images without objects, which were to be left out of training, take part: only some data sets can do that."""
    for part in parts_of(dataset):
        if FILTER in inspect.signature(type(part)).parameters:
            continue
        empty = [len(target) == 0 for _, target in _sample(part)]
        if any(empty):
            logging.getLogger(__name__).warning(
                "%s has images without objects (%d of %s looked at), and they are trained on: "
                "DATALOADER.FILTER_EMPTY_ANNOTATIONS has no effect on %s, whose constructor "
                "has no argument %s. Set it to False if they are wanted.",
                name,
                sum(empty),
                counted(len(empty), "image"),
                type(part).__name__,
                FILTER,
            )


def _sample(dataset: Any) -> Iterator[tuple[int, Any]]:
    """Indices and untransformed objects, labels and all."""
    begin = 0
    for part in parts_of(dataset):
        own = getattr(type(part), "get_groundtruth", AbstractDataset.get_groundtruth)
        is_told = own is not AbstractDataset.get_groundtruth
        for i in range(0, len(part), max(-(-len(part) // SAMPLE), 1)) if is_told else ():
            try:
                target = part.get_groundtruth(i)
                is_labelled = target.has_field("labels")
            except Exception:  # what is wrong with it is said when it is needed
                continue
            if is_labelled:
                yield begin + i, target
        begin += len(part)
