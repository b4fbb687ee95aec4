"""What the values of a configuration may be: one table, looked through at the start of every program."""

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from yacs.config import CfgNode

from maskrcnn_benchmark.config import areas, defaults
from maskrcnn_benchmark.config.node import ConfigError, shown
from maskrcnn_benchmark.config.options import OPTIONS
from maskrcnn_benchmark.config.standard import STANDARD

MOST_PIXELS = 65536  # of a side of an image


@dataclass(frozen=True)
class Rule:
    """What a value may be: in words, after "must be", and as a test."""

    words: str
    allows: Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e300  # also no NaN


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def whole(low: int, high: int = 2**31 - 1) -> Rule:
    """An integer from `low` to `high`."""
    words = f"a whole number, {low} or more" if high == 2**31 - 1 else f"a whole number from {low} to {high}"
    return Rule(words, lambda value: _is_whole(value) and low <= value <= high)


def number(low: float = -math.inf, high: float = math.inf, above: bool = False, below: bool = False) -> Rule:
    """A number from `low` to `high`; not `low` itself with `above`, not `high` itself with `below`."""
    lower = "" if low == -math.inf else f"above {low:g}" if above else f"{low:g} or more"
    upper = "" if high == math.inf else f"below {high:g}" if below else f"at most {high:g}"
    words = "a number" + (", " + " and ".join(filter(None, (lower, upper))) if lower or upper else "")
    return Rule(
        words,
        lambda v: _is_number(v) and (v > low if above else v >= low) and (v < high if below else v <= high),
    )


def one_of(*names: str) -> Rule:
    return Rule(f"one of {', '.join(map(repr, names))}", lambda value: value in names)


def some(entry: Rule, counts: tuple[int, ...] = (), least: int = 0) -> Rule:
    """A tuple of `least` or more entries, or of one of several `counts` of them."""
    how_many = " or ".join(map(str, counts)) if counts else f"{least} or more" if least else "any number of"
    return Rule(
        f"a tuple of {how_many} entries, each {entry.words}",
        lambda value: (
            isinstance(value, (list, tuple))
            and (len(value) in counts if counts else len(value) >= least)
            and all(map(entry.allows, value))
        ),
    )


def either(*rules: Rule) -> Rule:
    return Rule(" or ".join(rule.words for rule in rules), lambda value: any(rule.allows(value) for rule in rules))


def one_or_some(entry: Rule) -> Rule:
    """An entry, or a tuple of 1 or more."""
    return Rule(f"{entry.words}, or a tuple of 1 or more such entries", either(entry, some(entry, least=1)).allows)


TEXT = Rule("text", lambda value: isinstance(value, str) and "\0" not in value)
SWITCH = Rule("True or False", lambda value: isinstance(value, bool))
FRACTION, SHARE = number(0, 1), number(-math.inf, 1)  # a share of 0 or less turns off what it limits
POSITIVE, NOT_NEGATIVE = number(0, above=True), number(0)
COUNT, COUNT_OR_NONE = whole(1), whole(0)
SIDE = whole(1, MOST_PIXELS)
MOST_JITTER = 5  # of a factor from 1 - x to 1 + x: what is larger was meant in percent
NAMES = some(TEXT)
SIZES = some(one_or_some(POSITIVE), least=1)
OFF_OR_COUNT = Rule(
    "-1 (off), or a whole number, 1 or more", lambda value: _is_whole(value) and (value == -1 or value >= 1)
)
EXPECTED = Rule(
    "a list of (task, metric, mean, standard deviation)",
    lambda value: (
        isinstance(value, (list, tuple))
        and all(isinstance(e, (list, tuple)) and len(e) == 4 and all(map(_is_number, e[2:])) for e in value)
    ),
)


def _is_device(value: Any) -> bool:
    name, colon, index = value.partition(":") if isinstance(value, str) else ("", "", "")
    return name in ("cpu", "cuda") and (not colon or index.isdecimal())


_HEAD = {
    "POOLER_RESOLUTION": COUNT,
    "POOLER_SAMPLING_RATIO": COUNT_OR_NONE,
    "POOLER_SCALES": some(POSITIVE, least=1),
    "MLP_HEAD_DIM": COUNT,
}
_TABLE: dict[str, Any] = {
    "AMP_VERBOSE": SWITCH,
    "DTYPE": one_of("float32", "float16", "bfloat16"),
    "SEED": Rule("a whole number below 2**63", lambda value: _is_whole(value) and abs(value) < 2**63),
    "TIMEOUT": NOT_NEGATIVE,
    "MODEL": {
        "DEVICE": Rule("a device such as 'cpu', 'cuda' or 'cuda:0'", _is_device),
        "BACKBONE": {"FREEZE_CONV_BODY_AT": whole(-1)},
        "RESNETS": {
            **dict.fromkeys(("BACKBONE_OUT_CHANNELS", "DEFORMABLE_GROUPS", "NUM_GROUPS", "RES2_OUT_CHANNELS"), COUNT),
            **dict.fromkeys(("RES5_DILATION", "STEM_OUT_CHANNELS", "WIDTH_PER_GROUP"), COUNT),
            "STAGE_WITH_DCN": some(SWITCH, counts=(4,)),
        },
        "GROUP_NORM": {"DIM_PER_GP": OFF_OR_COUNT, "NUM_GROUPS": OFF_OR_COUNT, "EPSILON": POSITIVE},
        "RPN": {
            "ANCHOR_SIZES": SIZES,
            "ANCHOR_STRIDE": some(COUNT, least=1),
            "ASPECT_RATIOS": some(POSITIVE, least=1),
            **dict.fromkeys(("BATCH_SIZE_PER_IMAGE", "FPN_POST_NMS_TOP_N_TEST", "FPN_POST_NMS_TOP_N_TRAIN"), COUNT),
            **dict.fromkeys(("BG_IOU_THRESHOLD", "FG_IOU_THRESHOLD", "POSITIVE_FRACTION"), FRACTION),
            "MIN_SIZE": NOT_NEGATIVE,
            "NMS_THRESH": SHARE,
            **{f"{when}_NMS_TOP_N_{use}": COUNT for when in ("PRE", "POST") for use in ("TRAIN", "TEST")},
            "STRADDLE_THRESH": number(),
        },
        "ROI_HEADS": {
            "BATCH_SIZE_PER_IMAGE": COUNT,
            "BBOX_REG_WEIGHTS": some(POSITIVE, counts=(4,)),
            **dict.fromkeys(("BG_IOU_THRESHOLD", "FG_IOU_THRESHOLD", "POSITIVE_FRACTION"), FRACTION),
            "DETECTIONS_PER_IMG": whole(-1),
            **dict.fromkeys(("NMS", "SCORE_THRESH"), SHARE),
        },
        "ROI_BOX_HEAD": {
            **_HEAD,
            **dict.fromkeys(("CONV_HEAD_DIM", "DILATION", "NUM_STACKED_CONVS"), COUNT),
            "NUM_CLASSES": whole(2),
        },
        "ROI_MASK_HEAD": {
            **_HEAD,
            "CONV_LAYERS": some(COUNT),
            **dict.fromkeys(("DILATION", "RESOLUTION"), COUNT),
            "POSTPROCESS_MASKS_THRESHOLD": SHARE,
        },
        "ROI_KEYPOINT_HEAD": {
            **_HEAD,
            "CONV_LAYERS": some(COUNT, least=1),
            **dict.fromkeys(("NUM_CLASSES", "RESOLUTION"), COUNT),
        },
        "RETINANET": {
            "ANCHOR_SIZES": some(POSITIVE, least=1),
            "ANCHOR_STRIDES": some(COUNT, least=1),
            "ASPECT_RATIOS": some(POSITIVE, least=1),
            **dict.fromkeys(("BG_IOU_THRESHOLD", "FG_IOU_THRESHOLD", "LOSS_ALPHA"), FRACTION),
            **dict.fromkeys(("BBOX_REG_BETA", "LOSS_GAMMA"), NOT_NEGATIVE),
            **dict.fromkeys(("BBOX_REG_WEIGHT", "OCTAVE"), POSITIVE),
            "NMS_TH": SHARE,
            "NUM_CLASSES": whole(2),
            "NUM_CONVS": COUNT_OR_NONE,
            **dict.fromkeys(("PRE_NMS_TOP_N", "SCALES_PER_OCTAVE"), COUNT),
            **dict.fromkeys(("INFERENCE_TH", "PRIOR_PROB"), number(0, 1, above=True, below=True)),
            "STRADDLE_THRESH": number(),
        },
        "FBNET": {
            **{f"{part}_LAST_SCALE": number() for part in ("DET_HEAD", "KPTS_HEAD", "MASK_HEAD")},
            **{f"{part}_STRIDE": COUNT_OR_NONE for part in ("DET_HEAD", "KPTS_HEAD", "MASK_HEAD")},
            **{
                f"{part}_BLOCKS": some(Rule("a block", lambda _: True))
                for part in ("DET_HEAD", "KPTS_HEAD", "MASK_HEAD")
            },
            "RPN_HEAD_BLOCKS": COUNT_OR_NONE,
            "SCALE_FACTOR": POSITIVE,
            "WIDTH_DIVISOR": COUNT,
        },
        "NON_LOCAL": {
            "POSITION": one_of("dct", ""),
            **dict.fromkeys(("DCT_SIZE", "REDUCTION"), COUNT),
            **dict.fromkeys(("INIT_STD", "OUT_INIT_STD"), NOT_NEGATIVE),
            "BOTTOM_UP": {"STAGES": NAMES},
            "TOP_DOWN": {"STAGES": NAMES},
        },
    },
    "INPUT": {
        **dict.fromkeys(("BRIGHTNESS", "CONTRAST", "SATURATION"), number(0, MOST_JITTER)),
        "HUE": number(0, 0.5),
        **dict.fromkeys(("HORIZONTAL_FLIP_PROB_TRAIN", "VERTICAL_FLIP_PROB_TRAIN", "COPY_PASTE_PROB"), FRACTION),
        **dict.fromkeys(("MAX_SIZE_TEST", "MAX_SIZE_TRAIN", "MIN_SIZE_TEST", "SCALE_JITTER_SIZE"), SIDE),
        "MIN_SIZE_TRAIN": one_or_some(SIDE),  # maskrcnn-benchmark's was a number in 2018
        "PIXEL_MEAN": some(number(), counts=(3,)),
        "PIXEL_STD": some(POSITIVE, counts=(3,)),
        "CROP_TYPE": one_of("", "absolute", "relative", "relative_range"),
        "CROP_SIZE": some(POSITIVE, counts=(2,)),
        "CROP_MIN_VISIBLE": FRACTION,
        "SCALE_JITTER": some(POSITIVE, counts=(0, 2)),
        "TRANSFORMS": NAMES,
        "KEYPOINT_FLIP_PAIRS": some(some(TEXT, counts=(2,))),
        "TILES": {
            "SIZE": Rule("0 (no tiles), or 16 pixels or more", lambda v: _is_whole(v) and (v == 0 or v >= 16)),
            "OVERLAP": number(0, 1, below=True),
            "SCALE": number(0, 16, above=True),
            "MERGE": one_of("nms", "nmm"),
            "MERGE_METRIC": one_of("iou", "ios"),
            "MERGE_THRESHOLD": number(0, 1, above=True),
            **dict.fromkeys(("OBJECTS", "TRAIN_WHOLE", "MIN_VISIBLE"), FRACTION),
        },
    },
    "DATASETS": {"TRAIN": NAMES, "TEST": NAMES},
    "DATALOADER": {
        **dict.fromkeys(("NUM_WORKERS", "SIZE_DIVISIBILITY", "MAX_BROKEN_IMAGES"), COUNT_OR_NONE),
        "ASPECT_RATIO_GROUPING": either(SWITCH, some(POSITIVE)),
        "PREFETCH_FACTOR": COUNT,
        "REPEAT_FACTOR_THRESHOLD": FRACTION,
    },
    "SOLVER": {
        **dict.fromkeys(("BASE_LR", "BIAS_LR_FACTOR", "NON_LOCAL_LR_FACTOR", "GAMMA", "WARMUP_FACTOR"), NOT_NEGATIVE),
        **dict.fromkeys(("WEIGHT_DECAY", "WEIGHT_DECAY_BIAS", "CLIP_GRAD_NORM", "MAX_TIME"), NOT_NEGATIVE),
        **dict.fromkeys(("MOMENTUM", "EMA"), number(0, 1, below=True)),
        **dict.fromkeys(("CHECKPOINT_PERIOD", "TEST_PERIOD", "MAX_ITER", "WARMUP_ITERS"), COUNT_OR_NONE),
        **dict.fromkeys(("CHECKPOINTS_KEPT", "EARLY_STOP", "REFERENCE_IMS_PER_BATCH"), COUNT_OR_NONE),
        **dict.fromkeys(("IMS_PER_BATCH", "LOG_PERIOD", "ACCUMULATE", "REFERENCE_PROCESSES"), COUNT),
        "STEPS": some(NOT_NEGATIVE),
        "LR_SCHEDULE": one_of("multistep", "cosine"),
        "WARMUP_METHOD": one_of("linear", "constant"),
    },
    "TEST": {
        "DETECTIONS_PER_IMG": whole(-1),
        "EXPECTED_RESULTS": EXPECTED,
        "EXPECTED_RESULTS_SIGMA_TOL": NOT_NEGATIVE,
        "IMS_PER_BATCH": COUNT,
        "COCO_MAX_DETECTIONS": COUNT,
        "COCO_AREAS": Rule(areas.WORDS, areas.is_areas),
        "KEYPOINT_OKS_SIGMAS": some(POSITIVE),
        "COCO_EVALUATOR": one_of("auto", "pycocotools", "faster-coco-eval", "hotcoco"),
        "BBOX_AUG": {"MAX_SIZE": SIDE, "SCALES": some(SIDE), "MASKS": one_of("identity", "average")},
    },
}


def _flat(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


RULES: dict[str, Rule] = dict(_flat(_TABLE))


def rule_of(key: str, default: Any) -> Rule:
    """What a key may hold, by the table, otherwise by the kind of its default."""
    if key in RULES:
        return RULES[key]
    if isinstance(default, bool):
        return SWITCH
    if isinstance(default, str):
        return TEXT
    if isinstance(default, (list, tuple)):
        return Rule("a tuple", lambda value: isinstance(value, (list, tuple)))
    return Rule("a whole number", _is_whole) if isinstance(default, int) else number()


def check_config(cfg: CfgNode) -> None:
    """Raise ConfigError with a sentence for every key whose value cannot be used: the key, the value and what is allowed.

    What a fork's defaults.py makes of a key, whose kind may be another one there, is the fork's to check.
    """
    is_own = getattr(defaults, "STANDARD", None) is STANDARD
    faults = []
    for key, default in (*_flat(STANDARD), *_flat(OPTIONS)):
        value = _value(cfg, key)
        if value is _MISSING or isinstance(value, CfgNode):
            continue
        rule = rule_of(key, default)
        if rule.allows(value) or not (is_own or isinstance(value, type(default))):
            continue
        faults.append(f"{key} is {shown(value)}; it must be {rule.words}.")
    if is_own and not faults:
        faults = list(_between_keys(cfg))
    if faults:
        raise ConfigError("\n".join(faults))


_MISSING = object()


def _value(cfg: Any, key: str) -> Any:
    for part in key.split("."):
        if not isinstance(cfg, CfgNode) or part not in cfg:
            return _MISSING
        cfg = cfg[part]
    return cfg


def _between_keys(cfg: CfgNode) -> Iterator[str]:
    """What single values do not show."""
    steps = cfg.SOLVER.STEPS
    if list(steps) != sorted(steps):
        yield f"SOLVER.STEPS is {shown(steps)}; the iterations must increase."
    for group in ("RPN", "ROI_HEADS", "RETINANET"):
        node = cfg.MODEL.get(group, {})
        low, high = node.get("BG_IOU_THRESHOLD", 0), node.get("FG_IOU_THRESHOLD", 1)
        if low > high:
            yield f"MODEL.{group}.BG_IOU_THRESHOLD is {low}; it must be at most FG_IOU_THRESHOLD, {high}."
    retinanet, rpn = cfg.MODEL.get("RETINANET", {}), cfg.MODEL.RPN
    if cfg.MODEL.get("RETINANET_ON", False):
        sizes, strides = retinanet.ANCHOR_SIZES, retinanet.ANCHOR_STRIDES
        if len(sizes) != len(strides):
            yield (
                f"MODEL.RETINANET.ANCHOR_STRIDES is {shown(strides)}; it must be of the length of ANCHOR_SIZES, "
                f"{shown(sizes)}: one size for each map."
            )
    elif len(rpn.ANCHOR_STRIDE) not in (1, len(rpn.ANCHOR_SIZES)):
        yield (
            f"MODEL.RPN.ANCHOR_STRIDE is {shown(rpn.ANCHOR_STRIDE)}; it must be of the length of ANCHOR_SIZES, "
            f"{shown(rpn.ANCHOR_SIZES)}: one size (or tuple of sizes) for each map. Or it is a single stride, of a model without "
            "a pyramid."
        )
    jitter = cfg.INPUT.get("SCALE_JITTER", ())
    if len(jitter) == 2 and jitter[0] > jitter[1]:
        yield f"INPUT.SCALE_JITTER is {shown(jitter)}; the lower scale comes first."
    yield from _between_tiles(cfg)


def _between_tiles(cfg: CfgNode) -> Iterator[str]:
    tiles = cfg.INPUT.get("TILES", {})
    if not tiles or not (tiles.SIZE or tiles.AUTO):
        return
    if tiles.TRAIN and cfg.INPUT.CROP_TYPE:
        yield "INPUT.CROP_TYPE and INPUT.TILES.TRAIN both choose a part of a training image; set CROP_TYPE to ''."
    if not tiles.TEST:
        return
    if tiles.MERGE == "nms" and tiles.MERGE_METRIC != "iou":
        yield "INPUT.TILES.MERGE_METRIC is 'ios', which belongs to MERGE 'nmm'; suppression goes by IoU."
    if cfg.TEST.BBOX_AUG.ENABLED:
        yield "INPUT.TILES and TEST.BBOX_AUG exclude each other: set INPUT.TILES.SIZE to 0 or BBOX_AUG.ENABLED to False."
    if cfg.MODEL.MASK_ON and cfg.MODEL.ROI_MASK_HEAD.POSTPROCESS_MASKS:
        yield "INPUT.TILES needs masks that are not pasted yet: set MODEL.ROI_MASK_HEAD.POSTPROCESS_MASKS to False."
    if cfg.MODEL.RPN_ONLY and not cfg.MODEL.RETINANET_ON:
        yield "INPUT.TILES joins detections of classes, which a region proposal network alone has not: set its SIZE to 0."
