"""Data sets in COCO format: a folder of images and a JSON file of annotations."""

import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from pycocotools.coco import COCO
from torchvision.datasets import VisionDataset
from torchvision.datasets.coco import CocoDetection

from maskrcnn_benchmark.data.datasets.annotated_images import AnnotatedImages, size_of
from maskrcnn_benchmark.data.datasets.coco_entries import keypoints_of
from maskrcnn_benchmark.data.datasets.coco_file import CocoFile
from maskrcnn_benchmark.data.datasets.coco_keypoints import (
    MIN_KEYPOINTS_PER_IMAGE,
    are_a_persons,
    skeleton,
    told_flips,
)
from maskrcnn_benchmark.data.datasets.coco_notes import report
from maskrcnn_benchmark.data.datasets.coco_targets import add_masks
from maskrcnn_benchmark.data.datasets.coco_tree import load_coco
from maskrcnn_benchmark.data.datasets.converted import source_of
from maskrcnn_benchmark.data.datasets.image_names import ImageNames
from maskrcnn_benchmark.data.datasets.images import BrokenImageError
from maskrcnn_benchmark.data.registries import DATASETS
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.keypoint_ops import make_keypoints

min_keypoints_per_image = MIN_KEYPOINTS_PER_IMAGE


def _count_visible_keypoints(anno: list[dict]) -> int:
    return sum(v > 0 for obj in anno for v in obj["keypoints"][2::3])


def _has_only_empty_bbox(anno: list[dict]) -> bool:
    return all(min(obj["bbox"][2:]) <= 1 for obj in anno)


def has_valid_annotation(anno: list[dict]) -> bool:
    """Whether an image with these annotations is worth training on."""
    if _has_only_empty_bbox(anno):
        return False
    return "keypoints" not in anno[0] or _count_visible_keypoints(anno) >= min_keypoints_per_image


@DATASETS.register("COCODataset")
class COCODataset(CocoDetection):
    """Images with boxes, labels and, where the file has them, masks and keypoints.

    Args:
        ann_file: JSON file in COCO format. Category ids may have gaps; labels are 1, 2, ... in the order of the ids.
        root: folder of the images.
        remove_images_without_annotations: leave out images on which there is nothing to train.
        transforms: called as transforms(image, target).
        for_keypoints: whether images whose objects show too few visible keypoints count as such.
        cache: folder in which the index of a large file is kept, so that the next start is quicker (see `CocoFile`).

    Of the file only an index is held; an image's entries are read from it when they are asked for, and made sound then
    (coco_entries.py says what of). What is wrong in the file is said once, with counts.

    An item is (image, BoxList with "labels" and perhaps "masks" and "keypoints", index). Crowds are left out; boxes without
    width or height or outside the image are counted, reported and left out. An image is turned as its EXIF entry says, unless
    the annotations were made without (AnnotatedImages). Where some objects have no usable mask, "has_mask" (bool) tells which
    do; the others have their boxes in place of masks.

    `CocoDetection.__getitem__` gives an image with its annotations as the file has them, for subclasses that make their
    targets themselves.
    """

    evaluator = "coco"  # the evaluation that belongs to this data set, a name in data.registries.EVALUATORS

    def __init__(
        self,
        ann_file: str,
        root: str,
        remove_images_without_annotations: bool,
        transforms: Callable[[Any, BoxList], tuple[Any, BoxList]] | None = None,
        cache: str = "",
        for_keypoints: bool = True,
    ):
        self._file = CocoFile(ann_file, cache)
        if not os.path.isdir(root):
            raise FileNotFoundError(f"There is no image folder {root!r}, which {source_of(ann_file)} belongs to.")
        VisionDataset.__init__(self, root)  # CocoDetection's own would read the whole file
        self.ann_file, self._transforms = ann_file, transforms
        self._name = source_of(ann_file)
        index = self._file.index
        self.placeholder: bool = index.meta["placeholder"]  # whether the file has a category that stands for no class
        self.placeholder_id = self._file.category_ids[0] if self.placeholder else None
        self.set_labels([c for c in self._file.category_ids if not self.placeholder or c != self.placeholder_id])
        report(index, self._name, remove_images_without_annotations, for_keypoints)
        self.has_annotations: bool = index.meta["has_annotations"]
        self.num_keypoints: int = index.meta["num_keypoints"]
        self.has_masks: bool = index.meta["has_masks"]
        self.without_mask: int = index.meta["masks"][0]  # objects that have none
        names = index.meta["keypoint_names"]
        self.is_of_persons = are_a_persons(names, self.num_keypoints)
        self.keypoint_names: list[str] = names[0] if names else []
        self.keypoint_flips = told_flips(index.meta["categories"], self.num_keypoints)
        self.skeleton = skeleton(index.meta["categories"], self.num_keypoints)
        self.odd_keypoints: tuple[int, list] = tuple(index.meta["odd_keypoints"])  # objects with others, and some ids
        trainable = index.trainable if for_keypoints else index.with_objects
        kept = trainable if remove_images_without_annotations else slice(None)
        self.ids: list = index.image_ids[kept].tolist()
        self.id_to_img_map = dict(enumerate(self.ids))
        self._coco: COCO | None = None
        self._names = ImageNames(root, self._file_names)
        self._last_info: tuple[int | None, dict] = (None, {})
        self._images = AnnotatedImages(self._name, len(index.image_ids), self._image_at)

    @property
    def coco(self) -> COCO:
        """The whole file as pycocotools' tree of objects, made when it is first asked for: 3 GB for COCO train2017.

        From then on this data set's targets come from it too, so that what is changed in it counts.
        """
        if self._coco is None:
            coco = load_coco(self.ann_file, self._size_of, useless=False)
            self._coco = coco
        return self._coco

    def set_labels(self, ids: Sequence) -> None:
        """Label the categories of these ids 1, 2, ... in this order; None for a label that no category of this set has.

        Objects of other categories are left out.
        """
        known = {c["id"]: c["name"] for c in self._file.index.meta["categories"]}
        self._labels = len(ids)
        self.contiguous_category_id_to_json_id = {i: c for i, c in enumerate(ids, start=1) if c is not None}
        self.json_category_id_to_contiguous_id = {c: i for i, c in self.contiguous_category_id_to_json_id.items()}
        self.categories = {c: known[c] for c in self._file.category_ids if c in self.json_category_id_to_contiguous_id}

    @property
    def num_classes(self) -> int:
        """Labels and the background."""
        return self._labels + 1

    def class_names(self) -> dict[int, str]:
        """Name of each label, from 1."""
        return {label: self.categories[c] for label, c in self.contiguous_category_id_to_json_id.items()}

    def _annotations(self, image_id: Any) -> list[dict]:
        if self._coco is not None:
            return self._coco.imgToAnns.get(image_id, [])
        row = self._file.index.row(image_id)
        return [] if row is None else self._file.annotations(row)

    def _target(self, image_id: int, size: tuple[int, int]) -> BoxList:
        label_of = self.json_category_id_to_contiguous_id
        found = self._annotations(image_id)
        annotations = [a for a in found if not a.get("iscrowd", 0) and a["category_id"] in label_of]
        boxes = torch.tensor([a["bbox"] for a in annotations], dtype=torch.float32).reshape(-1, 4)
        target = BoxList(boxes, size, mode="xywh").convert("xyxy")
        labels = [label_of[a["category_id"]] for a in annotations]
        target.add_field("labels", torch.tensor(labels, dtype=torch.int64))
        if self.num_keypoints:
            points = [keypoints_of(a.get("keypoints"), self.num_keypoints) for a in annotations]
            flips = None if self.is_of_persons else self.keypoint_flips
            keypoints = make_keypoints(points, size, self.num_keypoints, self.is_of_persons, flips, self.skeleton)
            target.add_field("keypoints", keypoints)
        if self.has_masks or not annotations:
            add_masks(target, annotations, size, self.without_mask > 0)
        return target.clip_to_image(remove_empty=True)

    def read_image(self, idx: int) -> Image.Image:
        """The image as RGB. Raises BrokenImageError."""
        return self._load_image(self.ids[idx])

    def _load_image(self, id: Any) -> Image.Image:
        entry = self._entry(id)
        return self._images.read(self._path(entry), (entry["width"], entry["height"]))

    def _path(self, entry: dict) -> str:
        if entry["file_name"] is None:
            raise BrokenImageError(
                f"The image with the id {entry['id']!r} cannot be read: {self._name} names no file of it"
            )
        return self._names.path(entry["file_name"])

    def _file_names(self) -> Iterator[str | None]:
        return (self._file.image(row)["file_name"] for row in range(len(self._file.index.image_ids)))

    def _image_at(self, row: int) -> tuple[str, tuple[int, int] | None]:
        """Path and annotated size of an image of the file."""
        entry = self._file.image(row)
        return self._path(entry), size_of(entry)

    def _size_of(self, entry: dict) -> tuple[int, int]:
        """Height and width of an image whose entry has none; 1 and 1 for one that cannot be read, which is said elsewhere."""
        try:
            width, height = self._images.size(self._path(entry))
        except BrokenImageError:
            return 1, 1
        return height, width

    def _load_target(self, id: Any) -> list[dict]:
        return self._annotations(id)

    def __getitem__(self, idx: int) -> tuple[Any, Any, int]:  # type: ignore[override]
        image = self.read_image(idx)
        target = self._target(self.ids[idx], image.size)
        if self._transforms is not None:
            image, target = self._transforms(image, target)
        return image, target, idx

    def __len__(self) -> int:
        return len(self.ids)

    def get_img_info(self, index: int) -> dict:
        """The image's entry in the annotation file: "id", "file_name", "height", "width"."""
        return self._entry(self.ids[index])

    def _entry(self, image_id: Any) -> dict:
        """An image's entry in the annotation file."""
        if self._coco is not None:
            return self._coco.imgs[image_id]
        row = self._file.index.row(image_id)
        if row is None:
            raise KeyError(f"{self._name} has no image with the id {image_id!r}.")
        if self._last_info[0] != row:
            entry = self._file.image(row)
            if "width" not in entry:
                height, width = self._size_of(entry)
                entry = {**entry, "height": height, "width": width}
            self._last_info = (row, entry)
        return self._last_info[1]

    def image_sizes(self) -> np.ndarray:
        """Height and width of each image in pixels, int32 [len(self), 2]: as the annotation file gives them, else the files'."""
        sizes = self._file.index.image_sizes[self._rows()]
        for index in np.flatnonzero((sizes < 0).any(axis=1)).tolist():
            info = self.get_img_info(index)
            sizes[index] = info["height"], info["width"]
        return sizes

    def box_extents(self, idx: int) -> np.ndarray:
        """Width and height of an image's objects in pixels, float64 [N, 2]; crowds are left out."""
        boxes = [a["bbox"][2:] for a in self._annotations(self.ids[idx]) if not a.get("iscrowd", 0)]
        return np.array(boxes, np.float64).reshape(-1, 2)

    def labels_by_image(self) -> tuple[np.ndarray, np.ndarray]:
        """Labels of the objects, image after image, int32 [A], and where each image's begin, int64 [len(self) + 1]."""
        index, rows = self._file.index, self._rows()
        counts = np.diff(index.first)[rows]
        begin = np.concatenate(([0], np.cumsum(counts)))
        places = np.repeat(index.first[rows] - begin[:-1], counts) + np.arange(begin[-1])
        ids = self._file.category_ids
        known = np.array([0, *(self.json_category_id_to_contiguous_id.get(c, 0) for c in ids)], np.int32)
        labels = known[index.labels[places]]
        objects = ~index.crowd[places] & (labels > 0)
        first = np.concatenate(([0], np.cumsum(objects)))[begin]
        return labels[objects], first

    def _rows(self) -> np.ndarray:
        """Places in the index of the images in `ids`."""
        return np.searchsorted(self._file.index.image_ids, np.array(self.ids))
