"""A configuration from a data set: input sizes or tiles, anchors, limits and a schedule that suit its objects.

The scale of objects at the network's input decides how many of the small ones are found.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from maskrcnn_benchmark.config.options import options
from maskrcnn_benchmark.data.anchor_fit import fit_anchors, recall
from maskrcnn_benchmark.data.formats.content import Content
from maskrcnn_benchmark.data.set_facts import Facts, facts_of
from maskrcnn_benchmark.data.size_checks import FEW_PIXELS
from maskrcnn_benchmark.utils.wording import counted

WANTED = 24.0  # pixels of the network's input that a small object (the 10th percentile) gets where it can
ENOUGH = 64.0  # above it, images may be made smaller
MAX_ENLARGEMENT = 2.0  # more adds pixels, but nothing to see in them
LARGEST_INPUT = 2000  # pixels of the longer side; images that would need more are cut into tiles
TILE_INPUT = 800  # pixels along a tile at the network's input
SMALLEST_TILE = 16  # pixels that INPUT.TILES.SIZE may be
TRAINED_TILE = 512  # the same of a tile that is trained on where tests look at whole images
LARGE_INPUT = 1.0e6  # pixels of an input from which training looks at tiles
BETTER_ANCHORS = 0.05  # share of the objects that fitted anchors must add: others are what the weights of a start know
OVERLAP_OBJECTS = 1.5  # tiles share so many times the size of a large object
MAX_OVERLAP = 0.5
JITTER = (0.8, 0.9, 1.0, 1.1, 1.2)  # of the training sizes, where objects vary in size
TILE_JITTER = (0.8, 1.25)  # of the scale of tiles in training
ALIKE = 0.7  # share of the wanted pixels that small objects must get where images of several sizes are made alike
WHOLE_INPUT = (800, 1333)  # pixels of the shorter and at most of the longer side of the whole image beside its tiles
FEW_BEYOND = 0.01  # share of the objects from which what is larger than a tile is trained on too
TRAIN_WHOLE = 0.25  # of the steps, for it
VARIED = 3.0  # ratio of large to small objects from which training takes several sizes


@dataclasses.dataclass(frozen=True)
class Choice:
    """A key of the configuration, its value, and why."""

    key: str
    value: Any
    reason: str


def suggest(
    content: Content, cfg: Any, memory_gb: float | None = None, weights: str = ""
) -> tuple[Facts, list[Choice]]:
    """The choices for training on a set, beside those of `cfg`, a configuration that they are to be merged over.

    Args:
        memory_gb: of the GPU; None for training on a CPU.
        weights: a file to start from.

    Raises ValueError for a set without objects.
    """
    facts = facts_of(content)
    boxes, sides = _objects(content)
    view = _input(facts, boxes, sides)
    anchors = _anchors(boxes * view.scales[:, None], cfg) if cfg.MODEL.RPN.USE_FPN else []
    if view.tile is None or any(choice.key == "INPUT.TILES.TEST" for choice in view.choices):
        dense = facts.densest
    else:
        dense = _densest_tile(content, view.tile)
    return facts, [
        *_classes(facts, cfg),
        *view.choices,
        *anchors,
        *_limits(facts, dense, cfg),
        *_schedule(facts, view.scale, view.tile, cfg, memory_gb),
        *_start(weights),
    ]


def as_table(choices: list[Choice]) -> str:
    """A line a key: the value, and why."""
    width = max(len(choice.key) for choice in choices)
    return "\n".join(f"{choice.key:{width}}  {choice.value!s:32}  {choice.reason}" for choice in choices)


def _start(weights: str) -> list[Choice]:
    if not weights:
        return []
    return [
        Choice("MODEL.WEIGHT", weights, "a trained detector is a better start than what the base has"),
        Choice("MODEL.WEIGHT_ALLOW_MISMATCH", True, "layers with another number of classes start anew"),
    ]


def _classes(facts: Facts, cfg: Any) -> list[Choice]:
    found = [
        Choice(
            "MODEL.ROI_BOX_HEAD.NUM_CLASSES",
            facts.classes + 1,
            f"{counted(facts.classes, 'class', 'classes')} and the background",
        )
    ]
    if cfg.MODEL.RETINANET_ON:
        found.append(Choice("MODEL.RETINANET.NUM_CLASSES", facts.classes + 1, "the same for RetinaNet"))
    if cfg.MODEL.MASK_ON and not facts.masks:
        found.append(Choice("MODEL.MASK_ON", False, "not every object has a mask"))
    reason = facts.no_keypoints
    if facts.keypoints and cfg.MODEL.RETINANET_ON:
        reason = f"objects have {counted(facts.keypoints, 'keypoint')}, which RetinaNet has no head for"
    if reason:
        return [*found, Choice("MODEL.KEYPOINT_ON", False, reason)]
    return found + (_keypoints(facts.keypoints, cfg) if facts.keypoints else [])


def _keypoints(count: int, cfg: Any) -> list[Choice]:
    """The head of configs/e2e_keypoint_rcnn_R_50_FPN_1x.yaml, on the maps that the box head pools from."""
    head = "MODEL.ROI_KEYPOINT_HEAD."
    layers = (2 * cfg.MODEL.RESNETS.BACKBONE_OUT_CHANNELS,) * len(cfg.MODEL.ROI_KEYPOINT_HEAD.CONV_LAYERS)
    is_wider = max(cfg.MODEL.ROI_KEYPOINT_HEAD.CONV_LAYERS) > layers[0]
    return [
        Choice("MODEL.KEYPOINT_ON", True, f"objects have {counted(count, 'keypoint')}; False for boxes alone"),
        Choice(f"{head}NUM_CLASSES", count, "the keypoints of an object"),
        Choice(f"{head}SHARE_BOX_FEATURE_EXTRACTOR", False, "the box head's features are vectors"),
        Choice(f"{head}POOLER_SCALES", tuple(cfg.MODEL.ROI_BOX_HEAD.POOLER_SCALES), "the maps of the box head"),
        Choice(f"{head}POOLER_RESOLUTION", 14, "of what is pooled"),
        Choice(f"{head}POOLER_SAMPLING_RATIO", 2, "samples along each side of its pixels"),
        Choice(f"{head}RESOLUTION", 56, "of the heatmaps, four times that"),
        *([Choice(f"{head}CONV_LAYERS", layers, "twice the channels of the maps, as in R-50-FPN")] if is_wider else []),
    ]


def scale_for(facts: Facts) -> float:
    """Network pixels for one of the image."""
    if facts.small < WANTED:
        return min(WANTED / facts.small, MAX_ENLARGEMENT)
    return min(ENOUGH / facts.small, 1.0)


def tile_for(facts: Facts, side: int = TILE_INPUT) -> tuple[int, float, float]:
    """Pixels along a tile that has `side` at the network's input, its scale, and the overlap of neighbours.

    The tile is not larger than the largest image, which is then looked at as a whole.
    """
    scale = round(scale_for(facts), 3)
    tile = min(_even(side / scale), max(facts.longest, SMALLEST_TILE))
    # The whole image shows what is larger than a tile.
    largest = max((size for size in (facts.small, facts.median, facts.large) if size <= tile), default=tile)
    return tile, scale, round(min(max(OVERLAP_OBJECTS * largest / tile, 0.1), MAX_OVERLAP), 2)


@dataclasses.dataclass(frozen=True)
class _View:
    """How the objects of a set will be seen.

    Attributes:
        scale: network pixels for one of the image, in most images.
        scales: the same for each object, float64 [objects].
        choices: the keys that make it.
        tile: pixels of a tile, where training looks at tiles.
    """

    scale: float
    scales: np.ndarray
    choices: list[Choice]
    tile: int | None = None


def _objects(content: Content) -> tuple[np.ndarray, np.ndarray]:
    """Boxes (x, y, width, height) of what `Facts` counts as objects, and the sides of their images: float64 [N, 4] and [N, 2]."""
    sides = {image["id"]: (image["height"], image["width"]) for image in content.images}
    found = [a for a in content.annotations if not a.get("iscrowd") and min(a["bbox"][2:]) > 1]
    return np.array([a["bbox"] for a in found], np.float64), np.array([sides[a["image_id"]] for a in found], np.float64)


def _resized(sides: np.ndarray, short: int, long: int) -> np.ndarray:
    """Network pixels for one of each image whose sides are to be at least `short` and at most `long`."""
    return np.minimum(short / sides.min(axis=1), long / sides.max(axis=1))


def _become(facts: Facts, boxes: np.ndarray, scales: np.ndarray) -> str:
    """What objects are at the network's input, in words."""
    small, median, large = np.percentile(np.sqrt(boxes[:, 2:].prod(axis=1)) * scales, (10, 50, 90))
    few = f"; fewer than {FEW_PIXELS} are hardly seen, but more enlargement shows no more" if small < FEW_PIXELS else ""
    return (
        f"small, median and large objects of {facts.small:.0f}, {facts.median:.0f} and {facts.large:.0f} pixels become "
        f"{small:.0f}, {median:.0f} and {large:.0f}{few}"
    )


def _input(facts: Facts, boxes: np.ndarray, sides: np.ndarray) -> _View:
    scale = scale_for(facts)
    if facts.longest * scale > LARGEST_INPUT:
        needed = f"images of {facts.longest} pixels would need {facts.longest * scale:.0f} at the input"
        return _tiles(facts, boxes, sides, needed)
    short, long = _even(facts.shorter * scale), _even(facts.longest * scale)
    scales = _resized(sides, short, long)
    if np.percentile(np.sqrt(boxes[:, 2:].prod(axis=1)) * scales, 10) < ALIKE * facts.small * scale:
        longer = facts.sides.max(axis=1)
        return _tiles(
            facts,
            boxes,
            sides,
            f"no one size suits images of {longer.min()} and of {longer.max()} pixels: tiles have a scale",
        )
    sizes = _become(facts, boxes, scales)
    tested = [
        Choice("INPUT.MIN_SIZE_TEST", short, sizes),
        Choice("INPUT.MAX_SIZE_TEST", long, "so that the longer side does not limit the scale"),
    ]
    if facts.shorter * facts.longer * scale**2 > LARGE_INPUT:
        tile, scale, _ = tile_for(facts, max(TRAINED_TILE, _even(2 * facts.large * scale)))
        choices = [*tested, *_trained_tiles(tile, scale), Choice("INPUT.TILES.TEST", False, "whole images fit")]
        return _View(scale, np.full(len(boxes), scale), choices, tile)
    varied = facts.large / facts.small > VARIED
    train = tuple(_even(short * j) for j in JITTER) if varied else (short,)
    longest = _even(long * (JITTER[-1] if varied else 1))
    reason = "several sizes, as the objects' sizes vary" if varied else sizes
    trained = [
        Choice("INPUT.MIN_SIZE_TRAIN", train, reason),
        Choice("INPUT.MAX_SIZE_TRAIN", longest, "so that the longer side does not limit the scale"),
    ]
    return _View(scale, scales, [*tested, *trained])


def _tiles(facts: Facts, boxes: np.ndarray, sides: np.ndarray, needed: str) -> _View:
    """Tests in tiles too: a whole image would be too large. What is larger than a tile the whole image shows."""
    tile, scale, overlap = tile_for(facts)
    beyond = boxes[:, 2:].max(axis=1) > tile
    short, long, why = *WHOLE_INPUT, "the whole image is looked at too, for large objects"
    trained = []
    fitting = facts.sides[facts.sides.max(axis=1) <= tile]
    if beyond.mean() >= FEW_BEYOND:
        reason = f"{counted(int(beyond.sum()), 'object is', 'objects are')} larger than a tile: whole images show them"
        trained = [
            Choice("INPUT.TILES.TRAIN_WHOLE", TRAIN_WHOLE, reason),
            Choice("INPUT.MIN_SIZE_TRAIN", (short,), "of whole images, as in tests"),
            Choice("INPUT.MAX_SIZE_TRAIN", long, "the same"),
        ]
    elif len(fitting):
        short, long = _even(float(np.median(fitting.min(axis=1))) * scale), _even(float(fitting.max()) * scale)
        why = "an image that fits into one tile is looked at as a whole: with this at a tile's scale"
    scales = np.where(beyond, _resized(sides, short, long), scale)
    choices = [
        *_trained_tiles(tile, scale, needed, _become(facts, boxes, scales)),
        *trained,
        Choice("INPUT.TILES.OVERLAP", overlap, "so that most objects are whole in one of two neighbours"),
        Choice("INPUT.MIN_SIZE_TEST", short, why),
        Choice("INPUT.MAX_SIZE_TEST", long, "the same"),
    ]
    return _View(scale, scales, choices, tile)


def _trained_tiles(tile: int, scale: float, why_size: str = "", why_scale: str = "") -> list[Choice]:
    input_side = _even(tile * scale)
    return [
        Choice(
            "INPUT.TILES.SIZE",
            tile,
            why_size or f"parts of the images, {input_side} pixels at the input: more steps in a minute",
        ),
        Choice("INPUT.TILES.SCALE", scale, why_scale or "that of the tests"),
        Choice("INPUT.TILES.TRAIN", True, "drawn anew each time, around objects and elsewhere"),
        Choice("INPUT.SCALE_JITTER", TILE_JITTER, "objects a little smaller and larger than they are"),
    ]


def _even(pixels: float) -> int:
    return max(2 * round(pixels / 2), 2)


def _densest_tile(content: Content, tile: int) -> int:
    """Objects in the fullest of tiles laid edge to edge."""
    counts: dict[tuple, int] = {}
    for annotation in content.annotations:
        x, y, width, height = annotation["bbox"]
        key = (annotation["image_id"], int((x + width / 2) // tile), int((y + height / 2) // tile))
        counts[key] = counts.get(key, 0) + 1
    return max(counts.values(), default=1)


def _anchors(boxes: np.ndarray, cfg: Any) -> list[Choice]:
    """`boxes` at the network's input."""
    strides = tuple(cfg.MODEL.RPN.ANCHOR_STRIDE)
    before = recall(boxes, cfg.MODEL.RPN.ANCHOR_SIZES, cfg.MODEL.RPN.ASPECT_RATIOS, strides)
    sizes, ratios = fit_anchors(boxes, strides)
    after = recall(boxes, sizes, ratios, strides)
    if after - before < BETTER_ANCHORS:
        reason = f"of the base: one overlaps {100 * before:.0f} % of the objects by half, fitted ones would {100 * after:.0f} %"
        return [Choice("MODEL.RPN.ANCHOR_SIZES", tuple(cfg.MODEL.RPN.ANCHOR_SIZES), reason)]
    said = f"an anchor overlaps {100 * after:.0f} % of the objects by half, with those of the base {100 * before:.0f} %"
    return [
        Choice("MODEL.RPN.ANCHOR_SIZES", sizes, said),
        Choice("MODEL.RPN.ASPECT_RATIOS", ratios, "height / width, from the objects"),
    ]


def _limits(facts: Facts, dense: int, cfg: Any) -> list[Choice]:
    """Room for the densest image, never less than the base has. In tests, where a proposal costs little, up to a thousand there
    are fifteen for an object: they find more small objects than four (benchmarks/results/small_objects.md).
    """
    detections = 50 * math.ceil(1.5 * dense / 50)
    proposals = 100 * math.ceil(max(4 * dense, min(15 * dense, 1000)) / 100)
    before_nms = 100 * math.ceil(max(6 * dense, min(25 * dense, 1000)) / 100)
    wanted = {
        "MODEL.ROI_HEADS.DETECTIONS_PER_IMG": detections,
        "MODEL.RPN.FPN_POST_NMS_TOP_N_TEST": proposals,
        "MODEL.RPN.POST_NMS_TOP_N_TEST": proposals,
        "MODEL.RPN.PRE_NMS_TOP_N_TEST": before_nms,
        "MODEL.RPN.FPN_POST_NMS_TOP_N_TRAIN": 100 * math.ceil(4 * dense / 100),
        "MODEL.RPN.PRE_NMS_TOP_N_TRAIN": 100 * math.ceil(8 * dense / 100),
        "MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE": min(32 * math.ceil(4 * dense / 32), 512),
    }
    if cfg.MODEL.RETINANET_ON:
        wanted = {"TEST.DETECTIONS_PER_IMG": detections}
    found = []
    for key, value in wanted.items():
        node = cfg
        for name in key.split("."):
            node = node[name]
        if value > node:
            found.append(
                Choice(key, value, f"the densest image or tile has {dense} objects; the base lets {node} through")
            )
    if facts.densest > (most := options(cfg).TEST.COCO_MAX_DETECTIONS):
        reason = f"the fullest image has {facts.densest} objects; of more than {most} the rest would count as missed"
        found.append(Choice("TEST.COCO_MAX_DETECTIONS", 100 * math.ceil(facts.densest / 100), reason))
    return found


def _schedule(facts: Facts, scale: float, tile: int | None, cfg: Any, memory_gb: float | None) -> list[Choice]:
    pixels = (tile * scale) ** 2 if tile else facts.shorter * facts.longer * scale**2
    if memory_gb is None:
        batch, epochs, most = (8 if pixels < 1.5e5 else 4 if pixels < 6e5 else 2), 30, 1500
    else:
        batch, epochs, most = int(np.clip(memory_gb / (3.0 * pixels / 1e6), 1, 16)), 36, 90_000
        batch = 2 ** int(math.log2(batch))
    parts = 1 if tile is None else max(facts.shorter * facts.longer / tile**2, 1)
    iterations = int(np.clip(round(facts.images * parts * epochs / batch / 50) * 50, 300, most))
    rate = cfg.SOLVER.BASE_LR * batch / cfg.SOLVER.IMS_PER_BATCH
    warm_up = min(cfg.SOLVER.WARMUP_ITERS, iterations // 5)
    return [
        Choice("SOLVER.IMS_PER_BATCH", batch, f"images of {pixels / 1e6:.1f} megapixels at the input"),
        Choice("SOLVER.BASE_LR", float(f"{rate:.3g}"), "in proportion to the batch"),
        Choice(
            "SOLVER.MAX_ITER",
            iterations,
            f"{iterations * batch / facts.images:.0f} looks at each of {counted(facts.images, 'image')}",
        ),
        Choice("SOLVER.STEPS", (int(iterations * 0.7), int(iterations * 0.92)), "lower rates towards the end"),
        Choice("SOLVER.WARMUP_ITERS", warm_up, "a fifth of the schedule at most"),
        Choice("SOLVER.CHECKPOINT_PERIOD", max(iterations // 4, 50), "four of them"),
        Choice("TEST.IMS_PER_BATCH", batch, "as in training"),
    ]
