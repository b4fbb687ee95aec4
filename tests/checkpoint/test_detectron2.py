"""Weights in detectron2's names and order of classes come back as ours; and what fine-tuning makes of them."""

from __future__ import annotations

import pickle
import runpy
import sys
import zlib
from pathlib import Path

import pytest
import torch

from maskrcnn_benchmark.checkpoint.errors import CheckpointError, ShapeMismatchError
from maskrcnn_benchmark.config import cfg as defaults
from maskrcnn_benchmark.modeling.detector import build_detection_model
from maskrcnn_benchmark.utils.checkpoint import DetectronCheckpointer
from tests.support.helpers import SMALL

ROOT = Path(__file__).parents[2]
CLASSES = 5
# Ours: detectron2's, in the order in which they are applied.
WORDS = [
    ("backbone.body.", "backbone.bottom_up."),
    ("roi_heads.box.feature_extractor.fc6", "roi_heads.box_head.fc1"),
    ("roi_heads.box.feature_extractor.fc7", "roi_heads.box_head.fc2"),
    ("roi_heads.box.predictor", "roi_heads.box_predictor"),
    ("roi_heads.mask.feature_extractor", "roi_heads.mask_head"),
    ("roi_heads.mask.predictor.conv5_mask", "roi_heads.mask_head.deconv"),
    ("roi_heads.mask.predictor.mask_fcn_logits", "roi_heads.mask_head.predictor"),
    ("rpn.head.cls_logits", "proposal_generator.rpn_head.objectness_logits"),
    ("rpn.head.bbox_pred", "proposal_generator.rpn_head.anchor_deltas"),
    ("rpn.head.conv", "proposal_generator.rpn_head.conv"),
    ("downsample.0", "shortcut"),
    ("downsample.1", "shortcut.norm"),
    *((f"bn{i}", f"conv{i}.norm") for i in (1, 2, 3)),
    *((f"fpn.fpn_inner{i}", f"fpn_lateral{i + 1}") for i in (1, 2, 3, 4)),
    *((f"fpn.fpn_layer{i}", f"fpn_output{i + 1}") for i in (1, 2, 3, 4)),
    *((f"layer{i}.", f"res{i + 1}.") for i in (1, 2, 3, 4)),
]


def build(name: str = "e2e_mask_rcnn_R_50_FPN_1x.yaml", classes: int = CLASSES):
    cfg = defaults.clone()
    cfg.merge_from_file(str(ROOT / "configs" / name))
    cfg.merge_from_list([*SMALL, "MODEL.ROI_BOX_HEAD.NUM_CLASSES", classes])
    return cfg, build_detection_model(cfg)


def random_state(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    state = {}
    for key, value in model.state_dict().items():
        if "cell_anchors" not in key:
            generator = torch.Generator().manual_seed(zlib.crc32(key.encode()))
            state[key] = torch.rand(value.shape, generator=generator)
    return state


def as_detectron2(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    theirs = {}
    for key, value in state.items():
        if ".predictor.cls_score." in key:
            value = torch.stack([*value[1:], value[0]])
        elif key.startswith("roi_heads.box.predictor.bbox_pred."):
            value = value[4:]
        elif ".mask_fcn_logits." in key:
            value = value[1:]
        elif key.endswith("running_var"):
            value = value - 1e-5
        for ours, word in WORDS:
            key = key.replace(ours, word)
        theirs[key] = value
    return theirs


@pytest.mark.parametrize("suffix", [".pkl", ".pth"])
def test_a_model_in_detectron2s_names_comes_back(tmp_path, suffix):
    cfg, model = build()
    state = random_state(model)
    theirs = as_detectron2(state)
    assert "backbone.bottom_up.res2.0.shortcut.norm.running_var" in theirs
    assert "backbone.bottom_up.stem.conv1.norm.weight" in theirs and "backbone.fpn_lateral5.bias" in theirs
    theirs["pixel_mean"] = theirs["proposal_generator.anchor_generator.cell_anchors.0"] = torch.zeros(3)
    path = tmp_path / f"model_final{suffix}"
    if suffix == ".pkl":
        arrays = {key: value.numpy() for key, value in theirs.items()}
        path.write_bytes(pickle.dumps({"model": arrays, "__author__": "Detectron2 Model Zoo"}))
    else:
        torch.save({"model": theirs, "iteration": 9}, path)
    DetectronCheckpointer(cfg, model).load(str(path))
    loaded = model.state_dict()
    for key, value in state.items():
        # Nothing is drawn from outputs of the background, for which detectron2 has none.
        start = {"bbox_pred": 4, "mask_fcn_logits": 1}.get(key.split(".")[-2], 0) if key.startswith("roi_heads") else 0
        assert loaded[key][:start].count_nonzero() == 0, key
        tolerance = 1e-6 if key.endswith("running_var") else 0
        torch.testing.assert_close(loaded[key][start:], value[start:], rtol=0, atol=tolerance, msg=key)


def test_a_body_from_imagenet(tmp_path):
    cfg, model = build()
    state = {k: v for k, v in random_state(model).items() if ".body." in k}
    arrays = {k.removeprefix("backbone.bottom_up."): v.numpy() for k, v in as_detectron2(state).items()}
    arrays["stem.fc.weight"] = arrays["stem.conv1.weight"]
    (tmp_path / "R-50.pkl").write_bytes(pickle.dumps({"model": arrays, "matching_heuristics": True}))
    DetectronCheckpointer(cfg, model).load(str(tmp_path / "R-50.pkl"))
    loaded = model.state_dict()
    assert all(torch.allclose(loaded[key], value, rtol=0, atol=1e-6) for key, value in state.items())


@pytest.mark.parametrize(
    "name",
    ["backbone.fpn_lateral2.norm.weight", "backbone.bottom_up.res3.0.conv2_offset.weight", "sem_seg_head.x.weight"],
)
def test_what_has_no_counterpart_is_named(tmp_path, name):
    cfg, model = build()
    torch.save({"backbone.bottom_up.stem.conv1.weight": torch.ones(1), name: torch.ones(1)}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=f"{name} of detectron2's has no counterpart"):
        DetectronCheckpointer(cfg, model).load(str(tmp_path / "x.pth"))


def test_trimmed_weights_start_a_model_with_other_classes(tmp_path, monkeypatch, capsys):
    _, source = build()
    torch.save({"model": source.state_dict()}, tmp_path / "full.pth")
    cfg, model = build(classes=3)
    with pytest.raises(ShapeMismatchError):
        DetectronCheckpointer(cfg, model).load(str(tmp_path / "full.pth"))

    def trim(weights: Path) -> None:
        words = ["--pretrained_path", weights, "--save_path", tmp_path / "new" / "trimmed.pth"]
        words += ["--cfg", ROOT / "configs" / "e2e_mask_rcnn_R_50_FPN_1x.yaml"]
        monkeypatch.setattr(sys, "argv", ["trim_detectron_model", *map(str, words)])
        runpy.run_path(str(ROOT / "tools" / "trim_detectron_model.py"), run_name="__main__")

    trim(tmp_path / "full.pth")
    assert "Wrote" in capsys.readouterr().out
    initial = {key: value.clone() for key, value in model.state_dict().items()}
    DetectronCheckpointer(cfg, model).load(str(tmp_path / "new" / "trimmed.pth"))
    fresh = {
        f"roi_heads.{head}.{p}"
        for head in ("box.predictor.cls_score", "box.predictor.bbox_pred", "mask.predictor.mask_fcn_logits")
        for p in ("weight", "bias")
    }
    for key, value in model.state_dict().items():
        assert torch.equal(value, initial[key] if key in fresh else source.state_dict()[key]), key
    with pytest.raises(SystemExit):
        trim(tmp_path / "new" / "trimmed.pth")
    assert "holds no layer that depends on the number of classes" in capsys.readouterr().err
