import json
import os
from pathlib import Path

import cv2
import numpy as np
import pycocotools.mask as mask_utils
import pytest

from maskrcnn_benchmark.visualization import (
    class_colour,
    draw_boxes,
    draw_captions,
    draw_objects,
    make_sheet,
    put_text,
    side_by_side,
)
from maskrcnn_benchmark.visualization.detections import Decoded
from maskrcnn_benchmark.visualization.lettering import text_size
from maskrcnn_benchmark.visualization.objects import MIN_SIDE
from maskrcnn_benchmark.visualization.palette import luminance

# Linear RGB as it is seen without long-wave and without medium-wave cones: Viénot, Brettel and Mollon (1999), another model than
# the one by which the colours are chosen.
SIGHTS = {
    "ordinary": np.eye(3),
    "protanopia": np.array([[0.11238, 0.88762, 0], [0.11238, 0.88762, 0], [0.00401, -0.00401, 1]]),
    "deuteranopia": np.array([[0.29275, 0.70725, 0], [0.29275, 0.70725, 0], [-0.02234, 0.02234, 1]]),
}


@pytest.mark.parametrize("sight", SIGHTS)
@pytest.mark.parametrize(
    ("count", "least"),
    [
        (8, {"ordinary": 35, "protanopia": 30, "deuteranopia": 30}),
        (12, {"ordinary": 30, "protanopia": 25, "deuteranopia": 25}),
        (20, {"ordinary": 30, "protanopia": 14, "deuteranopia": 14}),
        (81, {"ordinary": 11, "protanopia": 3, "deuteranopia": 3}),
    ],
)
def test_the_colours_of_labels_differ(count, least, sight):
    """Euclidean distances in CIE Lab; 2.3 is what an eye can just tell."""
    rgb = np.array([class_colour(label)[::-1] for label in range(count)]) / 255
    light = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4) @ SIGHTS[sight].T
    seen = np.where(light <= 0.0031308, light * 12.92, 1.055 * light.clip(0) ** (1 / 2.4) - 0.055).clip(0, 1)
    lab = cv2.cvtColor(seen[None].astype(np.float32), cv2.COLOR_RGB2Lab)[0]
    distances = np.linalg.norm(lab[:, None] - lab, axis=2) + 1e3 * np.eye(count)
    assert distances.min() > least[sight]


def test_captions_can_be_read_on_every_colour():
    """WCAG asks for 4.5 : 1; the ink is black or white."""
    for label in range(100):
        canvas = np.full((40, 200, 3), 127, np.uint8)
        put_text(canvas, "MMMM", 0, 0, class_colour(label), 24)
        ground = luminance(class_colour(label))
        ink = luminance((255, 255, 255) if (canvas == 255).all(axis=2).any() else (0, 0, 0))
        assert (max(ground, ink) + 0.05) / (min(ground, ink) + 0.05) >= 4.5


def test_a_label_stands_above_its_box():
    image = np.zeros((600, 600, 3), np.uint8)
    drawn = draw_objects(image, np.array([[100, 200, 300, 400]]), [1], ["cat"])
    assert image.sum() == 0  # a copy
    rows, columns = drawn.any(axis=2).nonzero()
    width, height = text_size("cat", 12)
    assert rows.min() == 199 - height and rows.max() == 401  # above the frame, which is around the box
    assert columns.min() == 99 and columns.max() == 301
    ground = (drawn == np.array(class_colour(1))).all(axis=2)
    assert ground[200 - height : 199, 99 : 99 + width].any(axis=0).all()


def test_frames_are_around_their_boxes_and_have_a_rim():
    """Nothing of the object is drawn over: the line is outside, and outside of it the rim."""
    image = np.full((600, 700, 3), 100, np.uint8)
    for label, is_darker in ((1, True), (2, False)):  # sky blue, and a violet around which the rim is light
        drawn = draw_objects(image, np.array([[20.4, 300.0, 90.6, 340.0]]), [label], [""])
        expected = image.copy()
        expected[298:343, 18:94] = 35 if is_darker else 200
        expected[299:342, 19:93] = class_colour(label)
        expected[300:341, 20:92] = 100
        assert (drawn == expected).all()


def test_the_frame_of_an_object_at_the_border_is_inside_the_image():
    image = np.full((600, 700, 3), 100, np.uint8)
    drawn = draw_objects(image, np.array([[0, 0, 699, 599]]), [1], [""])
    frame = (drawn == np.array(class_colour(1))).all(axis=2)
    assert frame[0].all() and frame[-1].all() and frame[:, 0].all() and frame[:, -1].all()
    assert not frame[1:-1, 1:-1].any()
    partly = draw_objects(image, np.array([[-50, 100, 300, 200]]), [1], [""])
    assert (partly[150, :300] == 100).all()  # its left side is not to be seen


def test_small_objects_are_drawn_over_large_ones():
    image = np.zeros((600, 600, 3), np.uint8)
    boxes = np.array([[295, 295, 306, 306], [100, 100, 299, 299]])
    drawn = draw_objects(image, boxes, [1, 2], ["", ""])
    assert (drawn[294, 295:301] == np.array(class_colour(1))).all()


@pytest.mark.parametrize("dashed", [False, True])
def test_boxes_far_outside_are_drawn_in_bounded_time(dashed):
    image = np.zeros((600, 700, 3), np.uint8)
    near, far = image.copy(), image.copy()
    draw_boxes(near, np.array([[50, -50, 750, 300]]), [(9, 8, 7)])
    draw_boxes(far, np.array([[50, -1e9, 1e12, 300]]), [(9, 8, 7)], dashed=dashed)
    assert far.any() and (dashed or (far == near).all())
    drawn = draw_objects(image, np.array([[-1e9, -1e9, 1e9, 1e9], [20, 20, 1e9, 1e9]]), [1, 2], ["a", "b"])
    assert drawn[300, 19].any()


def test_small_images_are_enlarged_with_what_is_on_them():
    image = np.full((100, 200, 3), 50, np.uint8)
    mask = np.zeros((100, 200), bool)
    mask[40:60, 100:120] = True
    drawn = draw_objects(image, np.array([[100, 40, 119, 59]]), [3], [""], [mask])
    factor = 5
    assert drawn.shape == (100 * factor, 200 * factor, 3) and 100 * factor >= MIN_SIDE
    tint = (0.6 * 50 + 0.4 * np.array(class_colour(3))).astype(int)
    assert np.abs(drawn[50 * factor, 110 * factor].astype(int) - tint).max() <= 1
    assert (drawn[60 * factor, 110 * factor] == class_colour(3)).all()  # below the five rows that pixel 59 has become
    assert tuple(drawn[20 * factor, 20 * factor].tolist()) == (50, 50, 50)


def test_boxes_at_and_beyond_the_edge_do_not_fail():
    image = np.zeros((500, 500, 3), np.uint8)
    boxes = np.array([[-20, -20, 30, 30], [480, 480, 600, 600], [0, 0, 499, 499]])
    assert draw_objects(image, boxes, [1, 2, 3], ["a long caption"] * 3).shape == (500, 500, 3)
    assert (draw_objects(image, np.zeros((0, 4)), [], []) == image).all()


def test_pictures_side_by_side():
    left, right = np.full((50, 40, 3), 10, np.uint8), np.full((50, 60, 3), 20, np.uint8)
    row = side_by_side([left, right], ["left", "right"])
    assert row.shape == (74, 40 + 6 + 60 + 6, 3)
    assert (row[24:, :40] == left).all() and (row[24:, 46:106] == right).all()
    assert (row[:24, :40] < 255).any() and (row[:, 40:46] == 255).all()


@pytest.mark.parametrize(("side", "letters", "line"), [(480, 12, 1), (1080, 21, 2), (3000, 58, 7)])
def test_lines_and_letters_grow_with_the_image(side, letters, line):
    box = np.array([[side // 4, side // 2, side // 2, side - 30]])
    drawn = draw_objects(np.zeros((side, side, 3), np.uint8), box, [1], [""])
    across = drawn[side * 3 // 4, : side // 3].any(axis=1).sum()
    assert line <= across <= line + 2
    labelled = draw_objects(np.zeros((side, side, 3), np.uint8), box, [1], ["cat"])
    assert abs(side // 2 - labelled.any(axis=2).nonzero()[0].min() - text_size("cat", letters)[1]) <= line


def test_letters_of_a_crowd_stay_legible_in_a_large_image():
    """At least half as large as those of a few objects: 21 pixels of 2160."""
    boxes = np.array([[x, y, x + 60, y + 60] for y in range(0, 2100, 150) for x in range(0, 3800, 150)])
    canvas = np.zeros((2160, 3840, 3), np.uint8)
    draw_captions(canvas, boxes, ["thing 0.98"] * len(boxes), [(200, 0, 0)] * len(boxes))
    stats = cv2.connectedComponentsWithStats(canvas.any(axis=2).astype(np.uint8))[2][1:]
    width, height = text_size("thing 0.98", 21)
    captions = stats[stats[:, 2] >= width // 2]
    assert len(captions) > 50 and captions[:, 2].min() >= width and captions[:, 3].min() >= height


@pytest.mark.parametrize(("side", "line"), [(480, 1), (1600, 2), (3000, 4)])
def test_a_small_object_gets_a_thin_line_and_stays_to_be_seen(side, line):
    """Of 12 pixels in an image of any size: nothing is drawn over it, and its frame, rim and all, is narrower than itself."""
    image = np.full((side, side, 3), 90, np.uint8)
    mask = np.zeros((side, side), np.uint8)
    mask[300:312, 300:312] = 1
    drawn = draw_objects(image, np.array([[300, 300, 311, 311]]), [3], [""], [mask]).astype(int)
    assert np.abs(drawn[300:312, 300:312] - 90).max() <= 0.2 * 165 + 1  # tinted by a fifth
    framed = (drawn[306, :300] == np.array(class_colour(3))).all(axis=1)
    assert framed[300 - line :].all() and framed.sum() == line
    assert (drawn[306, :288] == 90).all()


def test_captions_of_a_crowd_hide_neither_objects_nor_each_other():
    """Rows of small objects: each caption's ground is there in full, and no object below one."""
    boxes = np.array([[x, y, x + 11, y + 11] for y in range(100, 700, 120) for x in range(60, 900, 150)])
    canvas = np.zeros((800, 1000, 3), np.uint8)
    draw_captions(canvas, boxes, ["thing 0.98"] * len(boxes), [(200, 0, 0)] * len(boxes))
    for x1, y1, x2, y2 in boxes:
        assert not canvas[y1 : y2 + 1, x1 : x2 + 1].any()
    width, height = text_size("thing 0.98", 15)
    assert canvas.any(axis=2).sum() == len(boxes) * width * height


def test_keypoints_and_their_lines():
    image = np.zeros((600, 600, 3), np.uint8)
    points = np.array([[[100, 100, 1], [300, 100, 1], [300, 300, 0]]])
    drawn = draw_objects(image, np.array([[90, 90, 310, 310]]), [1], [""], None, points, [[0, 1], [1, 2]])
    assert drawn[100, 200].any() and (drawn[100, 100] == 255).all() and (drawn[100, 300] == 255).all()
    assert not drawn[110:305, 120:305].any()  # the third one is not visible, nor is the line to it


def test_keypoints_move_with_an_enlarged_image():
    drawn = draw_objects(
        np.zeros((60, 60, 3), np.uint8), np.zeros((1, 4)), [1], [""], None, np.array([[[40, 20, 1.0]]])
    )
    rows, columns = (drawn.min(axis=2) > 200).nonzero()
    assert abs(rows.mean() - 20.5 * 8) <= 1 and abs(columns.mean() - 40.5 * 8) <= 1


def test_masks_of_another_size_and_empty_ones():
    image = np.zeros((500, 500, 3), np.uint8)
    small, empty = np.zeros((50, 50), bool), np.zeros((500, 500), bool)
    small[10:20, 30:40] = True
    drawn = draw_objects(image, np.zeros((2, 4)), [1, 2], ["", ""], [small, empty])
    assert drawn[150, 350].any() and not drawn[150, 250].any() and not drawn[250, 350].any()


@pytest.mark.skipif(not os.environ.get("MRB_TEST_COCO"), reason="MRB_TEST_COCO names no folder of COCO images")
def test_captions_of_real_scenes_leave_small_objects_to_be_seen():
    """Of all small objects (below 32 x 32 pixels) less than a twentieth is hidden, yet most objects have their caption."""
    content = json.loads(Path(os.environ["MRB_TEST_COCO"], "annotations", "instances_val2017.json").read_text())
    boxes: dict[int, list] = {}
    for ann in content["annotations"]:
        boxes.setdefault(ann["image_id"], []).append(ann["bbox"])
    hidden, wanted, drawn = [], 0, 0
    for image in content["images"]:
        corners = np.array(boxes.get(image["id"], [])).reshape(-1, 4)
        small = corners[:, 2:].prod(axis=1) < 32**2
        corners[:, 2:] += corners[:, :2] - 1
        canvas = np.zeros((image["height"], image["width"], 3), np.uint8)
        draw_captions(canvas, corners, ["thing 0.98"] * len(corners), [(200, 0, 0)] * len(corners))
        ground = canvas.any(axis=2)
        for x1, y1, x2, y2 in corners[small].round().astype(int):
            hidden.append(ground[y1 : y2 + 1, x1 : x2 + 1].mean())
        wanted += len(corners)
        drawn += cv2.connectedComponents(ground.astype(np.uint8))[0] - 1
    assert len(hidden) > 50 and np.mean(hidden) < 0.05
    assert drawn > 0.3 * wanted  # those that touch count once


def test_a_dashed_box_is_half_a_box():
    whole, dashed = (np.zeros((300, 300, 3), np.uint8) for _ in range(2))
    for canvas, kind in ((whole, False), (dashed, True)):
        draw_boxes(canvas, np.array([[20, 30, 219, 249]]), [(255, 255, 255)], kind)
    assert not (dashed > whole).any()
    assert 0.4 < dashed.sum() / whole.sum() < 0.6
    for side in (dashed[29, 19:221], dashed[250, 19:221], dashed[29:251, 19], dashed[29:251, 220]):
        assert 0.4 < side.any(axis=1).mean() < 0.6
    assert not dashed[30:250, 20:220].any()


@pytest.mark.parametrize("size", [(1, 20000), (20000, 1), (1, 1), (30, 3000), (479, 5000), (5000, 5000)])
def test_a_drawing_of_any_shape_has_a_bound(size):
    image = np.zeros((*size, 3), np.uint8)
    mask = np.ones(size, bool)
    drawn = draw_objects(image, np.array([[0, 0, size[1] - 1, size[0] - 1]]), [1], ["cat"], [mask])
    factor = drawn.shape[0] // size[0]
    assert drawn.shape[:2] == (size[0] * factor, size[1] * factor)
    assert factor == 1 or max(drawn.shape) <= 4096
    assert factor == 1 or min(size) * factor >= 480 or max(size) * (factor + 1) > 4096
    assert make_sheet([drawn, image], columns=2, cell_width=90).shape[0] <= 360


def test_masks_are_decoded_one_at_a_time():
    """A hundred masks of 20 megapixels: 2 GB together."""
    mask = np.zeros((4000, 5000), np.uint8, order="F")
    mask[100:200, 100:200] = 1
    masks = Decoded([mask_utils.encode(mask)] * 100)
    assert len(masks) == 100 and masks[7].sum() == 10_000
