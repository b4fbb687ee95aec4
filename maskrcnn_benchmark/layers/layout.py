"""Which modules may be given maps in channels_last order.

Convolutions and RoIAlign are faster when all channels of a pixel lie together. But code of 2019 reads maps as contiguous,
`x.view(x.size(0), -1)` for one, so a detector is in channels_last only if every module of it is known not to mind.
"""

from typing import TypeVar

import torch
from torch import nn

Kind = TypeVar("Kind", bound=type)

_ANY_LAYOUT: set[type] = set()


def any_layout(kind: Kind) -> Kind:
    """Mark a class of modules that take and read maps in every memory format. Its subclasses are not marked with it."""
    _ANY_LAYOUT.add(kind)
    return kind


def is_marked(kind: type) -> bool:
    """Whether a class is one of this package's own, marked by `any_layout`."""
    return kind in _ANY_LAYOUT


def best_layout(model: nn.Module) -> torch.memory_format:
    """channels_last if every module is marked, or torch's own; otherwise contiguous."""
    kinds = {type(module) for module in model.modules()}
    fits = all(kind in _ANY_LAYOUT or kind.__module__.partition(".")[0] == "torch" for kind in kinds)
    return torch.channels_last if fits else torch.contiguous_format
