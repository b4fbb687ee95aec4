"""Keys that are set and have no effect are named, and no others."""

from pathlib import Path

import pytest
import torch

from maskrcnn_benchmark.config import cfg, unread
from maskrcnn_benchmark.data.tiles import make_tiling
from maskrcnn_benchmark.data.transforms import build_transforms
from maskrcnn_benchmark.engine.predictor import Predictor
from maskrcnn_benchmark.modeling.detector import build_detection_model
from tests.support.helpers import CONFIG, options, write_coco
from tests.support.tiny import write_model

CONFIGS = CONFIG.parents[1]
TOOLS = CONFIG.parents[2] / "tools"
MARK = "No effect on this "


@pytest.fixture(autouse=True)
def nothing_was_said(monkeypatch):
    monkeypatch.setattr(unread, "_said", set())


def built(path: Path, *words, is_train: bool = False) -> None:
    """Read what a training and a test read of MODEL and INPUT, and warn."""
    config = cfg.clone()
    config.merge_from_file(str(path))
    config.merge_from_list(list(words))
    unread.forget_reads(config)
    with torch.device("meta"):
        build_detection_model(config)
    for of_training in (True, False):
        build_transforms(config, of_training)
    make_tiling(config)
    unread.warn_of_unread(config, is_train)


def test_programs_that_note_no_reads_hear_nothing(log):
    config = cfg.clone()
    config.merge_from_list(["MODEL.MASK_ON", True])
    unread.warn_of_unread(config, is_train=True)
    assert said(log) == []


def said(log) -> list[str]:
    return [r.getMessage() for r in log.records if r.getMessage().startswith(MARK)]


@pytest.mark.parametrize("folder", sorted(p.name for p in CONFIGS.iterdir() if p.is_dir()))
def test_the_files_here_say_nothing_in_vain(folder, log):
    for path in sorted((CONFIGS / folder).rglob("*.yaml")):
        built(path)
        assert said(log) == [], path


@pytest.mark.parametrize(
    ("name", "words", "expected"),
    [
        (
            "e2e_faster_rcnn_R_50_FPN_1x.yaml",
            ("TEST.DETECTIONS_PER_IMG", 300),
            "TEST.DETECTIONS_PER_IMG (the command line; RetinaNet reads it; here MODEL.ROI_HEADS.DETECTIONS_PER_IMG counts)",
        ),
        ("retinanet/retinanet_R-50-FPN_1x.yaml", ("TEST.DETECTIONS_PER_IMG", 300), ""),
        (
            "retinanet/retinanet_R-50-FPN_1x.yaml",
            ("MODEL.ROI_HEADS.DETECTIONS_PER_IMG", 300, "MODEL.RPN.ANCHOR_SIZES", (8, 16, 32, 64, 128)),
            "MODEL.ROI_HEADS.DETECTIONS_PER_IMG (the command line; with RetinaNet TEST.DETECTIONS_PER_IMG counts), "
            "MODEL.RPN.ANCHOR_SIZES (the command line)",
        ),
        (
            "e2e_faster_rcnn_R_50_FPN_1x.yaml",
            ("MODEL.ROI_MASK_HEAD.RESOLUTION", 56, "MODEL.RESNETS.STEM_OUT_CHANNELS", 32),
            "MODEL.ROI_MASK_HEAD.RESOLUTION (the command line)",
        ),
        ("e2e_faster_rcnn_R_50_FPN_1x.yaml", ("TEST.DETECTIONS_PER_IMG", 100), ""),
        ("e2e_faster_rcnn_R_50_FPN_1x.yaml", ("INPUT.TILES.SIZE", 640, "INPUT.TILES.OVERLAP", 0.5), ""),
        ("e2e_faster_rcnn_R_50_FPN_1x.yaml", ("INPUT.TILES.SIZE", 0, "INPUT.TILES.TEST", True), ""),
        (
            "e2e_faster_rcnn_R_50_FPN_1x.yaml",
            ("INPUT.TILES.TEST", True, "INPUT.TILES.OVERLAP", 0.5),
            "INPUT.TILES.OVERLAP (the command line; there are no tiles, as INPUT.TILES.SIZE is 0), "
            "INPUT.TILES.TEST (the command line; there are no tiles, as INPUT.TILES.SIZE is 0)",
        ),
        (
            "e2e_faster_rcnn_R_50_FPN_1x.yaml",
            ("INPUT.TILES.TEST", False, "INPUT.TILES.SIZE", 640, "INPUT.TILES.MERGE", "nmm"),
            "INPUT.TILES.MERGE (the command line; there are no tiles, as INPUT.TILES.TEST is False), "
            "INPUT.TILES.SIZE (the command line; there are no tiles, as INPUT.TILES.TEST is False)",
        ),
    ],
)
def test_what_is_named(name, words, expected, log):
    path = next(CONFIGS.rglob(name), CONFIGS / name)
    built(path, *words)
    assert said(log) == ([f"{MARK}test: {expected}."] if expected else [])
    built(path, *words)
    assert len(said(log)) == bool(expected)  # once


def test_a_file_of_ones_own_is_named(tmp_path, log):
    path = tmp_path / "own.yaml"
    path.write_text(f'_BASE_: "{CONFIG}"\nMODEL:\n  MASK_ON: False\nTEST:\n  DETECTIONS_PER_IMG: 7\n')
    built(path)
    assert said(log) == [
        f"{MARK}test: TEST.DETECTIONS_PER_IMG ({path}; RetinaNet reads it; here MODEL.ROI_HEADS.DETECTIONS_PER_IMG counts)."
    ]


def test_tiles_of_a_file(tmp_path, log):
    """Turned off with their size, or for tests alone as `mrb suggest` does, is no mistake; asked for without a size is."""
    path = tmp_path / "own.yaml"
    for tiles, expected in (
        ("SIZE: 640, SCALE: 2.0, TRAIN: True, TEST: False", []),
        ("SIZE: 0, SCALE: 2.0, OVERLAP: 0.1, TEST: True", []),
        ("TEST: True, SCALE: 2.0", [f"INPUT.TILES.TEST ({path}; there are no tiles, as INPUT.TILES.SIZE is 0)."]),
    ):
        path.write_text(f'_BASE_: "{CONFIG}"\nINPUT: {{TILES: {{{tiles}}}}}\n')
        built(path)
        assert said(log) == [f"{MARK}test: {text}" for text in expected], tiles


def test_tiles_of_no_size_in_a_training(log):
    built(CONFIG, "INPUT.TILES.TRAIN", True)
    assert said(log) == []
    built(CONFIG, "INPUT.TILES.TRAIN", True, is_train=True)
    (text,) = said(log)
    named = "INPUT.TILES.TRAIN (the command line; there are no tiles, as INPUT.TILES.SIZE is 0), "
    assert text.startswith(f"{MARK}training: {named}SOLVER.")  # no schedule is built here


def test_a_prediction(tmp_path, log):
    config, weights = write_model(tmp_path)
    Predictor(config, weights, opts=["INPUT.TILES.OVERLAP", 0.5, "SOLVER.BASE_LR", 0.5])
    assert said(log) == [
        f"{MARK}prediction: INPUT.TILES.OVERLAP (the command line; there are no tiles, as INPUT.TILES.SIZE is 0)."
    ]


def test_a_training_and_its_test(tmp_path, run_program):
    """Every key of SOLVER at another value than the default: those that the cosine schedule has no use for are named."""
    write_coco(tmp_path)
    words = options(
        tmp_path,
        SOLVER__LR_SCHEDULE="cosine",
        SOLVER__STEPS="(2,)",
        SOLVER__GAMMA=0.3,
        SOLVER__EMA=0.5,
        SOLVER__ACCUMULATE=2,
        SOLVER__CLIP_GRAD_NORM=5.0,
        SOLVER__CHECKPOINTS_KEPT=1,
        SOLVER__CHECKPOINT_PERIOD=2,
        SOLVER__TEST_PERIOD=2,
        SOLVER__EARLY_STOP=5,
        SOLVER__NON_LOCAL_LR_FACTOR=2.0,
        SOLVER__MOMENTUM=0.8,
        SOLVER__WEIGHT_DECAY=0.001,
        SOLVER__WEIGHT_DECAY_BIAS=0.001,
        SOLVER__BIAS_LR_FACTOR=1,
        SOLVER__WARMUP_ITERS=1,
        SOLVER__WARMUP_FACTOR=0.5,
        SOLVER__WARMUP_METHOD="constant",
        INPUT__BRIGHTNESS=0.1,
        INPUT__HORIZONTAL_FLIP_PROB_TRAIN=0.1,
        TEST__DETECTIONS_PER_IMG=50,
    )
    code, text = run_program(TOOLS / "train_net.py", "--config-file", str(CONFIG), *words)
    assert code == 0, text
    lines = [line for line in text.splitlines() if MARK in line]
    assert len(lines) == 1 and lines[0].partition(MARK)[2] == (
        "training: SOLVER.GAMMA (the command line), SOLVER.STEPS (the command line), TEST.DETECTIONS_PER_IMG (the command line; "
        "RetinaNet reads it; here MODEL.ROI_HEADS.DETECTIONS_PER_IMG counts)."
    )
