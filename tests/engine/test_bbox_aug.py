"""Test-time augmentation against plain testing, and against the procedure written out with loops."""

import dataclasses
import math

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps

from maskrcnn_benchmark.config import ConfigError, cfg
from maskrcnn_benchmark.data import make_data_loader
from maskrcnn_benchmark.engine import bbox_aug
from maskrcnn_benchmark.engine.inference import compute_on_dataset
from maskrcnn_benchmark.engine.test_time_augmentation import View, make_box_augmentation, make_views
from maskrcnn_benchmark.modeling.detector import build_detection_model
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.image_list import ImageList, to_image_list
from tests.support.helpers import CONFIG, options, write_coco

CPU = torch.device("cpu")
ON = {"TEST__BBOX_AUG__ENABLED": True}
AUGMENTED = {
    **ON,
    "TEST__BBOX_AUG__H_FLIP": True,
    "TEST__BBOX_AUG__SCALES": "(48, 96)",
    "TEST__BBOX_AUG__MAX_SIZE": 110,
    "TEST__BBOX_AUG__SCALE_H_FLIP": True,
}
VIEWS = [(64, 320, False), (64, 320, True), (48, 110, False), (48, 110, True), (96, 110, False), (96, 110, True)]


@pytest.fixture
def config(tmp_path):
    def make(**keys: object):
        config = cfg.clone()
        config.merge_from_file(str(CONFIG))
        few = {"MODEL__RPN__FPN_POST_NMS_TOP_N_TEST": 15, "MODEL__ROI_HEADS__SCORE_THRESH": 0.3}
        config.merge_from_list(options(tmp_path, **{**few, **keys}))
        return config

    return make


def build(config) -> torch.nn.Module:
    """The same random weights every time, with scores, boxes and masks that differ between proposals.

    The last layers' weights are small, for far from zero the sigmoid of a mask hides differences or makes noise a difference.
    The network computes in float64: random weights magnify rounding, which depends on the processor, the number of threads and
    the size of the batch. What is left is the rounding of boxes, which are float32 (see `assert_same`).
    """
    torch.manual_seed(3)
    model = build_detection_model(config).eval().double()
    model.backbone.register_forward_pre_hook(lambda module, inputs: (inputs[0].double(),))
    rng = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for layer, scale in (
            (model.roi_heads.box.predictor.cls_score, 0.006),
            (model.roi_heads.box.predictor.bbox_pred, 0.005),
            (model.roi_heads.mask.predictor.mask_fcn_logits, 0.01),
        ):
            layer.weight.copy_(scale * torch.randn(layer.weight.shape, generator=rng))
    return model


@pytest.fixture
def images() -> list[Image.Image]:
    """Two of different size, smooth, so that scaling does not change everything."""
    rng = np.random.default_rng(0)
    sizes = [(80, 64), (70, 96)]
    return [
        Image.fromarray(rng.integers(0, 255, (6, 8, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
        for size in sizes
    ]


def as_input(image: Image.Image, config) -> torch.Tensor:
    bgr = torch.from_numpy(np.array(image)[:, :, ::-1].astype(np.float32))
    return (bgr - torch.tensor(config.INPUT.PIXEL_MEAN)).permute(2, 0, 1)


def plain_detections(config, images: list[Image.Image]) -> list[BoxList]:
    """What plain testing finds in images of the test size; the batch is padded as ever."""
    inputs = [as_input(image, config) for image in images]
    height, width = (math.ceil(max(t.shape[d] for t in inputs) / 32) * 32 for d in (1, 2))
    batch = torch.zeros(len(inputs), 3, height, width)
    for slot, tensor in zip(batch, inputs, strict=True):
        slot[:, : tensor.shape[1], : tensor.shape[2]] = tensor
    sizes = [tensor.shape[1:] for tensor in inputs]
    with torch.inference_mode():
        return build(config)(ImageList(batch, sizes))


# Coordinates below 128 are float32 numbers 2^-17 apart; boxes are rounded about ten times: decoded, clipped, mirrored, scaled to
# the first view and to the others. That moves a score or a mask by less than 1e-6 (measured), whose own last place is 2^-24.
PIXELS = 16 * 2**-17
SCORES = 1e-5


def assert_same(found: list[BoxList], expected: list[BoxList]) -> None:
    for a, b in zip(found, expected, strict=True):
        assert len(a) == len(b) > 3 and a.size == b.size
        torch.testing.assert_close(a.bbox, b.bbox, atol=PIXELS, rtol=0)
        assert a.get_field("labels").equal(b.get_field("labels"))
        for field in ("scores", "mask"):
            torch.testing.assert_close(a.get_field(field), b.get_field(field), atol=SCORES, rtol=0)


def augmented(config, images, **changes) -> list[BoxList]:
    augmentation = dataclasses.replace(make_box_augmentation(config), **changes)
    with torch.inference_mode():
        return augmentation.detect(build(config), images, CPU)


@pytest.mark.parametrize("masks", ["identity", "average"])
def test_one_identical_view_is_plain_testing(config, images, masks):
    images[1] = images[1].resize((64, 88))
    assert_same(augmented(config(**ON, TEST__BBOX_AUG__MASKS=masks), images), plain_detections(config(), images))


def test_the_mirrored_view_alone_mirrors_what_is_found_in_the_mirrored_image(config, images):
    images[1] = images[1].resize((64, 88))
    found = augmented(config(**ON), images, views=(View(64, 320, flip=True),))
    expected = []
    for b in plain_detections(config(), [ImageOps.mirror(image) for image in images]):
        x1, y1, x2, y2 = b.bbox.unbind(1)
        mirrored = BoxList(torch.stack((b.size[0] - 1 - x2, y1, b.size[0] - 1 - x1, y2), 1), b.size)
        for field in ("labels", "scores"):
            mirrored.add_field(field, b.get_field(field))
        mirrored.add_field("mask", b.get_field("mask").flip(3))
        expected.append(mirrored)
    assert_same(found, expected)


def test_views_follow_the_configuration(config):
    assert [(v.min_size, v.max_size, v.flip) for v in make_views(config(**AUGMENTED))] == VIEWS
    assert make_views(config(**ON)) == (View(64, 320),)
    upstreams = cfg.clone()
    upstreams.merge_from_file(str(CONFIG.parents[1] / "test_time_aug" / "e2e_mask_rcnn_R_50_FPN_1x.yaml"))
    views = make_views(upstreams)
    assert len(views) == 18 and views[0] == View(800, 1333) and views[-1] == View(1200, 2000, flip=True)


def scaled(image: Image.Image, min_size: int, max_size: int, flip: bool) -> Image.Image:
    width, height = image.size
    shorter, longer = min(image.size), max(image.size)
    size = min(min_size, round(max_size * shorter / longer))
    width, height = (size if side == shorter else int(size * longer / shorter) for side in (width, height))
    image = image.resize((width, height), Image.Resampling.BILINEAR)
    return ImageOps.mirror(image) if flip else image


def move(box: list[float], source: tuple, target: tuple, flip: bool) -> list[float]:
    """A box of one view in another one. What was narrower than a pixel gets one when it is scaled."""
    x1, y1, x2, y2 = (v * t / s for v, s, t in zip(box, source * 2, target * 2, strict=True))
    if source != target:
        x2, y2 = max(x1, x2), max(y1, y2)
    return [target[0] - 1 - x2, y1, target[0] - 1 - x1, y2] if flip else [x1, y1, x2, y2]


def overlap(a: list[float], b: list[float]) -> float:
    w, h = min(a[2], b[2]) - max(a[0], b[0]) + 1, min(a[3], b[3]) - max(a[1], b[1]) + 1
    shared = max(w, 0.0) * max(h, 0.0)
    return shared / ((a[2] - a[0] + 1) * (a[3] - a[1] + 1) + (b[2] - b[0] + 1) * (b[3] - b[1] + 1) - shared)


def naive(config, image: Image.Image) -> tuple[list[tuple[float, int, list[float]]], torch.Tensor]:
    """Detections (score, label, box) of one image, and the mean of the masks that each view gives them."""
    model, heads, views = build(config), config.MODEL.ROI_HEADS, []
    first = scaled(image, *VIEWS[0]).size
    candidates = []
    for min_size, max_size, flip in VIEWS:
        seen = scaled(image, min_size, max_size, flip)
        width, height = (math.ceil(side / 32) * 32 for side in seen.size)
        batch = torch.zeros(1, 3, height, width).contiguous(memory_format=torch.channels_last)
        batch[0, :, : seen.size[1], : seen.size[0]] = as_input(seen, config)
        images = ImageList(batch, [(seen.size[1], seen.size[0])])
        features = model.backbone(batch)
        _, (boxes,), _ = model.roi_heads.box(features, model.rpn(images, features)[0])
        views.append((features, seen.size, flip))
        for i, (box, score) in enumerate(zip(boxes.bbox.tolist(), boxes.get_field("scores").tolist(), strict=True)):
            if i % 3 and score > heads.SCORE_THRESH:
                x1, y1, x2, y2 = box
                box = [seen.size[0] - 1 - x2, y1, seen.size[0] - 1 - x1, y2] if flip else box
                candidates.append((score, i % 3, move(box, seen.size, first, False)))
    kept: list = []
    for score, label, box in sorted(candidates, key=lambda c: -c[0]):
        if all(k != label or overlap(box, other) <= heads.NMS for _, k, other in kept):
            kept.append((score, label, box))
    kept = kept[: heads.DETECTIONS_PER_IMG or None]
    masks = []
    for features, size, flip in views:
        placed = BoxList(torch.tensor([move(box, first, size, flip) for *_, box in kept]), size)
        placed.add_field("labels", torch.tensor([label for _, label, _ in kept]))
        mask = model.roi_heads.mask(features, [placed])[1][0].get_field("mask")
        masks.append(mask.flip(3) if flip else mask)
    return kept, torch.stack(masks)


@pytest.mark.parametrize("masks", ["identity", "average"])
@pytest.mark.parametrize("limit", [6, 0])
def test_the_procedure_with_loops(config, images, masks, limit):
    config = config(**AUGMENTED, TEST__BBOX_AUG__MASKS=masks, MODEL__ROI_HEADS__DETECTIONS_PER_IMG=limit)
    for image in images:
        (found,) = augmented(config, [image])
        with torch.inference_mode():
            expected, seen_masks = naive(config, image)
        assert len(found) == len(expected) and (len(expected) == 6 if limit else len(expected) > 6)
        torch.testing.assert_close(
            found.get_field("scores"), torch.tensor([s for s, *_ in expected]), atol=SCORES, rtol=0
        )
        assert found.get_field("labels").tolist() == [label for _, label, _ in expected]
        torch.testing.assert_close(found.bbox, torch.tensor([box for *_, box in expected]), atol=PIXELS, rtol=0)
        assert (seen_masks - seen_masks[0]).abs().max() > 0.01
        mask = seen_masks.mean(0) if masks == "average" else seen_masks[0]
        torch.testing.assert_close(found.get_field("mask"), mask, atol=SCORES, rtol=0)


def test_a_batch_finds_what_its_images_find(config):
    """Images whose padding does not depend on the batch."""
    rng = np.random.default_rng(1)
    pair = [Image.fromarray(rng.integers(0, 255, (64, 64, 3), dtype=np.uint8)) for _ in range(2)]
    config = config(**ON, TEST__BBOX_AUG__H_FLIP=True, TEST__BBOX_AUG__MASKS="average")
    assert_same(augmented(config, pair), [augmented(config, [image])[0] for image in pair])


@pytest.mark.parametrize("masks", ["identity", "average"])
def test_nothing_found(config, images, masks):
    keys = {"TEST__BBOX_AUG__MASKS": masks, "MODEL__ROI_HEADS__SCORE_THRESH": 1.0}
    for found in augmented(config(**{**AUGMENTED, **keys}), images):
        assert len(found) == 0 and found.get_field("mask").shape == (0, 1, 28, 28)


def test_upstreams_functions(config, images, monkeypatch):
    monkeypatch.setattr(bbox_aug, "cfg", config(**AUGMENTED))
    model = build(bbox_aug.cfg)
    with torch.inference_mode():
        plain = bbox_aug.im_detect_bbox(model, images, 64, 320, CPU)
        mirrored = bbox_aug.im_detect_bbox_hflip(model, images, 64, 320, CPU)
        same = bbox_aug.im_detect_bbox_scale(model, images, 64, 320, CPU, hflip=True)
        final = bbox_aug.im_detect_bbox_aug(model, images, CPU)
    assert [b.size for b in plain] == [(80, 64), (64, 87)]
    assert all(len(b) == 3 * 15 and b.fields() == ["scores"] for b in plain + mirrored)
    for a, b, c in zip(plain, mirrored, same, strict=True):
        assert b.bbox.equal(c.bbox) and not a.bbox.equal(b.bbox)
    assert_same(final, augmented(bbox_aug.cfg, images))


def test_a_data_set_with_an_image_that_cannot_be_read(config, tmp_path, monkeypatch):
    write_coco(tmp_path, images=4)
    (tmp_path / "set" / "2.jpg").write_bytes(b"broken")
    config = config(**AUGMENTED)
    monkeypatch.setattr(bbox_aug, "cfg", config)
    (loader,) = make_data_loader(config, is_train=False)
    results = compute_on_dataset(build(config), loader, CPU, bbox_aug=True)
    assert sorted(results) == [0, 1, 3] and results[0].size == (80, 64)
    assert all(len(b) and len(b.get_field("mask")) == len(b) for b in results.values())


def test_models_and_keys_that_do_not_fit(config, images):
    with pytest.raises(ConfigError, match="built without test-time augmentation"):
        make_box_augmentation(config(**ON)).detect(build(config()), images, CPU)
    with pytest.raises(ConfigError, match="scales PIL images itself"):
        make_box_augmentation(config(**ON)).detect(build(config(**ON)), to_image_list(torch.zeros(3, 64, 64)), CPU)
    proposer = build_detection_model(config(**ON, MODEL__RPN_ONLY=True, MODEL__MASK_ON=False)).eval()
    with pytest.raises(ConfigError, match="needs a detector with a box head, and .* has no `roi_heads"):
        make_box_augmentation(config(**ON)).detect(proposer, images, CPU)
    with pytest.raises(ConfigError, match="TEST.BBOX_AUG.MASKS is 'mean'; it must be one of"):
        make_box_augmentation(config(**ON, TEST__BBOX_AUG__MASKS="mean"))
    with pytest.raises(ConfigError, match="set MODEL.ROI_MASK_HEAD.POSTPROCESS_MASKS to False"):
        pasted = {"TEST__BBOX_AUG__MASKS": "average", "MODEL__ROI_MASK_HEAD__POSTPROCESS_MASKS": True}
        make_box_augmentation(config(**ON, **pasted))
