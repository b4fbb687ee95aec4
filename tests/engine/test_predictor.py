"""The Predictor against the testing of whole data sets, and against a detector that sees the same thing everywhere."""

import json
from pathlib import Path

import cv2
import numpy as np
import pycocotools.mask as mask_utils
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO
from torch import nn

from maskrcnn_benchmark.checkpoint.errors import CheckpointError
from maskrcnn_benchmark.config import ConfigError
from maskrcnn_benchmark.config import cfg as defaults
from maskrcnn_benchmark.data import make_data_loader
from maskrcnn_benchmark.data.datasets.images import BrokenImageError
from maskrcnn_benchmark.data.pictures import to_picture
from maskrcnn_benchmark.engine import Predictor
from maskrcnn_benchmark.engine.inference import compute_on_dataset
from maskrcnn_benchmark.engine.results import to_original_image
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.keypoint import PersonKeypoints
from maskrcnn_benchmark.utils.video import VideoError, VideoWriter
from maskrcnn_benchmark.visualization import class_colour
from tests.support.helpers import write_coco
from tests.support.tiny import write_model


@pytest.fixture(scope="module")
def tiny(tmp_path_factory) -> list[str]:
    return write_model(tmp_path_factory.mktemp("model"))


class Sees(nn.Module):
    """Three objects in every image, in fractions of the network's input; notes the sizes of its batches."""

    def __init__(self):
        super().__init__()
        self.batches: list[int] = []

    def forward(self, images) -> list[BoxList]:
        assert torch.is_inference_mode_enabled() and not self.training
        self.batches.append(len(images.image_sizes))
        found = []
        for height, width in images.image_sizes:
            size = torch.tensor([width, height, width, height])
            boxes = torch.tensor([[0.0, 0, 0.25, 0.25], [0.5, 0.5, 0.75, 0.75], [0.25, 0.5, 0.5, 0.75]]) * size
            boxlist = BoxList(boxes, (width, height))
            boxlist.add_field("scores", torch.tensor([0.6, 0.9, 0.7]))
            boxlist.add_field("labels", torch.tensor([1, 2, 1]))
            boxlist.add_field("mask", torch.ones(3, 1, 28, 28))
            found.append(boxlist)
        return found


@pytest.fixture
def seeing(tiny):
    def make(**options) -> Predictor:
        predictor = Predictor(*tiny, **options)
        predictor.model = Sees().eval()
        return predictor

    return make


def same(first: BoxList, second: BoxList) -> None:
    assert first.size == second.size and len(first) == len(second) > 0
    torch.testing.assert_close(first.bbox, second.bbox, rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(first.get_field("scores"), second.get_field("scores"), rtol=1e-4, atol=1e-5)
    assert first.get_field("labels").tolist() == second.get_field("labels").tolist()


def test_the_same_as_testing_on_a_data_set(tiny, tmp_path):
    write_coco(tmp_path, images=3)
    place = {"IMG_DIR": str(tmp_path / "set"), "ANN_FILE": str(tmp_path / "set.json")}
    cfg = defaults.clone()
    cfg.merge_from_file(tiny[0])
    cfg.merge_from_list(["DATASETS.DEFINITIONS", {"set": place}, "DATASETS.TEST", ("set",)])
    cfg.merge_from_list(["DATALOADER.NUM_WORKERS", 0, "TEST.IMS_PER_BATCH", 1])
    predictor = Predictor(cfg, tiny[1], threshold=0)
    (loader,) = make_data_loader(cfg, is_train=False)
    expected = compute_on_dataset(predictor.model, loader, torch.device("cpu"), bbox_aug=False)
    found = predictor([tmp_path / "set" / f"{i}.jpg" for i in range(3)])
    for i in range(3):
        on_disk = to_original_image(expected[i], *found[i].size)
        same(found[i], on_disk)
        assert found[i].get_field("rle") == on_disk.get_field("rle")
    assert predictor.categories.ids == {1: 3, 2: 7}  # the data set's, whose names are those of labels.json


def test_all_kinds_of_pictures(tiny, tmp_path):
    predictor = Predictor(*tiny, threshold=0)
    bgr = np.random.default_rng(0).integers(0, 256, (48, 70, 3), dtype=np.uint8)
    path = tmp_path / "image.png"
    cv2.imwrite(str(path), bgr)
    rgb = torch.from_numpy(bgr[:, :, ::-1].copy()).permute(2, 0, 1)
    expected = predictor(bgr)
    for picture in (path, str(path), rgb, rgb.float() / 255, Image.open(path), bgr[None], rgb[None], [bgr]):
        found = predictor(picture)
        same(found[0] if isinstance(found, list) else found, expected)
    iterator = predictor(iter([bgr, path]))
    assert not isinstance(iterator, list) and len(list(iterator)) == 2
    assert predictor([]) == []
    assert expected.size == (70, 48)


def test_a_photograph_is_turned_as_its_exif_entry_says(seeing, tmp_path):
    image = Image.fromarray(np.zeros((40, 80, 3), np.uint8))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=exif)
    assert seeing()(tmp_path / "turned.jpg").size == (40, 80)


@pytest.mark.parametrize("kind", ["jpg", "png", "tif"])
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_pictures_by_pil_are_turned_once(kind, orientation, tmp_path):
    pixels = np.repeat(np.arange(40 * 80, dtype=np.uint8).reshape(40, 80, 1), 3, axis=2)
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(pixels).save(tmp_path / f"a.{kind}", exif=exif)
    given = Image.open(tmp_path / f"a.{kind}")
    once, by_path = to_picture(given), to_picture(tmp_path / f"a.{kind}")
    for picture in (once, to_picture(once), to_picture(given)):  # the image that was given is as it was
        assert np.array_equal(picture, by_path)


def test_batches_hold_pictures_of_one_size(seeing):
    predictor = seeing(batch_size=2)
    small, large = np.zeros((40, 60, 3), np.uint8), np.zeros((80, 60, 3), np.uint8)
    found = predictor([small, small, small, large, small])
    assert predictor.model.batches == [2, 1, 1, 1]
    assert [f.size for f in found] == [(60, 40)] * 3 + [(60, 80), (60, 40)]


def test_a_stream_holds_no_more_than_a_batch(seeing):
    taken = 0

    def frames():
        nonlocal taken
        while True:  # without an end
            taken += 1
            yield np.full((40, 60, 3), taken % 256, np.uint8)

    stream = seeing(batch_size=3).stream(frames())
    for i in range(1, 8):
        frame, _ = next(stream)
        assert frame[0, 0, 0] == i and taken == -(-i // 3) * 3


@pytest.mark.parametrize(
    ("options", "scores"),
    [
        ({}, [0.9, 0.7, 0.6]),
        ({"threshold": 0.65}, [0.9, 0.7]),
        ({"threshold": 0.7}, [0.9, 0.7]),
        ({"classes": ["red"]}, [0.7, 0.6]),
        ({"classes": [2]}, [0.9]),
        ({"classes": ["2", "red"], "top_k": 2}, [0.9, 0.7]),
        ({"classes": "red", "top_k": 1}, [0.7]),
        ({"threshold": 0.95}, []),
    ],
)
def test_what_is_selected(seeing, options, scores):
    found = seeing(**options)(np.zeros((40, 60, 3), np.uint8))
    assert found.get_field("scores").tolist() == pytest.approx(scores)
    assert len(found.get_field("rle")) == len(found) == len(scores)


def test_boxes_and_masks_are_those_of_the_picture(seeing):
    found = seeing()(np.zeros((40, 60, 3), np.uint8))
    np.testing.assert_allclose(found.bbox[0], [30, 20, 45, 30], atol=0.5)
    mask = mask_utils.decode(found.get_field("rle")[0])
    assert mask.shape == (40, 60) and mask[22:28, 33:43].all() and not mask[:18].any() and not mask[:, :28].any()


def test_coco_results_are_json_that_pycocotools_loads(seeing, tmp_path):
    predictor = seeing(labels=[{"id": 30, "name": "blue"}, {"id": 7, "name": "red"}])
    entries = json.loads(json.dumps(predictor.coco(predictor(np.zeros((40, 60, 3), np.uint8)), image_id=5)))
    assert [e["category_id"] for e in entries] == [30, 7, 7]
    assert entries[0]["bbox"] == pytest.approx([30, 20, 16, 11], abs=0.01)
    truth = {"images": [{"id": 5, "width": 60, "height": 40}], "categories": predictor.categories.as_coco()}
    (tmp_path / "truth.json").write_text(json.dumps({**truth, "annotations": []}))
    (tmp_path / "results.json").write_text(json.dumps(entries))
    loaded = COCO(str(tmp_path / "truth.json")).loadRes(str(tmp_path / "results.json"))
    assert len(loaded.anns) == 3
    assert loaded.annToMask(loaded.anns[1])[22:28, 33:43].all()


def test_drawing_shows_what_was_found(seeing):
    predictor = seeing(threshold=0.8)
    image = np.full((500, 600, 3), 100, np.uint8)
    drawn = predictor.draw(image, predictor(image))
    assert drawn.shape == image.shape and (image == 100).all()
    tint = 0.6 * 100 + 0.4 * np.array(class_colour(2))
    assert np.abs(drawn[320, 380] - tint).max() <= 1 and (drawn[100, 100] == 100).all()
    assert (predictor.draw(Image.fromarray(image), predictor(image)) == drawn).all()
    assert predictor.draw(image[:50, :60], predictor(image[:50, :60])).shape == (500, 600, 3)  # enlarged


def test_half_precision_weights_become_float32(tiny, tmp_path):
    half = Predictor(*write_model(tmp_path, half=True), threshold=0)
    assert {p.dtype for p in half.model.parameters()} == {torch.float32}
    full = Predictor(*tiny, threshold=0)
    for name, value in full.model.state_dict().items():
        torch.testing.assert_close(half.model.state_dict()[name], value, rtol=1e-3, atol=1e-6)


def test_optimised_for_detection(tiny, tmp_path):
    picture = tmp_path / "picture.png"
    cv2.imwrite(str(picture), np.random.default_rng(0).integers(0, 256, (70, 90, 3), np.uint8))
    plain, fast = (Predictor(*tiny, threshold=0.0, opts=["TEST.OPTIMIZE", use]) for use in (False, True))
    assert any(isinstance(m, torch.nn.BatchNorm2d) for m in plain.model.modules())
    assert not any(isinstance(m, torch.nn.BatchNorm2d) for m in fast.model.modules())
    first, second = plain(str(picture)), fast(str(picture))
    assert len(first) == len(second) > 0
    torch.testing.assert_close(first.get_field("scores"), second.get_field("scores"), rtol=1e-3, atol=1e-4)


def test_weights_of_a_training_folder(tiny, tmp_path):
    (tmp_path / "model_final.pth").write_bytes(Path(tiny[1]).read_bytes())
    (tmp_path / "last_checkpoint").write_text("model_final.pth")
    (tmp_path / "labels.json").write_text(json.dumps({"COCODataset": {"1": "one", "2": "two"}}))
    predictor = Predictor(tiny[0], opts=["OUTPUT_DIR", str(tmp_path)])
    assert predictor.categories.names == {1: "one", 2: "two"}
    assert Predictor(tiny[0], opts=["MODEL.WEIGHT", tiny[1]]).categories.names == {1: "red", 2: "blue"}


def test_the_global_configuration_stays_as_it_is(tiny):
    before = defaults.dump()
    predictor = Predictor(*tiny)
    assert defaults.dump() == before and not defaults.is_frozen() and predictor.cfg.is_frozen()


@pytest.mark.parametrize(
    "keys",
    [
        {"TEST__BBOX_AUG__ENABLED": True, "TEST__BBOX_AUG__H_FLIP": True},
        {"MODEL__ROI_MASK_HEAD__POSTPROCESS_MASKS": True},
        {"MODEL__RPN_ONLY": True, "MODEL__MASK_ON": False},
        {"MODEL__KEYPOINT_ON": True, "MODEL__MASK_ON": False, "MODEL__ROI_BOX_HEAD__NUM_CLASSES": 2},
    ],
)
def test_all_kinds_of_models(tmp_path, keys):
    if "MODEL__KEYPOINT_ON" in keys:
        scales = (0.25, 0.125, 0.0625, 0.03125)
        keys = {**keys, "MODEL__ROI_KEYPOINT_HEAD__POOLER_SCALES": scales}
        keys.update(MODEL__ROI_KEYPOINT_HEAD__CONV_LAYERS=(8,), MODEL__ROI_KEYPOINT_HEAD__POOLER_RESOLUTION=14)
        keys["MODEL__ROI_KEYPOINT_HEAD__SHARE_BOX_FEATURE_EXTRACTOR"] = False
    predictor = Predictor(*write_model(tmp_path, labels=False, **keys), threshold=0, top_k=4)
    image = np.random.default_rng(0).integers(0, 256, (48, 70, 3), dtype=np.uint8)
    found = predictor(image)
    assert len(found) == 4 and found.size == (70, 48)
    scores = found.get_field("scores")
    assert (scores[:-1] >= scores[1:]).all() and (found.bbox[:, 2] <= 71).all()
    assert found.has_field("rle") == predictor.cfg.MODEL.MASK_ON
    entry = json.loads(json.dumps(predictor.coco(found)))[0]
    if predictor.cfg.MODEL.MASK_ON:
        assert entry["segmentation"]["size"] == [48, 70]
    if predictor.cfg.MODEL.KEYPOINT_ON:
        assert len(entry["keypoints"]) == 3 * 17 and isinstance(found.get_field("keypoints"), PersonKeypoints)
        found.get_field("keypoints").add_field("logits", torch.full((4, 17), 9.0))
        assert predictor.categories.names == {1: "person"}
    if predictor.cfg.MODEL.RPN_ONLY:
        assert predictor.categories.names == {1: "object"}
    plain = predictor.draw(image, found[torch.zeros(4, dtype=torch.bool)])
    assert (predictor.draw(image, found) != plain).any(axis=2).mean() > 0.005


def test_a_video_frame_by_frame(seeing, tmp_path):
    path = tmp_path / "clip.avi"
    with VideoWriter(path, 10) as writer:
        for i in range(5):
            writer.write(np.full((48, 64, 3), 40 * i, np.uint8))
    predictor = seeing()
    seen = [(round(frame.mean()), len(found)) for frame, found in predictor.video(path)]
    assert [n for _, n in seen] == [3] * 5 and all(abs(mean - 40 * i) < 4 for i, (mean, _) in enumerate(seen))
    assert [found.size for found in predictor(str(path))] == [(64, 48)] * 5
    with pytest.raises(VideoError, match="There is no video"):
        next(predictor(str(tmp_path / "no.mp4")))


@pytest.mark.parametrize(
    ("picture", "error", "said"),
    [
        ("no.jpg", BrokenImageError, "The image no.jpg cannot be read: there is no such file"),
        (np.zeros((4, 4, 3)), ValueError, r"uint8 \[H, W, 3\] in the order BGR.*got float64 \[4, 4, 3\]"),
        (np.zeros((4, 4, 2), np.uint8), ValueError, r"got uint8 \[4, 4, 2\]"),
        (torch.zeros(4, 4, 3), ValueError, r"\[3, H, W\] in the order RGB; got the shape \[4, 4, 3\]"),
        (torch.full((3, 4, 4), 7.0), ValueError, "values from 0 to 1; got 7 to 7"),
        (torch.full((3, 4, 4), float("nan")), ValueError, "values from 0 to 1; got nan"),
        (torch.full((3, 4, 4), 300, dtype=torch.int32), ValueError, "got torch.int32 from 300 to 300"),
        (torch.full((3, 4, 4), -1), ValueError, "got torch.int64 from -1 to -1"),
        (torch.ones(3, 4, 4, dtype=torch.bool), ValueError, "must hold whole numbers from 0 to 255.*got torch.bool"),
        (torch.ones(3, 4, 4, dtype=torch.complex64), ValueError, "got torch.complex64"),
        (5, TypeError, "A picture is a path, a PIL image.*got a int"),
    ],
)
def test_pictures_that_are_none(seeing, picture, error, said):
    with pytest.raises(error, match=said):
        seeing()(picture)


def test_whole_numbers_of_any_width_are_pixels():
    pixels = torch.arange(48).reshape(3, 4, 4) * 5
    expected = np.asarray(to_picture(pixels.byte()))
    for dtype in (torch.int16, torch.int32, torch.int64):
        np.testing.assert_array_equal(np.asarray(to_picture(pixels.to(dtype))), expected)


@pytest.mark.parametrize("picture", [np.zeros((9, 9, 2), np.uint8), np.zeros((9, 9, 4), np.uint8), np.zeros((9, 9, 3))])
def test_arrays_that_are_no_pictures_are_not_drawn_on(seeing, picture):
    predictor = seeing()
    found = predictor(np.zeros((9, 9, 3), np.uint8))
    with pytest.raises(ValueError, match=r"An array must be uint8 \[H, W, 3\]"):
        predictor.draw(picture, found)


def test_said_in_a_sentence(tiny, tmp_path):
    config, weights = tiny
    for arguments, options, error, said in (
        ((config,), {}, ConfigError, "no weights to detect with"),
        ((config, str(tmp_path / "no.pth")), {}, FileNotFoundError, "There is no checkpoint"),
        (("no.yaml", weights), {}, FileNotFoundError, "no configuration file 'no.yaml'"),
        (
            (config, weights),
            {"classes": ["rod"]},
            ConfigError,
            r"no class 'rod'. Did you mean 'red'\?.*red \(1\), blue",
        ),
        ((config, weights), {"classes": [9]}, ConfigError, "no class 9"),
        ((config, weights), {"threshold": 5}, ConfigError, "from 0 to 1; got 5"),
        ((config, weights), {"threshold": "a"}, ConfigError, "from 0 to 1; got 'a'"),
        ((config, weights), {"threshold": None}, ConfigError, "from 0 to 1; got None"),
        ((config, weights), {"top_k": 0}, ConfigError, "1 or more; got top_k 0"),
        ((config, weights), {"top_k": "3"}, ConfigError, "whole numbers, 1 or more; got top_k '3'"),
        ((config, weights), {"batch_size": 2.5}, ConfigError, "got batch_size 2.5"),
        ((config, weights), {"classes": [1.0]}, ConfigError, "by its name, or by its id, a whole number; got 1.0"),
        ((config, weights), {"classes": 1.5}, ConfigError, "got 1.5"),
        ((config, weights), {"labels": 5}, ConfigError, "Class names are a list"),
        ((None, weights), {}, ConfigError, "or the path of its file; got None"),
        (({}, weights), {}, ConfigError, "or the path of its file; got {}"),
        ((config, weights), {"opts": None}, ConfigError, r"\[key, value, key, value, ...\]; got None"),
        ((config, weights), {"opts": "SEED 1"}, ConfigError, "got 'SEED 1'"),
        ((config, None), {}, ConfigError, "no weights to detect with"),
        (
            (config, weights),
            {"labels": ["one"]},
            ConfigError,
            "1 class name was given, but the model tells 2 classes apart",
        ),
        ((config, weights), {"labels": "red"}, ConfigError, "Class names are a list"),
        ((config, weights), {"device": "gpu"}, ConfigError, "'gpu' is no device"),
        ((config, weights), {"opts": ["MODEL.WEIGH", "x"]}, ConfigError, "did you mean 'MODEL.WEIGHT'"),
    ):
        with pytest.raises(error, match=said):
            Predictor(*arguments, **options)


def test_weights_of_a_backbone_alone_are_refused(tiny, tmp_path):
    state = torch.load(tiny[1], weights_only=True)["model"]
    torch.save({k: v for k, v in state.items() if k.startswith("backbone.body.")}, tmp_path / "body.pth")
    with pytest.raises(
        CheckpointError,
        match="lack .* of the model's .* tensors, which would stay random: backbone.fpn.*or of a part of one",
    ):
        Predictor(tiny[0], tmp_path / "body.pth")


@pytest.mark.parametrize("weights", [{"model": {}}, {}, b"model.pth", 7, True])
def test_weights_are_named(tiny, weights):
    with pytest.raises(
        ConfigError, match=r"Weights are named by their file, .*; got a \w+\. Name the file that they were"
    ):
        Predictor(tiny[0], weights)
