"""Pascal VOC: a folder with Annotations, ImageSets and JPEGImages."""

import logging
import os
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from PIL import Image

from maskrcnn_benchmark.data.datasets import voc_boxes
from maskrcnn_benchmark.data.datasets.abstract import AbstractDataset
from maskrcnn_benchmark.data.datasets.annotated_images import AnnotatedImages
from maskrcnn_benchmark.data.datasets.facts import BACKGROUND
from maskrcnn_benchmark.data.datasets.images import BrokenImageError
from maskrcnn_benchmark.data.datasets.voc_files import (
    ClassLabels,
    ImageFiles,
    annotation_path,
    find_classes,
    names_alike,
    objects_of,
    read_annotation,
    read_image_set,
    size_of,
    text_of,
)
from maskrcnn_benchmark.data.registries import DATASETS
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.utils.wording import listed

logger = logging.getLogger(__name__)

FIRST_PIXEL = 1  # the files count pixels from 1
UNKNOWN_SIZE = (1, 1)  # of an image that cannot be read


@DATASETS.register("PascalVOCDataset")
class PascalVOCDataset(AbstractDataset):
    """Images with boxes, labels and the flag "difficult".

    Args:
        data_dir: the folder of one year, for example VOCdevkit/VOC2007.
        split: a file in ImageSets/Main without its ".txt": train, val, trainval, test.
        use_difficult: keep the objects marked as difficult, as the evaluation wants; training leaves them out.
        transforms: called as transforms(image, target).
        classes: names of the classes, or a text file of one a line. Default: see `find_classes`. A subclass may set CLASSES.
        first_pixel: what the files count pixels from: 1, or 0 in those of some other programs.

    Boxes that are inverted or outside the image are left out and those that reach beyond it are clipped, for training and as
    the truth of an evaluation; their numbers are said once.

    An item is (image, BoxList with "labels" and "difficult" (bool), index). A set without annotations, such as the test
    set of 2012, can be detected on. Images may have any ending; one is turned as its EXIF entry says, unless the annotations
    were made without (AnnotatedImages).
    """

    evaluator = "voc"
    has_masks = False
    CLASSES: Sequence[str] = (
        *(BACKGROUND, "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
        *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
    )

    def __init__(
        self,
        data_dir: str,
        split: str,
        use_difficult: bool = False,
        transforms: Callable[[Any, BoxList], tuple[Any, BoxList]] | None = None,
        classes: str | Sequence[str] | None = None,
        first_pixel: int = FIRST_PIXEL,
    ):
        super().__init__()
        self.root, self.image_set, self.keep_difficult, self.transforms = data_dir, split, use_difficult, transforms
        self.first_pixel = first_pixel
        self.ids = read_image_set(data_dir, split)
        self.id_to_img_map = dict(enumerate(self.ids))
        self.has_annotations = bool(self.ids) and os.path.isfile(self._annotation_path(0))
        has_own = type(self).CLASSES is not PascalVOCDataset.CLASSES
        names = self.CLASSES if has_own and classes is None else find_classes(data_dir, classes, self.CLASSES)
        self._files = ImageFiles(os.path.join(data_dir, "JPEGImages"))
        self._images = AnnotatedImages(os.path.join(data_dir, split), len(self.ids), self._image_at)
        self.set_classes(names[1:])
        if alike := names_alike(self.CLASSES[1:]):
            logger.warning(
                "%s: %s differ in capitals or spaces alone: they stay apart.", self._images.name, listed(alike)
            )
        voc_boxes.report(self._images.name, self._all_boxes())

    def set_classes(self, names: Sequence[str]) -> None:
        """Label the classes 1, 2, ... in this order."""
        self.CLASSES = (BACKGROUND, *names)
        self.initMaps()
        self.class_to_ind, self.categories = self.name_to_id, self.id_to_name
        self._labels = ClassLabels(self.name_to_id)

    def _annotation_path(self, index: int) -> str:
        return annotation_path(os.path.join(self.root, "Annotations"), self.ids[index])

    def _image_path(self, index: int) -> str:
        return self._files.path(self.ids[index])

    def _image_at(self, index: int) -> tuple[str, tuple[int, int] | None]:
        """For AnnotatedImages: path and annotated size."""
        size = None
        if self.has_annotations:
            try:
                size = size_of(read_annotation(self._annotation_path(index)))
            except (OSError, ValueError):
                pass  # it is named when its own turn comes
        return self._image_path(index), size

    def read_image(self, index: int) -> Image.Image:
        """The image as RGB. Raises BrokenImageError."""
        info = self.get_img_info(index)
        return self._images.read(self._image_path(index), (info["width"], info["height"]))

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> tuple[Any, BoxList, int]:
        target = self.get_groundtruth(index).clip_to_image(remove_empty=True)
        width, height = target.size
        image = self._images.read(self._image_path(index), (int(width), int(height)))
        if self.transforms is not None:
            image, target = self.transforms(image, target)
        return image, target, index

    def get_groundtruth(self, index: int) -> BoxList:
        """The objects of an image, counted from pixel 0 and clipped to it, with "labels" and "difficult"."""
        boxes, labels, difficulties = [], [], []
        path = self._annotation_path(index)
        for entry, box, difficult in self._objects(read_annotation(path), path) if self.has_annotations else ():
            boxes.append(box)
            labels.append(self._label(text_of(entry, "name", path), path))
            difficulties.append(difficult)
        info = self.get_img_info(index)
        target = BoxList(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), (info["width"], info["height"]))
        target.add_field("labels", torch.tensor(labels, dtype=torch.int64))
        target.add_field("difficult", torch.tensor(difficulties, dtype=torch.bool))
        # Of an image that cannot be read, which is said elsewhere, the size is not known and the objects count.
        return target if target.size == UNKNOWN_SIZE else target.clip_to_image(remove_empty=True)

    def _objects(self, root: ET.Element, path: str) -> Iterator[tuple[ET.Element, list[float], bool]]:
        """Entry, box counted from pixel 0 and "difficult" of each object to be used."""
        return objects_of(root, path, self.first_pixel, self.keep_difficult)

    def _all_boxes(self) -> Iterator[tuple[str, list[list[float]], tuple[int, int] | None]]:
        """For `voc_boxes.report`."""
        for index in range(len(self.ids)) if self.has_annotations else ():
            path = self._annotation_path(index)
            try:
                root = read_annotation(path)
                boxes = [box for _, box, _ in self._objects(root, path)]
            except (OSError, ValueError):
                continue  # it is named when its own turn comes
            size = size_of(root)
            if size is None and boxes:
                size = self._size_of_file(self._image_path(index))
            yield path, boxes, None if size == UNKNOWN_SIZE else size

    def _label(self, name: str, path: str) -> int:
        label = self._labels.get(name)
        if not label:
            raise ValueError(f"{path} has an object of the class {name!r}, which is not one of {self.CLASSES[1:]}.")
        return label

    def get_img_info(self, index: int) -> dict:
        """ "id", "file_name", and "height" and "width" in pixels."""
        annotated = size_of(read_annotation(self._annotation_path(index))) if self.has_annotations else None
        path = self._image_path(index)
        width, height = annotated or self._size_of_file(path)
        name = os.path.basename(path)
        return {"id": self.ids[index], "file_name": name, "height": height, "width": width}

    def _size_of_file(self, path: str) -> tuple[int, int]:
        try:
            return self._images.size(path)
        except BrokenImageError:  # said when it is read
            return UNKNOWN_SIZE

    def map_class_id_to_class_name(self, class_id: int) -> str:
        return self.CLASSES[class_id]
