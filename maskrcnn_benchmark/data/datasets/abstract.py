"""What a data set of one's own has to offer."""

import copy
from collections.abc import Callable, Sequence
from typing import Any

from torch.utils.data import Dataset

from maskrcnn_benchmark.data.datasets.facts import BACKGROUND
from maskrcnn_benchmark.structures.bounding_box import BoxList


class AbstractDataset(Dataset):
    """Base of data sets that name their classes. A subclass sets CLASSES, calls `initMaps()` and defines

    - `__getitem__(idx)` -> (image, BoxList with "labels", from 1, and perhaps "masks" and "difficult", idx), after `transforms`;
    - `__len__()` and `get_img_info(idx)` -> {"height": ..., "width": ...} of the image as it lies on the disk;
    - `get_groundtruth(idx)` if the objects can be had without reading the image.

    Any such data set can be evaluated by COCO's metrics, which is what `evaluator` names; a subclass may name others.
    """

    evaluator = "coco"
    has_annotations = True
    CLASSES: Sequence[str] = ()  # the background first; label i is CLASSES[i]

    def __init__(self, *args: Any, **kwargs: Any):
        self.transforms: Callable[[Any, BoxList], tuple[Any, BoxList]] | None = None
        self.name_to_id: dict[str, int] = {}
        self.id_to_name: dict[int, str] = {}

    def __getitem__(self, idx: int) -> tuple[Any, BoxList, int]:
        raise NotImplementedError(f"{type(self).__name__} must define __getitem__: (image, BoxList, index).")

    def __len__(self) -> int:
        raise NotImplementedError(f"{type(self).__name__} must define __len__: the number of images.")

    def get_img_info(self, index: int) -> dict:
        raise NotImplementedError(f"{type(self).__name__} must define get_img_info: the image's height and width.")

    def initMaps(self) -> None:
        """Number the classes in their order: `name_to_id` and `id_to_name`, the background being 0."""
        if not self.CLASSES or self.CLASSES[0].strip() != BACKGROUND:
            raise ValueError(
                f"{type(self).__name__}.CLASSES must list the names of the classes with {BACKGROUND!r} in front; got "
                f"{self.CLASSES!r}."
            )
        self.name_to_id = {name: i for i, name in enumerate(self.CLASSES)}
        self.id_to_name = dict(enumerate(self.CLASSES))

    @property
    def num_classes(self) -> int:
        """Classes and the background."""
        return len(self.CLASSES)

    def class_names(self) -> dict[int, str]:
        """Name of each label, from 1."""
        return dict(enumerate(self.CLASSES[1:], start=1))

    def get_groundtruth(self, idx: int) -> BoxList:
        """The objects in pixels of the image as it lies on the disk, untransformed."""
        plain = copy.copy(self)
        plain.transforms = None
        return plain[idx][1]
