"""What is said, before a training or a test, of objects that are too small or too many for a configuration."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from maskrcnn_benchmark.config import cfg
from maskrcnn_benchmark.data import make_data_loader, size_checks
from maskrcnn_benchmark.data.datasets import AbstractDataset
from maskrcnn_benchmark.data.set_facts import facts_of_dataset
from maskrcnn_benchmark.structures.bounding_box import BoxList
from tests.support.helpers import CONFIG
from tests.support.real_sets import AERIAL, COCO, needs


@pytest.fixture(autouse=True)
def nothing_was_said(monkeypatch):
    monkeypatch.setattr(size_checks, "_said", set())


def write(root, size, side, count, images=4):
    (root / "set").mkdir()
    content: dict = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "a"}]}
    for i in range(images):
        Image.new("RGB", size).save(root / "set" / f"{i}.png")
        content["images"].append({"id": 7 + i, "file_name": f"{i}.png", "width": size[0], "height": size[1]})
        for k in range(count if i == 2 else 3):
            ids = {"id": len(content["annotations"]) + 1, "image_id": 7 + i, "category_id": 1, "iscrowd": 0}
            content["annotations"].append({**ids, "bbox": [k % 50, k // 50, side, side], "area": side * side})
    (root / "set.json").write_text(json.dumps(content))


def said(root, log, *words, train=False, base=CONFIG) -> list[str]:
    config = cfg.clone()
    config.merge_from_file(str(base))
    config.merge_from_list(["MODEL.ROI_BOX_HEAD.NUM_CLASSES", 2, "MODEL.RETINANET.NUM_CLASSES", 2, "OUTPUT_DIR", ""])
    config.merge_from_list(["MODEL.MASK_ON", False, "DATASETS.TRAIN", ("set",), "DATASETS.TEST", ("set",)])
    config.merge_from_list(["DATASETS.DEFINITIONS.set.ANN_FILE", str(root / "set.json")])
    config.merge_from_list(["DATASETS.DEFINITIONS.set.IMG_DIR", str(root / "set"), *words])
    log.clear()
    make_data_loader(config, is_train=train)
    return [r.getMessage() for r in log.records if r.name == size_checks.logger.name]


def test_a_limit_that_hides_the_size(tmp_path, log):
    write(tmp_path, (200, 100), 30, 3)
    words = ("INPUT.MIN_SIZE_TEST", 100, "INPUT.MAX_SIZE_TEST", 150, "MODEL.RPN.ANCHOR_SIZES", (12, 24, 48, 96, 192))
    (only,) = said(tmp_path, log, *words)
    assert only == (
        "set: INPUT.MAX_SIZE_TEST 150 rather than MIN_SIZE_TEST 100 limits 4 of 4 images: 200 x 100 becomes 150 x 75. A larger "
        "MIN_SIZE_TEST has no effect; MAX_SIZE_TEST 200 lets it have one."
    )
    assert said(tmp_path, log, *words) == []  # once
    assert said(tmp_path, log, "INPUT.MIN_SIZE_TEST", 100, "INPUT.MAX_SIZE_TEST", 200) == []
    (train,) = said(tmp_path, log, "INPUT.MIN_SIZE_TRAIN", (100, 110), "INPUT.MAX_SIZE_TRAIN", 150, train=True)
    assert train.startswith("set: INPUT.MAX_SIZE_TRAIN 150 rather than MIN_SIZE_TRAIN (100, 110) limits 4 of 4 images")
    tiles = ("INPUT.TILES.SIZE", 64, "INPUT.TILES.TRAIN", True)
    assert (
        said(tmp_path, log, *tiles, "INPUT.MIN_SIZE_TRAIN", (100, 110), "INPUT.MAX_SIZE_TRAIN", 150, train=True) == []
    )


def test_images_that_fit_into_one_tile_at_another_scale(tmp_path, log):
    write(tmp_path, (200, 100), 30, 3)
    words = ("INPUT.TILES.SIZE", 256, "INPUT.MIN_SIZE_TEST", 400, "INPUT.MAX_SIZE_TEST", 1000)
    (only,) = said(tmp_path, log, *words)
    assert only == (
        "set: 4 of 4 images fit into one tile and are looked at as a whole, at a scale of 4 (INPUT.MIN_SIZE_TEST 400, "
        "MAX_SIZE_TEST 1000), where tiles have 1 (INPUT.TILES.SCALE). MIN_SIZE_TEST 100 with MAX_SIZE_TEST 200 brings them to "
        "that of the tiles; the whole image beside tiles is then as small."
    )
    assert said(tmp_path, log, *words, "INPUT.MIN_SIZE_TEST", 100, "INPUT.MAX_SIZE_TEST", 200) == []
    assert said(tmp_path, log, *words, "INPUT.TILES.SIZE", 128) == []


@pytest.mark.parametrize(
    ("side", "scale", "expected"),
    [
        (30, 1, ""),
        (18, 1, "becomes 18 at the network's input, less than the smallest of MODEL.RPN.ANCHOR_SIZES, 20. Raise"),
        (20, 2, ""),
        (
            10,
            1,
            "becomes 10 at the network's input, less than the smallest of MODEL.RPN.ANCHOR_SIZES, 20 and 12 pixels. Raise",
        ),
    ],
)
def test_objects_below_the_anchors(tmp_path, log, side, scale, expected):
    write(tmp_path, (200, 100), side, 3)
    sizes = ("INPUT.MIN_SIZE_TEST", 100 * scale, "INPUT.MAX_SIZE_TEST", 200 * scale)
    found = said(tmp_path, log, *sizes, "MODEL.RPN.ANCHOR_SIZES", (20, 40, 80, 160, 320))
    assert len(found) == bool(expected) and all(expected in text for text in found)


def test_few_pixels_without_small_anchors(tmp_path, log):
    write(tmp_path, (200, 100), 10, 3)
    sizes = ("INPUT.MIN_SIZE_TEST", 100, "INPUT.MAX_SIZE_TEST", 200, "MODEL.RPN.ANCHOR_SIZES", (8, 16, 32, 64, 128))
    (only,) = said(tmp_path, log, *sizes)
    assert "less than 12 pixels" in only and "ANCHOR" not in only
    assert said(tmp_path, log, *sizes, "INPUT.TILES.SIZE", 50, "INPUT.TILES.SCALE", 2.0) == []


def test_each_model_names_the_key_that_counts(tmp_path, log):
    write(tmp_path, (200, 100), 30, 250)
    sizes = ("INPUT.MIN_SIZE_TEST", 100, "INPUT.MAX_SIZE_TEST", 200, "TEST.COCO_MAX_DETECTIONS", 300)
    (only,) = said(tmp_path, log, *sizes)
    assert only.startswith(
        "set: image 9 has 250 objects, but MODEL.ROI_HEADS.DETECTIONS_PER_IMG is 100 and "
        "MODEL.RPN.FPN_POST_NMS_TOP_N_TEST is 200. The others count as missed; raise both"
    )
    size_checks._said.clear()
    retinanet = CONFIG.parents[1] / "retinanet/retinanet_R-50-FPN_1x.yaml"
    (only,) = said(tmp_path, log, *sizes, "MODEL.RETINANET.ANCHOR_SIZES", (16, 32, 64, 128, 256), base=retinanet)
    assert "but TEST.DETECTIONS_PER_IMG is 100. The others" in only


def test_a_set_that_tells_nothing_is_left_alone(log):
    class Own(AbstractDataset):
        CLASSES = ("__background__", "a")

        def __len__(self):
            return 3

        def get_img_info(self, index):
            return {"height": 10, "width": 10}

        def get_groundtruth(self, idx):
            raise NotImplementedError

    size_checks.check_sizes(cfg, Own(), "own", False)
    assert not [r for r in log.records if r.name == size_checks.logger.name and r.levelname == "WARNING"]


@needs(AERIAL)
def test_of_photographs(log):
    """The defaults on frames of up to 2000 x 1125 with cars of 24 pixels."""
    config = cfg.clone()
    config.merge_from_list(["DATASETS.DEFINITIONS.cars.ANN_FILE", str(AERIAL / "val.txt"), "DATASETS.TEST", ("cars",)])
    config.merge_from_list(["INPUT.MIN_SIZE_TEST", 1125, "MODEL.ROI_BOX_HEAD.NUM_CLASSES", 6])
    config.merge_from_list(["DATALOADER.NUM_WORKERS", 0])
    dataset = make_data_loader(config, is_train=False)[0].dataset
    facts = facts_of_dataset(dataset)
    lines = sum(
        len((AERIAL / "labels" / f"{p.stem}.txt").read_text().split("\n")) - 1 for p in _images(AERIAL / "val.txt")
    )
    assert abs(facts.objects - lines) <= 2 and facts.images == 18
    text = " ".join(r.getMessage() for r in log.records if r.name == size_checks.logger.name)
    assert "cars: INPUT.MAX_SIZE_TEST 1333 rather than MIN_SIZE_TEST 1125 limits 18 of 18 images" in text
    assert "less than the smallest of MODEL.RPN.ANCHOR_SIZES, 32" in text


def _images(path):
    return [Path(line) for line in path.read_text().split()]


@needs(COCO)
def test_facts_are_those_of_the_file():
    config = cfg.clone()
    entry = {"ANN_FILE": str(next(COCO.glob("annotations/*val*.json"))), "IMG_DIR": str(next(COCO.glob("*val*/")))}
    config.merge_from_list([w for k, v in entry.items() for w in (f"DATASETS.DEFINITIONS.c.{k}", v)])
    config.merge_from_list(["DATASETS.TEST", ("c",), "DATALOADER.NUM_WORKERS", 0])
    facts = facts_of_dataset(make_data_loader(config, is_train=False)[0].dataset)
    content = json.loads(open(entry["ANN_FILE"]).read())
    objects = [a for a in content["annotations"] if not a["iscrowd"]]
    counts = np.unique([a["image_id"] for a in objects], return_counts=True)[1]
    assert (facts.images, facts.objects, facts.densest) == (len(content["images"]), len(objects), counts.max())
    assert facts.median == pytest.approx(np.median([(a["bbox"][2] * a["bbox"][3]) ** 0.5 for a in objects]), rel=0.01)


class Failing(AbstractDataset):
    """Says what it likes of its images, and raises what it likes."""

    CLASSES = ("__background__", "a")

    def __init__(self, size, error=None):
        super().__init__()
        self.size, self.error, self.asked = size, error, 0

    def __len__(self):
        return 5000

    def get_img_info(self, index):
        return {"height": self.size, "width": self.size, "id": index}

    def get_groundtruth(self, idx):
        self.asked += 1
        if self.error is not None:
            raise self.error
        target = BoxList(torch.tensor([[0.0, 0.0, 9.0, 9.0]] * (150 if idx == 4990 else 1)), (self.size, self.size))
        target.add_field("labels", torch.ones(len(target), dtype=torch.int64))
        return target


@pytest.mark.parametrize("error", [OSError("gone"), TypeError("x"), RuntimeError("y"), IndexError(3)])
def test_advice_never_ends_a_run(log, error):
    size_checks.check_sizes(cfg, Failing(100, error), "own", True)
    size_checks.check_sizes(cfg, Failing(0), "own", False)


def test_of_a_large_set_some_images_are_read(log):
    """A set without arrays of its own: at most 500 annotations, evenly spread, and the fullest of them is named."""
    dataset = Failing(1000)
    size_checks.check_sizes(cfg, dataset, "own", False)
    assert 400 <= dataset.asked <= 500
    assert "own: image 4990 has 150 objects, but MODEL.ROI_HEADS.DETECTIONS_PER_IMG is 100" in log.text
