"""What is suggested for a data set: scales at which objects can be seen, anchors that meet them, limits that let them through."""

from __future__ import annotations

import dataclasses
import json
import shlex
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from PIL import Image

from maskrcnn_benchmark.config import cfg as defaults
from maskrcnn_benchmark.data import formats
from maskrcnn_benchmark.data.anchor_fit import best_overlaps, fit_anchors, recall
from maskrcnn_benchmark.data.catalog import dataset_catalog
from maskrcnn_benchmark.data.datasets import COCODataset
from maskrcnn_benchmark.data.set_facts import facts_of
from maskrcnn_benchmark.data.suggest import ENOUGH, WANTED, suggest
from maskrcnn_benchmark.modeling.rpn.anchor_generator import AnchorGenerator
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.boxlist_ops import boxlist_iou
from maskrcnn_benchmark.structures.image_list import ImageList
from tests.support.helpers import write_annotations, write_coco
from tests.support.people import write_people
from tests.support.real_sets import AERIAL, BCCD, needs

ROOT = Path(__file__).parents[2]
STRIDES = (4, 8, 16, 32, 64)


def base(name: str = "configs/demo/base_R_18_FPN.yaml"):
    cfg = defaults.clone()
    cfg.merge_from_file(str(ROOT / name))
    return cfg


def content(size: tuple[int, int], side: float, count: int, images: int = 10, masks: bool = False) -> formats.Content:
    """Squares of `side` pixels, up to a tenth larger or smaller."""
    rng = np.random.default_rng(0)
    found = formats.Content("nowhere")
    found.name_classes(["thing"])
    for i in range(images):
        image = found.add_image(f"{i}.jpg", size)
        for _ in range(count):
            w, h = side * rng.uniform(0.9, 1.1, 2)
            x, y = rng.uniform(0, 1, 2) * (np.array(size) - (w, h))
            found.add(image, 1, (x, y, w, h), segmentation=[[x, y, x + w, y, x, y + h]] if masks else None)
    return found


def values(choices) -> dict:
    return {choice.key: choice.value for choice in choices}


@pytest.mark.parametrize(
    "size, side, scale",
    [
        ((640, 480), 50, 1.0),
        ((640, 480), 13, WANTED / 12.2),
        ((640, 480), 6, 2.0),
        ((1600, 1200), 200, ENOUGH / 188),
        ((1520, 1080), 20, WANTED / 18.8),
    ],
)
def test_small_objects_get_their_pixels(size, side, scale):
    facts, choices = suggest(content(size, side, 5), base())
    chosen = values(choices)
    assert chosen["INPUT.MIN_SIZE_TEST"] == pytest.approx(size[1] * scale, rel=0.03)
    assert chosen["INPUT.MAX_SIZE_TEST"] == pytest.approx(size[0] * scale, rel=0.03)
    assert 0.9 * side < facts.small < side < facts.large < 1.1 * side


def test_large_images_are_cut_and_tiles_have_the_scale():
    facts, choices = suggest(content((6000, 4000), 20, 300, images=3), base())
    chosen = values(choices)
    assert chosen["INPUT.TILES.SCALE"] == pytest.approx(WANTED / facts.small, rel=0.01)
    assert chosen["INPUT.TILES.SIZE"] * chosen["INPUT.TILES.SCALE"] == pytest.approx(800, rel=0.01)
    assert chosen["INPUT.TILES.TRAIN"] is True and chosen.get("INPUT.TILES.TEST", True) is True
    # The limits follow from the tile, not from the frame.
    assert chosen.get("MODEL.ROI_HEADS.DETECTIONS_PER_IMG", 100) < 300


def of_two_kinds(*kinds: tuple[tuple[int, int], float, int, int]) -> formats.Content:
    """Images of several sizes and objects: (width, height), side of an object, objects of an image, images."""
    sets = [content(size, side, count, images) for size, side, count, images in kinds]
    images, annotations = [], []
    for one in sets:
        shift = len(images)
        images += [image | {"id": image["id"] + shift} for image in one.images]
        annotations += [a | {"image_id": a["image_id"] + shift, "id": len(annotations)} for a in one.annotations]
    return dataclasses.replace(sets[0], images=images, annotations=annotations)


def test_chips_and_frames_are_seen_at_one_scale():
    chosen = values(suggest(of_two_kinds(((300, 300), 55, 3, 36), ((1920, 1080), 55, 14, 8)), base())[1])
    assert chosen["INPUT.TILES.TRAIN"] and "INPUT.TILES.TEST" not in chosen
    scale = chosen["INPUT.TILES.SCALE"]
    assert chosen["INPUT.TILES.SIZE"] >= 300  # a chip is one tile, looked at as a whole
    assert chosen["INPUT.MIN_SIZE_TEST"] == chosen["INPUT.MAX_SIZE_TEST"] == 300 * scale


def test_what_is_larger_than_a_tile_is_learned_from_whole_images():
    facts, choices = suggest(of_two_kinds(((4000, 3000), 20, 8, 10), ((4000, 3000), 1500, 2, 10)), base())
    chosen = values(choices)
    assert chosen["INPUT.TILES.SIZE"] < 1500 and chosen["INPUT.TILES.TRAIN_WHOLE"] > 0
    assert chosen["INPUT.MIN_SIZE_TRAIN"] == (chosen["INPUT.MIN_SIZE_TEST"],) == (800,)
    assert 200 < max(chosen["MODEL.RPN.ANCHOR_SIZES"]) < 600  # 400 in the whole image, not 2,100 in a tile
    assert chosen["INPUT.TILES.OVERLAP"] < 0.2  # of the small ones
    (said,) = [c.reason for c in choices if c.key == "INPUT.TILES.SCALE"]
    assert "1495 pixels become 24, 25 and 399" in said


def test_the_fullest_image_is_counted_whole():
    chosen = values(suggest(content((2000, 1125), 24, 520, images=1), base())[1])
    assert chosen["TEST.COCO_MAX_DETECTIONS"] == 600
    assert "TEST.COCO_MAX_DETECTIONS" not in values(suggest(content((2000, 1125), 24, 100, images=1), base())[1])


def test_what_stays_too_small_is_said():
    _, choices = suggest(content((640, 480), 3, 8), base())
    assert any("become 6, 6 and 6; fewer than 12 are hardly seen" in choice.reason for choice in choices)


def test_limits_let_the_densest_image_through_and_never_fall():
    for count in (3, 80, 440):
        config = base()
        chosen = values(suggest(content((1600, 1200), 24, count, images=2), config)[1])
        config.merge_from_list([word for item in chosen.items() for word in item])
        assert config.MODEL.ROI_HEADS.DETECTIONS_PER_IMG >= max(1.5 * count, 100)
        assert (
            config.MODEL.RPN.FPN_POST_NMS_TOP_N_TEST == {3: 200, 80: 1000, 440: 1800}[count]
        )  # 200 of the base; 15 and 4 times
        assert config.MODEL.RPN.PRE_NMS_TOP_N_TEST >= config.MODEL.RPN.FPN_POST_NMS_TOP_N_TEST or count == 3
        assert config.MODEL.ROI_HEADS.BATCH_SIZE_PER_IMAGE <= 512


def test_masks_stay_where_all_objects_have_them():
    assert values(suggest(content((640, 480), 40, 3), base())[1])["MODEL.MASK_ON"] is False
    assert "MODEL.MASK_ON" not in values(suggest(content((640, 480), 40, 3, masks=True), base())[1])


def test_a_gpu_takes_larger_batches():
    images = content((640, 480), 40, 3, images=2000)
    small, large = (
        values(suggest(images, base("configs/enl/faster_rcnn_R_50_FPN_3enl_td.yaml"), gb)[1]) for gb in (8.0, 80.0)
    )
    assert small["SOLVER.IMS_PER_BATCH"] < large["SOLVER.IMS_PER_BATCH"] == 16
    assert large["SOLVER.BASE_LR"] / 16 == pytest.approx(0.005 / 4, rel=0.01)


def test_a_set_without_objects_is_refused():
    with pytest.raises(ValueError, match="no objects to go by: 10 images, 0 objects"):
        suggest(content((640, 480), 40, 0), base())
    with pytest.raises(ValueError, match="all of 10 objects are crowds or at most a pixel"):
        suggest(content((640, 480), 0.9, 1), base())


def test_overlaps_are_those_with_the_anchors_of_the_detector():
    """Against the generator's own anchors, at places away from the border."""
    rng = np.random.default_rng(1)
    sizes, ratios = (16, 30, 60, 100, 180), (0.5, 1.0, 2.0)
    extent = np.exp(rng.uniform(np.log(10), np.log(150), (60, 2)))
    boxes = np.concatenate((rng.uniform(300, 600, (60, 2)), extent), axis=1)
    generator = AnchorGenerator(sizes, ratios, STRIDES)
    maps = [torch.zeros(1, 1, 1024 // s, 1024 // s) for s in STRIDES]
    anchors = torch.cat([a.bbox for a in generator(ImageList(torch.zeros(1, 3, 1024, 1024), [(1024, 1024)]), maps)[0]])
    corners = torch.from_numpy(np.concatenate((boxes[:, :2], boxes[:, :2] + extent - 1), axis=1)).float()
    best = boxlist_iou(BoxList(corners, (1024, 1024)), BoxList(anchors, (1024, 1024))).amax(dim=1).numpy()
    np.testing.assert_allclose(best_overlaps(boxes, sizes, ratios, STRIDES), best, atol=1e-4)


def test_anchors_are_fitted():
    rng = np.random.default_rng(2)
    extent = np.array([14.0, 60.0]) * np.exp(rng.normal(0, 0.1, (500, 2)))
    boxes = np.concatenate((rng.uniform(0, 1000, (500, 2)), extent), axis=1)
    sizes, ratios = fit_anchors(boxes, STRIDES)
    assert list(sizes) == sorted(sizes) and all(
        size >= 2 * stride - 1 for size, stride in zip(sizes, STRIDES, strict=True)
    )
    assert min(abs(r - 60 / 14) for r in ratios) < 0.6
    assert (
        recall(boxes, sizes, ratios, STRIDES) > 0.95 > recall(boxes, (32, 64, 128, 256, 512), (0.5, 1.0, 2.0), STRIDES)
    )


@needs(AERIAL)
def test_aerial_cars_keep_their_size(tmp_path, run_program):
    """YOLO's labels as they are: the file that is written trains, at the scale of the photographs."""
    out = tmp_path / "cars.yaml"
    words = (
        AERIAL / "train.txt",
        "--test",
        AERIAL / "val.txt",
        "--base",
        ROOT / "configs/demo/base_R_18_FPN.yaml",
        "--out",
        out,
    )
    code, text = run_program(ROOT / "tools" / "suggest_config.py", *words)
    assert (
        code == 0
        and "69 images, 1,646 objects of 5 classes" in text
        and text.endswith(f"mrb train {out} OUTPUT_DIR runs/cars\n")
    )
    cfg = base(str(out))
    assert cfg.MODEL.ROI_BOX_HEAD.NUM_CLASSES == 6 and not cfg.MODEL.MASK_ON
    assert 1000 <= cfg.INPUT.MIN_SIZE_TEST <= 1200 and 1900 <= cfg.INPUT.MAX_SIZE_TEST <= 2000
    sets = [
        COCODataset(**dataset_catalog(cfg).get(name)["args"], remove_images_without_annotations=False)
        for name in ("cars_train", "cars_test")
    ]
    assert [len(s) for s in sets] == [69, 18] and sets[0].class_names() == sets[1].class_names()


@needs(BCCD)
def test_bccd_with_its_splits(tmp_path, run_program):
    out = tmp_path / "cells.yaml"
    words = (
        BCCD,
        "--split",
        "train",
        "--test-split",
        "val",
        "--base",
        ROOT / "configs/demo/base_R_18_FPN.yaml",
        "--out",
        out,
    )
    code, text = run_program(ROOT / "tools" / "suggest_config.py", *words)
    assert code == 0 and "205 images, 2,804 objects of 3 classes" in text and "boxes of no size, left out: 1" in text
    entry = yaml.safe_load(out.read_text())["DATASETS"]["DEFINITIONS"]["cells_test"]
    assert (
        entry["SPLIT"] == "val"
        and entry["CLASSES"] == ["Platelets", "RBC", "WBC"]
        or list(entry["CLASSES"]) == ["Platelets", "RBC", "WBC"]
    )


def test_corners_for_coco_boxes_are_said(tmp_path, run_program):
    content = write_coco(tmp_path)
    for annotation in content["annotations"]:
        x, y, width, height = annotation["bbox"]
        annotation["bbox"] = [x, y, x + width, y + height]
    write_annotations(tmp_path, "set", content)
    words = (tmp_path / "set.json", "--img-dir", tmp_path / "set", "--out", tmp_path / "x.yaml")
    code, text = run_program(ROOT / "tools" / "suggest_config.py", *words)
    assert code == 0 and "note: sets whose boxes look like corners" in text


def test_mistakes_get_a_sentence(tmp_path, run_program):
    tool = ROOT / "tools" / "suggest_config.py"
    assert run_program(tool, tmp_path / "none", "--out", tmp_path / "x.yaml") == (
        1,
        f"error: There is no {tmp_path / 'none'}.\n",
    )
    code, text = run_program(tool, ROOT / "README.md", "--out", tmp_path / "x.yaml")
    assert code == 1 and "is in none of the known forms" in text and not (tmp_path / "x.yaml").exists()


def test_facts():
    facts = facts_of(content((640, 480), 40, 7, images=4))
    assert (facts.images, facts.objects, facts.classes, facts.densest, facts.longest) == (4, 28, 1, 7, 640)
    assert 36 < facts.small < facts.median < facts.large < 44


def split_set(tmp_path: Path, form: str) -> Path:
    """Two images to train on and one to test on, as each form says it."""
    for name in ("train/a", "train/b", "val/c"):
        (tmp_path / "images" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (60, 40)).save(tmp_path / "images" / f"{name}.png")
        label = tmp_path / "labels" / f"{name}.txt"
        label.parent.mkdir(parents=True, exist_ok=True)
        label.write_text("0 0.5 0.5 0.5 0.5")
    (tmp_path / "classes.txt").write_text("car")
    if form == "data.yaml":
        (tmp_path / form).write_text("train: images/train\nval: images/val\nnames: [car]\n")
        return tmp_path / form
    if form == "voc":
        (tmp_path / "all.txt").write_text("images/train/a.png\nimages/train/b.png\nimages/val/c.png\n")
        formats.write(formats.read(str(tmp_path / "all.txt")), "voc", str(tmp_path / form))
        for name, stems in (("train", "train_a\ntrain_b"), ("val", "val_c")):
            (tmp_path / form / "ImageSets" / "Main" / f"{name}.txt").write_text(stems)
        return tmp_path / form
    if form == "csv":
        rows = [f"images/{n}.png,car,9,9,30,30,{n.split('/')[0]}" for n in ("train/a", "train/b", "val/c")]
        (tmp_path / "x.csv").write_text("\n".join(["filename,class,xmin,ymin,xmax,ymax,split", *rows]))
        return tmp_path / "x.csv"
    return tmp_path


@pytest.mark.parametrize("form", ["data.yaml", "folder", "voc", "csv"])
def test_the_splits_of_a_source_are_taken(tmp_path, run_program, form):
    out = tmp_path / "out.yaml"
    words = [ROOT / "tools" / "suggest_config.py", split_set(tmp_path, form), "--out", out]
    code, text = run_program(*words)
    assert (
        code == 0
        and "note: trained on 'train', tested on 'val' (--split, --test-split; --no-test for no test)\n" in text
    )
    cfg = base(str(out))
    sets = [dataset_catalog(cfg).get(name)["args"] for name in (*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST)]
    assert [len(COCODataset(**args, remove_images_without_annotations=False)) for args in sets] == [2, 1]
    code, text = run_program(*words, "--no-test")
    assert code == 0 and "tested on" not in text and base(str(out)).DATASETS.TEST == ()


@pytest.mark.slow
def test_keypoints_are_trained(tmp_path, run_program):
    write_people(tmp_path)
    out, words = tmp_path / "out.yaml", [tmp_path / "people.json", "--img-dir", tmp_path / "people"]
    code, text = run_program(ROOT / "tools/suggest_config.py", *words, "--out", out)
    assert code == 0 and "KEYPOINT_ON" in text, text
    written = base()
    written.merge_from_file(str(out))
    width = 2 * written.MODEL.RESNETS.BACKBONE_OUT_CHANNELS
    assert width < 512 and written.MODEL.ROI_KEYPOINT_HEAD.CONV_LAYERS == (width,) * 8
    small = ["SOLVER.MAX_ITER", 1, "INPUT.MIN_SIZE_TRAIN", "(64,)", "DATALOADER.NUM_WORKERS", 0, "MODEL.DEVICE", "cpu"]
    small += ["SOLVER.IMS_PER_BATCH", 2, "OUTPUT_DIR", tmp_path / "run"]
    train = [ROOT / "tools/train_net.py", "--skip-test", "--config-file", out, *small]
    code, text = run_program(*train)
    assert code == 0, text
    losses = json.loads((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()[0])
    assert losses["loss_kp"] > 0
    code, text = run_program(
        *train, "MODEL.ROI_KEYPOINT_HEAD.SHARE_BOX_FEATURE_EXTRACTOR", True, "OUTPUT_DIR", tmp_path / "b"
    )
    assert code == 1 and "error: MODEL.ROI_KEYPOINT_HEAD.SHARE_BOX_FEATURE_EXTRACTOR is True" in text, text


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"keypoints": [0] * 51}, "none of the keypoints of 2 objects is labelled"),
        ({"keypoints": [1, 2, 2]}, "1 object has another number of keypoints than the others, 17: 1"),
    ],
)
def test_keypoints_that_cannot_be_trained_are_left_out_with_a_sentence(tmp_path, change, reason):
    content = write_people(tmp_path, images=1)
    for annotation in content["annotations"][: None if len(change["keypoints"]) > 3 else 1]:
        annotation.update(change)
    write_annotations(tmp_path, "people", content)
    read = formats.read(str(tmp_path / "people.json"), images=str(tmp_path / "people"))
    choices = {choice.key: choice for choice in suggest(read, base())[1]}
    assert choices["MODEL.KEYPOINT_ON"].value is False and choices["MODEL.KEYPOINT_ON"].reason == reason
    assert not any("KEYPOINT_HEAD" in key for key in choices)


def test_no_file_but_a_configuration_is_replaced(tmp_path, run_program):
    source = split_set(tmp_path, "data.yaml")
    tool, before = ROOT / "tools" / "suggest_config.py", source.read_text()
    code, text = run_program(tool, source, "--out", source)
    assert code == 1 and "data.yaml is there already and is not a configuration, so it stays" in text
    assert source.read_text() == before
    for _ in range(2):
        assert run_program(tool, source, "--out", tmp_path / "my.yaml")[0] == 0


@pytest.mark.parametrize("name", ["cars #2", "[v2] cars", "a: b", "Größe 猫", "2024", "&x"])
def test_files_of_any_name(tmp_path, run_program, name):
    source, out = split_set(tmp_path, "coco"), tmp_path / f"{name}.yaml"
    code, text = run_program(ROOT / "tools" / "suggest_config.py", source, "--out", out)
    assert code == 0, text
    config = base()
    config.merge_from_file(str(out))
    assert set(config.DATASETS.TRAIN) <= set(config.DATASETS.DEFINITIONS)
    assert shlex.split(text.splitlines()[-1].split("mrb train ")[1])[0] == str(out)


def test_a_test_split_that_cannot_be_taken_is_named(tmp_path, run_program):
    out, described = tmp_path / "out.yaml", split_set(tmp_path, "data.yaml")
    described.write_text("train: images/train\nval: images/nowhere\nnames: [car]\n")
    words = [ROOT / "tools" / "suggest_config.py", described, "--out", out]
    code, text = run_program(*words)
    assert (
        code == 0 and "note: there is no test, as the split 'val' cannot be read: " in text and "images/nowhere" in text
    )
    assert base(str(out)).DATASETS.TEST == ()
    code, text = run_program(*words, "--test-split", "val")
    assert code == 1 and "images/nowhere" in text
    described.write_text("train: images/train\nval: images\nnames: [car]\n")
    assert "note: trained on 'train', tested on 'val' " in (text := run_program(*words)[1])
    assert "2 images are trained on as well as tested on" in text
    described.write_text("train: images/train\nnames: [car]\n")
    assert (
        "note: no set to test on (--test, --test-split): a training will end without a test" in run_program(*words)[1]
    )
