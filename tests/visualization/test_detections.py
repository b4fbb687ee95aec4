"""What a detector found, drawn as `draw_objects` draws the same things by hand."""

import numpy as np
import pycocotools.mask as mask_utils
import pytest
import torch

from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.keypoint import PersonKeypoints
from maskrcnn_benchmark.visualization import draw_annotations, draw_detections, draw_objects
from maskrcnn_benchmark.visualization.detections import visible_keypoints

BOX = [40.0, 60.0, 199.0, 259.0]


@pytest.fixture
def found() -> BoxList:
    mask = np.zeros((480, 500), np.uint8)
    mask[60:260, 40:200] = 1
    found = BoxList(torch.tensor([BOX]), (500, 480))
    found.add_field("scores", torch.tensor([0.754]))
    found.add_field("labels", torch.tensor([2]))
    found.add_field("rle", [mask_utils.encode(np.asfortranarray(mask))])
    return found


def test_boxes_masks_and_captions(found):
    image = np.full((480, 500, 3), 90, np.uint8)
    drawn = draw_detections(image, found, lambda label, score: f"<{label}> {score:.2f}")
    mask = mask_utils.decode(found.get_field("rle")[0])
    assert (drawn == draw_objects(image, np.array([BOX]), [2], ["<2> 0.75"], [mask])).all()
    categories = {7: {"name": "a"}, 8: {"name": "b"}, 9: {"name": "thing"}}
    entry = {"category_id": 9, "bbox": [40, 60, 160, 200], "score": 0.754, "segmentation": found.get_field("rle")[0]}
    as_coco = draw_annotations(image, [entry], categories)
    assert (as_coco == draw_detections(image, found, lambda label, score: f"thing {score:.2f}")).all()


def test_keypoints_of_which_the_model_is_sure(found):
    points = torch.zeros(1, 17, 3)
    points[0, :, 0], points[0, :, 1] = torch.linspace(50, 190, 17), 150
    keypoints = PersonKeypoints(points, (500, 480))
    keypoints.add_field("logits", torch.tensor([[5.0] * 3 + [1.0] * 14]))
    found.add_field("keypoints", keypoints)
    visible, connections = visible_keypoints(found)
    assert visible is not None and visible[0, :, 2].tolist() == [1] * 3 + [0] * 14
    assert connections == PersonKeypoints.CONNECTIONS
    image = np.full((480, 500, 3), 90, np.uint8)
    drawn = draw_detections(image, found, lambda label, score: "")
    assert (drawn[150, 50] == 255).all() and not (drawn[150, 180] == 255).all()
