"""Keypoints under the transforms of images, and their heatmap cells against code for one keypoint at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from PIL import Image

from maskrcnn_benchmark.data.transforms import RandomHorizontalFlip, Resize
from maskrcnn_benchmark.structures.bounding_box import FLIP_LEFT_RIGHT, FLIP_TOP_BOTTOM, BoxList
from maskrcnn_benchmark.structures.keypoint import (
    Keypoints,
    PersonKeypoints,
    _create_flip_indices,
    keypoints_to_heat_map,
    kp_connections,
)
from maskrcnn_benchmark.structures.keypoint_ops import cat_keypoints, make_keypoints

SIZE = (100, 60)
COCO_NAMES = """nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow right_elbow left_wrist
right_wrist left_hip right_hip left_knee right_knee left_ankle right_ankle""".split()


def people(n: int = 2, seed: int = 0) -> PersonKeypoints:
    random = np.random.default_rng(seed)
    points = np.concatenate((random.uniform(0, 59, (n, 17, 2)), random.integers(0, 3, (n, 17, 1))), axis=2)
    points[points[..., 2] == 0] = 0
    return PersonKeypoints(points, SIZE)


def test_names_are_cocos():
    assert PersonKeypoints.NAMES == COCO_NAMES
    assert [COCO_NAMES[i] for i in PersonKeypoints.FLIP_INDS] == [
        n.replace("left", "tmp").replace("right", "left").replace("tmp", "right") for n in COCO_NAMES
    ]
    lines = {frozenset((COCO_NAMES[a], COCO_NAMES[b])) for a, b in kp_connections(COCO_NAMES)}
    assert len(lines) == len(PersonKeypoints.CONNECTIONS) == 15
    assert frozenset(("left_hip", "left_knee")) in lines and frozenset(("left_hip", "right_knee")) not in lines


def test_shapes():
    flat = PersonKeypoints([[1.0, 2, 2] * 17], SIZE)
    assert flat.keypoints.shape == (1, 17, 3)
    assert PersonKeypoints([], SIZE).keypoints.shape[0] == 0
    assert make_keypoints([], SIZE, 17).keypoints.shape == (0, 17, 3)
    assert type(make_keypoints([[1, 2, 0] * 5], SIZE, 5)) is Keypoints
    assert isinstance(make_keypoints([[1, 2, 0] * 17], SIZE, 17), PersonKeypoints)
    with pytest.raises(ValueError, match=r"got the shape \[2, 17, 2\]"):
        PersonKeypoints(torch.zeros(2, 17, 2), SIZE)


def test_a_mirror_swaps_left_and_right():
    points = people()
    flipped = points.transpose(FLIP_LEFT_RIGHT)
    for i, name in enumerate(COCO_NAMES):
        side = {"left": "right", "right": "left"}.get(name.split("_")[0])
        partner = COCO_NAMES.index(name.replace(name.split("_")[0], side)) if side else i
        for person in range(2):
            x, y, v = points.keypoints[person, partner].tolist()
            expected = [SIZE[0] - 1 - x, y, v] if v else [0, 0, 0]
            assert flipped.keypoints[person, i].tolist() == pytest.approx(expected, abs=1e-4)
    torch.testing.assert_close(flipped.transpose(FLIP_LEFT_RIGHT).keypoints, points.keypoints)
    upside_down = points.transpose(FLIP_TOP_BOTTOM).keypoints
    visible = upside_down[..., 2] > 0
    expected = points.keypoints[:, PersonKeypoints.FLIP_INDS]
    torch.testing.assert_close(upside_down[visible][:, 1], SIZE[1] - 1 - expected[visible][:, 1])
    assert torch.equal(upside_down[visible][:, 0], expected[visible][:, 0])


def test_fields_of_single_keypoints_change_places_too():
    points = people()
    logits = torch.rand(2, 17)
    points.add_field("logits", logits)
    points.add_field("age", torch.tensor([4, 30]))
    flipped = points.transpose(FLIP_LEFT_RIGHT)
    assert torch.equal(flipped.get_field("logits"), logits[:, PersonKeypoints.FLIP_INDS])
    assert flipped.get_field("age").tolist() == [4, 30]
    assert points[1:].get_field("age").tolist() == [30]
    joined = cat_keypoints([points[1:], points])
    assert len(joined) == 3 and torch.equal(joined.get_field("logits")[0], logits[1])


def test_keypoints_without_a_mirror_image():
    with pytest.raises(NotImplementedError, match="FLIP_INDS"):
        Keypoints(torch.zeros(1, 5, 3), SIZE).transpose(FLIP_LEFT_RIGHT)
    with pytest.raises(NotImplementedError, match="got 2"):
        people().transpose(2)


def test_resize():
    resized = people().resize((50, 180))
    assert resized.size == (50, 180)
    torch.testing.assert_close(resized.keypoints, people().keypoints * torch.tensor([0.5, 3, 1]))


def test_what_is_cut_off_is_not_labelled():
    points = PersonKeypoints(
        torch.tensor([[[10.0, 20, 2], [9.9, 20, 2], [29.9, 39.9, 1], [30, 30, 2], [15, 15, 0]]]), SIZE
    )
    cut = points.crop((10, 20, 30, 40))
    assert cut.size == (20, 20)
    expected = torch.tensor([[[0.0, 0, 2], [0, 0, 0], [19.9, 19.9, 1], [0, 0, 0], [0, 0, 0]]])
    torch.testing.assert_close(cut.keypoints, expected)


def test_they_move_with_boxes_and_images():
    target = BoxList([[10.0, 10, 40, 50], [5, 5, 20, 20]], SIZE)
    target.add_field("keypoints", people())
    image, resized = Resize(30, 100)(Image.new("RGB", SIZE), target)
    _, flipped = RandomHorizontalFlip(1.0)(image, resized)
    keypoints = flipped.get_field("keypoints")
    assert image.size == keypoints.size == flipped.size == (50, 30)
    expected = people().resize((50, 30)).transpose(FLIP_LEFT_RIGHT)
    torch.testing.assert_close(keypoints.keypoints, expected.keypoints)
    assert torch.equal(flipped[[1]].get_field("keypoints").keypoints, keypoints.keypoints[1:])
    assert flipped.to("cpu").get_field("keypoints").size == (50, 30)


@pytest.mark.parametrize("heatmap", [7, 56])
def test_heatmap_cells(heatmap):
    generator = torch.Generator().manual_seed(heatmap)
    corner = 40 * torch.rand(20, 2, generator=generator)
    rois = torch.cat((corner, corner + 3 + 40 * torch.rand(20, 2, generator=generator)), dim=1)
    points = torch.cat((90 * torch.rand(20, 6, 2, generator=generator), torch.ones(20, 6, 1)), dim=2)
    points[:, 0, :2] = rois[:, 2:]  # on the far corner
    points[:, 1, :2] = rois[:, :2]  # on the near one
    points[:, 2, :2] = rois[:, :2] + 0.37 * (rois[:, 2:] - rois[:, :2])
    points[:, 3] = points[:, 2] * torch.tensor([1.0, 1, 0])  # inside, but not labelled
    cells, valid = keypoints_to_heat_map(points, rois, heatmap)
    for n, (x1, y1, x2, y2) in enumerate(rois.tolist()):
        for k, (x, y, v) in enumerate(points[n].tolist()):
            column = heatmap - 1 if x == x2 else math.floor((x - x1) * (heatmap / (x2 - x1)))
            row = heatmap - 1 if y == y2 else math.floor((y - y1) * (heatmap / (y2 - y1)))
            inside = 0 <= column < heatmap and 0 <= row < heatmap and v > 0
            assert valid[n, k] == inside
            assert cells[n, k] == (row * heatmap + column if inside else 0)
    assert valid[:, :3].all() and not valid[:, 3].any() and not valid.all(dim=0)[4:].any()


def test_no_keypoints_no_cells():
    cells, valid = keypoints_to_heat_map(torch.zeros(0, 17, 3), torch.zeros(0, 4), 56)
    assert cells.shape == valid.shape == (0, 17) and cells.dtype == torch.int64


def test_flip_indices():
    assert _create_flip_indices(["a", "left", "right"], {"left": "right"}).tolist() == [0, 2, 1]
    assert isinstance(PersonKeypoints.FLIP_INDS, torch.Tensor)

    class Hands(Keypoints):
        FLIP_INDS = [1, 0]

    flipped = Hands([[[10.0, 5, 2], [20, 6, 1]]], SIZE).transpose(FLIP_LEFT_RIGHT)
    assert flipped.keypoints.tolist() == [[[79, 6, 1], [89, 5, 2]]]
