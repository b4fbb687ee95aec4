"""Sizes by exact arithmetic, boxes by the masks they belong to, pixels by torchvision."""

import random
from fractions import Fraction

import numpy as np
import pytest
import torch
import torchvision.transforms.functional as TF
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from maskrcnn_benchmark.config import ConfigError, cfg
from maskrcnn_benchmark.data.transforms import (
    ColorJitter,
    Compose,
    Normalize,
    RandomHorizontalFlip,
    RandomVerticalFlip,
    Resize,
    ToTensor,
    build_transforms,
)
from maskrcnn_benchmark.data.transforms.registry import TRANSFORMS, make_transform
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.segmentation_mask import SegmentationMask


@pytest.fixture
def picture() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8))


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((640, 480), (800, 1066)),
        ((480, 640), (1066, 800)),
        ((640, 427), (800, 1199)),
        ((500, 375), (800, 1066)),
        ((500, 333), (800, 1201)),
        ((612, 612), (800, 800)),
        ((640, 360), (750, 1333)),
        ((640, 200), (417, 1334)),  # the shorter side is rounded: the longer may pass the limit by less than its ratio
        ((800, 800), (800, 800)),
        ((1200, 800), (800, 1200)),
    ],
)
def test_sizes_at_800_and_1333(size, expected):
    assert Resize(800, 1333).get_size(size) == expected


@given(st.integers(1, 2000), st.integers(1, 2000), st.integers(1, 1400), st.one_of(st.none(), st.integers(1, 2000)))
@settings(max_examples=300, deadline=None)
def test_size_rule_in_whole_numbers(width, height, size, limit):
    """The shorter side is `size`, or the rounded one that keeps the longer at `limit`; the longer is floored. Of what would be
    rounded to nothing a pixel is left, and the longer side is `limit`."""
    new_height, new_width = Resize(size, limit).get_size((width, height))
    shorter, longer = sorted((width, height))
    if limit is not None and longer * size > limit * shorter:
        size = round(Fraction(limit * shorter, longer))
        if size == 0:
            assert sorted((new_height, new_width)) == [1, limit] and (new_width > new_height) <= (width > height)
            return
    assert min(new_height, new_width) == size
    assert max(new_height, new_width) == longer * size // shorter
    assert (new_width > new_height) <= (width > height) and (new_width < new_height) <= (width < height)
    if limit is not None and size > 1:
        assert max(new_height, new_width) <= limit + longer / shorter / 2


def test_a_size_is_drawn_from_the_list():
    resize = Resize((56, 64, 72), 100)
    random.seed(0)
    assert {resize.get_size((40, 30))[0] for _ in range(50)} == {56, 64, 72}


def target_with_masks(mode: str, seed: int = 0) -> BoxList:
    """Rectangles in a 40 x 30 image, as boxes and as masks that fill them."""
    rng = np.random.default_rng(seed)
    x, y = rng.integers(0, 25, 4), rng.integers(0, 15, 4)
    w, h = rng.integers(4, 15, 4), rng.integers(4, 15, 4)
    target = BoxList(torch.tensor(np.stack((x, y, x + w - 1, y + h - 1), 1), dtype=torch.float32), (40, 30))
    outlines = [[[a, b, a + c, b, a + c, b + d, a, b + d]] for a, b, c, d in zip(x, y, w, h, strict=True)]
    target.add_field("masks", SegmentationMask([[np.array(p[0], float)] for p in outlines], (40, 30)).convert(mode))
    target.add_field("labels", torch.arange(1, 5))
    return target


def extents(masks: SegmentationMask) -> torch.Tensor:
    """Inclusive corners of what each bitmap covers: Tensor[N, 4]."""
    found = []
    for mask in masks.convert("mask").instances.masks:
        rows, columns = mask.nonzero(as_tuple=True)
        found.append([columns.min(), rows.min(), columns.max(), rows.max()])
    return torch.tensor(found, dtype=torch.float32)


@pytest.mark.parametrize("mode", ["poly", "mask"])
@pytest.mark.parametrize("flip", [RandomHorizontalFlip, RandomVerticalFlip])
def test_flips_move_pixels_boxes_and_masks_together(picture, flip, mode):
    target = target_with_masks(mode)
    assert torch.equal(extents(target.get_field("masks")), target.bbox)
    image, flipped = flip(1.0)(picture, target)
    axis = 1 if flip is RandomHorizontalFlip else 0
    assert (np.asarray(image) == np.flip(np.asarray(picture), axis)).all()
    for before, after in zip(target.bbox.int().tolist(), flipped.bbox.int().tolist(), strict=True):
        x1, y1, x2, y2 = before
        a1, b1, a2, b2 = after
        cut = np.asarray(picture)[y1 : y2 + 1, x1 : x2 + 1]
        assert (np.asarray(image)[b1 : b2 + 1, a1 : a2 + 1] == np.flip(cut, axis)).all()
    # Upstream mirrors polygons about the same pixel centres as boxes: their bitmaps lie one pixel off.
    off = (extents(flipped.get_field("masks")) - flipped.bbox).abs().max()
    assert off <= (1 if mode == "poly" else 0)
    assert torch.equal(flipped.get_field("labels"), target.get_field("labels"))


def test_flips_happen_as_often_as_asked(picture):
    random.seed(0)
    pixels = np.asarray(picture)
    flip = RandomHorizontalFlip(0.25)
    count = sum(not (np.asarray(flip(picture, None)[0]) == pixels).all() for _ in range(1000))
    assert 200 < count < 300
    assert RandomHorizontalFlip(0.0)(picture, None)[0] is picture


@pytest.mark.parametrize("mode", ["poly", "mask"])
def test_resizing_scales_boxes_and_masks(picture, mode):
    image, target = Resize(60, 200)(picture, target_with_masks(mode))
    assert image.size == target.size == (80, 60)
    assert torch.equal(target.bbox, target_with_masks(mode).bbox * 2)
    assert (extents(target.get_field("masks")) - target.bbox).abs().max() <= 1


def test_pixels_of_a_resized_image_are_torchvisions(picture):
    image = Resize(60, 200)(picture)  # of an image alone
    assert (np.asarray(image) == np.asarray(TF.resize(picture, [60, 80]))).all()


def test_to_tensor_is_torchvisions(picture):
    tensor, _ = ToTensor()(picture, None)
    assert torch.equal(tensor, TF.to_tensor(picture)) and tensor.is_contiguous()


def test_normalize(picture):
    tensor = TF.to_tensor(picture)
    mean, std = (1.0, 2.0, 3.0), (4.0, 5.0, 6.0)
    plain = Normalize(mean, std, to_bgr255=False)(tensor)
    torch.testing.assert_close(plain, TF.normalize(tensor, mean, std))
    caffe = Normalize(mean, std)(tensor)
    pixels = np.asarray(picture).astype(np.float32)
    for channel in range(3):  # blue first
        expected = (pixels[..., 2 - channel] - mean[channel]) / std[channel]
        np.testing.assert_allclose(caffe[channel].numpy(), expected, rtol=1e-5, atol=1e-5)


def test_jitter_changes_pixels_only(picture):
    target = target_with_masks("poly")
    image, same = ColorJitter(brightness=0.5)(picture, target)
    assert same is target and image.size == picture.size
    assert ColorJitter()(picture, target)[0].tobytes() == picture.tobytes()
    torch.manual_seed(0)
    jittered = ColorJitter(0.3, 0.2, 0.1, 0.05)(picture, None)[0]
    torch.manual_seed(0)
    assert jittered.tobytes() == ColorJitter(0.3, 0.2, 0.1, 0.05)(picture, None)[0].tobytes() != picture.tobytes()


def test_what_a_configuration_builds():
    config = cfg.clone()
    config.merge_from_list(["INPUT.MIN_SIZE_TRAIN", (50, 60), "INPUT.MAX_SIZE_TRAIN", 90, "INPUT.HUE", 0.1])
    config.INPUT.VERTICAL_FLIP_PROB_TRAIN = 0.25
    names = [type(step).__name__ for step in build_transforms(config, is_train=True).transforms]
    flips = ["RandomHorizontalFlip", "RandomVerticalFlip"]
    assert names == ["ColorJitter", "Resize", *flips, "ToTensor", "Normalize"]
    train, test = build_transforms(config, True).transforms, build_transforms(config, False).transforms
    assert (train[1].min_size, train[1].max_size, train[2].prob, train[3].prob) == ((50, 60), 90, 0.5, 0.25)
    assert [type(step) for step in test] == [Resize, ToTensor, Normalize]
    assert (test[0].min_size, test[0].max_size) == ((800,), 1333)
    assert test[2].mean == pytest.approx((102.9801, 115.9465, 122.7717)) and test[2].to_bgr255


def test_compose_runs_in_order():
    steps = [lambda image, target: (image + 1, target), lambda image, target: (image * 10, target + 1)]
    assert Compose(steps)(1, 0) == (20, 1)


@pytest.mark.parametrize("to_bgr255", [True, False])
@pytest.mark.parametrize("std", [(1.0, 1.0, 1.0), (57.375, 1.0, 58.395), (0.229, 0.224, 0.225)])
def test_pixels_made_in_one_pass_are_the_same_to_the_last_bit(to_bgr255, std):
    values = np.arange(256, dtype=np.uint8)
    pixels = np.stack((values, values[::-1], np.roll(values, 77)), -1).reshape(128, 2, 3)
    image = Image.fromarray(np.tile(pixels, (1, 3, 1)))
    normalize = Normalize((102.9801, 115.9465, 122.7717) if to_bgr255 else (0.485, 0.456, 0.406), std, to_bgr255)
    one_by_one = normalize(ToTensor()(image, None)[0])
    together, target = Compose([ToTensor(), normalize])(image, "target")
    assert torch.equal(together, one_by_one) and together.is_contiguous() and target == "target"
    assert together.dtype == torch.float32


def test_a_subclass_of_a_step_is_asked_itself(picture):
    class Doubled(Normalize):
        def __call__(self, image, target=None):
            return super().__call__(image * 2, target)

    steps = [ToTensor(), Doubled((0.0,) * 3, (1.0,) * 3)]
    assert torch.equal(
        Compose(steps)(picture, None)[0], Normalize((0.0,) * 3, (0.5,) * 3)(ToTensor()(picture, None)[0])
    )


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((20000, 1), (1, 1333)),
        ((1, 20000), (1333, 1)),
        ((2666, 1), (1, 1333)),  # half a pixel
        ((20000, 20), (1, 1000)),
        ((1, 1), (800, 800)),
        ((1333, 800), (800, 1333)),
        ((3000, 1000), (444, 1332)),
    ],
)
def test_no_shape_exceeds_the_longest_side(size, expected):
    """(width, height) -> (height, width)."""
    assert Resize(800, 1333).get_size(size) == expected


class Half:
    """Images of half the size."""

    def __init__(self, factor: float = 0.5):
        self.factor = factor

    def __call__(self, image, target):
        size = tuple(int(side * self.factor) for side in image.size)
        return image.resize(size), target.resize(size)


class HalfOfConfig(Half):
    @classmethod
    def from_config(cls, cfg):
        return cls(cfg.INPUT.HORIZONTAL_FLIP_PROB_TRAIN)


class HalfByConfig(Half):
    def __init__(self, cfg):
        super().__init__(cfg.INPUT.HORIZONTAL_FLIP_PROB_TRAIN)


def half(image, target):
    return Half()(image, target)


@pytest.mark.parametrize(
    "entry", [Half, HalfOfConfig, HalfOfConfig.from_config, HalfByConfig, lambda cfg: Half(), Half(), half]
)
def test_a_transform_of_ones_own_may_be_registered_in_any_form(picture, monkeypatch, entry):
    monkeypatch.setitem(TRANSFORMS, "half", entry)
    image, target = picture, target_with_masks("poly")
    halved, boxes = make_transform("half", cfg)(image, target)
    assert halved.size == boxes.size == (image.width // 2, image.height // 2)


def test_a_function_that_makes_no_transform_is_said(monkeypatch):
    monkeypatch.setitem(TRANSFORMS, "none", lambda cfg: None)
    with pytest.raises(ConfigError, match="transform 'none' of INPUT.TRANSFORMS .* returns None; it must be a class"):
        make_transform("none", cfg)


def moved(target, by):
    return BoxList(target.bbox + by, target.size)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        (lambda image, target: None, "and a BoxList; got None"),
        (lambda image, target: (image, None), "got an image of the mode RGB and None"),
        (lambda image, target: (image, target, 0), "got a tuple of 3"),
        (lambda image, target: (np.array(image), target), r"got a numpy array of the shape .* and a BoxList"),
        (lambda image, target: (image.convert("L"), target), "got an image of the mode L"),
        (
            lambda image, target: (image.resize((20, 10)), target),
            "image of 20 x 10 and boxes of one of .* it must do to the",
        ),
        (lambda image, target: (image, moved(target, float("nan"))), "a box that is not finite"),
        (
            lambda image, target: (image, moved(target, 500)),
            "a box .* that lies outside the image .* leaves such objects out",
        ),
    ],
)
def test_a_transform_that_breaks_image_or_boxes_is_named(picture, monkeypatch, wrong, said):
    monkeypatch.setitem(TRANSFORMS, "wrong", lambda cfg: wrong)
    with pytest.raises(ConfigError, match=f"the transform 'wrong' of INPUT.TRANSFORMS .*{said}"):
        make_transform("wrong", cfg)(picture, target_with_masks("poly"))


def test_a_transform_may_return_the_image_alone_and_boxes_that_stick_out(picture, monkeypatch):
    image, target = picture, target_with_masks("poly")
    monkeypatch.setitem(TRANSFORMS, "darker", lambda cfg: lambda image, target: image.point(lambda v: v // 2))
    assert make_transform("darker", cfg)(image, target)[1] is target
    monkeypatch.setitem(TRANSFORMS, "out", lambda cfg: lambda image, target: (image, moved(target, -1)))
    assert make_transform("out", cfg)(image, target)[1].bbox.equal(target.bbox - 1)
