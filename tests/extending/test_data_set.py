"""How to add a kind of data set: a subclass of AbstractDataset, named by FACTORY in DATASETS.DEFINITIONS."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from PIL import Image

from maskrcnn_benchmark.config import cfg as defaults
from maskrcnn_benchmark.data import make_data_loader
from maskrcnn_benchmark.data.datasets import AbstractDataset, COCODataset
from maskrcnn_benchmark.data.datasets.evaluation.build import make_evaluator
from maskrcnn_benchmark.data.registries import DATASETS
from maskrcnn_benchmark.structures.bounding_box import BoxList
from tests.support.helpers import CONFIG, options, write_coco


class TextBoxes(AbstractDataset):
    """Images of a folder; its boxes.txt has a line "NAME LABEL X1 Y1 X2 Y2" for each object, corners inside it."""

    CLASSES = ("__background__", "red", "blue")

    def __init__(self, folder: str, transforms=None):
        super().__init__()
        self.initMaps()
        self.folder, self.transforms = Path(folder), transforms
        self.objects: dict[str, list[tuple[int, list[float]]]] = {}
        for line in (self.folder / "boxes.txt").read_text().splitlines():
            name, label, *box = line.split()
            self.objects.setdefault(name, []).append((int(label), list(map(float, box))))
        self.names = sorted(self.objects)
        self.sizes = [Image.open(self.folder / name).size for name in self.names]

    def __len__(self) -> int:
        return len(self.names)

    def get_img_info(self, index: int) -> dict:
        width, height = self.sizes[index]
        return {"width": width, "height": height, "file_name": self.names[index]}

    def get_groundtruth(self, index: int) -> BoxList:
        labels, boxes = zip(*self.objects[self.names[index]], strict=True)
        target = BoxList(torch.tensor(boxes), self.sizes[index])
        target.add_field("labels", torch.tensor(labels))
        return target

    def __getitem__(self, index: int):
        image, target = Image.open(self.folder / self.names[index]).convert("RGB"), self.get_groundtruth(index)
        if self.transforms is not None:
            image, target = self.transforms(image, target)
        return image, target, index


@pytest.fixture
def config(tmp_path, monkeypatch):
    """The data set `mine`, and what it is made of as a COCO set `set`."""
    monkeypatch.setitem(DATASETS, "TextBoxes", TextBoxes)
    content = write_coco(tmp_path, images=4)
    names = {image["id"]: image["file_name"] for image in content["images"]}
    lines = []
    for entry in content["annotations"]:
        x, y, w, h = entry["bbox"]
        label = {3: 1, 7: 2}[entry["category_id"]]
        lines.append(f"{names[entry['image_id']]} {label} {x} {y} {x + w - 1} {y + h - 1}")
    (tmp_path / "set" / "boxes.txt").write_text("\n".join(lines))
    config = defaults.clone()
    config.merge_from_file(str(CONFIG))
    config.merge_from_list(options(tmp_path, MODEL__MASK_ON=False))
    key = "DATASETS.DEFINITIONS.mine."
    named = [f"{key}FACTORY", "TextBoxes", f"{key}FOLDER", str(tmp_path / "set")]
    config.merge_from_list([*named, "DATASETS.TRAIN", ("mine",), "DATASETS.TEST", ("mine",)])
    return config


def test_it_is_trained_on(config):
    images, targets, indices = next(iter(make_data_loader(config, is_train=True)))
    assert images.tensors.shape[:2] == (2, 3) and len(targets) == len(indices) == 2
    assert all(len(target) == 2 and target.has_field("labels") for target in targets)


def test_it_is_tested_by_cocos_metrics(config, tmp_path):
    """Its objects are those of the COCO set, and as detections they are all right."""
    (loader,) = make_data_loader(config, is_train=False)
    mine, coco = loader.dataset, COCODataset(str(tmp_path / "set.json"), str(tmp_path / "set"), False)
    found = []
    for index in range(len(mine)):
        target = mine.get_groundtruth(index)
        torch.testing.assert_close(target.bbox, coco[index][1].bbox)
        assert target.get_field("labels").equal(coco[index][1].get_field("labels"))
        target.add_field("scores", torch.ones(len(target)))
        found.append(target)
    evaluator = make_evaluator(mine)
    evaluator.process(found, range(len(mine)))
    result = evaluator.evaluate()
    assert result.metrics["bbox"]["AP"] == pytest.approx(1) and set(result.per_class["bbox"]) == {"red", "blue"}
