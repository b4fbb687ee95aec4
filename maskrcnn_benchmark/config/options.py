"""The configuration keys of this package's own, beside maskrcnn-benchmark's (standard.py), and how they are read.

A fork's `defaults.py` knows none of them, and may use the same name for something else. So `config/__init__` adds those that
are missing to whatever configuration there is, and the package reads them by `options(cfg)`, which gives the default of a key
that is missing or of another kind.
"""

from typing import Any

from yacs.config import CfgNode

from maskrcnn_benchmark.config.node import ConfigNode as CN
from maskrcnn_benchmark.config.standard import STANDARD

OPTIONS = CN()

OPTIONS.MODEL = CN()
# Compile body and pyramid with torch.compile, for all image sizes at once: slower to start, faster from then on.
OPTIONS.MODEL.COMPILE = False
# Load a checkpoint in which some shapes differ (another number of classes): those weights keep their initialisation.
OPTIONS.MODEL.WEIGHT_ALLOW_MISMATCH = False
# Test, predict and export also with no weights or those of a part of the model: the rest is random, and so is what it detects.
OPTIONS.MODEL.WEIGHT_ALLOW_MISSING = False

# Heads registered in modeling/registries.ROI_HEADS, by name: all of them together (ROI_HEADS) or one; "" for
# maskrcnn-benchmark's.
for _head in ("ROI_HEADS", "ROI_BOX_HEAD", "ROI_MASK_HEAD", "ROI_KEYPOINT_HEAD"):
    OPTIONS.MODEL[_head] = CN()
    OPTIONS.MODEL[_head].NAME = ""

# Non-local context modules (Levi and Ullman 2019). TYPE: "", "nl" (embedded Gaussian), "nl_dot", "enl". BOTTOM_UP acts
# before the last residual block of each stage, TOP_DOWN before the upsampling of each level. POSITION: "dct" or "".
# INIT_STD: standard deviation of the first weights of theta, phi and g; OUT_INIT_STD: of the last layer's. LITERAL: in the
# paper's order of operations, with its cost in memory; the values are the same.
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
# Tiles of large images at test time: SIZE pixels along a side (0: no tiles), neighbours sharing at least OVERLAP of one; each
# is scaled by SCALE before the network sees it. WHOLE: the whole image is looked at too, scaled as MIN_SIZE_TEST and
# MAX_SIZE_TEST say. Detections are joined by MERGE: "nms" (suppression at an IoU above MERGE_THRESHOLD), or "nmm" (greedy
# merging at an overlap, MERGE_METRIC "iou" or "ios", of at least MERGE_THRESHOLD).
OPTIONS.INPUT.TILES = CN()
OPTIONS.INPUT.TILES.SIZE = 0
OPTIONS.INPUT.TILES.OVERLAP = 0.25
OPTIONS.INPUT.TILES.SCALE = 1.0
OPTIONS.INPUT.TILES.WHOLE = True
OPTIONS.INPUT.TILES.MERGE = "nms"
OPTIONS.INPUT.TILES.MERGE_METRIC = "iou"
OPTIONS.INPUT.TILES.MERGE_THRESHOLD = 0.5
# TEST: whether tests and predictions are made in tiles. TRAIN: training images are such tiles too, drawn anew in each
# iteration, around an object with the probability OBJECTS, else anywhere; objects of which less than the share MIN_VISIBLE
# lies in the tile are neither learned nor background. SCALE_JITTER, if given, multiplies SCALE.
OPTIONS.INPUT.TILES.TEST = True
OPTIONS.INPUT.TILES.TRAIN = False
OPTIONS.INPUT.TILES.OBJECTS = 0.75
OPTIONS.INPUT.TILES.MIN_VISIBLE = 0.4
# SIZE, SCALE and OVERLAP are chosen from the objects of DATASETS.TRAIN, as `mrb suggest` chooses them.
OPTIONS.INPUT.TILES.AUTO = False
# Random part of each training image, before it is scaled: "" for none, "absolute" (CROP_SIZE: height, width in pixels),
# "relative" (fractions of the image's), "relative_range" (fractions drawn between those and 1).
OPTIONS.INPUT.CROP_TYPE = ""
OPTIONS.INPUT.CROP_SIZE = (0.9, 0.9)
# Objects of which a crop shows less than this share are neither learned nor background; 0: all that it shows are learned.
OPTIONS.INPUT.CROP_MIN_VISIBLE = 0.0
# Large-scale jitter instead of MIN_SIZE_TRAIN: the lowest and highest scale, like (0.1, 2.0); empty for none. The image is
# scaled to fit a square of SCALE_JITTER_SIZE pixels times a scale drawn between them, then cropped or padded to that square.
OPTIONS.INPUT.SCALE_JITTER = ()
OPTIONS.INPUT.SCALE_JITTER_SIZE = 1024
# Transforms of one's own, by their names in data/transforms/registry.py; on training images, before they are scaled.
OPTIONS.INPUT.TRANSFORMS = ()
# Probability that objects of another image are pasted into a training image (simple copy-paste; needs masks).
OPTIONS.INPUT.COPY_PASTE_PROB = 0.0
# Names of keypoints that change places in a mirror, like (("left eye", "right eye"),); empty: those that differ in left and
# right.
OPTIONS.INPUT.KEYPOINT_FLIP_PAIRS = ()

OPTIONS.DATASETS = CN()
# Data sets named in YAML, no source edited: NAME: {IMG_DIR: ..., ANN_FILE: ...} in COCO format, or NAME: {FACTORY:
# PascalVOCDataset, DATA_DIR: ..., SPLIT: train} with CLASSES (names, or a file of them) and FIRST_PIXEL 0 where boxes begin at 0.
OPTIONS.DATASETS.DEFINITIONS = CN(new_allowed=True)

OPTIONS.DATALOADER = CN()
# Leave images without a usable annotation out of training.
OPTIONS.DATALOADER.FILTER_EMPTY_ANNOTATIONS = True
# Unreadable images are named, counted and replaced; more than this many stop the run.
OPTIONS.DATALOADER.MAX_BROKEN_IMAGES = 10
# Batches that each worker makes ahead: a process holds at most NUM_WORKERS times as many.
OPTIONS.DATALOADER.PREFETCH_FACTOR = 2
# Images of a category in a smaller fraction of all images come more than once an epoch (LVIS: 0.001); 0 for never.
OPTIONS.DATALOADER.REPEAT_FACTOR_THRESHOLD = 0.0
# Folder for the indices of large annotation files (20 MB for COCO train2017), which make later starts quicker; empty: none.
OPTIONS.DATALOADER.ANNOTATION_CACHE = "~/.cache/maskrcnn_benchmark"

OPTIONS.SOLVER = CN()
# Minutes that a training takes: MAX_ITER, STEPS and WARMUP_ITERS are scaled to what fits, by the time of the first iterations;
# 0: MAX_ITER counts.
OPTIONS.SOLVER.MAX_TIME = 0.0
# Of ENL and NL modules, which are new where everything else was trained before: their rate is BASE_LR times this.
OPTIONS.SOLVER.NON_LOCAL_LR_FACTOR = 1.0
# Iterations between two progress lines.
OPTIONS.SOLVER.LOG_PERIOD = 20
# IMS_PER_BATCH images are taken in this many parts, one after the other, where they do not fit into memory together.
OPTIONS.SOLVER.ACCUMULATE = 1
# What the iterations, rates and proposals of this configuration were chosen for, if that is not IMS_PER_BATCH images on the
# processes in use: they are scaled from this batch on this many processes (see solver/scaling.py). 0: taken as they are.
OPTIONS.SOLVER.REFERENCE_IMS_PER_BATCH = 0
OPTIONS.SOLVER.REFERENCE_PROCESSES = 8
# "multistep" (STEPS and GAMMA) or "cosine" (from BASE_LR to 0 at MAX_ITER).
OPTIONS.SOLVER.LR_SCHEDULE = "multistep"
# Largest norm of all gradients together; 0 for no limit.
OPTIONS.SOLVER.CLIP_GRAD_NORM = 0.0
# Decay of an exponential moving average of the weights, which is then what is tested; 0 for none.
OPTIONS.SOLVER.EMA = 0.0
# Numbered checkpoints kept, the newest; 0 for all. Two leave one to fall back on.
OPTIONS.SOLVER.CHECKPOINTS_KEPT = 0
# End after this many tests (TEST_PERIOD) without a better result; 0 for never.
OPTIONS.SOLVER.EARLY_STOP = 0

OPTIONS.TEST = CN()
OPTIONS.TEST.BBOX_AUG = CN()
# Masks of the merged detections: "identity" from the image as it is, "average" over all views, at twice the cost.
OPTIONS.TEST.BBOX_AUG.MASKS = "identity"
# Metric that chooses model_best.pth among the tests during training, like "bbox/AP" or "coco_2017_val/segm/APs"; empty: the
# first one of the first data set.
OPTIONS.TEST.BEST_METRIC = ""
# "pycocotools", "faster-coco-eval" or "hotcoco" (the packages of these names), which give the same numbers in a fraction of the
# time; "auto": hotcoco where it is installed, otherwise pycocotools.
OPTIONS.TEST.COCO_EVALUATOR = "auto"
# Above 100: all is also measured with this many detections of an image (of each category), as "AP@300" beside COCO's AP.
OPTIONS.TEST.COCO_MAX_DETECTIONS = 100
# Sizes of objects for which AP and AR are measured too: "coco" (APs, APm, APl), "ai-tod" (APvt, APt, APs, APm, and 1500
# detections), "visdrone" (COCO's sizes, and 500 detections), or names with the lowest and highest area in square pixels:
# {tiny: [0, 256], small: [256, 1024]} gives APtiny and APsmall.
OPTIONS.TEST.COCO_AREAS = ("coco",)
# How exactly people mark each keypoint, as a share of an object's size (OKS); empty: COCO's for a person, else their mean.
OPTIONS.TEST.KEYPOINT_OKS_SIGMAS = ()
# tools/test_net.py tests a copy of the model that only detects: batch norms folded into convolutions, weights in DTYPE, and with
# MODEL.COMPILE compiled as a whole with its weights as constants (see modeling/optimize.py). For machines without a GPU.
OPTIONS.TEST.OPTIMIZE = False

# Seed of python, numpy, torch, workers and samplers; negative: drawn and logged.
OPTIONS.SEED = -1
# Seconds after which a process that makes no progress ends; 0 for never.
OPTIONS.TIMEOUT = 1800
# Write report.html to OUTPUT_DIR at the end of a training, and to the folder of each test.
OPTIONS.REPORT = True
# Also write TensorBoard event files to OUTPUT_DIR (needs the tensorboard package).
OPTIONS.TENSORBOARD = False


def options(cfg: CfgNode) -> CN:
    """The values of the keys above in a configuration, whether it has them all or none."""
    return _read(OPTIONS, cfg)


def _read(defaults: CfgNode, source: CfgNode) -> CN:
    values = CN(new_allowed=defaults.is_new_allowed())
    values.__dict__["reads"] = source.__dict__.get("reads")  # what is read here counts there
    if defaults.is_new_allowed():
        dict.update(values, source)
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
    return cfg  # type: ignore[return-value]


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
