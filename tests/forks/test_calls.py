"""What a fork hands to the package's functions, or gets from them, by maskrcnn-benchmark's conventions."""

from __future__ import annotations

import inspect
import math

import pycocotools.mask as mask_utils
import pytest
import torch
from torch.optim import SGD, Adam

from maskrcnn_benchmark.config import cfg
from maskrcnn_benchmark.config import cfg as defaults
from maskrcnn_benchmark.engine import training
from maskrcnn_benchmark.engine.errors import NonFiniteLossError
from maskrcnn_benchmark.engine.inference import compute_on_dataset, inference
from maskrcnn_benchmark.engine.trainer import do_train
from maskrcnn_benchmark.modeling import registry
from maskrcnn_benchmark.modeling.backbone import build_backbone
from maskrcnn_benchmark.modeling.box_coder import BoxCoder
from maskrcnn_benchmark.modeling.roi_heads.box_head.roi_box_predictors import FPNPredictor, make_roi_box_predictor
from maskrcnn_benchmark.modeling.roi_heads.mask_head.inference import Masker
from maskrcnn_benchmark.modeling.roi_heads.roi_heads import build_roi_heads
from maskrcnn_benchmark.modeling.rpn.inference import RPNPostProcessor
from maskrcnn_benchmark.modeling.rpn.rpn import build_rpn
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.image_list import to_image_list
from maskrcnn_benchmark.structures.segmentation_mask import SegmentationMask
from maskrcnn_benchmark.utils.checkpoint import Checkpointer
from maskrcnn_benchmark.utils.timer import Timer
from tests.support.fakes import Loader, Run

OPTIMIZERS = {
    "SGD": lambda parameters: SGD(parameters, lr=0.05, momentum=0.9),
    "SGD, all at once": lambda parameters: SGD(parameters, lr=0.05, momentum=0.9, foreach=True),
    "Adam": lambda parameters: Adam(parameters, lr=0.05),
}


def run_with(optimizer, folder, **keys) -> Run:
    run = Run(folder, 3, **keys)
    run.optimizer = optimizer(run.model.parameters())
    run.scheduler = torch.optim.lr_scheduler.LambdaLR(run.optimizer, lambda step: 1.0)
    run.checkpointer = Checkpointer(run.model, run.optimizer, run.scheduler, str(folder), save_to_disk=True)
    return run


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_an_optimizer_that_cannot_leave_out_a_step(name, tmp_path):
    run = run_with(OPTIMIZERS[name], tmp_path)
    other = run_with(OPTIMIZERS[name], tmp_path)
    for images, targets, _ in Loader(3):
        other.optimizer.zero_grad()
        sum(other.model(images, targets).values()).backward()
        other.optimizer.step()
    run.train()
    for ours, expected in zip(run.model.parameters(), other.model.parameters(), strict=True):
        torch.testing.assert_close(ours, expected)


@pytest.mark.parametrize("dtype", ["float32", "float16"])
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_it_takes_no_step_after_a_loss_that_is_not_finite(name, dtype, tmp_path):
    run = run_with(OPTIMIZERS[name], tmp_path, DTYPE=dtype)
    before = [p.detach().clone() for p in run.model.parameters()]
    with pytest.raises(NonFiniteLossError, match="iteration 1 "):
        run.train(Loader(3, bad=1))
    for parameter, value in zip(run.model.parameters(), before, strict=True):
        assert torch.equal(parameter, value)


def test_masks_of_images_as_one_tensor():
    """As maskrcnn-benchmark's evaluation calls it: masks.expand(1, -1, -1, -1, -1) and one BoxList."""
    boxes = BoxList([[2.0, 3.0, 20.0, 30.0], [5.0, 5.0, 12.0, 9.0]], (40, 36))
    masks = torch.rand(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    masker = Masker(threshold=0.5, padding=1)
    (expected,) = masker([masks], [boxes])
    for given in ((masks.expand(1, -1, -1, -1, -1), boxes), (masks[None], [boxes]), (masks, boxes), ([masks], boxes)):
        (pasted,) = masker(*given)
        assert torch.equal(pasted, expected)
    both = masker(torch.stack((masks, masks.flip(0))), [boxes, boxes])
    assert len(both) == 2 and torch.equal(both[0], expected) and not torch.equal(both[1], expected)
    with pytest.raises(ValueError, match="as many masks as boxes"):
        masker(masks[None], [boxes, boxes])


class RowsOnly(BoxCoder):
    """A coder whose tensors have two dimensions, as maskrcnn-benchmark's has."""

    def decode(self, rel_codes, boxes):
        assert rel_codes.ndim == boxes.ndim == 2
        return super().decode(rel_codes, boxes)


def test_proposals_by_a_coder_of_rows():
    anchors = [[BoxList(torch.tensor([[0.0, 0, 15, 15], [8, 8, 31, 31]]), (64, 48))] for _ in range(2)]
    objectness = [torch.tensor([[1.0, 2.0], [4.0, 3.0]])[:, :, None, None]]
    shifts = [torch.tensor([0.5, 0, 0, 0, 0, 0.25, 0, 0]).expand(2, 8)[:, :, None, None]]
    found = RPNPostProcessor(10, 10, 0.7, 0, RowsOnly((1.0, 1.0, 1.0, 1.0)))(anchors, objectness, shifts)
    moved = [[8.0, 0.0, 23.0, 15.0], [8.0, 14.0, 31.0, 37.0]]
    assert found[0].bbox.tolist() == moved[::-1] and found[1].bbox.tolist() == moved


def test_features_of_one_pixel():
    predictor = FPNPredictor(cfg, 64)
    features = torch.rand(3, 64)
    for given, expected in zip(predictor(features[:, :, None, None]), predictor(features), strict=True):
        assert torch.equal(given, expected)


@pytest.mark.parametrize("name", [name for name in registry.BACKBONES if "101" not in name and "152" not in name])
def test_every_backbone_is_built_from_a_configuration_of_its_own_family(name):
    """Programs go through the registry with one configuration."""
    assert callable(build_backbone)  # whose import fills the registry
    own = cfg.clone()
    if name.startswith("R-50"):
        own.MODEL.BACKBONE.CONV_BODY = name
    with torch.no_grad():
        maps = registry.BACKBONES[name](own)(torch.rand(1, 3, 64, 96))
    if "FPN" in name:
        first = 8 if "RETINANET" in name else 4
        assert [tuple(m.shape[2:]) for m in maps] == [
            (math.ceil(64 / first / 2**k), math.ceil(96 / first / 2**k)) for k in range(5)
        ]
    assert all(torch.isfinite(m).all() for m in maps)


def test_builders_of_before_march_2019_take_the_configuration_alone():
    """And forks of that time have BACKBONE.OUT_CHANNELS, and classes that are given no channels."""
    cfg = defaults.clone()
    cfg.merge_from_list(["MODEL.BACKBONE.CONV_BODY", "R-50-FPN", "MODEL.RPN.ANCHOR_STRIDE", (4, 8, 16, 32, 64)])
    cfg.MODEL.BACKBONE.OUT_CHANNELS = 24
    cfg.MODEL.RPN.USE_FPN = cfg.MODEL.ROI_HEADS.USE_FPN = cfg.MODEL.MASK_ON = True
    cfg.merge_from_list(["MODEL.ROI_BOX_HEAD.FEATURE_EXTRACTOR", "FPN2MLPFeatureExtractor"])
    cfg.merge_from_list(["MODEL.ROI_BOX_HEAD.PREDICTOR", "FPNPredictor", "MODEL.ROI_MASK_HEAD.PREDICTOR", "Old"])
    cfg.merge_from_list(["MODEL.ROI_MASK_HEAD.FEATURE_EXTRACTOR", "MaskRCNNFPNFeatureExtractor"])
    cfg.MODEL.ROI_MASK_HEAD.SHARE_BOX_FEATURE_EXTRACTOR = False

    @registry.ROI_MASK_PREDICTOR.register("Old")
    class OldPredictor(torch.nn.Module):
        def __init__(self, cfg):
            super().__init__()
            self.channels = cfg.MODEL.ROI_MASK_HEAD.CONV_LAYERS[-1]

    try:
        assert build_backbone(cfg).out_channels == 24
        assert build_rpn(cfg).head.conv.in_channels == 24
        heads = build_roi_heads(cfg)
        assert heads.box.feature_extractor.fc6.in_features == 24 * cfg.MODEL.ROI_BOX_HEAD.POOLER_RESOLUTION**2
        assert make_roi_box_predictor(cfg).cls_score.in_features == cfg.MODEL.ROI_BOX_HEAD.MLP_HEAD_DIM
        assert heads.mask.predictor.channels == 256
    finally:
        del registry.ROI_MASK_PREDICTOR["Old"]


def test_do_train_is_called_as_until_june_2019(monkeypatch):
    seen = []
    monkeypatch.setattr(training, "train", lambda *arguments: seen.append(arguments))
    model = torch.nn.Linear(1, 1)
    do_train(model, "loader", "optimizer", "scheduler", "checkpointer", "device", 5, {"iteration": 0})
    do_train(
        model=model,
        data_loader="loader",
        optimizer="optimizer",
        scheduler="scheduler",
        checkpointer="checkpointer",
        device="device",
        checkpoint_period=5,
        arguments={"iteration": 0},
    )
    expected = (
        defaults,
        model,
        "loader",
        "optimizer",
        "scheduler",
        "checkpointer",
        "device",
        5,
        0,
        {"iteration": 0},
        None,
    )
    assert seen == [expected, expected]


def test_tests_are_called_as_until_november_2018_and_september_2019():
    class Model(torch.nn.Module):
        def forward(self, images):
            return [BoxList(torch.zeros(1, 4), (4, 4))]

    timer = Timer()
    batch = (to_image_list(torch.zeros(1, 3, 4, 4)), [None], [7])
    assert list(compute_on_dataset(Model(), [batch], torch.device("cpu"))) == [7]
    assert list(compute_on_dataset(Model(), [batch], torch.device("cpu"), timer)) == [7]
    assert timer.calls == 1
    assert inspect.signature(inference).parameters["dataset_name"].default == ""


def test_objects_of_a_loop_over_masks_are_those_of_before_march_2019():
    """What mask losses of 2018 do with them, beside what those of 2019 do."""
    objects = [[[1, 1, 8, 1, 8, 8, 1, 8]], [[2, 2, 5, 2, 5, 5]]]
    masks = SegmentationMask(objects, (10, 10))
    scaled = [one.crop(torch.tensor([0.0, 0, 8, 8])).resize((4, 4)) for one in masks]
    found = torch.stack([one.convert(mode="mask") for one in scaled], dim=0).to(dtype=torch.float32)
    assert found.tolist() == torch.stack([one.get_mask_tensor() for one in scaled]).tolist() and found.sum() == 10
    assert [[p.tolist() for p in one.polygons] for one in masks] == objects
    areas = [mask_utils.area(mask_utils.frPyObjects(one, 10, 10)).sum() for one in objects]
    assert [one.convert("mask").sum() for one in masks.polygons] == areas
