"""Sigmoid focal loss, under upstream's path; the operator is `maskrcnn_benchmark.ops.sigmoid_focal_loss`."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable

from maskrcnn_benchmark import _C
from maskrcnn_benchmark.layers.layout import any_layout
from maskrcnn_benchmark.ops.function import gradients, run_operator
from maskrcnn_benchmark.ops.sigmoid_focal_loss import sigmoid_focal_loss

__all__ = [
    "SigmoidFocalLoss",
    "_C",
    "_SigmoidFocalLoss",
    "sigmoid_focal_loss",
    "sigmoid_focal_loss_cpu",
    "sigmoid_focal_loss_cuda",
]

# Upstream has a function for each device; here either serves both.
sigmoid_focal_loss_cpu = sigmoid_focal_loss_cuda = sigmoid_focal_loss


class _SigmoidFocalLoss(Function):
    """`sigmoid_focal_loss` for code that calls `_SigmoidFocalLoss.apply` or builds on it."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, targets: Tensor, gamma: float, alpha: float) -> Tensor:
        return run_operator(ctx, sigmoid_focal_loss, logits, targets, gamma, alpha)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_output: Tensor) -> tuple[Tensor | None, ...]:
        return gradients(ctx, grad_output)


@any_layout
class SigmoidFocalLoss(nn.Module):
    """Sum of `sigmoid_focal_loss` over all elements."""

    def __init__(self, gamma: float, alpha: float) -> None:
        super().__init__()
        self.gamma = gamma
        self.alpha = alpha

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        return sigmoid_focal_loss(logits, targets, self.gamma, self.alpha).sum()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(gamma={self.gamma}, alpha={self.alpha})"
