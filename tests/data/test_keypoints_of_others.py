"""Keypoints that are not COCO's of a person: their names decide what a mirror does."""

import json
import pickle

import numpy as np
import pytest
import torch
from PIL import Image

from maskrcnn_benchmark.config import ConfigError, cfg
from maskrcnn_benchmark.data import make_data_loader
from maskrcnn_benchmark.data.datasets import COCODataset
from maskrcnn_benchmark.data.datasets.coco_keypoints import flip_indices
from maskrcnn_benchmark.data.datasets.evaluation import evaluate
from maskrcnn_benchmark.data.datasets.evaluation.coco.coco_api import use_coco_evaluator
from maskrcnn_benchmark.structures.keypoint import Keypoints, PersonKeypoints
from maskrcnn_benchmark.structures.keypoint_ops import cat_keypoints, crop_keypoints
from tests.support.helpers import CONFIG, options

# Seventeen, as many as a person's, of a horse.
HORSE = [
    "nose",
    "tail",
    "withers",
    "eye_left",
    "eye_right",
    "ear_left",
    "ear_right",
    "knee_front_left",
    "knee_front_right",
]
HORSE += [
    "knee_back_left",
    "knee_back_right",
    "hoof_front_left",
    "hoof_front_right",
    "hoof_back_left",
    "hoof_back_right",
]
HORSE += ["hip", "mouth"]


def write(root, names, visible=None, images=3, named=True, skeleton=()):
    (root / "set").mkdir(exist_ok=True)
    category = {"id": 1, "name": "thing"} | ({"keypoints": names, "skeleton": skeleton} if named else {})
    content: dict = {"images": [], "annotations": [], "categories": [category]}
    for i in range(images):
        Image.new("RGB", (100, 80)).save(root / "set" / f"{i}.png")
        content["images"].append({"id": i, "file_name": f"{i}.png", "width": 100, "height": 80})
        count = len(names) if visible is None else visible
        points = [v for k in range(len(names)) for v in ((10 + 3 * k, 20 + k, 2) if k < count else (0, 0, 0))]
        content["annotations"].append(
            {"id": i + 1, "image_id": i, "category_id": 1, "bbox": [5, 10, 80, 60], "area": 4800, "iscrowd": 0}
            | {"keypoints": points, "num_keypoints": count}
        )
    (root / "set.json").write_text(json.dumps(content))
    return COCODataset(str(root / "set.json"), str(root / "set"), True)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["left_a", "right_a", "b"], [1, 0, 2]),
        (["b", "a_Right", "a_Left"], [0, 2, 1]),
        (["leye", "reye", "nose", "lmouth", "rmouth"], [1, 0, 2, 4, 3]),
        (["eye.L", "eye.R", "leg"], [1, 0, 2]),
        (["L eye", "R eye"], [1, 0]),
        (["front left wheel", "front right wheel", "rear left wheel", "rear right wheel"], [1, 0, 3, 2]),
        (["a", "b", "c", "d"], None),
        (["nose", "leg", "root"], None),  # no letter alone, and no other side
        (["left_a", "b"], None),  # the other side is missing
        ([str(k) for k in range(21)], None),
    ],
)
def test_names_tell_the_sides(names, expected):
    assert flip_indices(names) == expected


def test_pairs_tell_them_too():
    assert flip_indices(["a", "b", "c", "d"], [("a", "d"), ["b", "c"]]) == [3, 2, 1, 0]
    wrong = [("a", "x")], [("a", "b"), ("b", "a")], ["ab"]
    for pairs, said in zip(
        wrong, ("is no pair of two of the keypoints a, b", "in another pair", "no pair"), strict=True
    ):
        with pytest.raises(ValueError, match=said):
            flip_indices(["a", "b"], pairs)


def test_seventeen_keypoints_of_another_kind_are_mirrored_by_their_names(tmp_path):
    dataset = write(tmp_path, HORSE, skeleton=[[1, 17], [4, 6]])
    _, target, _ = pickle.loads(pickle.dumps(dataset[0]))
    keypoints = target.get_field("keypoints")
    assert type(keypoints) is Keypoints and keypoints.CONNECTIONS == [(0, 16), (3, 5)]
    for before in (
        keypoints,
        crop_keypoints(keypoints, (0, 0, 100, 80)),
        cat_keypoints([keypoints]),
        keypoints.to("cpu")[[0]],
    ):
        after = before.transpose(0).keypoints[0]
        for k, name in enumerate(HORSE):
            swapped = name.replace("left", "R").replace("right", "left").replace("R", "right")
            there = after[HORSE.index(swapped)]
            assert there.tolist() == [99 - before.keypoints[0, k, 0], before.keypoints[0, k, 1], 2]


def test_a_person_stays_a_person(tmp_path):
    assert isinstance(write(tmp_path, PersonKeypoints.NAMES)[0][1].get_field("keypoints"), PersonKeypoints)
    assert isinstance(write(tmp_path, PersonKeypoints.NAMES, named=False)[0][1].get_field("keypoints"), PersonKeypoints)


def test_few_visible_keypoints_are_kept(tmp_path, log):
    assert len(write(tmp_path, HORSE, visible=1)) == len(write(tmp_path, ["a", "b", "c", "d"])) == 3
    assert not log.records
    # Of COCO's people, an image with fewer than ten is left out, as upstream does, and that is said.
    assert len(write(tmp_path, PersonKeypoints.NAMES, visible=9)) == 0
    assert "left out 3 images with fewer than 10 visible keypoints, for example id 0." in log.text


def loader(root, count, **keys):
    config = cfg.clone()
    config.merge_from_file(str(CONFIG))
    numbers = dict(
        MODEL__MASK_ON=False, MODEL__ROI_BOX_HEAD__NUM_CLASSES=2, MODEL__ROI_KEYPOINT_HEAD__NUM_CLASSES=count
    )
    config.merge_from_list(options(root, **{**numbers, "MODEL__KEYPOINT_ON": True, **keys}))
    return make_data_loader(config)


def xs(batches) -> set[float]:
    return {t.get_field("keypoints").keypoints[0, 0, 0].item() for _, targets, _ in batches for t in targets}


def test_images_are_mirrored_only_where_it_is_known_how(tmp_path, log):
    write(tmp_path, ["a", "b"])
    without = xs(loader(tmp_path, 2, SOLVER__MAX_ITER=8))
    assert len(without) == 1 and "nothing tells which of its keypoints (a, b) change places in a mirror" in log.text
    for key in ("HORIZONTAL", "VERTICAL"):
        with pytest.raises(ConfigError, match="set: nothing tells which of its keypoints .* Name them, or set"):
            loader(tmp_path, 2, **{f"INPUT__{key}_FLIP_PROB_TRAIN": 1.0})
    named = xs(loader(tmp_path, 2, SOLVER__MAX_ITER=8, INPUT__KEYPOINT_FLIP_PAIRS="(('a', 'b'),)"))
    assert len(named) == 2
    # A model of boxes does not ask.
    boxes = loader(tmp_path, 2, SOLVER__MAX_ITER=8, MODEL__KEYPOINT_ON=False)
    assert len({t.bbox[0, 0].item() for _, targets, _ in boxes for t in targets}) == 2
    with pytest.raises(ConfigError, match="KEYPOINT_FLIP_PAIRS does not fit set: .*'c'.* is no pair"):
        loader(tmp_path, 2, INPUT__KEYPOINT_FLIP_PAIRS="(('a', 'c'),)")
    write(tmp_path, ["a", "b"], named=False)
    with pytest.raises(ConfigError, match='no category of set names its "keypoints"'):
        loader(tmp_path, 2, INPUT__KEYPOINT_FLIP_PAIRS="(('a', 'b'),)")


def test_sigmas_of_other_keypoints(tmp_path, log):
    dataset = write(tmp_path, ["a", "b", "c"])
    found = []
    for _, target, _ in dataset:
        points = target.get_field("keypoints").keypoints + torch.tensor([3.0, 0, 0])
        target.add_field("keypoints", Keypoints(points, target.size))
        target.add_field("scores", torch.ones(len(target)))
        found.append(target)

    def ap(sigmas=()) -> float:
        with use_coco_evaluator("pycocotools", sigmas=sigmas):
            results, _ = evaluate(dataset, found, None, box_only=False, iou_types=("keypoints",))
        return results.results["keypoints"]["AP"]

    # OKS of points that are off by d: exp(-d^2 / (2 area (2 sigma)^2)), COCO's equation.
    for sigma in (0.01, 0.02, 0.05):
        oks = np.exp(-9 / (2 * 4800 * (2 * sigma) ** 2))
        assert ap((sigma,) * 3) == pytest.approx(np.mean(np.arange(0.5, 1, 0.05) <= oks), abs=1e-6)
    assert "KEYPOINT_OKS_SIGMAS" not in log.text
    ap()
    assert "For each of these 3 OKS takes their mean, 0.0" in log.text
    with pytest.raises(ValueError, match="KEYPOINT_OKS_SIGMAS has 2 numbers, but objects have 3 keypoints"):
        ap((0.1, 0.1))
    with pytest.raises(ValueError, match="KEYPOINT_OKS_SIGMAS must be numbers above 0"):
        ap((0.1, -1, 0.1))


@pytest.mark.parametrize("names", [["l_eye", "r_eye", "l_eye"], ["left", "right", "right"]])
def test_a_mirror_needs_keypoints_with_names_of_their_own(names):
    assert flip_indices(names) is None
