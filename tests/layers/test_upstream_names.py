"""The names of upstream's layers that forks read, and that each is the operator."""

from __future__ import annotations

import importlib

import pytest
import torch
from torch import Tensor, nn

from maskrcnn_benchmark import _C, layers
from maskrcnn_benchmark.layers import DeformConv, DFConv2d, FrozenBatchNorm2d, ModulatedDeformConv
from maskrcnn_benchmark.layers.dcn import deform_conv_op
from maskrcnn_benchmark.layers.dcn.deform_conv_func import DeformConvFunction, ModulatedDeformConvFunction
from maskrcnn_benchmark.layers.misc import _NewEmptyTensorOp
from maskrcnn_benchmark.ops import deform_conv_op as operator

NAMES = {
    "": "nms roi_align ROIAlign roi_pool ROIPool smooth_l1_loss Conv2d DFConv2d ConvTranspose2d interpolate BatchNorm2d "
    "FrozenBatchNorm2d SigmoidFocalLoss deform_conv modulated_deform_conv DeformConv ModulatedDeformConv "
    "ModulatedDeformConvPack deform_roi_pooling DeformRoIPooling DeformRoIPoolingPack ModulatedDeformRoIPoolingPack",
    "._utils": "_C _load_C_extensions",
    ".batch_norm": "FrozenBatchNorm2d",
    ".misc": "Conv2d ConvTranspose2d BatchNorm2d interpolate DFConv2d _NewEmptyTensorOp",
    ".nms": "_C nms",
    ".roi_align": "_C _ROIAlign roi_align ROIAlign",
    ".roi_pool": "_C _ROIPool roi_pool ROIPool",
    ".sigmoid_focal_loss": "_C _SigmoidFocalLoss sigmoid_focal_loss_cuda sigmoid_focal_loss_cpu SigmoidFocalLoss",
    ".smooth_l1_loss": "smooth_l1_loss",
    ".dcn.deform_conv_func": "_C DeformConvFunction ModulatedDeformConvFunction deform_conv modulated_deform_conv",
    ".dcn.deform_conv_module": "DeformConv ModulatedDeformConv ModulatedDeformConvPack",
    ".dcn.deform_pool_func": "_C DeformRoIPoolingFunction deform_roi_pooling",
    ".dcn.deform_pool_module": "DeformRoIPooling DeformRoIPoolingPack ModulatedDeformRoIPoolingPack",
}


@pytest.mark.parametrize("module", NAMES)
def test_module_has_upstreams_names(module: str) -> None:
    found = importlib.import_module(f"maskrcnn_benchmark.layers{module}")
    assert [name for name in NAMES[module].split() if not hasattr(found, name)] == []


def random(*shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def module(name: str):
    return importlib.import_module(f"maskrcnn_benchmark.layers.{name}")  # layers.roi_align is the function


ROIS = torch.tensor([[0.0, 1, 2, 9, 11], [1, 0, 0, 14, 7]])


@pytest.mark.parametrize(
    ("function", "reference", "first", "others"),
    [
        (module("roi_align")._ROIAlign, layers.roi_align, random(2, 3, 12, 15), (ROIS, (2, 3), 0.5, 2)),
        (module("roi_pool")._ROIPool, layers.roi_pool, random(2, 3, 12, 15), (ROIS, (2, 3), 0.5)),
        (
            module("sigmoid_focal_loss")._SigmoidFocalLoss,
            module("sigmoid_focal_loss").sigmoid_focal_loss_cuda,
            random(5, 4),
            (torch.tensor([0, 1, 4, -1, 2]), 2.0, 0.25),
        ),
    ],
)
def test_upstreams_functions_are_the_operator(function, reference, first: Tensor, others: tuple) -> None:
    tensor = first.requires_grad_()
    results = [function.apply(tensor, *others), reference(tensor, *others)]
    assert torch.equal(*results)
    grads = [torch.autograd.grad(result.square().sum(), tensor)[0] for result in results]
    assert torch.equal(*grads) and grads[0].any()


def test_native_module_is_one() -> None:
    assert module("_utils")._load_C_extensions() is module("_utils")._C is module("nms")._C is _C
    assert module("legacy").FUNCTIONS["nms"] is _C.nms
    assert module("_ops").ops is torch.ops.maskrcnn_benchmark


def test_bound_of_columns_is_set_in_the_operator(monkeypatch: pytest.MonkeyPatch) -> None:
    """Setting it on the module that layers.dcn offers makes the operator work in parts of one row."""
    assert deform_conv_op is operator
    x, offset, weight = random(1, 2, 4, 4), torch.zeros(1, 18, 4, 4), random(3, 2, 3, 3)
    rows: list[Tensor] = []
    im2col = operator.ops.deform_im2col

    class Spy:
        def __getattr__(self, name: str):
            return getattr(torch.ops.maskrcnn_benchmark, name)

        def deform_im2col(self, *arguments):
            rows.append(arguments[-1])
            return im2col(*arguments)

    monkeypatch.setattr(operator, "ops", Spy())
    expected = nn.functional.conv2d(x, weight, padding=1)
    torch.testing.assert_close(layers.deform_conv(x, offset, weight, 1, 1), expected)
    assert len(rows) == 1
    monkeypatch.setattr(deform_conv_op, "_COLUMN_BYTES", 1)
    torch.testing.assert_close(layers.deform_conv(x, offset, weight, 1, 1), expected)
    assert len(rows) == 1 + 16


def test_new_empty_tensor_op_keeps_the_graph() -> None:
    x = torch.zeros(0, 3, 8, 8, requires_grad=True)
    y = _NewEmptyTensorOp.apply(x, (0, 5, 4, 4))
    assert y.shape == (0, 5, 4, 4)
    y.sum().backward()
    assert x.grad is not None and x.grad.shape == x.shape


@pytest.mark.parametrize(("kernel", "dilation", "padding"), [(3, 1, 1), (3, 2, 2), ((3, 5), (1, 1), (1, 2))])
def test_dfconv_keeps_its_settings(kernel, dilation, padding) -> None:
    stride = 1 if isinstance(kernel, int) else (1, 1)
    conv = DFConv2d(4, 6, False, kernel, stride, dilation=dilation)
    assert (conv.kernel_size, conv.stride, conv.dilation, conv.padding) == (kernel, stride, dilation, padding)
    assert conv(random(1, 4, 9, 9)).shape == (1, 6, 9, 9)


def test_with_bias_of_deformable_convolutions() -> None:
    assert DeformConv(4, 4, 3).with_bias is False
    assert [ModulatedDeformConv(4, 4, 3, bias=bias).with_bias for bias in (True, False)] == [True, False]


def test_sizes_that_the_functions_predict() -> None:
    x, weight = random(2, 4, 11, 9), random(6, 4, 3, 5)
    settings = dict(stride=(2, 1), padding=(1, 2), dilation=(2, 1))
    expected = nn.functional.conv2d(x, weight, None, **settings).shape
    assert (
        DeformConvFunction._output_size(x, weight, *(settings[k] for k in ("padding", "dilation", "stride")))
        == expected
    )
    with pytest.raises(ValueError, match="needs a larger input"):
        DeformConvFunction._output_size(x[:, :, :2], weight, (0, 0), (1, 1), (1, 1))

    class Context:
        stride, padding, dilation = 2, 1, 2

    expected = nn.functional.conv2d(x, weight, None, 2, 1, 2).shape
    assert ModulatedDeformConvFunction._infer_shape(Context, x, weight) == expected


def test_only_the_package_s_own_frozen_norm_is_folded_into_a_convolution() -> None:
    """A fork's class of that name may have another formula."""

    class FrozenWithEpsilon(FrozenBatchNorm2d):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) + 1

    conv, norm = nn.Conv2d(3, 4, 1), FrozenWithEpsilon(4)
    x = random(1, 3, 5, 5)
    torch.testing.assert_close(layers.conv_norm(x, conv, norm), conv(x) + 1)
