"""Relations, its scenes: are the annotations valid, do the masks lie on what is drawn, is everything there?"""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from enl_paper.relations import (
    PRESETS,
    RELATIONS_CATEGORIES,
    ROLES,
    RelationsSpec,
    generate_scene,
)
from enl_paper.relations.plan import ScenePlan, Thing
from enl_paper.relations.render import _polygons, render_scene

# pycocotools' decode() does not know NumPy 2's signature of __array__ yet
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

DEMO = PRESETS["demo"]
SMALL_FULL = dataclasses.replace(PRESETS["full"], sides=(192, 400))  # quick to draw
NAMES = {category["id"]: category["name"] for category in RELATIONS_CATEGORIES}
ROLE = {category["name"]: category["role"] for category in RELATIONS_CATEGORIES}


def decoded(annotation: dict, height: int, width: int) -> np.ndarray:
    segmentation = annotation["segmentation"]
    if isinstance(segmentation, list):
        segmentation = coco_mask.merge(coco_mask.frPyObjects(segmentation, height, width))
    return coco_mask.decode(segmentation).astype(bool)


@pytest.fixture(scope="module")
def scenes() -> dict[str, list[tuple[np.ndarray, list[dict]]]]:
    return {
        "demo": [generate_scene(DEMO, index, 7) for index in range(150)],
        "full": [generate_scene(SMALL_FULL, index, 7) for index in range(60)],
    }


@pytest.mark.parametrize("preset", ["demo", "full"])
def test_annotations_agree_with_their_masks(scenes, preset):
    ids = [annotation["id"] for _, annotations in scenes[preset] for annotation in annotations]
    assert len(ids) == len(set(ids))
    kinds = set()
    for index, (image, objects) in enumerate(scenes[preset]):
        height, width = image.shape[:2]
        assert image.dtype == np.uint8 and image.shape[2] == 3
        cover = np.zeros((height, width), int)
        for annotation in objects:
            mask = decoded(annotation, height, width)
            ys, xs = np.nonzero(mask)
            x, y, w, h = annotation["bbox"]
            np.testing.assert_allclose([x, y], [xs.min(), ys.min()], atol=1)
            np.testing.assert_allclose([x + w, y + h], [xs.max() + 1, ys.max() + 1], atol=1)
            assert 0 <= x and 0 <= y and x + w <= width and y + h <= height
            assert annotation["area"] == mask.sum()
            assert annotation["image_id"] == index + 1
            assert annotation["role"] == ROLE[NAMES[annotation["category_id"]]]
            is_rle = isinstance(annotation["segmentation"], dict)
            assert not is_rle or isinstance(annotation["segmentation"]["counts"], str)
            assert is_rle or not annotation["iscrowd"]
            kinds.add((is_rle, annotation["iscrowd"]))
            cover += mask
        # masks are of visible pixels: only the simplified outlines may overlap, by a rim
        assert (cover > 1).sum() <= 0.05 * max((cover > 0).sum(), 1) + 2
    assert kinds == {(False, 0), (True, 0), (True, 1)}


def test_every_category_and_empty_images_occur(scenes):
    for preset in scenes:
        found = {annotation["category_id"] for _, annotations in scenes[preset] for annotation in annotations}
        assert found == set(NAMES)
    assert any(not annotations for _, annotations in scenes["demo"])
    assert sorted(NAMES) != list(range(1, len(NAMES) + 1)), "the ids should leave gaps"
    assert {category["role"] for category in RELATIONS_CATEGORIES} == set(ROLES)


def test_most_objects_are_small_and_deciders_are_large(scenes):
    for preset in scenes:
        objects = [a for _, annotations in scenes[preset] for a in annotations if not a["iscrowd"]]
        small = {role: np.mean([a["area"] < 32 * 32 for a in objects if a["role"] == role]) for role in ROLES}
        assert small["decided"] > 0.9
        assert small["repeated"] > 0.8
        assert 0.2 < small["alone"] < 0.9
        assert small["decider"] < 0.2
        assert np.mean([a["area"] < 32 * 32 for a in objects]) > 0.6


def test_masks_lie_on_their_objects(scenes):
    """A disc is the only orange to red thing of its size: inside its mask red must stand out."""
    checked = 0
    for image, objects in scenes["demo"]:
        for annotation in objects:
            if NAMES[annotation["category_id"]] in ("ball", "fruit"):
                blue, _, red = image[decoded(annotation, *image.shape[:2])].mean(0)
                assert red > blue + 40
                checked += 1
    assert checked > 20


def test_image_sizes_follow_the_spec(scenes):
    for preset, spec in (("demo", DEMO), ("full", SMALL_FULL)):
        sides = [side for image, _ in scenes[preset] for side in image.shape[:2]]
        assert min(sides) >= spec.sides[0] and max(sides) <= spec.sides[1]
        assert all(side % spec.multiple == 0 for side in sides)
        assert len(set(sides)) > 1


def car(x: float, near: float, seed: int) -> Thing:
    return Thing("car", "car", (x, 60.0, x + 80.0, 100.0), near, seed)


def test_hidden_objects_are_dropped_and_covered_pixels_lost():
    alone = ScenePlan(128, 256, 50, 1, 0.0, (car(20, 0.5, 1),))
    whole = render_scene(alone, 1)[1][0]["area"]
    half = dataclasses.replace(alone, things=(car(20, 0.5, 1), car(55, 0.9, 2)))
    near, far = render_scene(half, 1)[1]
    assert near["bbox"][0] > far["bbox"][0]
    assert 0.4 * whole < far["area"] < 0.75 * whole
    hidden = dataclasses.replace(alone, things=(car(20, 0.5, 1), car(26, 0.9, 2)))
    assert [annotation["bbox"][0] for annotation in render_scene(hidden, 1)[1]] == [26.0]


def test_polygons_follow_pixel_edges_and_refuse_holes():
    box = np.zeros((20, 30), bool)
    box[3:9, 5:17] = True
    assert sorted(zip(*[iter(_polygons(box)[0])] * 2, strict=True)) == [(5, 3), (5, 9), (17, 3), (17, 9)]
    box[5:7, 8:12] = False
    assert _polygons(box) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"context": "false"}, "true, removed, shuffled, got 'false'"),
        ({"image_format": "gif"}, "jpg or png, got 'gif'"),
        ({"sides": (300, 200)}, "sides must be two numbers"),
        ({"sides": (130, 140), "multiple": 64}, "no multiple of 64"),
        ({"hardness": 1.5}, "hardness must be"),
    ],
)
def test_a_wrong_spec_is_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        RelationsSpec(**changes)


def test_a_negative_index_or_seed_is_refused():
    with pytest.raises(ValueError, match="index=-1"):
        generate_scene(DEMO, -1, 0)
    with pytest.raises(ValueError, match="seed=-2"):
        generate_scene(DEMO, 0, -2)
