import cv2
import numpy as np
import pytest

from maskrcnn_benchmark.utils.drawing import FONT, MIN_SIDE, _put_text, class_colour, draw_objects, side_by_side


def test_neighbouring_labels_differ():
    colours = [np.array(class_colour(label)) for label in range(20)]
    for first, second in zip(colours, colours[1:], strict=False):
        assert np.abs(first - second).max() > 60
    assert len({tuple(c) for c in colours}) == 20


@pytest.mark.parametrize("x", [-50, 0, 150, 199, 300])
@pytest.mark.parametrize("y", [-50, 0, 50, 99, 300])
def test_the_ground_of_a_label_lies_inside_wherever_it_is_asked_for(x, y):
    """As many pixels as in the middle, however near the edge."""
    pictures = [np.zeros((100, 200, 3), np.uint8) for _ in range(2)]
    _put_text(pictures[0], "cat 0.9", 60, 50, (10, 20, 30), 0.4)
    _put_text(pictures[1], "cat 0.9", x, y, (10, 20, 30), 0.4)
    middle, placed = (p.any(axis=2).nonzero() for p in pictures)
    assert len(middle[0]) > 300
    for axis in (0, 1):
        assert np.ptp(placed[axis]) == np.ptp(middle[axis])
    assert len(placed[0]) == len(middle[0])


def test_a_label_stands_above_its_box():
    image = np.zeros((600, 600, 3), np.uint8)
    drawn = draw_objects(image, np.array([[100, 200, 300, 400]]), [1], ["cat"])
    assert image.sum() == 0  # a copy
    rows, columns = drawn.any(axis=2).nonzero()
    (width, height), below = cv2.getTextSize("cat", FONT, 0.4, 1)
    assert 200 - height - below - 6 <= rows.min() < 200 and abs(rows.max() - 400) <= 1
    assert abs(columns.min() - 100) <= 1 and abs(columns.max() - 300) <= 1  # lines are anti-aliased
    ground = (drawn == np.array(class_colour(1))).all(axis=2)
    assert ground[198 - height : 200, 100 : 100 + width].any(axis=0).all()


def test_boxes_are_drawn_where_they_are():
    image = np.zeros((600, 700, 3), np.uint8)
    drawn = draw_objects(image, np.array([[20.4, 300.0, 90.6, 340.0]]), [2], [""])
    colour = np.array(class_colour(2))
    for x, y in ((20, 300), (91, 300), (20, 340), (91, 340), (50, 340), (20, 320)):
        assert (drawn[y, x] > 0.5 * colour).all()
    assert not drawn[303:338, 23:88].any()  # not filled
    assert not drawn[:298, 30:].any() and not drawn[343:].any()
    assert not drawn[:, :18].any() and not drawn[:, 94:].any()


def test_small_images_are_enlarged_with_what_is_on_them():
    image = np.full((100, 200, 3), 50, np.uint8)
    mask = np.zeros((100, 200), bool)
    mask[40:60, 100:120] = True
    drawn = draw_objects(image, np.array([[100, 40, 119, 59]]), [3], [""], [mask])
    factor = 5
    assert drawn.shape == (100 * factor, 200 * factor, 3) and 100 * factor >= MIN_SIDE
    tint = (0.6 * 50 + 0.4 * np.array(class_colour(3))).astype(int)
    assert np.abs(drawn[50 * factor, 110 * factor].astype(int) - tint).max() <= 1
    last = 60 * factor - 1  # of the five rows that pixel 59 has become
    line = drawn[last - 1 : last + 2, 110 * factor].max(axis=0)
    assert (line > 0.7 * np.array(class_colour(3))).all()
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
