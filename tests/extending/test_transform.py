"""How to add a data augmentation: a class in a file of your own, and its name in INPUT.TRANSFORMS."""

from __future__ import annotations

import random

import pytest
import torch
from PIL import Image

from maskrcnn_benchmark.config import cfg as defaults
from maskrcnn_benchmark.config.node import ConfigError
from maskrcnn_benchmark.data.transforms import build_transforms
from maskrcnn_benchmark.data.transforms.registry import TRANSFORMS, make_transform
from maskrcnn_benchmark.structures.bounding_box import BoxList


class RandomRotation:
    """Turn an image and its boxes by 180 degrees. Every random choice comes from `random`, which follows SEED."""

    def __init__(self, probability: float = 0.5):
        self.probability = probability

    @classmethod
    def from_config(cls, cfg) -> RandomRotation:
        return cls(probability=2 * cfg.INPUT.HORIZONTAL_FLIP_PROB_TRAIN)

    def __call__(self, image, target):
        if random.random() >= self.probability:
            return image, target
        return image.rotate(180), target.transpose(0).transpose(1)


@pytest.fixture
def registered(monkeypatch):
    monkeypatch.setitem(TRANSFORMS, "random_rotation", RandomRotation)


def test_it_is_applied_to_training_images_alone(registered):
    cfg = defaults.clone()
    cfg.merge_from_list(["INPUT.TRANSFORMS", ("random_rotation",), "INPUT.HORIZONTAL_FLIP_PROB_TRAIN", 0.5])
    assert "RandomRotation" in repr(build_transforms(cfg, is_train=True))
    assert "RandomRotation" not in repr(build_transforms(cfg, is_train=False))


def test_image_and_boxes_turn_together(registered):
    image = Image.new("RGB", (40, 30))
    image.putpixel((3, 5), (255, 255, 255))
    target = BoxList([[3.0, 5, 3, 5]], image.size)
    turned, boxes = make_transform("random_rotation", defaults)(image, target)
    x1, y1, x2, y2 = boxes.bbox[0].int().tolist()
    assert (x1, y1) == (x2, y2) and turned.getpixel((x1, y1)) == (255, 255, 255)
    torch.testing.assert_close(boxes.transpose(0).transpose(1).bbox, target.bbox)


def test_a_name_that_nobody_registered_is_said():
    cfg = defaults.clone()
    cfg.merge_from_list(["INPUT.TRANSFORMS", ("random_rotation",)])
    with pytest.raises(ConfigError, match="'random_rotation' is not registered"):
        build_transforms(cfg)
