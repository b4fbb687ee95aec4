"""RetinaNet's anchors."""

from typing import Any


def make_anchor_generator_retinanet(config) -> Any:
    """SCALES_PER_OCTAVE sizes on each level, evenly spaced on a logarithmic scale from ANCHOR_SIZES to OCTAVE times it."""
    from maskrcnn_benchmark.modeling.rpn import anchor_generator  # which offers this function, too

    retinanet = config.MODEL.RETINANET
    strides, sizes = retinanet.ANCHOR_STRIDES, retinanet.ANCHOR_SIZES
    if len(strides) != len(sizes):
        raise ValueError(
            f"MODEL.RETINANET.ANCHOR_STRIDES {tuple(strides)} has {len(strides)} maps, ANCHOR_SIZES {tuple(sizes)} has "
            f"{len(sizes)}; give one size for each map."
        )
    count = retinanet.SCALES_PER_OCTAVE
    per_level = tuple(tuple(size * retinanet.OCTAVE ** (k / count) for k in range(count)) for size in sizes)
    return anchor_generator.AnchorGenerator(per_level, retinanet.ASPECT_RATIOS, strides, retinanet.STRADDLE_THRESH)
