"""Cascade R-CNN, the worked example of an extension: nothing of it is in the package, and all command lines take it."""

from __future__ import annotations

import dataclasses
import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from maskrcnn_benchmark.analysis import FlopCount, Regions, build_without_data
from maskrcnn_benchmark.analysis.measure import spread_scores
from maskrcnn_benchmark.config import cfg as defaults
from maskrcnn_benchmark.engine.test_time_augmentation import make_box_augmentation
from maskrcnn_benchmark.export import ExportableDetector, export_program
from maskrcnn_benchmark.modeling.detector import build_detection_model
from maskrcnn_benchmark.modeling.optimize import optimize_for_inference
from maskrcnn_benchmark.structures.bounding_box import BoxList
from tests.support.helpers import SMALL, write_coco

ROOT = Path(__file__).parents[2]
PROJECT = ROOT / "projects" / "cascade_rcnn"


@pytest.fixture(scope="module")
def extension():
    spec = importlib.util.spec_from_file_location("cascade_rcnn", PROJECT / "cascade_rcnn.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["cascade_rcnn"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def cfg(extension):
    extension.setup_environment()
    config = defaults.clone()
    defaults.MODEL.pop("CASCADE")
    config.merge_from_file(str(ROOT / "configs" / "e2e_faster_rcnn_R_50_FPN_1x.yaml"))
    config.merge_from_list(
        [*SMALL, "MODEL.ROI_BOX_HEAD.NAME", "CascadeROIBoxHead", "MODEL.ROI_BOX_HEAD.NUM_CLASSES", 4]
    )
    return config


def objects() -> BoxList:
    target = BoxList([[10.0, 12, 70, 60], [30, 30, 100, 120]], (128, 128))
    target.add_field("labels", torch.tensor([1, 2]))
    return target


def test_every_stage_has_losses_gradients_and_weights_of_its_own(cfg):
    torch.manual_seed(0)
    model = build_detection_model(cfg).train()
    losses = model(torch.rand(1, 3, 128, 128), [objects()])
    kinds = [f"loss_{kind}_{i}" for i in (1, 2, 3) for kind in ("classifier", "box_reg")]
    assert sorted(losses) == sorted(["loss_objectness", "loss_rpn_box_reg", *kinds])
    sum(losses.values()).backward()
    weights = {name: p for name, p in model.named_parameters() if ".predictor.cls_score.weight" in name}
    assert list(weights) == [f"roi_heads.box.stages.{i}.predictor.cls_score.weight" for i in range(3)]
    assert all(weight.grad.abs().sum() > 0 for weight in weights.values())


def test_later_stages_see_refined_boxes_and_stricter_labels(cfg, extension):
    torch.manual_seed(0)
    head = build_detection_model(cfg).roi_heads["box"]
    target = objects()
    loose = target.bbox + torch.tensor([[8.0, 0, 8, 0], [14, 0, 14, 0]])  # IoU 0.77 and 0.67
    proposals = [BoxList(loose, target.size)]
    labels = [
        stage.targets.subsample(proposals, [target])[0].get_field("labels").sort(descending=True).values.tolist()
        for stage in head.stages
    ]
    assert labels == [[2, 1], [2, 1], [1, 0]]
    first = head.stages[0]
    deltas = torch.zeros(2, 8)
    deltas[:, 4:] = first.box_coder.encode(target.bbox, loose)
    (refined,) = first.refine(deltas, proposals)
    torch.testing.assert_close(refined.bbox, target.bbox, rtol=0, atol=1e-3)


def test_scores_are_means_over_the_stages(cfg):
    torch.manual_seed(0)
    cfg.MODEL.ROI_HEADS.SCORE_THRESH = 0.0
    model = build_detection_model(cfg).eval()
    head, seen = model.roi_heads["box"], []
    for stage in head.stages:
        torch.nn.init.normal_(stage.predictor.cls_score.weight, std=0.5)
        stage.predictor.register_forward_hook(lambda module, args, output: seen.append(output[0]))
    with torch.no_grad():
        (found,) = model(torch.rand(1, 3, 128, 128))
    means = torch.stack([F.softmax(logits, dim=1) for logits in seen]).mean(0)[:, 1:].flatten()
    assert len(seen) == 3 and len(found)
    distance = (found.get_field("scores")[:, None] - means).abs().amin(dim=1)
    assert distance.max() < 1e-6


def test_it_is_optimized(cfg):
    """The stages are no head's `predictor`, and keep their dtype."""
    cfg.merge_from_list(["MODEL.ROI_HEADS.SCORE_THRESH", 0.0, "MODEL.RPN.FPN_POST_NMS_TOP_N_TEST", 20])
    torch.manual_seed(0)
    model = build_detection_model(cfg).eval()
    x = torch.rand(1, 3, 128, 160)
    with torch.inference_mode():
        (plain,), (fast,) = model(x), optimize_for_inference(model)(x)
        assert len(optimize_for_inference(model, torch.bfloat16)(x)[0])
    torch.testing.assert_close(fast.bbox, plain.bbox, rtol=1e-4, atol=1e-2)
    torch.testing.assert_close(fast.get_field("scores"), plain.get_field("scores"), rtol=1e-4, atol=1e-5)


def test_what_it_costs(cfg):
    """Three stages alike, and class logits of each that are spread."""
    counts = FlopCount().by_module(build_without_data(cfg), (128, 160), Regions(20, 10))
    stages = [counts[f"roi_heads.box.stages.{i}"] for i in range(3)]
    assert stages[0] > 0 and stages == [stages[0]] * 3 and counts["roi_heads.box"] == sum(stages)
    torch.manual_seed(0)
    model, x, spread = build_detection_model(cfg).eval(), torch.rand(1, 3, 128, 160) * 255, []
    with torch.inference_mode():
        spread_scores(model, x)
        for stage in model.roi_heads["box"].stages:
            stage.predictor.cls_score.register_forward_hook(lambda module, args, out: spread.append(out.std().item()))
        model(x)
    assert spread == pytest.approx([2, 2, 2], rel=0.05)


def test_several_views_of_an_image(cfg):
    cfg.merge_from_list(
        ["INPUT.MIN_SIZE_TEST", 64, "MODEL.RPN.FPN_POST_NMS_TOP_N_TEST", 20, "TEST.BBOX_AUG.H_FLIP", True]
    )
    image, found = Image.linear_gradient("L").convert("RGB").resize((80, 64)), []
    for enabled in (False, True):
        cfg.TEST.BBOX_AUG.ENABLED = enabled
        torch.manual_seed(0)
        model, augmentation = build_detection_model(cfg).eval(), make_box_augmentation(cfg)
        with torch.inference_mode():
            seen = augmentation.look([image], augmentation.views[0], "cpu")
            one_view = dataclasses.replace(augmentation, views=augmentation.views[:1])
            found.append(one_view.detect(model, [image], "cpu")[0] if enabled else model(seen)[0])
            if enabled:
                assert len(augmentation.detect(model, [image], "cpu")[0])
    torch.testing.assert_close(found[1].bbox, found[0].bbox)
    torch.testing.assert_close(found[1].get_field("scores"), found[0].get_field("scores"))


@pytest.mark.slow
@pytest.mark.no_cover
def test_the_exported_detector_finds_the_same(cfg):
    torch.manual_seed(0)
    cfg.MODEL.ROI_HEADS.SCORE_THRESH = 0.3
    model = build_detection_model(cfg).eval()
    with torch.no_grad():
        for stage in model.roi_heads["box"].stages:
            torch.nn.init.normal_(stage.predictor.cls_score.weight, std=0.1)
    detector, program = ExportableDetector(model, cfg), export_program(model, cfg).module()
    generator = torch.Generator().manual_seed(1)
    for size in ((128, 160), (211, 133)):
        image = torch.randint(0, 256, (*size, 3), generator=generator, dtype=torch.uint8)
        with torch.no_grad():
            expected = detector(image)
            found = program(image)
        assert len(expected[0]) > 3
        for ours, theirs in zip(expected, found, strict=True):
            torch.testing.assert_close(theirs, ours, rtol=1e-4, atol=1e-3)


@pytest.mark.slow
def test_the_command_lines_take_it(tmp_path):
    write_coco(tmp_path)
    config = tmp_path / "config.yaml"
    config.write_text(
        f"_BASE_: '{PROJECT / 'relations_R_18_FPN_cascade.yaml'}'\n"
        "DATASETS:\n"
        f"  DEFINITIONS: {{tiny: {{IMG_DIR: '{tmp_path / 'set'}', ANN_FILE: '{tmp_path / 'set.json'}'}}}}\n"
        "  TRAIN: ('tiny',)\n  TEST: ('tiny',)\n"
        "MODEL: {ROI_BOX_HEAD: {NUM_CLASSES: 3}}\n"
        f"SOLVER: {{MAX_ITER: 2, IMS_PER_BATCH: 2, LOG_PERIOD: 1}}\nOUTPUT_DIR: '{tmp_path / 'run'}'\n"
    )
    environment = {**os.environ, "TORCH_DETECTRON_ENV_MODULE": str(PROJECT / "cascade_rcnn.py")}
    for program in ("train_net.py", "test_net.py"):
        words = [sys.executable, str(ROOT / "tools" / program), "--config-file", str(config)]
        done = subprocess.run(words, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
    assert "loss_classifier_3" in (tmp_path / "run" / "log.txt").read_text()
    assert (tmp_path / "run" / "inference" / "tiny" / "metrics.json").is_file()
