"""The pooler of a head."""

from typing import Any


def make_pooler(cfg, head_name: str) -> Any:
    """The Pooler that cfg.MODEL[head_name] describes."""
    from maskrcnn_benchmark.modeling import poolers  # which offers this function, too

    head = cfg.MODEL[head_name]
    size = head.POOLER_RESOLUTION
    return poolers.Pooler(
        output_size=(size, size), scales=head.POOLER_SCALES, sampling_ratio=head.POOLER_SAMPLING_RATIO
    )
