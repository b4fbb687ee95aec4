"""Arithmetic in float32 where the rest of a model computes in less."""

import contextlib

import torch
from torch import Tensor


def full_precision(tensor: Tensor) -> contextlib.AbstractContextManager:
    """Within this block autocast leaves what is computed on the tensor's device in the dtypes of its operands.

    Places in an image want it: of pixels beyond 256 bfloat16 knows only every second.
    """
    kind = tensor.device.type
    return torch.autocast(kind, enabled=False) if torch.amp.is_autocast_available(kind) else contextlib.nullcontext()
