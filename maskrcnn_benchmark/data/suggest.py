"""A configuration from a data set: input sizes or tiles, anchors, limits and a schedule that suit its objects.

The scale of objects at the network's input decides how many of the small ones are found.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from maskrcnn_benchmark.data.anchor_fit import fit_anchors, recall
from maskrcnn_benchmark.data.formats.content import Content
from maskrcnn_benchmark.utils.wording import counted

WANTED = 24.0  # pixels of the network's input that a small object (the 10th percentile) gets where it can
ENOUGH = 64.0  # above it, images may be made smaller
MAX_ENLARGEMENT = 2.0  # more adds pixels, but nothing to see in them
LARGEST_INPUT = 2000  # pixels of the longer side; images that would need more are cut into tiles
TILE_INPUT = 800  # pixels along a tile at the network's input
OVERLAP_OBJECTS = 1.5  # tiles share so many times the size of a large object
MAX_OVERLAP = 0.5
JITTER = (0.8, 0.9, 1.0, 1.1, 1.2)  # of the training sizes, where objects vary in size
VARIED = 3.0  # ratio of large to small objects from which training takes several sizes


@dataclasses.dataclass(frozen=True)
class Facts:
    """What a set's annotations say. Sizes are square roots of areas, in pixels of the image.

    Attributes:
        images, objects, classes: counts; crowds are left out.
        shorter, longer: medians of the images' sides; longest: the largest of all.
        small, median, large: the 10th, 50th and 90th percentile of the objects.
        densest: objects of the image with most.
        masks: whether all objects have one.
    """

    images: int
    objects: int
    classes: int
    shorter: float
    longer: float
    longest: int
    small: float
    median: float
    large: float
    densest: int
    masks: bool


@dataclasses.dataclass(frozen=True)
class Choice:
    """A key of the configuration, its value, and why."""

    key: str
    value: Any
    reason: str


def facts_of(content: Content) -> Facts:
    """Raises ValueError for a set without objects."""
    objects = [a for a in content.annotations if not a.get("iscrowd") and a["bbox"][2] > 0 and a["bbox"][3] > 0]
    if not content.images or not objects:
        raise ValueError(
            f"There is nothing to suggest from: {counted(len(content.images), 'image')}, {counted(len(objects), 'object')}."
        )
    sides = np.array([(i["width"], i["height"]) for i in content.images], dtype=np.float64)
    extent = np.array([a["bbox"][2:] for a in objects], dtype=np.float64)
    small, median, large = np.percentile(np.sqrt(extent.prod(axis=1)), (10, 50, 90)).tolist()
    _, counts = np.unique([a["image_id"] for a in objects], return_counts=True)
    return Facts(
        images=len(content.images),
        objects=len(objects),
        classes=len(content.categories),
        shorter=float(np.median(sides.min(axis=1))),
        longer=float(np.median(sides.max(axis=1))),
        longest=int(sides.max()),
        small=small,
        median=median,
        large=large,
        densest=int(counts.max()),
        masks=all(a.get("segmentation") for a in objects),
    )


def suggest(content: Content, cfg: Any, memory_gb: float | None = None) -> tuple[Facts, list[Choice]]:
    """The choices for training on a set, beside those of `cfg`, a configuration that they are to be merged over.

    Args:
        memory_gb: of the GPU; None for training on a CPU.

    Raises ValueError for a set without objects.
    """
    facts = facts_of(content)
    scale, choices, tile = _input(facts)
    anchors = _anchors(content, cfg, scale) if cfg.MODEL.RPN.USE_FPN else []
    dense = facts.densest if tile is None else _densest_tile(content, tile)
    return facts, [
        *_classes(facts, cfg),
        *choices,
        *anchors,
        *_limits(facts, dense, cfg),
        *_schedule(facts, scale, tile, cfg, memory_gb),
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
    return found


def scale_for(facts: Facts) -> float:
    """Network pixels for one of the image."""
    if facts.small < WANTED:
        return min(WANTED / facts.small, MAX_ENLARGEMENT)
    return min(ENOUGH / facts.small, 1.0)


def _input(facts: Facts) -> tuple[float, list[Choice], int | None]:
    """The scale, the keys that make it, and the pixels of a tile where images are cut."""
    scale = scale_for(facts)
    sizes = (
        f"small, median and large objects of {facts.small:.0f}, {facts.median:.0f} and {facts.large:.0f} pixels become "
    )
    sizes += f"{facts.small * scale:.0f}, {facts.median * scale:.0f} and {facts.large * scale:.0f}"
    varied = facts.large / facts.small > VARIED
    if facts.longest * scale <= LARGEST_INPUT:
        short, long = _even(facts.shorter * scale), _even(facts.longest * scale)
        train = tuple(_even(short * j) for j in JITTER) if varied else (short,)
        longest_train = _even(long * (JITTER[-1] if varied else 1))
        return (
            scale,
            [
                Choice("INPUT.MIN_SIZE_TRAIN", train, "several sizes, as the objects' sizes vary" if varied else sizes),
                Choice("INPUT.MAX_SIZE_TRAIN", longest_train, "so that the longer side does not limit the scale"),
                Choice("INPUT.MIN_SIZE_TEST", short, sizes),
                Choice("INPUT.MAX_SIZE_TEST", long, "so that the longer side does not limit the scale"),
            ],
            None,
        )
    tile = _even(TILE_INPUT / scale)
    overlap = min(max(OVERLAP_OBJECTS * facts.large / tile, 0.1), MAX_OVERLAP)
    side = _even(tile * scale)
    train = tuple(_even(side * j) for j in JITTER) if varied else (side,)
    return (
        scale,
        [
            Choice(
                "INPUT.TILES.SIZE",
                tile,
                f"images of {facts.longest} pixels would need {facts.longest * scale:.0f} at the input",
            ),
            Choice("INPUT.TILES.SCALE", round(scale, 3), sizes),
            Choice("INPUT.TILES.OVERLAP", round(overlap, 2), "so that most objects are whole in one of two neighbours"),
            Choice("INPUT.CROP_TYPE", "absolute", "training on parts of the images, drawn anew each time"),
            Choice("INPUT.CROP_SIZE", (tile, tile), "as large as a tile"),
            Choice("INPUT.MIN_SIZE_TRAIN", train, "a tile at its scale" + (", and around it" if varied else "")),
            Choice("INPUT.MAX_SIZE_TRAIN", max(train), "a tile is square"),
            Choice("INPUT.MIN_SIZE_TEST", 800, "the whole image is looked at too, for large objects"),
            Choice("INPUT.MAX_SIZE_TEST", 1333, "the same"),
        ],
        tile,
    )


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


def _anchors(content: Content, cfg: Any, scale: float) -> list[Choice]:
    boxes = np.array([a["bbox"] for a in content.annotations if not a.get("iscrowd")], dtype=np.float64) * scale
    boxes = boxes[(boxes[:, 2] > 0) & (boxes[:, 3] > 0)]
    strides = tuple(cfg.MODEL.RPN.ANCHOR_STRIDE)
    before = recall(boxes, cfg.MODEL.RPN.ANCHOR_SIZES, cfg.MODEL.RPN.ASPECT_RATIOS, strides)
    sizes, ratios = fit_anchors(boxes, strides)
    after = recall(boxes, sizes, ratios, strides)
    if after - before < 0.01:
        return []
    said = f"an anchor overlaps {100 * after:.0f} % of the objects by half, with those of the base {100 * before:.0f} %"
    return [
        Choice("MODEL.RPN.ANCHOR_SIZES", sizes, said),
        Choice("MODEL.RPN.ASPECT_RATIOS", ratios, "height / width, from the objects"),
    ]


def _limits(facts: Facts, dense: int, cfg: Any) -> list[Choice]:
    """Room for the densest image, never less than the base has."""
    detections = 50 * math.ceil(1.5 * dense / 50)
    wanted = {
        "MODEL.ROI_HEADS.DETECTIONS_PER_IMG": detections,
        "MODEL.RPN.FPN_POST_NMS_TOP_N_TEST": 100 * math.ceil(4 * dense / 100),
        "MODEL.RPN.POST_NMS_TOP_N_TEST": 100 * math.ceil(4 * dense / 100),
        "MODEL.RPN.PRE_NMS_TOP_N_TEST": 100 * math.ceil(6 * dense / 100),
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
