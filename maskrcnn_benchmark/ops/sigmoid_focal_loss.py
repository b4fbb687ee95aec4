"""Sigmoid focal loss of one-stage detectors (RetinaNet, https://arxiv.org/abs/1708.02002, equation 5)."""

from __future__ import annotations

import torch
from torch import Tensor

from .library import ops, refuse_second_derivative

_FORWARD = "maskrcnn_benchmark::sigmoid_focal_loss"
_BACKWARD = "maskrcnn_benchmark::sigmoid_focal_loss_backward"


def sigmoid_focal_loss(logits: Tensor, targets: Tensor, gamma: float, alpha: float) -> Tensor:
    """Focal loss of every logit, not reduced.

    With p = sigmoid(logit) an element costs -alpha (1 - p)^gamma log(p) where its class is the row's target,
    -(1 - alpha) p^gamma log(1 - p) where it is not, and nothing in an ignored row.

    Args:
        logits: Tensor[N, C]; column c holds class c + 1.
        targets: Tensor[N] int32 or int64: the class 1 to C, 0 for background, negative to ignore the row.
        gamma: how strongly well classified elements are discounted; not negative.
        alpha: weight of the target class; the others weigh 1 - alpha.

    Returns:
        Tensor[N, C] in the dtype of the logits (float32 under autocast). Large logits neither overflow nor cancel.
    """
    return ops.sigmoid_focal_loss(logits, targets, gamma, alpha)


@torch.library.register_fake(_FORWARD)
def _forward_fake(logits, targets, gamma, alpha):
    return logits.new_empty(logits.shape)


@torch.library.register_fake(_BACKWARD)
def _backward_fake(grad, logits, targets, gamma, alpha):
    return logits.new_empty(logits.shape)


def _setup(ctx, inputs, output) -> None:
    logits, targets, *ctx.settings = inputs
    ctx.save_for_backward(logits, targets)


def _differentiate(ctx, grad):
    return ops.sigmoid_focal_loss_backward(grad, *ctx.saved_tensors, *ctx.settings), None, None, None


torch.library.register_autograd(_FORWARD, _differentiate, setup_context=_setup)
refuse_second_derivative(_BACKWARD)
# A loss: autocast computes it in float32, as it does PyTorch's own.
torch.library.register_autocast(_FORWARD, "cpu", torch.float32)
torch.library.register_autocast(_FORWARD, "cuda", torch.float32)
