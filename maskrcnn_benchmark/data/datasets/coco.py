"""Data sets in COCO format: a folder of images and a JSON file of annotations."""

import contextlib
import io
import json
import logging
import os
from collections.abc import Callable
from typing import Any

import torch
from PIL import Image
from pycocotools.coco import COCO
from torch.utils.data import Dataset

from maskrcnn_benchmark.data.datasets.images import read_rgb
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.keypoint import make_keypoints
from maskrcnn_benchmark.structures.segmentation_mask import SegmentationMask

# An image whose people show fewer visible keypoints together is no use for training keypoints.
MIN_KEYPOINTS_PER_IMAGE = 10


def load_coco(ann_file: str) -> COCO:
    """The index of an annotation file. Raises FileNotFoundError or ValueError with a sentence."""
    if not os.path.isfile(ann_file):
        raise FileNotFoundError(
            f"There is no annotation file {ann_file!r}. Check ANN_FILE in DATASETS.DEFINITIONS, or for the built-in names "
            "the folder in the environment variable MRB_DATASETS."
        )
    coco = COCO()
    try:
        with open(ann_file, encoding="utf-8") as f:
            content = json.load(f)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{ann_file} is not a JSON file: {error}") from None
    missing = [key for key in ("images", "categories") if not isinstance(content, dict) or key not in content]
    if missing:
        raise ValueError(f"{ann_file} is not in COCO format: it has no {' and no '.join(missing)}.")
    coco.dataset = content
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def has_valid_annotation(anno: list[dict]) -> bool:
    """Whether an image with these annotations is worth training on."""
    boxes = [obj["bbox"] for obj in anno]
    if all(min(box[2:]) <= 1 for box in boxes):
        return False
    if "keypoints" not in anno[0]:
        return True
    return sum(v > 0 for obj in anno for v in obj["keypoints"][2::3]) >= MIN_KEYPOINTS_PER_IMAGE


class COCODataset(Dataset):
    """Images with boxes, labels and, where the file has them, masks and keypoints.

    Args:
        ann_file: JSON file in COCO format. Category ids may have gaps; labels are 1, 2, ... in the order of the ids.
        root: folder of the images.
        remove_images_without_annotations: leave out images on which there is nothing to train.
        transforms: called as transforms(image, target).

    An item is (image, BoxList with "labels" and perhaps "masks" and "keypoints", index). Crowds are left out; boxes without
    width or height or outside the image are counted, reported and left out.
    """

    evaluator = "coco"  # the evaluation that belongs to this data set, a name in data.datasets.evaluation.EVALUATORS

    def __init__(
        self,
        ann_file: str,
        root: str,
        remove_images_without_annotations: bool,
        transforms: Callable[[Any, BoxList], tuple[Any, BoxList]] | None = None,
    ):
        self.coco = load_coco(ann_file)
        if not os.path.isdir(root):
            raise FileNotFoundError(f"There is no image folder {root!r}, which {ann_file} belongs to.")
        self.ann_file, self.root, self.transforms = ann_file, root, transforms
        self.has_annotations = "annotations" in self.coco.dataset
        category_ids = sorted(self.coco.getCatIds())
        self.categories = {c["id"]: c["name"] for c in self.coco.loadCats(category_ids)}
        self.json_category_id_to_contiguous_id = {c: i for i, c in enumerate(category_ids, start=1)}
        self.contiguous_category_id_to_json_id = {i: c for c, i in self.json_category_id_to_contiguous_id.items()}
        self._check_annotations()
        self.num_keypoints = self._count_keypoints()
        objects = (a for a in self.coco.dataset.get("annotations", []) if not a.get("iscrowd", 0))
        self.has_masks = all(a.get("segmentation") for a in objects)
        self.ids = sorted(self.coco.imgs)
        if remove_images_without_annotations:
            self.ids = [i for i in self.ids if has_valid_annotation(self._annotations(i))]
        self.id_to_img_map = dict(enumerate(self.ids))

    @property
    def num_classes(self) -> int:
        """Categories and the background."""
        return len(self.categories) + 1

    def class_names(self) -> dict[int, str]:
        """Name of each label, from 1."""
        return {label: self.categories[c] for label, c in self.contiguous_category_id_to_json_id.items()}

    def _check_annotations(self) -> None:
        """Raise for categories that the file does not define; count and drop boxes that hold no pixel of their image."""
        dropped: dict[str, list[int]] = {"zero or negative size": [], "outside the image": [], "unknown image": []}
        for ann in self.coco.dataset.get("annotations", []):
            if ann.get("category_id") not in self.categories:
                raise ValueError(
                    f"{self.ann_file}: annotation {ann.get('id')} has the category id {ann.get('category_id')!r}, which is "
                    f"not among its categories ({sorted(self.categories)})."
                )
            reason = self._defect(ann)
            if reason:
                dropped[reason].append(ann["id"])
        for reason, ann_ids in dropped.items():
            if ann_ids:
                logging.getLogger(__name__).warning(
                    "%s: left out %d annotations (%s), for example id %s.",
                    self.ann_file,
                    len(ann_ids),
                    reason,
                    ann_ids[0],
                )
        bad = {i for ann_ids in dropped.values() for i in ann_ids}
        for image_id, anns in self.coco.imgToAnns.items() if bad else ():
            self.coco.imgToAnns[image_id] = [a for a in anns if a["id"] not in bad]

    def _count_keypoints(self) -> int:
        """Keypoints of an object; 0 in a file without any."""
        counts = {len(a["keypoints"]) for a in self.coco.dataset.get("annotations", []) if "keypoints" in a}
        if len(counts) > 1 or any(count % 3 for count in counts):
            raise ValueError(
                f"{self.ann_file}: every `keypoints` entry must hold x, y and visibility of the same keypoints; there are "
                f"entries of {sorted(counts)} numbers."
            )
        return counts.pop() // 3 if counts else 0

    def _defect(self, ann: dict) -> str | None:
        image = self.coco.imgs.get(ann["image_id"])
        if image is None:
            return "unknown image"
        x, y, width, height = ann["bbox"]
        if not (width > 0 and height > 0):
            return "zero or negative size"
        if x >= image["width"] or y >= image["height"] or x + width <= 0 or y + height <= 0:
            return "outside the image"
        return None

    def _annotations(self, image_id: int) -> list[dict]:
        return self.coco.imgToAnns.get(image_id, [])

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
            target.add_field("masks", SegmentationMask.from_coco(segmentations, size))
        return target.clip_to_image(remove_empty=True)

    def read_image(self, idx: int) -> Image.Image:
        """The image as RGB. Raises BrokenImageError."""
        return read_rgb(os.path.join(self.root, self.get_img_info(idx)["file_name"]))

    def __getitem__(self, idx: int) -> tuple[Any, BoxList, int]:
        image = self.read_image(idx)
        target = self._target(self.ids[idx], image.size)
        if self.transforms is not None:
            image, target = self.transforms(image, target)
        return image, target, idx

    def __len__(self) -> int:
        return len(self.ids)

    def get_img_info(self, index: int) -> dict:
        """The image's entry in the annotation file: "id", "file_name", "height", "width"."""
        return self.coco.imgs[self.ids[index]]
