"""The pooler of a head."""

from collections.abc import Callable
from typing import Any


def configured_pooler(pooler: Callable[..., Any], cfg, head_name: str) -> Any:
    """The pooler that cfg.MODEL[head_name] describes; `pooler` is the class Pooler, which may be a fork's."""
    head = cfg.MODEL[head_name]
    size = head.POOLER_RESOLUTION
    return pooler(output_size=(size, size), scales=head.POOLER_SCALES, sampling_ratio=head.POOLER_SAMPLING_RATIO)
