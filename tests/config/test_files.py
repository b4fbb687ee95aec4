"""Every file in configs/ merges and builds a model; upstream's files mean what they mean there.

golden/ holds what they mean: see golden/README.md.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from maskrcnn_benchmark.config import cfg as defaults
from maskrcnn_benchmark.modeling.detector import build_detection_model
from tests.config.facts import changes, crc, describe_model, flat

CONFIGS = Path(__file__).parents[2] / "configs"
GOLDEN = Path(__file__).parent / "golden"
EFFECTIVE = json.loads((GOLDEN / "effective.json").read_text())
STATE_DICTS = json.loads((GOLDEN / "state_dicts.json").read_text())
FILES = sorted(path.relative_to(CONFIGS).as_posix() for path in CONFIGS.rglob("*.yaml"))
# Keys that upstream does not have.
NEW = (
    "DATALOADER.ANNOTATION_CACHE",
    "DATALOADER.FILTER_EMPTY_ANNOTATIONS",
    "DATALOADER.MAX_BROKEN_IMAGES",
    "DATALOADER.PREFETCH_FACTOR",
    "DATALOADER.REPEAT_FACTOR_THRESHOLD",
    "DATASETS.DEFINITIONS",
    "INPUT.COPY_PASTE_PROB",
    "INPUT.CROP",
    "INPUT.KEYPOINT_FLIP_PAIRS",
    "INPUT.SCALE_JITTER",
    "INPUT.TILES",
    "INPUT.TRANSFORMS",
    "MODEL.COMPILE",
    "MODEL.NON_LOCAL",
    "MODEL.ROI_BOX_HEAD.NAME",
    "MODEL.ROI_HEADS.NAME",
    "MODEL.ROI_KEYPOINT_HEAD.NAME",
    "MODEL.ROI_MASK_HEAD.NAME",
    "MODEL.WEIGHT_ALLOW_MISMATCH",
    "MODEL.WEIGHT_ALLOW_MISSING",
    "REPORT",
    "SEED",
    "SOLVER.ACCUMULATE",
    "SOLVER.CHECKPOINTS_KEPT",
    "SOLVER.CLIP_GRAD_NORM",
    "SOLVER.EARLY_STOP",
    "SOLVER.EMA",
    "SOLVER.FIND_UNUSED_PARAMETERS",
    "SOLVER.LOG_PERIOD",
    "SOLVER.NON_LOCAL_LR_FACTOR",
    "SOLVER.REFERENCE_IMS_PER_BATCH",
    "SOLVER.REFERENCE_PROCESSES",
    "SOLVER.LR_SCHEDULE",
    "SOLVER.MAX_TIME",
    "TENSORBOARD",
    "TEST.BBOX_AUG.MASKS",
    "TEST.BEST_METRIC",
    "TEST.COCO_AREAS",
    "TEST.COCO_EVALUATOR",
    "TEST.COCO_MAX_DETECTIONS",
    "TEST.KEYPOINT_OKS_SIGMAS",
    "TEST.OPTIMIZE",
    "TIMEOUT",
)


def load(name: str):
    cfg = defaults.clone()
    cfg.merge_from_file(str(CONFIGS / name))
    return cfg


def build(cfg):
    with torch.device("meta"):
        return build_detection_model(cfg)


def test_defaults_are_upstreams():
    values = {k: v for k, v in flat(defaults).items() if k != "PATHS_CATALOG" and not k.startswith(NEW)}
    assert crc(values) == EFFECTIVE["defaults"]


@pytest.mark.parametrize("name", [name for name in FILES if name in EFFECTIVE])
def test_file_means_what_it_means_upstream(name):
    assert changes(load(name), defaults) == EFFECTIVE[name]


@pytest.mark.parametrize("name", [name for name in FILES if not Path(name).name.startswith("base")])
def test_file_builds_a_model(name):
    cfg = load(name)
    model = build(cfg)
    assert (model.roi_heads is None) == (cfg.MODEL.RPN_ONLY or cfg.MODEL.RETINANET_ON)
    assert any(p.requires_grad for p in model.parameters())


@pytest.mark.parametrize("name", [name for name in FILES if name in STATE_DICTS])
def test_state_dict_is_upstreams(name):
    assert STATE_DICTS[name] == describe_model(build(load(name)))


def test_the_families_that_are_compared_exist():
    """The parametrised tests above pass over files that are missing; these must not be."""
    assert {
        "e2e_faster_rcnn_R_50_FPN_1x.yaml",
        "e2e_faster_rcnn_R_101_FPN_1x.yaml",
        "e2e_faster_rcnn_X_101_32x8d_FPN_1x.yaml",
        "e2e_mask_rcnn_R_50_FPN_1x.yaml",
        "e2e_faster_rcnn_R_50_C4_1x.yaml",
        "e2e_mask_rcnn_R_50_C4_1x.yaml",
        "rpn_R_50_C4_1x.yaml",
        "rpn_R_50_FPN_1x.yaml",
        "e2e_keypoint_rcnn_R_50_FPN_1x.yaml",
        "e2e_mask_rcnn_fbnet.yaml",
        "e2e_mask_rcnn_fbnet_xirb16d_dsmask.yaml",
        "e2e_faster_rcnn_fbnet_chamv1a_600.yaml",
        "retinanet/retinanet_R-50-FPN_1x.yaml",
        "retinanet/retinanet_R-50-FPN_P5_1x.yaml",
        "gn_baselines/e2e_mask_rcnn_R_50_FPN_Xconv1fc_1x_gn.yaml",
        "caffe2/e2e_mask_rcnn_X-152-32x8d-FPN-IN5k_1.44x_caffe2.yaml",
        "dcn/e2e_mask_rcnn_dconv_R_50_FPN_1x.yaml",
        "dcn/e2e_mask_rcnn_mdconv_R_50_FPN_1x.yaml",
    } <= set(FILES) & set(STATE_DICTS)
