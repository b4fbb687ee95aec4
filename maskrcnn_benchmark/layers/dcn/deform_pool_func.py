"""Deformable RoI pooling, under upstream's path; the operator is `maskrcnn_benchmark.ops.deform_psroi`."""

from __future__ import annotations

from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from maskrcnn_benchmark import _C
from maskrcnn_benchmark.ops.deform_psroi import deform_roi_pooling
from maskrcnn_benchmark.ops.function import gradients, run_operator

__all__ = ["DeformRoIPoolingFunction", "_C", "deform_roi_pooling"]


class DeformRoIPoolingFunction(Function):
    """`deform_roi_pooling` for code that calls `DeformRoIPoolingFunction.apply` or builds on it."""

    @staticmethod
    def forward(
        ctx, data, rois, offset, spatial_scale, out_size, out_channels, no_trans, group_size=1, part_size=None,
        sample_per_part=4, trans_std=0.0,
    ) -> Tensor:  # fmt: skip
        settings = (spatial_scale, out_size, out_channels, no_trans, group_size, part_size, sample_per_part, trans_std)
        return run_operator(ctx, deform_roi_pooling, data, rois, offset, *settings)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        return gradients(ctx, grad_output)
