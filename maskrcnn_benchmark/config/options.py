"""The configuration keys of this package's own, beside maskrcnn-benchmark's (standard.py), and how they are read.

A fork's `defaults.py` knows none of them, and may use the same name for something else. So `config/__init__` adds those that
are missing to whatever configuration there is, and the package reads them by `options(cfg)`, which gives the default of a key
that is missing or of another kind. What each means is said in descriptions.py, what it may hold in checks.py.
"""

from typing import Any

from yacs.config import CfgNode

from maskrcnn_benchmark.config.node import ConfigNode as CN
from maskrcnn_benchmark.config.standard import STANDARD

OPTIONS = CN()

OPTIONS.MODEL = CN()
OPTIONS.MODEL.COMPILE = False
OPTIONS.MODEL.WEIGHT_ALLOW_MISMATCH = False
OPTIONS.MODEL.WEIGHT_ALLOW_MISSING = False

for _head in ("ROI_HEADS", "ROI_BOX_HEAD", "ROI_MASK_HEAD", "ROI_KEYPOINT_HEAD"):
    OPTIONS.MODEL[_head] = CN()
    OPTIONS.MODEL[_head].NAME = ""

OPTIONS.MODEL.NON_LOCAL = CN()
OPTIONS.MODEL.NON_LOCAL.BOTTOM_UP = CN()
OPTIONS.MODEL.NON_LOCAL.BOTTOM_UP.TYPE = ""
OPTIONS.MODEL.NON_LOCAL.BOTTOM_UP.STAGES = ("res4",)
OPTIONS.MODEL.NON_LOCAL.TOP_DOWN = CN()
OPTIONS.MODEL.NON_LOCAL.TOP_DOWN.TYPE = ""
OPTIONS.MODEL.NON_LOCAL.TOP_DOWN.STAGES = ("res5", "res4", "res3")
OPTIONS.MODEL.NON_LOCAL.POSITION = "dct"
OPTIONS.MODEL.NON_LOCAL.DCT_SIZE = 9
OPTIONS.MODEL.NON_LOCAL.REDUCTION = 2
OPTIONS.MODEL.NON_LOCAL.INIT_STD = 0.01
OPTIONS.MODEL.NON_LOCAL.OUT_INIT_STD = 0.01
OPTIONS.MODEL.NON_LOCAL.LITERAL = False

OPTIONS.INPUT = CN()
OPTIONS.INPUT.TILES = CN()
OPTIONS.INPUT.TILES.SIZE = 0
OPTIONS.INPUT.TILES.OVERLAP = 0.25
OPTIONS.INPUT.TILES.SCALE = 1.0
OPTIONS.INPUT.TILES.WHOLE = True
OPTIONS.INPUT.TILES.MERGE = "nms"
OPTIONS.INPUT.TILES.MERGE_METRIC = "iou"
OPTIONS.INPUT.TILES.MERGE_THRESHOLD = 0.5
OPTIONS.INPUT.TILES.TEST = True
OPTIONS.INPUT.TILES.TRAIN = False
OPTIONS.INPUT.TILES.OBJECTS = 0.75
OPTIONS.INPUT.TILES.TRAIN_WHOLE = 0.0
OPTIONS.INPUT.TILES.MIN_VISIBLE = 0.4
OPTIONS.INPUT.TILES.AUTO = False
OPTIONS.INPUT.CROP_TYPE = ""
OPTIONS.INPUT.CROP_SIZE = (0.9, 0.9)
OPTIONS.INPUT.CROP_MIN_VISIBLE = 0.0
OPTIONS.INPUT.SCALE_JITTER = ()
OPTIONS.INPUT.SCALE_JITTER_SIZE = 1024
OPTIONS.INPUT.TRANSFORMS = ()
OPTIONS.INPUT.COPY_PASTE_PROB = 0.0
OPTIONS.INPUT.KEYPOINT_FLIP_PAIRS = ()

OPTIONS.DATASETS = CN()
OPTIONS.DATASETS.DEFINITIONS = CN(new_allowed=True)

OPTIONS.DATALOADER = CN()
OPTIONS.DATALOADER.FILTER_EMPTY_ANNOTATIONS = True
OPTIONS.DATALOADER.MAX_BROKEN_IMAGES = 10
OPTIONS.DATALOADER.PREFETCH_FACTOR = 2
OPTIONS.DATALOADER.REPEAT_FACTOR_THRESHOLD = 0.0
OPTIONS.DATALOADER.ANNOTATION_CACHE = "~/.cache/maskrcnn_benchmark"

OPTIONS.SOLVER = CN()
OPTIONS.SOLVER.MAX_TIME = 0.0
OPTIONS.SOLVER.NON_LOCAL_LR_FACTOR = 1.0
OPTIONS.SOLVER.LOG_PERIOD = 20
OPTIONS.SOLVER.ACCUMULATE = 1
OPTIONS.SOLVER.REFERENCE_IMS_PER_BATCH = 0
OPTIONS.SOLVER.REFERENCE_PROCESSES = 8
OPTIONS.SOLVER.LR_SCHEDULE = "multistep"
OPTIONS.SOLVER.CLIP_GRAD_NORM = 0.0
OPTIONS.SOLVER.EMA = 0.0
OPTIONS.SOLVER.CHECKPOINTS_KEPT = 0
OPTIONS.SOLVER.EARLY_STOP = 0
OPTIONS.SOLVER.FIND_UNUSED_PARAMETERS = False

OPTIONS.TEST = CN()
OPTIONS.TEST.BBOX_AUG = CN()
OPTIONS.TEST.BBOX_AUG.MASKS = "identity"
OPTIONS.TEST.BEST_METRIC = ""
OPTIONS.TEST.COCO_EVALUATOR = "auto"
OPTIONS.TEST.COCO_MAX_DETECTIONS = 100
OPTIONS.TEST.COCO_AREAS = ("coco",)
OPTIONS.TEST.KEYPOINT_OKS_SIGMAS = ()
OPTIONS.TEST.OPTIMIZE = False

OPTIONS.SEED = -1
OPTIONS.TIMEOUT = 1800
OPTIONS.REPORT = True
OPTIONS.TENSORBOARD = False


def options(cfg: CfgNode) -> CN:
    """The values of the keys above in a configuration, whether it has them all or none, and its other keys as they are."""
    return _read(OPTIONS, cfg)


def _read(defaults: CfgNode, source: CfgNode) -> CN:
    values = CN(new_allowed=defaults.is_new_allowed())
    values.__dict__["reads"] = source.__dict__.get("reads")  # what is read here counts there
    dict.update(values, source)  # also keys that an extension declared
    for key, default in defaults.items():
        given = source.get(key, default)
        if isinstance(default, CfgNode):
            given = _read(default, given if isinstance(given, CfgNode) else default)
        elif not _is_same_kind(given, default):
            given = default
        dict.__setitem__(values, key, given)
    return values


def _is_same_kind(value: Any, default: Any) -> bool:
    if isinstance(default, (list, tuple)):
        return isinstance(value, (list, tuple))
    if isinstance(default, float):
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    return type(value) is type(default)


def complete(cfg: CfgNode) -> CN:
    """Add in place every key of `STANDARD` and `OPTIONS` that a configuration lacks, and make it a ConfigNode.

    A configuration of 2018 lacks some of maskrcnn-benchmark's later keys, too. What is there already stays, whatever it is.
    """
    was_frozen = cfg.is_frozen()
    cfg.defrost()
    _adopt(cfg)
    for defaults in (STANDARD, OPTIONS):
        _add_missing(cfg, defaults)
    if was_frozen:
        cfg.freeze()
    return cfg


def _adopt(node: CfgNode) -> None:
    """Make plain yacs nodes ConfigNodes where they stand: others hold references to them."""
    object.__setattr__(node, "__class__", CN)  # past yacs, which would take it for a key
    for value in node.values():
        if isinstance(value, CfgNode):
            _adopt(value)


def _add_missing(node: CfgNode, defaults: CfgNode) -> None:
    for key, default in defaults.items():
        if key not in node:
            dict.__setitem__(node, key, default.clone() if isinstance(default, CfgNode) else default)
        elif isinstance(default, CfgNode) and isinstance(node[key], CfgNode):
            _add_missing(node[key], default)
