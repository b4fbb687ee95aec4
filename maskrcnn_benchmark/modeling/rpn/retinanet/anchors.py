"""RetinaNet's anchors."""

from collections.abc import Callable
from typing import Any


def retinanet_anchors(generator: Callable[..., Any], config) -> Any:
    """`generator`, the class AnchorGenerator or a fork's, with SCALES_PER_OCTAVE sizes on each level, evenly spaced on a
    logarithmic scale from ANCHOR_SIZES to OCTAVE times it.
    """
    retinanet = config.MODEL.RETINANET
    strides, sizes = retinanet.ANCHOR_STRIDES, retinanet.ANCHOR_SIZES
    if len(strides) != len(sizes):
        raise ValueError(
            f"MODEL.RETINANET.ANCHOR_STRIDES {tuple(strides)} has {len(strides)} maps, ANCHOR_SIZES {tuple(sizes)} has "
            f"{len(sizes)}; give one size for each map."
        )
    count = retinanet.SCALES_PER_OCTAVE
    per_level = tuple(tuple(size * retinanet.OCTAVE ** (k / count) for k in range(count)) for size in sizes)
    return generator(per_level, retinanet.ASPECT_RATIOS, strides, retinanet.STRADDLE_THRESH)
