"""COCODemo: upstream's interface, on a detector that sees the same thing everywhere."""

import importlib
import inspect

import cv2
import numpy as np
import pytest
import torch

from maskrcnn_benchmark.config import cfg as defaults
from maskrcnn_benchmark.data.categories import COCO_NAMES
from maskrcnn_benchmark.engine import Predictor
from maskrcnn_benchmark.structures.keypoint import PersonKeypoints
from tests.engine.test_predictor import Sees
from tests.support.tiny import write_model


@pytest.fixture
def module(demo_folder):
    return importlib.import_module("predictor")


@pytest.fixture
def demo(module, tiny):
    def make(**options):
        cfg = defaults.clone()
        cfg.merge_from_file(tiny[0])
        made = module.COCODemo(cfg, weight_loading=tiny[1], **options)
        made.predictor.model = made.model = Sees().eval()
        return made

    return make


IMAGE = np.full((400, 600, 3), 80, np.uint8)


def test_upstreams_interface(module):
    signature = inspect.signature(module.COCODemo)
    assert str(
        signature.replace(parameters=[p.replace(annotation=p.empty) for p in signature.parameters.values()])
    ) == (
        "(cfg, confidence_threshold=0.7, show_mask_heatmaps=False, masks_per_dim=2, min_image_size=224, "
        "weight_loading=None)"
    )
    categories = module.COCODemo.CATEGORIES
    assert categories[0] == "__background" and tuple(categories[1:]) == COCO_NAMES and len(categories) == 81


def test_all_detections_and_those_above_the_threshold(demo):
    demo = demo(confidence_threshold=0.65)
    found = demo.compute_prediction(IMAGE)
    assert found.size == (600, 400) and len(found) == 3
    masks = found.get_field("mask")
    assert masks.shape == (3, 1, 400, 600) and masks[1, 0, 250, 350] and not masks[1, 0, 50, 50]
    top = demo.select_top_predictions(found)
    assert top.get_field("scores").tolist() == pytest.approx([0.9, 0.7])
    assert (IMAGE == 80).all()


def test_the_picture_has_its_size_and_what_was_found(demo):
    drawn = demo(confidence_threshold=0.8).run_on_opencv_image(IMAGE)
    assert drawn.shape == IMAGE.shape and (IMAGE == 80).all()
    assert (drawn[250, 350] != 80).any() and (drawn[350, 100] == 80).all() and (drawn[60, 100] == 80).all()


def test_each_overlay_draws_into_its_image_and_returns_it(demo):
    demo = demo(confidence_threshold=0.8)
    top = demo.select_top_predictions(demo.compute_prediction(IMAGE))
    places = {"overlay_boxes": (250, 451), "overlay_mask": (250, 350), "overlay_class_names": (195, 303)}
    for name, (y, x) in places.items():
        image = IMAGE.copy()
        assert getattr(demo, name)(image, top) is image
        changed = (image != 80).any(axis=2)
        assert changed[y, x] and changed.mean() < 0.1, name
    keypoints = PersonKeypoints(torch.full((1, 17, 3), 50.0), top.size)
    keypoints.add_field("logits", torch.tensor([[9.0] + [-9.0] * 16]))
    top.add_field("keypoints", keypoints)
    image = IMAGE.copy()
    demo.overlay_keypoints(image, top)
    assert (image[50, 50] == 255).all() and (image != 80).any(axis=2).sum() < 100


def test_colours_belong_to_labels(demo):
    colours = demo().compute_colors_for_labels(torch.tensor([1, 2, 1]))
    assert colours.dtype == np.uint8 and colours.shape == (3, 3)
    assert (colours[0] == colours[2]).all() and (colours[0] != colours[1]).any()
    assert demo().compute_colors_for_labels(torch.tensor([])).shape == (0, 3)


@pytest.mark.parametrize("side", [1, 2, 3])
def test_heatmaps_in_a_grid(demo, side):
    demo = demo(show_mask_heatmaps=True, masks_per_dim=side, confidence_threshold=0.5)
    grid = demo.run_on_opencv_image(IMAGE)
    assert grid.shape == IMAGE.shape
    blue = cv2.applyColorMap(np.zeros((1, 1), np.uint8), cv2.COLORMAP_JET)[0, 0]
    # The best one's mask lies at 0.5 to 0.75 of its cell, which is the first.
    inside, outside = (grid[int(at * 400 / side), int(at * 600 / side)] for at in (0.62, 0.2))
    assert inside[2] > inside[0] and (outside == blue).all()
    if side == 3:
        assert (grid[300:] == blue).all()  # three masks fill one row


def test_the_models_own_labels(demo, module, tmp_path):
    assert demo().CATEGORIES == ["__background", "red", "blue"]
    cfg = defaults.clone()
    config, weights = write_model(tmp_path, labels=False, MODEL__ROI_BOX_HEAD__NUM_CLASSES=81)
    cfg.merge_from_file(config)
    cfg.merge_from_list(["MODEL.WEIGHT", weights])
    assert module.COCODemo(cfg).CATEGORIES == module.COCODemo.CATEGORIES


def test_the_networks_input(demo):
    made = demo(min_image_size=96)
    tensor = made.build_transform()(IMAGE)
    assert tensor.shape == (3, 96, 144) and made.min_image_size == 96
    expected = torch.full((3, 96, 144), 80.0) - torch.tensor(made.cfg.INPUT.PIXEL_MEAN)[:, None, None]
    torch.testing.assert_close(tensor, expected)


def test_the_same_as_the_predictor(module, tiny):
    cfg = defaults.clone()
    cfg.merge_from_file(tiny[0])
    image = np.random.default_rng(0).integers(0, 256, (64, 90, 3), dtype=np.uint8)
    found = module.COCODemo(cfg, min_image_size=64, weight_loading=tiny[1]).compute_prediction(image)
    expected = Predictor(*tiny, threshold=0)(image)
    torch.testing.assert_close(found.bbox, expected.bbox)
    assert found.get_field("labels").tolist() == expected.get_field("labels").tolist()


def test_said_in_a_sentence(demo):
    with pytest.raises(ValueError, match="masks_per_dim and min_image_size must be 1 or more; got 0 and 224"):
        demo(masks_per_dim=0)
