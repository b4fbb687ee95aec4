"""Schedules scaled to another batch, against those that upstream's README gives for fewer GPUs."""

from __future__ import annotations

from pathlib import Path

import pytest

from maskrcnn_benchmark.config import ConfigError
from maskrcnn_benchmark.config import cfg as defaults
from maskrcnn_benchmark.solver import scale_to_batch

CONFIG = Path(__file__).parents[2] / "configs" / "e2e_mask_rcnn_R_50_FPN_1x.yaml"


def scaled(world_size: int, *options: object):
    cfg = defaults.clone()
    cfg.merge_from_file(str(CONFIG))
    cfg.merge_from_list(["SOLVER.REFERENCE_IMS_PER_BATCH", 16, *options])
    scale_to_batch(cfg, world_size)
    return cfg


def test_one_gpu_with_two_images(log):
    cfg = scaled(1, "SOLVER.IMS_PER_BATCH", 2)
    assert cfg.SOLVER.BASE_LR == pytest.approx(0.0025)
    assert cfg.SOLVER.MAX_ITER == 720000 and cfg.SOLVER.STEPS == (480000, 640000)
    assert cfg.SOLVER.WARMUP_ITERS == 4000 and cfg.SOLVER.CHECKPOINT_PERIOD == 20000
    assert cfg.MODEL.RPN.FPN_POST_NMS_TOP_N_TRAIN == 2000  # two images, as on each of the eight
    assert "SOLVER.BASE_LR: 0.02 -> 0.0025" in log.text and "for 2 images on 1 it becomes" in log.text


@pytest.mark.parametrize(
    ("world_size", "images", "accumulate", "proposals"),
    [(4, 16, 1, 4000), (1, 16, 8, 2000), (16, 16, 1, 1000), (8, 64, 1, 8000)],
)
def test_every_image_has_as_many_proposals(world_size, images, accumulate, proposals):
    cfg = scaled(world_size, "SOLVER.IMS_PER_BATCH", images, "SOLVER.ACCUMULATE", accumulate)
    assert cfg.MODEL.RPN.FPN_POST_NMS_TOP_N_TRAIN == proposals
    assert cfg.SOLVER.BASE_LR == pytest.approx(0.02 * images / 16)
    assert round(90000 * 16 / images) == cfg.SOLVER.MAX_ITER
    assert cfg.SOLVER.MAX_ITER * images == pytest.approx(90000 * 16, rel=1e-3)  # as many images in all


def test_a_scaled_configuration_is_not_scaled_again():
    cfg = scaled(1, "SOLVER.IMS_PER_BATCH", 2)
    before = cfg.dump()
    scale_to_batch(cfg, 1)
    assert cfg.dump() == before


def test_nothing_is_scaled_unless_asked(log):
    cfg = scaled(1, "SOLVER.REFERENCE_IMS_PER_BATCH", 0, "SOLVER.IMS_PER_BATCH", 2)
    assert cfg.SOLVER.BASE_LR == 0.02 and cfg.MODEL.RPN.FPN_POST_NMS_TOP_N_TRAIN == 2000 and not log.text
    with pytest.raises(ConfigError, match="REFERENCE_IMS_PER_BATCH must be 0 .* got -1 and 8"):
        scaled(1, "SOLVER.REFERENCE_IMS_PER_BATCH", -1)
