"""torchvision's models and ours compute the same from the same weights."""

from __future__ import annotations

import copy
from functools import cache
from pathlib import Path

import pytest
import torch
import torchvision
from PIL import Image
from torch import nn
from torchvision.models.detection import fasterrcnn_resnet50_fpn, maskrcnn_resnet50_fpn
from torchvision.models.detection.image_list import ImageList as TorchvisionImageList

from maskrcnn_benchmark.checkpoint import weights as weights_module
from maskrcnn_benchmark.checkpoint.errors import CheckpointError
from maskrcnn_benchmark.checkpoint.torchvision import address, convert_torchvision
from maskrcnn_benchmark.config import cfg as defaults
from maskrcnn_benchmark.data.transforms import build_transforms
from maskrcnn_benchmark.modeling import box_coder, detections
from maskrcnn_benchmark.modeling.detector import build_detection_model
from maskrcnn_benchmark.modeling.roi_heads.mask_head import pasting
from maskrcnn_benchmark.modeling.rpn import inference as rpn_inference
from maskrcnn_benchmark.structures import bounding_box, boxes
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.image_list import ImageList
from maskrcnn_benchmark.utils.checkpoint import DetectronCheckpointer
from tests.support.detectron_layout import blob_name, is_constant, write

CONFIGS = Path(__file__).parents[2] / "configs"
COCO_IDS = [0] + [i for i in range(1, 91) if i not in (12, 26, 29, 30, 45, 66, 68, 69, 71, 83)]
BGR255 = ["INPUT.PIXEL_MEAN", (103.53, 116.28, 123.675)]
RGB = ["INPUT.TO_BGR255", False, "INPUT.PIXEL_MEAN", (0.485, 0.456, 0.406), "INPUT.PIXEL_STD", (0.229, 0.224, 0.225)]


def config(*options: object):
    cfg = defaults.clone()
    cfg.merge_from_file(str(CONFIGS / "e2e_mask_rcnn_R_50_FPN_1x.yaml"))
    cfg.merge_from_list(["MODEL.RESNETS.STRIDE_IN_1X1", False, "MODEL.DEVICE", "cpu", *options])
    return cfg


def randomise(model: nn.Module) -> nn.Module:
    """Statistics and biases that matter, with activations of about 1 in depth."""
    torch.manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(1e-4, 0.5)  # small enough for the epsilon to show
            module.weight.data.uniform_(0.2, 0.5) if module.num_features > 1024 else module.weight.data.uniform_(0.5, 1)
            module.weight.data *= module.running_var.sqrt()
            module.bias.data.normal_(std=0.1)
        elif isinstance(module, (nn.Conv2d, nn.Linear, nn.ConvTranspose2d)) and module.bias is not None:
            module.bias.data.normal_(std=0.1)
    return model.eval()


@cache
def theirs(mask: bool) -> nn.Module:
    torch.manual_seed(0)
    build = maskrcnn_resnet50_fpn if mask else fasterrcnn_resnet50_fpn
    return randomise(build(weights=None, weights_backbone=None))


def ours(cfg, path: Path) -> nn.Module:
    model = build_detection_model(cfg).eval()
    DetectronCheckpointer(cfg, model).load(str(path))
    return model


def assert_close(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    assert ours.shape == theirs.shape and theirs.std() > 1e-3
    assert (ours - theirs).abs().max() <= 1e-3 * theirs.abs().max()


@pytest.mark.parametrize(("mask", "images"), [(True, BGR255), (False, RGB)], ids=["mask-bgr255", "faster-rgb"])
@torch.no_grad()
def test_detectors_agree(tmp_path, log, mask, images):
    torch.save({"model": {f"module.{n}": v for n, v in theirs(mask).state_dict().items()}}, tmp_path / "tv.pth")
    cfg = config("MODEL.MASK_ON", mask, *images)
    model, reference = ours(cfg, tmp_path / "tv.pth"), theirs(mask)
    assert "standard deviations from" not in log.text and "of the file are not used" not in log.text
    assert set(initial_names(log.text)) <= {"rpn.anchor_generator.cell_anchors"}
    pixels = torch.randint(0, 256, (128, 160, 3), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    given = images_for(cfg, pixels)
    wanted = reference.transform.normalize(pixels.permute(2, 0, 1) / 255)[None]
    features = model.backbone(given)
    expected = reference.backbone(wanted)
    for mine, its in zip(features, expected.values(), strict=True):
        assert_close(mine, its)
    for mine, its in zip(model.rpn.head(features), reference.rpn.head(list(expected.values())), strict=True):
        for level in range(5):
            assert_close(mine[level], its[level])
    # Sizes of levels 2, 3 and 4, not near the limits between them.
    boxes = torch.tensor(
        [[3.0, 5, 60, 40], [0, 0, 130, 125], [20, 30, 159, 127], [100, 90, 140, 120], [0, 0, 320, 310]]
    )
    regions, its_regions = [BoxList(boxes, (160, 128))], [boxes]
    levels = {k: v for k, v in expected.items() if k != "pool"}
    pooled = reference.roi_heads.box_roi_pool(levels, its_regions, [(128, 160)])
    box_features = reference.roi_heads.box_head(pooled)
    logits, offsets = model.roi_heads.box.predictor(model.roi_heads.box.feature_extractor(features, regions))
    its_logits, its_offsets = reference.roi_heads.box_predictor(box_features)
    assert_close(logits, its_logits[:, COCO_IDS])
    assert_close(offsets, its_offsets.view(-1, 91, 4)[:, COCO_IDS].flatten(1))
    if mask:
        its_pooled = reference.roi_heads.mask_roi_pool(levels, its_regions, [(128, 160)])
        its_masks = reference.roi_heads.mask_predictor(reference.roi_heads.mask_head(its_pooled))
        head = model.roi_heads.mask
        assert_close(head.predictor(head.feature_extractor(features, regions)), its_masks[:, COCO_IDS])


@pytest.fixture
def torchvisions_conventions(monkeypatch):
    """Boxes without their last pixel, in suppression too."""
    for module in (boxes, bounding_box, box_coder, pasting):
        monkeypatch.setattr(module, "PIXEL", 0)

    def suppress(boxes, scores, groups, iou_threshold, most):
        keep = torchvision.ops.batched_nms(boxes, scores, groups, iou_threshold)
        order = scores.argsort(descending=True, stable=True)
        return order, torch.zeros_like(scores, dtype=torch.bool).index_fill(0, keep, True)[order]

    for module in (rpn_inference, detections):
        monkeypatch.setattr(module, "suppress", suppress)


def with_detections(reference: nn.Module, features: dict, images: TorchvisionImageList) -> nn.Module:
    """Scores of many classes and offsets of some size for these features, and none for the ids that COCO does not use."""
    reference = copy.deepcopy(reference)
    reference.rpn.head.cls_logits.weight.data *= 10
    proposals, _ = reference.rpn(images, features)
    pooled = reference.roi_heads.box_roi_pool(features, proposals, images.image_sizes)
    typical = reference.roi_heads.box_head(pooled).mean(dim=0)
    predictor = reference.roi_heads.box_predictor
    predictor.bbox_pred.weight.data *= 10
    predictor.cls_score.weight.data *= 100
    predictor.cls_score.bias.data = -predictor.cls_score.weight @ typical
    predictor.cls_score.bias.data[[i for i in range(91) if i not in COCO_IDS]] = -1000
    return reference


def folded(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Batch norms as the scale and the offset that Detectron keeps of them."""
    state = dict(state)
    for name in [n.removesuffix("running_var") for n in state if n.endswith("running_var")]:
        scale = state[f"{name}weight"] * state[f"{name}running_var"].rsqrt()
        state[f"{name}bias"] = state[f"{name}bias"] - state[f"{name}running_mean"] * scale
        state[f"{name}weight"] = scale
    return state


@pytest.mark.parametrize("layout", ["torchvision", pytest.param("detectron", marks=pytest.mark.slow)])
@pytest.mark.parametrize("mask", [True, False], ids=["mask", "faster"])
@torch.no_grad()
def test_detections_agree(tmp_path, torchvisions_conventions, mask, layout):
    size = (128, 192)  # whole cells on every level
    pixels = torch.randint(0, 256, (*size, 3), generator=torch.Generator().manual_seed(2), dtype=torch.uint8)
    images = TorchvisionImageList(theirs(mask).transform.normalize(pixels.permute(2, 0, 1) / 255)[None], [size])
    features = theirs(mask).backbone(images.tensors)
    reference = with_detections(theirs(mask), features, images)
    proposals, _ = reference.rpn(images, features)
    wanted = reference.roi_heads(features, proposals, [size])[0][0]

    torch.save(reference.state_dict(), tmp_path / "tv.pth")
    cfg = config("MODEL.MASK_ON", mask, *BGR255)
    model = ours(cfg, tmp_path / "tv.pth")
    if layout == "detectron":
        state = {k: v.numpy() for k, v in folded(model.state_dict()).items() if not is_constant(k)}
        model = ours(cfg, Path(write(tmp_path / "model.pkl", {blob_name(k, False): v for k, v in state.items()})))
    anchors = reference.rpn.anchor_generator.cell_anchors  # centred on the corner of a cell, not on its centre
    for own, its in zip(model.rpn.anchor_generator.cell_anchors, anchors, strict=True):
        own.copy_(its)
    found = model(ImageList(images_for(cfg, pixels), [size]))[0]
    assert len(found) == len(wanted["scores"]) > 20 and len(wanted["labels"].unique()) > 5
    # Rounding can make scores change places: each detection is compared with the nearest of its class.
    labels = torch.tensor(COCO_IDS)[found.get_field("labels")]
    distance = torch.cdist(found.bbox, wanted["boxes"]) + 1e6 * (labels[:, None] != wanted["labels"])
    nearest = distance.argmin(dim=1)
    assert len(nearest.unique()) == len(found)
    assert torch.equal(labels, wanted["labels"][nearest])
    assert_close(found.get_field("scores"), wanted["scores"][nearest])
    assert_close(found.bbox, wanted["boxes"][nearest])
    if mask:
        assert_close(found.get_field("mask"), wanted["masks"][nearest])


def initial_names(text: str) -> list[str]:
    for line in text.splitlines():
        if "keep their initial values: " in line:
            names = line.split("keep their initial values: ")[1].split(" and ")[0].split(", ")
            return [name.rstrip("0123456789").rstrip(".") for name in names]
    return []


def images_for(cfg, pixels: torch.Tensor) -> torch.Tensor:
    """uint8 Tensor[H, W, 3] through the package's own transforms: Tensor[1, 3, H, W]."""
    cfg = cfg.clone()
    height, width, _ = pixels.shape
    cfg.merge_from_list(["INPUT.MIN_SIZE_TEST", height, "INPUT.MAX_SIZE_TEST", width])
    target = BoxList(torch.zeros(0, 4), (width, height))
    image, _ = build_transforms(cfg, is_train=False)(Image.fromarray(pixels.numpy()), target)
    assert image.shape == (3, height, width)
    return image[None]


@torch.no_grad()
def test_a_classifier_becomes_a_body(tmp_path, monkeypatch):
    reference = randomise(torchvision.models.resnet50())
    torch.save(reference.state_dict(), tmp_path / "resnet50.pth")
    address_v1 = torchvision.models.ResNet50_Weights.IMAGENET1K_V1.url
    monkeypatch.setattr(weights_module, "cache_url", lambda url: {address_v1: str(tmp_path / "resnet50.pth")}[url])
    cfg = config(*BGR255)
    model = build_detection_model(cfg).eval()
    DetectronCheckpointer(cfg, model).load("torchvision://resnet50")
    pixels = torch.randint(0, 256, (128, 160, 3), generator=torch.Generator().manual_seed(1), dtype=torch.uint8)
    x = theirs(False).transform.normalize(pixels.permute(2, 0, 1) / 255)[None]
    x = reference.maxpool(reference.relu(reference.bn1(reference.conv1(x))))
    for stage, mine in enumerate(model.backbone.body(images_for(cfg, pixels)), start=1):
        x = getattr(reference, f"layer{stage}")(x)
        assert_close(mine, x)


def test_names_of_torchvision():
    weights = torchvision.models.ResNet50_Weights
    assert address("torchvision://resnet50/IMAGENET1K_V2") == weights.IMAGENET1K_V2.url
    assert "maskrcnn_resnet50_fpn_coco" in address("torchvision://maskrcnn_resnet50_fpn")
    with pytest.raises(CheckpointError, match="no model 'resnet51'"):
        address("torchvision://resnet51")
    with pytest.raises(CheckpointError, match="no weights 'V9' of resnet50, only IMAGENET1K_V1, IMAGENET1K_V2"):
        address("torchvision://resnet50/V9")


def test_old_files_and_frozen_norms():
    names = {
        "backbone.body.bn1.running_var": "backbone.body.stem.bn1.running_var",
        "backbone.fpn.inner_blocks.3.weight": "backbone.fpn.fpn_inner4.weight",
        "backbone.fpn.layer_blocks.0.bias": "backbone.fpn.fpn_layer1.bias",
        "rpn.head.conv.weight": "rpn.head.conv.weight",
        "roi_heads.mask_head.mask_fcn2.bias": "roi_heads.mask.feature_extractor.mask_fcn2.bias",
        "roi_heads.keypoint_head.14.weight": "roi_heads.keypoint.feature_extractor.conv_fcn8.weight",
    }
    converted = convert_torchvision(config(), dict.fromkeys(names, torch.ones(1)))
    assert list(converted) == list(names.values())
    assert converted["backbone.body.stem.bn1.running_var"] == 1  # the published detectors have no epsilon


def test_models_that_would_compute_something_else_are_refused(log):
    state = torchvision.models.resnet50().state_dict()
    with pytest.raises(CheckpointError, match="set MODEL.RESNETS.STRIDE_IN_1X1 False"):
        convert_torchvision(config("MODEL.RESNETS.STRIDE_IN_1X1", True), state)
    with pytest.raises(CheckpointError, match="for batch norms, and MODEL.RESNETS.TRANS_FUNC is 'BottleneckWithGN'"):
        convert_torchvision(config("MODEL.RESNETS.TRANS_FUNC", "BottleneckWithGN"), state)
    with pytest.raises(CheckpointError, match="_v2 detectors"):
        convert_torchvision(config(), {"backbone.fpn.inner_blocks.0.1.weight": torch.ones(1)})
    convert_torchvision(config(), state)
    assert r"INPUT.PIXEL_MEAN (103.53, 116.28, 123.675) is exact" in log.text
