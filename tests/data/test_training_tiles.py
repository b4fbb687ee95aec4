"""Training on tiles: what they show, and what counts as an object in them."""

import random

import numpy as np
import pytest
import torch
from PIL import Image

from maskrcnn_benchmark.config import cfg
from maskrcnn_benchmark.config.checks import check_config
from maskrcnn_benchmark.config.node import ConfigError
from maskrcnn_benchmark.data import make_data_loader
from maskrcnn_benchmark.data.transforms import RandomCrop, RandomTile, ScaleJitter, build_transforms
from maskrcnn_benchmark.data.transforms.crop import crop
from maskrcnn_benchmark.structures.bounding_box import BoxList
from tests.data.test_crop import BOXES, check, scene
from tests.support.helpers import options, write_coco
from tests.support.real_sets import AERIAL, needs


def test_a_tile_shows_its_part_of_the_image():
    random.seed(3)
    for _ in range(50):
        image, target = RandomTile(30, objects=0.5)(*scene(BOXES))
        assert image.size == (30, 30)
        check(image, target, [10 * int(label) for label in target.get_field("labels")])


def test_a_chosen_object_is_whole_where_it_fits():
    """Of three objects each is chosen a third of the time, and lies anywhere in the tile."""
    random.seed(0)
    image, target = scene(BOXES)
    whole, starts = np.zeros(3), []
    for _ in range(600):
        part, found = RandomTile(24, objects=1.0)(image, target)
        full = [
            int(a) - 1 for a, cut in zip(found.get_field("labels"), found.get_field("ignored"), strict=True) if not cut
        ]
        areas = dict(zip(full, found[~found.get_field("ignored")].area().tolist(), strict=True))
        for i, (_, _, w, h) in enumerate(BOXES):
            whole[i] += areas.get(i) == w * h
        if 0 in full:
            starts.append(found.bbox[found.get_field("labels") == 1][0, 1].item())
        assert full
    assert (whole >= 600 / 3 * 0.8).all()
    assert len(set(starts)) >= 4


def test_objects_larger_than_a_tile_fill_it():
    random.seed(1)
    image, target = scene([(5, 5, 50, 30)])
    for _ in range(30):
        part, found = RandomTile(16, objects=1.0, min_visible=0.0)(image, target)
        assert np.asarray(part).min() == 10 and found.bbox.tolist() == [[0, 0, 15, 15]]


def test_jitter_changes_what_is_seen_and_not_the_size():
    random.seed(2)
    image, target = scene(BOXES, size=(200, 160))
    sides = []
    for _ in range(40):
        part, found = RandomTile(40, 2.0, (0.5, 2.0), objects=1.0, min_visible=0.99)(image, target)
        assert part.size == found.size == (80, 80)
        kept = found[~found.get_field("ignored")]
        for box, label in zip(kept.bbox.tolist(), kept.get_field("labels").tolist(), strict=True):
            sides.append((box[2] - box[0] + 1) / BOXES[label - 1][2])
    assert min(sides) < 1.3 and max(sides) > 3 and max(sides) < 4.3


def test_an_image_smaller_than_a_tile_keeps_its_scale():
    image, target = scene(BOXES)
    part, found = RandomTile(100, 1.5)(image, target)
    assert part.size == (90, 60) and not found.get_field("ignored").any()
    torch.testing.assert_close(found.bbox, target.resize((90, 60)).bbox)


@pytest.mark.parametrize("mode", ["poly", "mask"])
def test_slivers_are_ignored(mode):
    image, target = scene([(0, 0, 10, 10), (16, 0, 10, 10), (25, 20, 10, 10)], mode)
    for share, expected in (
        (0.0, None),
        (0.39, [False, False, False]),
        (0.41, [False, True, False]),
        (1.0, [False, True, True]),
    ):
        _, found = crop(image, target, (0, 0, 20, 30) if share != 0.39 else (0, 0, 34, 30), share)
        if expected is None:
            assert not found.has_field("ignored") and len(found) == 2
        else:
            assert found.get_field("ignored").tolist() == expected[: len(found)]


def test_other_crops_can_ignore_slivers_too():
    image, target = scene([(0, 0, 60, 40)])
    random.seed(0)
    for transform in (RandomCrop("absolute", (20, 30), 0.5), ScaleJitter((2.0, 2.0), 30, min_visible=0.5)):
        assert transform(image, target)[1].get_field("ignored").tolist() == [True]
    assert not RandomCrop("absolute", (20, 30), 0.2)(image, target)[1].get_field("ignored").any()


def loaded(root, **keys):
    config = cfg.clone()
    config.merge_from_list(options(root, **{"INPUT__TILES__SIZE": 32, "INPUT__TILES__TRAIN": True, **keys}))
    check_config(config)
    return [(images.tensors, targets) for images, targets, _ in make_data_loader(config)]


def test_tiles_depend_on_the_seed_alone(tmp_path):
    write_coco(tmp_path)
    first, second = loaded(tmp_path), loaded(tmp_path, DATALOADER__NUM_WORKERS=2)
    other = loaded(tmp_path, SEED=2)
    assert all(torch.equal(a, b) for (a, _), (b, _) in zip(first, second, strict=True))
    assert all(
        torch.equal(s.bbox, t.bbox)
        for (_, a), (_, b) in zip(first, second, strict=True)
        for s, t in zip(a, b, strict=True)
    )
    assert not all(a.shape == b.shape and torch.equal(a, b) for (a, _), (b, _) in zip(first, other, strict=True))


def test_with_scale_jitter_copy_paste_and_aspect_grouping(tmp_path):
    write_coco(tmp_path, images=6)
    batches = loaded(
        tmp_path,
        INPUT__SCALE_JITTER="(0.5, 2.0)",
        INPUT__COPY_PASTE_PROB=1.0,
        DATALOADER__ASPECT_RATIO_GROUPING=True,
        SOLVER__MAX_ITER=20,
    )
    assert len(batches) == 20 and all(images.shape[2:] == (32, 32) for images, _ in batches)
    assert all(t.has_field("ignored") and t.has_field("masks") for _, targets in batches for t in targets)


def test_tiles_for_training_alone_leave_tests_whole(tmp_path):
    config = cfg.clone()
    config.merge_from_list(["INPUT.TILES.SIZE", "32", "INPUT.TILES.TEST", "False", "INPUT.TILES.TRAIN", "True"])
    steps = build_transforms(config, is_train=False)
    assert steps(Image.new("RGB", (60, 40)), None)[0].shape == (3, 800, 1200)


def test_two_choices_of_a_part_are_refused():
    config = cfg.clone()
    config.merge_from_list(["INPUT.TILES.SIZE", "32", "INPUT.TILES.TRAIN", "True", "INPUT.CROP_TYPE", "relative"])
    with pytest.raises(ConfigError, match="INPUT.CROP_TYPE and INPUT.TILES.TRAIN both choose"):
        check_config(config)


def test_whole_images_are_trained_on_too_in_the_share_that_is_asked_for():
    """For objects that are larger than a tile."""
    config = cfg.clone()
    config.merge_from_list(["INPUT.TILES.SIZE", "32", "INPUT.TILES.TRAIN", "True", "INPUT.TILES.TRAIN_WHOLE", "0.25"])
    config.merge_from_list(["INPUT.MIN_SIZE_TRAIN", "(60,)", "INPUT.MAX_SIZE_TRAIN", "90"])
    random.seed(0)
    transform = build_transforms(config)
    image = Image.new("RGB", (120, 80))
    target = BoxList(torch.tensor([[10.0, 10, 100, 70]]), image.size)
    target.add_field("labels", torch.tensor([1]))
    seen = [transform(image, target) for _ in range(400)]
    whole = [found for pixels, found in seen if pixels.shape[1:] == (60, 90)]
    assert 70 < len(whole) < 130 and all(pixels.shape[1:] in ((60, 90), (32, 32)) for pixels, _ in seen)
    assert all(found.size == (90, 60) and len(found) == 1 for found in whole)


@needs(AERIAL)
def test_tiles_of_photographs_show_cars(tmp_path):
    config = cfg.clone()
    config.merge_from_list(
        ["DATASETS.DEFINITIONS.cars.ANN_FILE", str(AERIAL / "train.txt"), "DATASETS.TRAIN", '("cars",)']
    )
    config.merge_from_list(["INPUT.TILES.SIZE", "512", "INPUT.TILES.TRAIN", "True", "INPUT.TILES.OBJECTS", "1.0"])
    config.merge_from_list(
        ["SOLVER.MAX_ITER", "20", "SOLVER.IMS_PER_BATCH", "2", "SEED", "4", "DATALOADER.NUM_WORKERS", "0"]
    )
    config.merge_from_list(["MODEL.ROI_BOX_HEAD.NUM_CLASSES", "6", "OUTPUT_DIR", "", "MODEL.DEVICE", "cpu"])
    targets = [t for _, found, _ in make_data_loader(config) for t in found]
    assert len(targets) == 40 and all((~t.get_field("ignored")).any() for t in targets)
    assert all(max(t.size) <= 512 for t in targets)
