import numpy as np
import pytest

from maskrcnn_benchmark.visualization.lettering import leader, place_captions, put_text, text_size


@pytest.mark.parametrize("x", [-50, 0, 150, 199, 300])
@pytest.mark.parametrize("y", [-50, 0, 50, 99, 300])
def test_the_ground_of_a_text_lies_inside_wherever_it_is_asked_for(x, y):
    picture = np.zeros((100, 200, 3), np.uint8)
    put_text(picture, "cat 0.9", x, y, (10, 20, 30), 12)
    assert picture.any(axis=2).sum() == np.prod(text_size("cat 0.9", 12))


@pytest.mark.parametrize(("ground", "ink"), [((0, 255, 255), 0), ((90, 10, 10), 255), ((255, 255, 255), 0)])
def test_ink_is_the_opposite_of_its_ground(ground, ink):
    picture = np.full((40, 200, 3), 77, np.uint8)
    put_text(picture, "MMMM", 0, 0, ground, 24)
    width, height = text_size("MMMM", 24)
    written = picture[:height, :width]
    share = (np.abs(written.astype(int) - ink) < 8).all(axis=2).mean()
    assert 0.1 < share < 0.6 and (written == np.array(ground)).all(axis=2).mean() > 0.3
    assert (picture[height:] == 77).all()


def test_a_text_larger_than_the_image_is_cut():
    picture = np.zeros((8, 20, 3), np.uint8)
    put_text(picture, "a long caption", 0, 0, (0, 0, 255), 20)
    assert picture[..., 2].any()


def test_the_first_caption_goes_above_and_the_next_evades_it():
    boxes = np.array([[100, 100, 140, 140], [110, 100, 150, 140]])
    first, second = place_captions(boxes, [(60, 15)] * 2, 640, 480)
    assert first == (100, 85, 60, 15)
    apart = second[0] >= 160 or second[1] >= 100 or second[1] + 15 <= 85 or second[0] + 60 <= 100
    assert apart


def test_no_place_no_caption():
    """A picture full of objects: nothing can be hidden, and a caption as large as the picture has no place."""
    boxes = np.array([[x, y, x + 9, y + 9] for y in range(0, 100, 10) for x in range(0, 100, 10)])
    assert place_captions(boxes, [(60, 15)], 100, 100) == [None]
    assert place_captions(np.zeros((0, 4)), [], 100, 100) == []


def test_a_large_object_may_have_it_inside_at_the_upper_edge():
    assert place_captions(np.array([[0, 0, 499, 499]]), [(60, 15)], 500, 500) == [(0, 0, 60, 15)]


@pytest.mark.parametrize(
    ("box", "line"),
    [
        ((100, 117, 140, 160), None),  # at its lower edge
        ((300, 100, 340, 140), ((159, 107), (300, 107))),  # right of it
        ((0, 300, 20, 320), ((100, 114), (20, 300))),  # below, left
        ((100, 20, 159, 40), ((130, 100), (130, 40))),  # above
    ],
)
def test_lines_from_captions_to_boxes(box, line):
    assert leader((100, 100, 60, 15), np.array(box)) == line
