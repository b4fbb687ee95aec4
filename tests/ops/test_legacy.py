"""Upstream's native functions, found on `_C`, against this package's own and their gradients."""

import pytest
import torch

from maskrcnn_benchmark import _C
from maskrcnn_benchmark.ops import legacy
from maskrcnn_benchmark.ops.deform_conv import deform_conv, modulated_deform_conv
from maskrcnn_benchmark.ops.deform_psroi import deform_roi_pooling
from maskrcnn_benchmark.ops.library import ops
from maskrcnn_benchmark.ops.nms import batched_nms
from maskrcnn_benchmark.ops.nms import nms as nms_best_first
from maskrcnn_benchmark.ops.roi_align import roi_align
from maskrcnn_benchmark.ops.roi_pool import roi_pool

NAMES = """
nms roi_align_forward roi_align_backward roi_pool_forward roi_pool_backward sigmoid_focalloss_forward
sigmoid_focalloss_backward deform_conv_forward deform_conv_backward_input deform_conv_backward_parameters
modulated_deform_conv_forward modulated_deform_conv_backward deform_psroi_pooling_forward deform_psroi_pooling_backward
ml_nms
""".split()

ROIS = torch.tensor([[0.0, 1, 2, 9, 11], [1, 0, 0, 14, 7]], dtype=torch.float64)


def random(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(sum(shape)))


def gradients(function, *inputs: torch.Tensor):
    """The value of `function`, a gradient for it, and what that gives for the inputs."""
    inputs = [t.clone().requires_grad_() for t in inputs]
    output = function(*inputs)
    grad = random(*output.shape)
    return output.detach(), grad, torch.autograd.grad(output, inputs, grad)


def test_upstreams_fourteen_and_ml_nms_are_there_and_nothing_else():
    assert all(callable(getattr(_C, name)) for name in NAMES)
    assert sorted(legacy.FUNCTIONS) == sorted(NAMES)
    assert not hasattr(_C, "_anything")


def test_a_native_function_of_a_fork_says_so_when_it_is_called():
    roi_crop = _C.roi_crop  # as forks take all of theirs when they are imported
    with pytest.raises(
        NotImplementedError, match=r"_C.roi_crop is no function of maskrcnn-benchmark: a fork brought it"
    ):
        roi_crop(torch.zeros(1))


def test_nms():
    boxes = torch.tensor([[0.0, 0, 9, 9], [1, 1, 10, 10], [20, 20, 29, 29]])
    assert _C.nms(boxes, torch.tensor([0.5, 0.9, 0.1]), 0.5).tolist() == [1, 2]
    scores = torch.tensor([0.1, 0.5, 0.9])
    assert nms_best_first(boxes, scores, 0.5).tolist() == [2, 1]
    assert _C.nms(boxes, scores, 0.5).tolist() == [1, 2]  # ascending, as upstream's kernels return them
    assert _C.nms(boxes[:0], scores[:0], 0.5).shape == (0,)


@pytest.mark.parametrize("dtype", [torch.float32, torch.int32, torch.int64])
def test_ml_nms_is_nms_label_by_label(dtype):
    generator = torch.Generator().manual_seed(0)
    corners = torch.rand(200, 2, generator=generator) * 30
    boxes = torch.cat([corners, corners + 5 + torch.rand(200, 2, generator=generator) * 20], 1)
    scores, labels = torch.rand(200, generator=generator), torch.randint(1, 5, (200,), generator=generator)
    expected = []
    for label in range(1, 5):
        members = (labels == label).nonzero().squeeze(1)
        expected += members[nms_best_first(boxes[members], scores[members], 0.4)].tolist()
    assert _C.ml_nms(boxes, scores, labels.to(dtype), 0.4).tolist() == sorted(expected)
    assert len(expected) < 200 and sorted(batched_nms(boxes, scores, labels, 0.4).tolist()) == sorted(expected)
    assert _C.ml_nms(boxes[:0], scores[:0], labels[:0].to(dtype), 0.4).shape == (0,)


def test_roi_align():
    x = random(2, 3, 12, 15)
    value, grad, (expected,) = gradients(lambda t: roi_align(t, ROIS, (2, 3), 0.5, 2), x)
    assert torch.equal(_C.roi_align_forward(x, ROIS, 0.5, 2, 3, 2), value)
    assert torch.equal(_C.roi_align_backward(grad, ROIS, 0.5, 2, 3, *x.shape, 2), expected)


def test_roi_pool():
    x = random(2, 3, 12, 15)
    value, grad, (expected,) = gradients(lambda t: roi_pool(t, ROIS, (2, 3), 0.5), x)
    output, argmax = _C.roi_pool_forward(x, ROIS, 0.5, 2, 3)
    assert torch.equal(output, value)
    assert torch.equal(_C.roi_pool_backward(grad, x, ROIS, argmax, 0.5, 2, 3, *x.shape), expected)


def test_sigmoid_focal_loss():
    logits, targets = random(6, 4), torch.tensor([0, 1, 4, -1, 2, 3])
    value, grad, (expected,) = gradients(lambda t: ops.sigmoid_focal_loss(t, targets, 2.0, 0.25), logits)
    assert torch.equal(_C.sigmoid_focalloss_forward(logits, targets, 4, 2.0, 0.25), value)
    assert torch.equal(_C.sigmoid_focalloss_backward(logits, targets, grad, 4, 2.0, 0.25), expected)


def test_deform_conv():
    x, offset, weight = random(2, 4, 9, 8), random(2, 18, 5, 4), random(6, 4, 3, 3)
    settings = ((2, 2), (1, 1), (1, 1), 1, 1)
    value, grad, expected = gradients(lambda a, b, c: deform_conv(a, b, c, *settings), x, offset, weight)
    output, columns, ones = torch.empty(0, dtype=x.dtype), torch.empty(0), torch.empty(0)
    tail = (3, 3, 2, 2, 1, 1, 1, 1, 1, 1)
    assert _C.deform_conv_forward(x, weight, offset, output, columns, ones, *tail, 64) == 1
    assert torch.equal(output, value)
    grad_x, grad_offset = torch.empty_like(x), torch.empty_like(offset)
    _C.deform_conv_backward_input(x, offset, grad, grad_x, grad_offset, weight, columns, *tail, 64)
    grad_weight = torch.ones_like(weight)
    _C.deform_conv_backward_parameters(x, offset, grad, grad_weight, columns, ones, *tail, 0.5, 64)
    for actual, wanted in zip((grad_x, grad_offset, grad_weight), (*expected[:2], 1 + expected[2] / 2), strict=True):
        torch.testing.assert_close(actual, wanted)


@pytest.mark.parametrize("with_bias", [True, False])
def test_modulated_deform_conv(with_bias):
    inputs = [random(2, 4, 6, 5), random(2, 18, 6, 5), random(2, 9, 6, 5), random(6, 4, 3, 3), random(6)]
    settings = ((1, 1), (1, 1), (1, 1), 1, 1)
    used = inputs if with_bias else inputs[:4]
    value, grad, expected = gradients(lambda x, o, m, w, b=None: modulated_deform_conv(x, o, m, w, b, *settings), *used)
    x, offset, mask, weight, bias = inputs
    tail = (3, 3, 1, 1, 1, 1, 1, 1, 1, 1, with_bias)
    output, empty = torch.empty(0, dtype=x.dtype), torch.empty(0)
    _C.modulated_deform_conv_forward(x, weight, bias, empty, offset, mask, output, empty, *tail)
    assert torch.equal(output, value)
    gx, go, gm, gw, gb = (torch.zeros_like(t) for t in inputs)
    _C.modulated_deform_conv_backward(x, weight, bias, empty, offset, mask, empty, gx, gw, gb, go, gm, grad, *tail)
    for actual, wanted in zip((gx, go, gm, gw, gb), expected, strict=False):
        torch.testing.assert_close(actual, wanted)
    assert with_bias or not gb.any()


@pytest.mark.parametrize("no_trans", [True, False])
def test_deform_psroi_pooling(no_trans):
    x, trans = random(2, 8, 12, 15), random(2, 2, 2, 2)
    settings = (2, no_trans, 2, 2, 3, 0.1)
    used = [x] if no_trans else [x, trans]
    value, grad, expected = gradients(lambda a, t=trans: deform_roi_pooling(a, ROIS, t, 0.5, 2, *settings), *used)
    out, counts = torch.empty(0, dtype=x.dtype), torch.empty(0, dtype=x.dtype)
    tail = (no_trans, 0.5, 2, 2, 2, 2, 3, 0.1)
    _C.deform_psroi_pooling_forward(x, ROIS, trans, out, counts, *tail)
    assert torch.equal(out, value) and counts.shape == out.shape
    grad_x, grad_trans = torch.empty_like(x), torch.empty_like(trans)
    _C.deform_psroi_pooling_backward(grad, x, ROIS, trans, counts, grad_x, grad_trans, *tail)
    for actual, wanted in zip((grad_x, grad_trans), expected, strict=False):
        torch.testing.assert_close(actual, wanted)
