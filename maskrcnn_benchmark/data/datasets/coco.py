"""Data sets in COCO format: a folder of images and a JSON file of annotations."""

import logging
import os
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image
from pycocotools.coco import COCO
from torchvision.datasets import VisionDataset
from torchvision.datasets.coco import CocoDetection

from maskrcnn_benchmark.data.datasets.coco_file import CocoFile
from maskrcnn_benchmark.data.datasets.coco_index import DEFECTS, MIN_KEYPOINTS_PER_IMAGE
from maskrcnn_benchmark.data.datasets.coco_tree import load_coco
from maskrcnn_benchmark.data.datasets.images import read_rgb
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.keypoint_ops import make_keypoints
from maskrcnn_benchmark.structures.mask_ops import masks_from_coco

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


class COCODataset(CocoDetection):
    """Images with boxes, labels and, where the file has them, masks and keypoints.

    Args:
        ann_file: JSON file in COCO format. Category ids may have gaps; labels are 1, 2, ... in the order of the ids.
        root: folder of the images.
        remove_images_without_annotations: leave out images on which there is nothing to train.
        transforms: called as transforms(image, target).
        cache: folder in which the index of a large file is kept, so that the next start is quicker (see `CocoFile`).

    Of the file only an index is held; an image's entries are read from it when they are asked for.

    An item is (image, BoxList with "labels" and perhaps "masks" and "keypoints", index). Crowds are left out; boxes without
    width or height or outside the image are counted, reported and left out.

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
    ):
        self._file = CocoFile(ann_file, cache)
        if not os.path.isdir(root):
            raise FileNotFoundError(f"There is no image folder {root!r}, which {ann_file} belongs to.")
        VisionDataset.__init__(self, root)  # CocoDetection's own would read the whole file
        self.ann_file, self._transforms = ann_file, transforms
        index = self._file.index
        self.categories = {c["id"]: c["name"] for c in sorted(index.meta["categories"], key=lambda c: c["id"])}
        self.json_category_id_to_contiguous_id = {c: i for i, c in enumerate(self.categories, start=1)}
        self.contiguous_category_id_to_json_id = {i: c for c, i in self.json_category_id_to_contiguous_id.items()}
        self._report_dropped()
        self.has_annotations: bool = index.meta["has_annotations"]
        self.num_keypoints: int = index.meta["num_keypoints"]
        self.has_masks: bool = index.meta["has_masks"]
        kept = index.trainable if remove_images_without_annotations else slice(None)
        self.ids: list = index.image_ids[kept].tolist()
        self.id_to_img_map = dict(enumerate(self.ids))
        self._coco: COCO | None = None
        self._last_info: tuple[int | None, dict] = (None, {})

    @property
    def coco(self) -> COCO:
        """The whole file as pycocotools' tree of objects, made when it is first asked for: 3 GB for COCO train2017.

        From then on this data set's targets come from it too, so that what is changed in it counts.
        """
        if self._coco is None:
            coco = load_coco(self.ann_file)
            annotations = coco.dataset.get("annotations", [])
            self._file.check_count(len(annotations))
            bad = {id(annotations[i]) for i in self._file.index.dropped[:, 0].tolist()}
            for image_id, anns in coco.imgToAnns.items() if bad else ():
                coco.imgToAnns[image_id] = [a for a in anns if id(a) not in bad]
            self._coco = coco
        return self._coco

    @property
    def num_classes(self) -> int:
        """Categories and the background."""
        return len(self.categories) + 1

    def class_names(self) -> dict[int, str]:
        """Name of each label, from 1."""
        return {label: self.categories[c] for label, c in self.contiguous_category_id_to_json_id.items()}

    def _report_dropped(self) -> None:
        dropped = self._file.index.dropped[:, 1]
        for defect, (reason, ann_id) in enumerate(zip(DEFECTS, self._file.index.meta["dropped_ids"], strict=True)):
            count = int((dropped == defect).sum())
            if count:
                logging.getLogger(__name__).warning(
                    "%s: left out %d annotations (%s), for example id %s.", self.ann_file, count, reason, ann_id
                )

    def _annotations(self, image_id: Any) -> list[dict]:
        if self._coco is not None:
            return self._coco.imgToAnns.get(image_id, [])
        row = self._file.index.row(image_id)
        return [] if row is None else self._file.annotations(row)

    def _target(self, image_id: int, size: tuple[int, int]) -> BoxList:
        annotations = [a for a in self._annotations(image_id) if not a.get("iscrowd", 0)]
        boxes = torch.tensor([a["bbox"] for a in annotations], dtype=torch.float32).reshape(-1, 4)
        target = BoxList(boxes, size, mode="xywh").convert("xyxy")
        labels = [self.json_category_id_to_contiguous_id[a["category_id"]] for a in annotations]
        target.add_field("labels", torch.tensor(labels, dtype=torch.int64))
        if self.num_keypoints:
            unlabelled = [0] * (3 * self.num_keypoints)
            points = [a.get("keypoints", unlabelled) for a in annotations]
            target.add_field("keypoints", make_keypoints(points, size, self.num_keypoints))
        if all("segmentation" in a for a in annotations):
            segmentations = [a["segmentation"] for a in annotations]
            target.add_field("masks", masks_from_coco(segmentations, size))
        return target.clip_to_image(remove_empty=True)

    def read_image(self, idx: int) -> Image.Image:
        """The image as RGB. Raises BrokenImageError."""
        return self._load_image(self.ids[idx])

    def _load_image(self, id: Any) -> Image.Image:
        return read_rgb(os.path.join(self.root, self._entry(id)["file_name"]))

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
            raise KeyError(f"{self.ann_file} has no image with the id {image_id!r}.")
        if self._last_info[0] != row:
            self._last_info = (row, self._file.image(row))
        return self._last_info[1]

    def image_sizes(self) -> np.ndarray:
        """Height and width of each image in pixels, int32 [len(self), 2], as the annotation file gives them."""
        sizes = self._file.index.image_sizes[self._rows()]
        unknown = np.flatnonzero((sizes < 0).any(axis=1))
        if len(unknown):
            raise ValueError(
                f'{self.ann_file}: {len(unknown)} images have no "height" and "width", for example id {self.ids[unknown[0]]!r}.'
            )
        return sizes

    def labels_by_image(self) -> tuple[np.ndarray, np.ndarray]:
        """Labels of the objects, image after image, int32 [A], and where each image's begin, int64 [len(self) + 1]."""
        index, rows = self._file.index, self._rows()
        counts = np.diff(index.first)[rows]
        begin = np.concatenate(([0], np.cumsum(counts)))
        places = np.repeat(index.first[rows] - begin[:-1], counts) + np.arange(begin[-1])
        objects = ~index.crowd[places]
        first = np.concatenate(([0], np.cumsum(objects)))[begin]
        return index.labels[places][objects], first

    def _rows(self) -> np.ndarray:
        """Places in the index of the images in `ids`."""
        return np.searchsorted(self._file.index.image_ids, np.array(self.ids))
