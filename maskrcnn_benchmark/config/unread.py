"""Keys that someone set and that nothing reads: they have no effect on the model, the training or the test at hand.

A ConfigNode notes which of its keys are read (`ConfigNode.reads`) and which a file or a command line gave (`given`).
"""

import logging
from collections.abc import Callable, Iterator
from typing import Any

from yacs.config import CfgNode

from maskrcnn_benchmark.config.node import COMMAND_LINE, ConfigNode
from maskrcnn_benchmark.config.options import OPTIONS
from maskrcnn_benchmark.config.standard import STANDARD
from maskrcnn_benchmark.utils.wording import listed

TILES = "INPUT.TILES."
OF_TRAINING_TILES = ("TRAIN", "OBJECTS", "TRAIN_WHOLE", "MIN_VISIBLE")
# Groups that a switch turns off as a whole; what a file says of them then is no mistake.
SWITCHES: dict[str, Callable[[Any], Any]] = {
    "MODEL.ROI_MASK_HEAD.": lambda cfg: cfg.MODEL.MASK_ON,
    "MODEL.ROI_KEYPOINT_HEAD.": lambda cfg: cfg.MODEL.KEYPOINT_ON,
    "MODEL.RPN.": lambda cfg: not cfg.MODEL.RETINANET_ON,
    "MODEL.RETINANET.": lambda cfg: cfg.MODEL.RETINANET_ON,
    "MODEL.FBNET.": lambda cfg: "FBNet" in cfg.MODEL.BACKBONE.CONV_BODY,
    "MODEL.ROI_": lambda cfg: not (cfg.MODEL.RPN_ONLY or cfg.MODEL.RETINANET_ON),
    "MODEL.NON_LOCAL.": lambda cfg: cfg.MODEL.NON_LOCAL.TOP_DOWN.TYPE or cfg.MODEL.NON_LOCAL.BOTTOM_UP.TYPE,
    "INPUT.TILES.": lambda cfg: cfg.INPUT.TILES.get("SIZE"),  # as `get` is no reading
    "TEST.BBOX_AUG.": lambda cfg: cfg.TEST.BBOX_AUG.ENABLED,
}
# What counts instead of a key that is easily taken for it.
INSTEAD = {
    "TEST.DETECTIONS_PER_IMG": "RetinaNet reads it; here MODEL.ROI_HEADS.DETECTIONS_PER_IMG counts",
    "MODEL.ROI_HEADS.DETECTIONS_PER_IMG": "with RetinaNet TEST.DETECTIONS_PER_IMG counts",
    "INPUT.MIN_SIZE_TRAIN": "INPUT.SCALE_JITTER counts, or INPUT.TILES.TRAIN with TRAIN_WHOLE 0",
    "INPUT.MAX_SIZE_TRAIN": "INPUT.SCALE_JITTER counts, or INPUT.TILES.TRAIN with TRAIN_WHOLE 0",
}
# Read only when their time comes, or said by something else as well.
NOT_ASKED = (
    "REPORT",
    "MODEL.WEIGHT",
    "MODEL.DEVICE",
    "SOLVER.REFERENCE_",
    "MODEL.RPN.USE_FPN",
    "MODEL.ROI_HEADS.USE_FPN",
)

_said: set[str] = set()


def forget_reads(cfg: CfgNode) -> None:
    """From now on it is noted which keys are read."""
    for node in _nodes(cfg):
        node.__dict__["reads"] = set()


def warn_of_unread(cfg: CfgNode, is_train: bool, what: str = "") -> None:
    """Name once each key that was given, says something else than the default, and was not read since `forget_reads`; none where
    that was not called, as by a training program of one's own.

    `what` is what is about to begin, by default a training or a test.
    """
    if cfg.__dict__.get("reads") is None:
        return
    found = []
    off_tiles = _why_no_tiles(cfg, is_train)
    unread = {**_unread(cfg, _phase(is_train)), **_tiles_of_no_size(cfg, "TRAIN" if is_train else "TEST")}
    for key, source in sorted(unread.items()):
        of_tiles = off_tiles if key.startswith(TILES) else ""
        is_off = of_tiles or any(key.startswith(group) and not is_on(cfg) for group, is_on in SWITCHES.items())
        if key in _said or (is_off and source != COMMAND_LINE and key not in (f"{TILES}TRAIN", f"{TILES}TEST")):
            continue
        _said.add(key)
        reason = INSTEAD.get(key, "") or of_tiles
        found.append(f"{key} ({source}{'; ' + reason if reason else ''})")
    if found:
        what = what or ("training" if is_train else "test")
        logging.getLogger("maskrcnn_benchmark").warning("No effect on this %s: %s.", what, listed(found, 10))


def _why_no_tiles(cfg: CfgNode, is_train: bool) -> str:
    tiles = cfg.INPUT.get("TILES", {})
    if not tiles.get("SIZE"):
        return f"there are no tiles, as {TILES}SIZE is 0"
    return "" if is_train or tiles.get("TEST") else f"there are no tiles, as {TILES}TEST is False"


def _tiles_of_no_size(cfg: CfgNode, when: str) -> dict[str, str]:
    """INPUT.TILES.TRAIN or TEST where it asks for tiles, perhaps as its default does, and whoever set it gave no size."""
    tiles = cfg.INPUT.get("TILES", {})
    given = getattr(tiles, "__dict__", {}).get("given", {})
    is_useless = tiles.get(when) and not tiles.get("SIZE") and when in given and given[when] != given.get("SIZE")
    return {f"{TILES}{when}": given[when]} if is_useless else {}


def _phase(is_train: bool) -> Any:
    """Which keys a training, or a test, reads before it begins."""
    if is_train:
        return lambda key: (
            (
                key.startswith(("MODEL.", "SOLVER.", "INPUT."))
                and not key.endswith("_TEST")
                and not _is_of_test_tiles(key)
            )
            or key == "TEST.DETECTIONS_PER_IMG"
        )
    return lambda key: (
        key.startswith("MODEL.")
        or key == "TEST.DETECTIONS_PER_IMG"
        or (key.startswith("INPUT.") and key.endswith("_TEST"))
        or (key.startswith(TILES) and key.rpartition(".")[2] not in ("AUTO", *OF_TRAINING_TILES))
    )


def _is_of_test_tiles(key: str) -> bool:
    return key.startswith(TILES) and key.rpartition(".")[2] not in ("SIZE", "SCALE", *OF_TRAINING_TILES)


def _unread(cfg: CfgNode, asked: Any) -> dict[str, str]:
    """Where each unread key of this package's own, or of maskrcnn-benchmark's, was given."""
    found = {}
    for path, node in _paths(cfg):
        reads, given = node.__dict__.get("reads", set()), node.__dict__.get("given", {})
        for name, source in given.items():
            key = ".".join((*path, name))
            default = _default(path, name)
            if (
                name not in reads
                and asked(key)
                and not key.startswith(NOT_ASKED)
                and default != node.get(name, default)
            ):
                found[key] = source
    return found


def _default(path: tuple[str, ...], name: str) -> Any:
    """The key's value before anyone set it; of a key that is neither's, one that equals everything."""
    for defaults in (STANDARD, OPTIONS):
        node: Any = defaults
        for part in (*path, name):
            node = node.get(part, _MISSING) if isinstance(node, CfgNode) else _MISSING
        if node is not _MISSING:
            return node
    return _ANYTHING


class _Anything:
    def __ne__(self, other: object) -> bool:
        return False


_MISSING, _ANYTHING = object(), _Anything()


def _paths(node: CfgNode, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], CfgNode]]:
    yield path, node
    for name, value in node.items():
        if isinstance(value, CfgNode):
            yield from _paths(value, (*path, name))


def _nodes(cfg: CfgNode) -> Iterator[CfgNode]:
    return (node for _, node in _paths(cfg) if isinstance(node, ConfigNode))
