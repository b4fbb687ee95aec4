"""RoIAlign of a single map, under upstream's path; the operator is `maskrcnn_benchmark.ops.roi_align`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from maskrcnn_benchmark import _C
from maskrcnn_benchmark.layers.layout import any_layout
from maskrcnn_benchmark.ops.function import gradients, run_operator
from maskrcnn_benchmark.ops.roi_align import roi_align
from maskrcnn_benchmark.utils.overriding import replaceable

__all__ = ["ROIAlign", "_C", "_ROIAlign", "roi_align"]


class _ROIAlign(Function):
    """`roi_align` for code that calls `_ROIAlign.apply` or builds on it."""

    @staticmethod
    def forward(
        ctx: Any, input: Tensor, roi: Tensor, output_size: Any, spatial_scale: float, sampling_ratio: int
    ) -> Tensor:
        return run_operator(ctx, roi_align, input, roi, output_size, spatial_scale, sampling_ratio)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        return gradients(ctx, grad_output)


@replaceable("forward")
@any_layout
class ROIAlign(nn.Module):
    """Module form of `roi_align`."""

    def __init__(
        self, output_size: int | Sequence[int], spatial_scale: float, sampling_ratio: int, aligned: bool = False
    ) -> None:
        super().__init__()
        self.output_size = output_size
        self.spatial_scale = spatial_scale
        self.sampling_ratio = sampling_ratio
        self.aligned = aligned

    def forward(self, input: Tensor, rois: Tensor) -> Tensor:
        return roi_align(input, rois, self.output_size, self.spatial_scale, self.sampling_ratio, self.aligned)

    def __repr__(self) -> str:
        names = ["output_size", "spatial_scale", "sampling_ratio", *["aligned"] * self.aligned]
        return f"{type(self).__name__}({', '.join(f'{name}={getattr(self, name)}' for name in names)})"
