"""The weights between positions: that they are what the module multiplies g with, and where a point lands in the map."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from maskrcnn_benchmark.analysis.context import context_weights, non_local_modules
from maskrcnn_benchmark.config import cfg as defaults
from maskrcnn_benchmark.modeling.detector import build_detection_model
from maskrcnn_benchmark.visualization import draw_weights
from tests.support.dense_non_local import dct_matrix, module_of, pair_weights
from tests.support.helpers import CONFIG


def detector(*options: object) -> torch.nn.Module:
    cfg = defaults.clone()
    cfg.merge_from_file(str(CONFIG))
    cfg.merge_from_list(["MODEL.RESNETS.BACKBONE_OUT_CHANNELS", 16, "MODEL.ROI_BOX_HEAD.MLP_HEAD_DIM", 16, *options])
    torch.manual_seed(0)
    return build_detection_model(cfg)


@pytest.mark.parametrize(("type", "position"), [("enl", "dct"), ("enl", ""), ("nl", "dct"), ("nl_dot", "dct")])
def test_rows_of_the_dense_matrix(type, position):
    module = module_of(type, position)
    image = torch.randn(8, 6, 11, dtype=torch.float64)
    dense = pair_weights(module, image, type, position).reshape(6, 11, 6, 11)
    for row, column in ((0, 0), (4, 7), (5, 10)):
        weights = module.pair_weights(image, row, column)
        torch.testing.assert_close(weights.total, dense[row, column].float(), rtol=1e-5, atol=1e-6)
        torch.testing.assert_close(weights.appearance + weights.position, weights.total)
    basis = dct_matrix(6, 11, 9)
    expected = (basis @ basis.T)[4 * 11 + 7].reshape(6, 11) if type == "enl" and position else torch.zeros(6, 11)
    torch.testing.assert_close(module.pair_weights(image, 4, 7).position, expected.float(), rtol=1e-5, atol=1e-6)


def test_weights_make_the_output():
    """z_i = x_i + out(sum_j w_ij g_j): the weights of one position are enough to compute the module there."""
    module, x = module_of("enl").float(), torch.randn(1, 8, 20, 30)
    weights = module.pair_weights(x[0], 12, 3).total
    y = (module.g(x) * weights).sum((2, 3), keepdim=True)
    torch.testing.assert_close((x[..., 12:13, 3:4] + module.out(y)), module(x)[..., 12:13, 3:4], rtol=1e-4, atol=1e-4)


def test_a_point_of_the_image_is_found_in_each_map():
    model = detector("MODEL.NON_LOCAL.TOP_DOWN.TYPE", "enl", "MODEL.NON_LOCAL.BOTTOM_UP.TYPE", "nl").train()
    assert sorted(non_local_modules(model)) == [
        "backbone.body.non_local_res4",
        *(f"backbone.fpn.non_local_res{i}" for i in (3, 4, 5)),
    ]
    image = 50 * torch.randn(3, 96, 160)
    for name, stride in (("res3", 8), ("fpn.non_local_res4", 16), ("res5", 32)):
        weights = context_weights(model, image, (100.0, 70.0), name)
        assert weights.total.shape == (96 // stride, 160 // stride)
        peak = weights.position.flatten().argmax().item()
        assert divmod(peak, 160 // stride) == (
            70 // stride,
            100 // stride,
        )  # the low-pass kernel is highest at its centre
    assert context_weights(model, image, (0.0, 0.0), "body.non_local_res4").total.sum().item() == pytest.approx(1)
    assert model.training


def test_said_in_a_sentence():
    model, image = detector("MODEL.NON_LOCAL.TOP_DOWN.TYPE", "enl"), torch.zeros(3, 64, 64)
    with pytest.raises(ValueError, match=r"\(64, 3\) is outside the image of 64 x 64 pixels"):
        context_weights(model, image, (64, 3))
    with pytest.raises(ValueError, match="0 non-local modules are called 'res2'; there are backbone.fpn.non_local_res"):
        context_weights(model, image, (1, 1), "res2")
    with pytest.raises(ValueError, match="MODEL.NON_LOCAL.TOP_DOWN.TYPE turns them on"):
        context_weights(detector("MODEL.NON_LOCAL.TOP_DOWN.TYPE", ""), image, (1, 1))
    with pytest.raises(ValueError, match="6 rows and 11 columns; got row 6, column 0"):
        module_of("enl").pair_weights(torch.zeros(8, 6, 11, dtype=torch.float64), 6, 0)


def test_drawing_shows_the_sign():
    image = np.full((500, 600, 3), 128, np.uint8)
    weights = np.zeros((5, 6), np.float32)
    weights[0, 0], weights[4, 5] = 1.0, -1.0
    drawn = draw_weights(image, weights, (300, 250), 1.0)
    assert drawn.shape == image.shape
    blue, _, red = (int(v) for v in drawn[20, 20])
    assert red > blue + 100
    blue, _, red = (int(v) for v in drawn[480, 580])
    assert blue > red + 100
    assert (drawn[100, 300] == 64).all()
    assert cv2.cvtColor(drawn, cv2.COLOR_BGR2GRAY)[240:262, 290:312].max() == 255  # the ring
