"""RoIPool, under upstream's path; the operator is `maskrcnn_benchmark.ops.roi_pool`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from maskrcnn_benchmark import _C
from maskrcnn_benchmark.layers.layout import any_layout
from maskrcnn_benchmark.ops.function import gradients, run_operator
from maskrcnn_benchmark.ops.roi_pool import roi_pool

__all__ = ["ROIPool", "_C", "_ROIPool", "roi_pool"]


class _ROIPool(Function):
    """`roi_pool` for code that calls `_ROIPool.apply` or builds on it."""

    @staticmethod
    def forward(ctx: Any, input: Tensor, roi: Tensor, output_size: Any, spatial_scale: float) -> Tensor:
        return run_operator(ctx, roi_pool, input, roi, output_size, spatial_scale)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        return gradients(ctx, grad_output)


@any_layout
class ROIPool(nn.Module):
    """Module form of `roi_pool`."""

    def __init__(self, output_size: int | Sequence[int], spatial_scale: float) -> None:
        super().__init__()
        self.output_size = output_size
        self.spatial_scale = spatial_scale

    def forward(self, input: Tensor, rois: Tensor) -> Tensor:
        return roi_pool(input, rois, self.output_size, self.spatial_scale)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(output_size={self.output_size}, spatial_scale={self.spatial_scale})"
