"""Whether objects are large enough at the network's input, and few enough, for a configuration to find them.

Each thing is said once for a data set, with the numbers and the keys; nothing is an error.
"""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from maskrcnn_benchmark.config.areas import counted_detections
from maskrcnn_benchmark.config.options import options
from maskrcnn_benchmark.data.set_facts import Facts, facts_of_dataset
from maskrcnn_benchmark.data.tiles import make_tiling
from maskrcnn_benchmark.utils.wording import counted

logger = logging.getLogger(__name__)

FEW_PIXELS = 12  # along an object at the input: fewer are hardly seen
OTHER_SCALE = 1.5  # times the tiles' scale, or that part of it, from which a whole image is another sight to a network
LIMITED = 0.98  # of the scale that MIN_SIZE asks for: what is lost by rounding is nobody's matter

_said: set[tuple[str, bool, str]] = set()


def check_sizes(cfg: Any, dataset: Any, name: str, is_train: bool) -> None:
    """Look at a data set as `cfg` will train or test on it, and warn."""
    try:
        warnings = _warnings(cfg, dataset, is_train)
    except Exception:  # anyone's data set, which may not tell: advice never ends a run
        logger.debug("%s: the sizes of its objects were not looked at", name, exc_info=True)
        return
    for kind, text in warnings.items():
        if text and (name, is_train, kind) not in _said:
            _said.add((name, is_train, kind))
            logger.warning("%s: %s", name, text)


def _warnings(cfg: Any, dataset: Any, is_train: bool) -> dict[str, str]:
    """By what they are of; "" where all is well."""
    facts = facts_of_dataset(dataset)
    suffix = "TRAIN" if is_train else "TEST"
    scales, limited = _scales(cfg, facts, is_train)
    return {
        "limited": _of_limit(cfg, facts, limited, suffix),
        "fitting": "" if is_train else _of_one_tile(cfg, facts, scales),
        "small": _of_size(cfg, facts, float(np.median(scales)), suffix),
        "dense": "" if is_train else _of_density(cfg, dataset, facts),
    }


def _scales(cfg: Any, facts: Facts, is_train: bool) -> tuple[np.ndarray, np.ndarray]:
    """Network pixels for one of each image, and whether MAX_SIZE limits them: float64 and bool [images]."""
    source, tiles = cfg.INPUT, options(cfg).INPUT.TILES
    none = np.zeros(len(facts.sides), bool)
    tiling = make_tiling(cfg)
    if is_train and tiles.TRAIN and tiles.SIZE:
        return np.full(len(facts.sides), tiles.SCALE), none
    sides = np.maximum(facts.sides, 1)  # an image that gives its size as zero is a matter of `mrb check`
    if is_train and options(cfg).INPUT.SCALE_JITTER:
        low, high = options(cfg).INPUT.SCALE_JITTER
        return options(cfg).INPUT.SCALE_JITTER_SIZE * (low * high) ** 0.5 / sides.max(axis=1), none
    shorter, longer = sides.min(axis=1), sides.max(axis=1)
    sizes = source.MIN_SIZE_TRAIN if is_train else source.MIN_SIZE_TEST
    wanted = float(np.median(sizes)) / shorter
    allowed = (source.MAX_SIZE_TRAIN if is_train else source.MAX_SIZE_TEST) / longer
    if tiling is not None and not is_train:  # one look at what fits into a tile, as without tiles
        return np.where(longer > tiling.size, tiling.scale, np.minimum(wanted, allowed)), none
    return np.minimum(wanted, allowed), allowed < LIMITED * wanted


def _of_one_tile(cfg: Any, facts: Facts, scales: np.ndarray) -> str:
    """Images that fit into one tile are looked at as without tiles, perhaps at quite another scale than the tiles."""
    tiling = make_tiling(cfg)
    if tiling is None:
        return ""
    fitting = facts.sides.max(axis=1) <= tiling.size
    ratio = scales[fitting] / tiling.scale
    apart = np.maximum(ratio, 1 / np.maximum(ratio, 1e-9)) > OTHER_SCALE
    if not apart.any():
        return ""
    sides = facts.sides[fitting][apart]
    short, long = (round(float(side) * tiling.scale) for side in (np.median(sides.min(axis=1)), sides.max()))
    return (
        f"{int(apart.sum())} of {counted(facts.images, 'image')} fit into one tile and are looked at as a whole, at a scale of "
        f"{float(np.median(scales[fitting][apart])):.2g} (INPUT.MIN_SIZE_TEST {cfg.INPUT.MIN_SIZE_TEST}, MAX_SIZE_TEST "
        f"{cfg.INPUT.MAX_SIZE_TEST}), where tiles have {tiling.scale:g} (INPUT.TILES.SCALE). MIN_SIZE_TEST {short} with "
        f"MAX_SIZE_TEST {long} brings them to that of the tiles; the whole image beside tiles is then as small."
    )


def _of_limit(cfg: Any, facts: Facts, limited: np.ndarray, suffix: str) -> str:
    if limited.mean() <= 0.5:
        return ""
    low, high = cfg.INPUT[f"MIN_SIZE_{suffix}"], cfg.INPUT[f"MAX_SIZE_{suffix}"]
    low = low[0] if isinstance(low, (list, tuple)) and len(low) == 1 else low
    least = float(np.median(low))
    needed = int(np.ceil((least * facts.sides.max(axis=1) / facts.sides.min(axis=1)).max()))
    scale = high / facts.longer
    return (
        f"INPUT.MAX_SIZE_{suffix} {high} rather than MIN_SIZE_{suffix} {low} limits {int(limited.sum())} of "
        f"{counted(facts.images, 'image')}: {facts.longer:.0f} x {facts.shorter:.0f} becomes {high} x "
        f"{facts.shorter * scale:.0f}. A larger MIN_SIZE_{suffix} has no effect; MAX_SIZE_{suffix} {needed} lets it have one."
    )


def _of_size(cfg: Any, facts: Facts, scale: float, suffix: str) -> str:
    median = round(facts.median * scale, 1)  # as it is shown
    key = "MODEL.RETINANET.ANCHOR_SIZES" if cfg.MODEL.RETINANET_ON else "MODEL.RPN.ANCHOR_SIZES"
    sizes = cfg.MODEL.RETINANET.ANCHOR_SIZES if cfg.MODEL.RETINANET_ON else cfg.MODEL.RPN.ANCHOR_SIZES
    smallest = min(np.min(size) for size in sizes)
    below = [f"the smallest of {key}, {smallest:g}"] if median < smallest else []
    below += [f"{FEW_PIXELS} pixels"] if median < FEW_PIXELS != smallest else []
    if not below:
        return ""
    return (
        f"the median object, {facts.median:.0f} pixels (the root of its area), becomes {median:g} at the network's input, less "
        f"than {' and '.join(below)}. Raise INPUT.MIN_SIZE_{suffix} and MAX_SIZE_{suffix}, or cut images into tiles (INPUT.TILES)"
        + (", or choose smaller anchors; `mrb suggest` chooses for a data set." if median < smallest else ".")
    )


def detections_key(cfg: Any) -> str:
    """The key that limits how many objects a configured model finds in an image; "" for proposals alone."""
    if cfg.MODEL.RETINANET_ON:
        return "TEST.DETECTIONS_PER_IMG"
    return "" if cfg.MODEL.RPN_ONLY else "MODEL.ROI_HEADS.DETECTIONS_PER_IMG"


def detections_limit(cfg: Any) -> int:
    """The value of `detections_key`; 0 for no limit."""
    heads, test = cfg.MODEL.ROI_HEADS, cfg.TEST
    return max(test.DETECTIONS_PER_IMG if cfg.MODEL.RETINANET_ON else heads.DETECTIONS_PER_IMG, 0)


def _of_density(cfg: Any, dataset: Any, facts: Facts) -> str:
    key = detections_key(cfg)
    if not key:
        return ""
    rpn = cfg.MODEL.RPN
    own = options(cfg).TEST
    limits = {"TEST.COCO_MAX_DETECTIONS": counted_detections(own.COCO_AREAS, own.COCO_MAX_DETECTIONS)}
    if make_tiling(cfg) is None:  # a tile has its own limit
        limits = {key: detections_limit(cfg), **limits}
        if not cfg.MODEL.RETINANET_ON:
            proposals = "FPN_POST_NMS_TOP_N_TEST" if rpn.USE_FPN else "POST_NMS_TOP_N_TEST"
            limits = {**limits, f"MODEL.RPN.{proposals}": rpn[proposals]}
    low = {name: value for name, value in limits.items() if 0 < value < facts.densest}
    if not low:
        return ""
    image = dataset.get_img_info(facts.densest_image).get("id", facts.densest_image)
    return (
        f"image {image} has {counted(facts.densest, 'object')}, but {' and '.join(f'{k} is {v}' for k, v in low.items())}. The "
        f"others count as missed; raise {'it' if len(low) == 1 else 'both' if len(low) == 2 else 'them'} to measure them."
    )
