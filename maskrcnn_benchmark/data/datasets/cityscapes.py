"""Cityscapes: leftImg8bit images with the objects of gtFine."""

import glob
import json
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image

from maskrcnn_benchmark.data.datasets.abstract import AbstractDataset
from maskrcnn_benchmark.data.datasets.facts import BACKGROUND
from maskrcnn_benchmark.data.datasets.images import image_size, read_rgb
from maskrcnn_benchmark.data.registries import DATASETS
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.segmentation_mask import SegmentationMask
from maskrcnn_benchmark.utils.wording import counted

# Classes whose objects are told apart, with their numbers in the label images: an object is 1000 * number + n there, a
# group of objects that could not be told apart the number alone ("cargroup" and the like in the polygon files).
INSTANCE_CLASSES = {
    **{"person": 24, "rider": 25, "car": 26, "truck": 27, "bus": 28, "caravan": 29, "trailer": 30},
    **{"train": 31, "motorcycle": 32, "bicycle": 33},
}
NOT_EVALUATED = ("caravan", "trailer")  # nor trained on by most
FIRST_INSTANCE = 1000
# Numbers of what is no class of the evaluation (unlabeled, ego vehicle, ..., parking, bridge, groups of caravans).
VOID = (0, 1, 2, 3, 4, 5, 6, 9, 10, 14, 15, 16, 18, 29, 30)

SPLITS = ("train", "val", "test")
IMAGE_SUFFIX = "_leftImg8bit.png"
SUFFIXES = {"mask": "_gtFine_instanceIds.png", "poly": "_gtFine_polygons.json"}


@DATASETS.register("CityScapesDataset")
class CityScapesDataset(AbstractDataset):
    """Images with boxes, labels and masks of the objects; groups of objects are left out.

    Args:
        img_dir: leftImg8bit, with a folder for each split and in it one for each city.
        ann_dir: gtFine, ordered alike.
        split: "train", "val" or "test".
        mode: "mask" for bitmaps of what is seen of each object (instanceIds.png), "poly" for outlines that go on behind
            other objects (polygons.json).
        transforms: called as transforms(image, target).
        min_area: leave out objects of fewer square pixels.
        mini: use this many images only, the first ones.
        all_classes: with caravan and trailer, ten classes in place of the eight that are evaluated.

    An item is (image, BoxList with "labels" and "masks", index).
    """

    evaluator = "cityscapes"

    def __init__(
        self,
        img_dir: str,
        ann_dir: str,
        split: str,
        mode: str = "mask",
        transforms: Callable[[Any, BoxList], tuple[Any, BoxList]] | None = None,
        min_area: float = 0,
        mini: int | None = None,
        all_classes: bool = False,
    ):
        super().__init__()
        if split not in SPLITS or mode not in SUFFIXES:
            raise ValueError(
                f"A Cityscapes set has a split of {SPLITS} and a mode of {tuple(SUFFIXES)}; got {split!r} and {mode!r}."
            )
        self.img_dir, self.ann_dir = os.path.join(img_dir, split), os.path.join(ann_dir, split)
        self.split, self.mode, self.transforms, self.min_area = split, mode, transforms, min_area
        names = [name for name in INSTANCE_CLASSES if all_classes or name not in NOT_EVALUATED]
        self.CLASSES = [BACKGROUND, *names]
        self.initMaps()
        self.cityscapesID_to_ind = {INSTANCE_CLASSES[name]: self.name_to_id[name] for name in names}
        self.img_paths = sorted(glob.glob(os.path.join(self.img_dir, "*", f"*{IMAGE_SUFFIX}")))[:mini]
        if not self.img_paths:
            raise FileNotFoundError(
                f"There are no images {os.path.join(self.img_dir, '*', '*' + IMAGE_SUFFIX)}. Check the folder; for the "
                "built-in names it lies in that of the environment variable MRB_DATASETS."
            )
        self.ann_paths = [self._annotation_path(path, mode) for path in self.img_paths]
        missing = [path for path in self.ann_paths if not os.path.isfile(path)]
        if missing:
            raise FileNotFoundError(
                f"{len(missing):,} of {counted(len(self.img_paths), 'image')} in {self.img_dir} "
                f"{'has' if len(missing) == 1 else 'have'} no annotation, for example "
                f"{missing[0]}; the archive gtFine_trainvaltest.zip holds them."
            )

    def _annotation_path(self, img_path: str, mode: str) -> str:
        name = os.path.relpath(img_path, self.img_dir).removesuffix(IMAGE_SUFFIX)
        return os.path.join(self.ann_dir, name + SUFFIXES[mode])

    def __len__(self) -> int:
        return len(self.img_paths)

    def __getitem__(self, idx: int) -> tuple[Any, BoxList, int]:
        image = read_rgb(self.img_paths[idx])
        target = self.get_groundtruth(idx).clip_to_image(remove_empty=True)
        if self.transforms is not None:
            image, target = self.transforms(image, target)
        return image, target, idx

    def get_img_info(self, index: int) -> dict:
        """ "id", "file_name" below the split's folder, the annotation's path, and "height" and "width" in pixels."""
        path = self.img_paths[index]
        width, height = image_size(path)
        name = os.path.relpath(path, self.img_dir)
        return {"id": index, "file_name": name, "ann_path": self.ann_paths[index], "height": height, "width": width}

    def get_groundtruth(self, idx: int) -> BoxList:
        """The objects of an image with "labels" and "masks"."""
        return (
            self._from_bitmap(self.ann_paths[idx]) if self.mode == "mask" else self._from_polygons(self.ann_paths[idx])
        )

    def ignored_regions(self, idx: int) -> dict[int, np.ndarray]:
        """For each label the pixels, bool [height, width], where detecting it is not wrong: what is labelled as none of
        Cityscapes' classes, and groups of this label's objects. Empty where there is no instanceIds.png.
        """
        path = self._annotation_path(self.img_paths[idx], "mask")
        if not os.path.isfile(path):
            return {}
        ids = _read_ids(path)
        void = np.isin(ids, VOID)
        return {label: void | (ids == number) for number, label in self.cityscapesID_to_ind.items()}

    def _from_bitmap(self, path: str) -> BoxList:
        ids = _read_ids(path)
        boxes, labels, masks = [], [], []
        for instance, count in zip(*np.unique(ids, return_counts=True), strict=True):
            label = self.cityscapesID_to_ind.get(int(instance) // FIRST_INSTANCE)
            if label is None or count < self.min_area:
                continue
            mask = ids == instance
            columns, rows = np.flatnonzero(mask.any(0)), np.flatnonzero(mask.any(1))
            boxes.append([columns[0], rows[0], columns[-1], rows[-1]])
            labels.append(label)
            masks.append(torch.from_numpy(mask))
        return self._target(boxes, labels, masks, (ids.shape[1], ids.shape[0]))

    def _from_polygons(self, path: str) -> BoxList:
        try:
            with open(path, encoding="utf-8") as f:
                content = json.load(f)
            size = int(content["imgWidth"]), int(content["imgHeight"])
            objects = [
                (o["label"], np.array(o["polygon"], np.float64)) for o in content["objects"] if not o.get("deleted")
            ]
        except (json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is not a file of Cityscapes polygons: {error!r}") from None
        boxes, labels, polygons = [], [], []
        for name, points in objects:
            if name not in self.name_to_id or len(points) < 3 or _polygon_area(points) < self.min_area:
                continue
            boxes.append([*points.min(0), *points.max(0)])
            labels.append(self.name_to_id[name])
            polygons.append([points.reshape(-1)])
        return self._target(boxes, labels, polygons, size)

    def _target(self, boxes: list, labels: list[int], masks: list, size: tuple[int, int]) -> BoxList:
        target = BoxList(torch.tensor(np.array(boxes), dtype=torch.float32).reshape(-1, 4), size)
        target.add_field("labels", torch.tensor(labels, dtype=torch.int64))
        target.add_field("masks", SegmentationMask(masks, size, self.mode))
        return target


def _read_ids(path: str) -> np.ndarray:
    """A label image, int32 [height, width]. Raises ValueError."""
    try:
        with Image.open(path) as image:
            return np.array(image, dtype=np.int32)
    except (OSError, SyntaxError, ValueError) as error:
        raise ValueError(f"The annotation {path} cannot be read: {error}") from None


def _polygon_area(points: np.ndarray) -> float:
    """Of a polygon float64 [P, 2], by the shoelace formula."""
    x, y = points.T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2
