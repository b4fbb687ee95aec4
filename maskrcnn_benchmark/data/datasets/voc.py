"""Pascal VOC: a folder with Annotations, ImageSets and JPEGImages."""

import os
import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any

import torch

from maskrcnn_benchmark.data.datasets.abstract import AbstractDataset
from maskrcnn_benchmark.data.datasets.facts import BACKGROUND
from maskrcnn_benchmark.data.datasets.images import image_size, read_rgb
from maskrcnn_benchmark.structures.bounding_box import BoxList

FIRST_PIXEL = 1  # the files count pixels from 1


def read_annotation(path: str) -> ET.Element:
    """The root of an annotation file. Raises FileNotFoundError or ValueError with a sentence."""
    try:
        return ET.parse(path).getroot()
    except FileNotFoundError:
        raise FileNotFoundError(f"There is no annotation file {path}, which its image set names.") from None
    except ET.ParseError as error:
        raise ValueError(f"{path} is not an XML file: {error}") from None


def _text(parent: ET.Element, tag: str, path: str) -> str:
    text = parent.findtext(tag)
    if text is None:
        raise ValueError(f"{path} is not a Pascal VOC annotation: <{parent.tag}> has no <{tag}>.")
    return text.strip()


def _number(parent: ET.Element, tag: str, path: str) -> float:
    text = _text(parent, tag, path)
    try:
        return float(text)
    except ValueError:
        raise ValueError(f"{path} is not a Pascal VOC annotation: <{tag}> should be a number; got {text!r}.") from None


class PascalVOCDataset(AbstractDataset):
    """Images with boxes, labels and the flag "difficult".

    Args:
        data_dir: the folder of one year, for example VOCdevkit/VOC2007.
        split: a file in ImageSets/Main without its ".txt": train, val, trainval, test.
        use_difficult: keep the objects marked as difficult, as the evaluation wants; training leaves them out.
        transforms: called as transforms(image, target).

    An item is (image, BoxList with "labels" and "difficult" (bool), index). A set without annotations, such as the test
    set of 2012, can be detected on.
    """

    evaluator = "voc"
    has_masks = False
    CLASSES = (
        *(BACKGROUND, "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
        *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
    )

    def __init__(
        self,
        data_dir: str,
        split: str,
        use_difficult: bool = False,
        transforms: Callable[[Any, BoxList], tuple[Any, BoxList]] | None = None,
    ):
        super().__init__()
        self.root, self.image_set, self.keep_difficult, self.transforms = data_dir, split, use_difficult, transforms
        listing = os.path.join(data_dir, "ImageSets", "Main", f"{split}.txt")
        if not os.path.isfile(listing):
            raise FileNotFoundError(
                f"There is no image set {listing!r}. Check the folder ({data_dir}; for the built-in names it lies in that of "
                f"the environment variable MRB_DATASETS) and the split ({split})."
            )
        with open(listing, encoding="utf-8") as f:
            self.ids = [line.split()[0] for line in f if line.strip()]
        self.id_to_img_map = dict(enumerate(self.ids))
        self.has_annotations = bool(self.ids) and os.path.isfile(self._annotation_path(0))
        self.initMaps()
        self.class_to_ind, self.categories = self.name_to_id, self.id_to_name

    def _annotation_path(self, index: int) -> str:
        return os.path.join(self.root, "Annotations", f"{self.ids[index]}.xml")

    def _image_path(self, index: int) -> str:
        return os.path.join(self.root, "JPEGImages", f"{self.ids[index]}.jpg")

    def __len__(self) -> int:
        return len(self.ids)

    def __getitem__(self, index: int) -> tuple[Any, BoxList, int]:
        image = read_rgb(self._image_path(index))
        target = self.get_groundtruth(index).clip_to_image(remove_empty=True)
        if self.transforms is not None:
            image, target = self.transforms(image, target)
        return image, target, index

    def get_groundtruth(self, index: int) -> BoxList:
        """The objects of an image, counted from pixel 0, with "labels" and "difficult"."""
        boxes, labels, difficulties = [], [], []
        path = self._annotation_path(index)
        for entry in read_annotation(path).iter("object") if self.has_annotations else ():
            difficult = (entry.findtext("difficult") or "0").strip() == "1"
            if difficult and not self.keep_difficult:
                continue
            box = entry.find("bndbox")
            if box is None:
                raise ValueError(f"{path} is not a Pascal VOC annotation: an <object> has no <bndbox>.")
            boxes.append([_number(box, side, path) - FIRST_PIXEL for side in ("xmin", "ymin", "xmax", "ymax")])
            labels.append(self._label(_text(entry, "name", path).lower(), path))
            difficulties.append(difficult)
        info = self.get_img_info(index)
        target = BoxList(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), (info["width"], info["height"]))
        target.add_field("labels", torch.tensor(labels, dtype=torch.int64))
        target.add_field("difficult", torch.tensor(difficulties, dtype=torch.bool))
        return target

    def _label(self, name: str, path: str) -> int:
        if name not in self.name_to_id:
            raise ValueError(f"{path} has an object of the class {name!r}, which is not one of {self.CLASSES[1:]}.")
        return self.name_to_id[name]

    def get_img_info(self, index: int) -> dict:
        """ "id", "file_name", and "height" and "width" in pixels."""
        if self.has_annotations:
            path = self._annotation_path(index)
            size = read_annotation(path).find("size")
            if size is None:
                raise ValueError(f"{path} is not a Pascal VOC annotation: it has no <size>.")
            width, height = (int(_number(size, side, path)) for side in ("width", "height"))
        else:
            width, height = image_size(self._image_path(index))
        return {"id": self.ids[index], "file_name": f"{self.ids[index]}.jpg", "height": height, "width": width}

    def map_class_id_to_class_name(self, class_id: int) -> str:
        return self.CLASSES[class_id]
