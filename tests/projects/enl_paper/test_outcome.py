"""What became of an image's objects, in cases small enough to tell by hand."""

from enl_paper.outcome import CONFUSED, FOUND, MISSED, image_outcome


def thing(x: float, category: int, **more: object) -> dict:
    return {"bbox": [x, 10.0, 20.0, 20.0], "category_id": category, **more}


def test_each_object_has_its_fate():
    objects = [thing(0, 1), thing(100, 2), thing(200, 3)]
    detections = [thing(1, 1, score=0.9), thing(101, 3, score=0.8), thing(300, 1, score=0.7)]
    outcome = image_outcome(objects, detections)
    assert outcome.of_object == [FOUND, CONFUSED, MISSED]
    assert outcome.hits == [0, 1, -1] and outcome.extra == [2]


def test_the_right_class_comes_before_the_better_score():
    outcome = image_outcome([thing(0, 1)], [thing(0, 2, score=0.9), thing(2, 1, score=0.3)])
    assert outcome.of_object == [FOUND] and outcome.hits == [1] and outcome.extra == [0]


def test_a_detection_takes_one_object_alone():
    outcome = image_outcome([thing(0, 1), thing(4, 1)], [thing(1, 1, score=0.9)])
    assert outcome.of_object == [FOUND, MISSED] and outcome.extra == []


def test_what_lies_in_a_crowd_is_neither():
    outcome = image_outcome([thing(0, 1, iscrowd=1)], [thing(5, 1, score=0.9)])
    assert outcome.of_object == [MISSED] and outcome.extra == []


def test_nothing_at_all():
    assert image_outcome([], []).extra == [] and image_outcome([thing(0, 1)], []).of_object == [MISSED]
    assert image_outcome([], [thing(0, 1, score=0.5)]).extra == [0]
