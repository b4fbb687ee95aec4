"""The fast evaluators give pycocotools' numbers: on real images, on generated scenes and on random results with crowds, equal
scores, areas and numbers of detections."""

from __future__ import annotations

import json

import numpy as np
import pycocotools.mask as mask_utils
import pytest
from pycocotools.coco import COCO as PycocotoolsCOCO
from pycocotools.cocoeval import COCOeval

from enl_paper.relations import PRESETS, write_relations
from maskrcnn_benchmark.config.areas import PRESETS as AREAS
from maskrcnn_benchmark.data.datasets.coco_tree import load_coco
from maskrcnn_benchmark.data.datasets.evaluation.coco import coco_api
from maskrcnn_benchmark.data.datasets.evaluation.coco.coco_api import (
    COCO_EVALUATORS,
    chosen_coco_api,
    use_coco_evaluator,
)
from maskrcnn_benchmark.data.datasets.evaluation.coco.coco_eval import evaluate_predictions_on_coco
from tests.support.real_sets import COCO, needs

FAST = [name for name in COCO_EVALUATORS if name != "pycocotools"]
SIZE = (200, 150)
CHOICES = ({}, {"detections": 300}, {"areas": ("ai-tod",)}, {"areas": (("thin", 30, 200), ("wide", 150, 4000))})


def detections_of(truth, rng: np.random.Generator, task: str) -> list[dict]:
    """Near the objects, of the right and of other categories, some twice, with many equal scores."""
    found = []
    categories = sorted(truth.cats)
    for annotation in truth.anns.values():
        for _ in range(rng.integers(0, 4)):
            x, y, width, height = annotation["bbox"]
            moved = np.array([x, y, width, height]) + rng.normal(0, 0.1, 4) * (width, height, width, height)
            entry = {"image_id": annotation["image_id"], "category_id": annotation["category_id"]}
            if rng.random() < 0.2:
                entry["category_id"] = categories[rng.integers(len(categories))]
            entry["score"] = float(np.float32(rng.random() if rng.random() < 0.5 else rng.integers(1, 10) / 10))
            if task == "bbox":
                entry["bbox"] = [float(v) for v in np.float32([*moved[:2], *np.abs(moved[2:]) + 0.5])]
            elif task == "segm":
                mask = np.roll(truth.annToMask(annotation), rng.integers(-2, 3, 2), (0, 1))
                rle = mask_utils.encode(np.asfortranarray(mask))
                entry["segmentation"] = {"size": rle["size"], "counts": rle["counts"].decode()}
            else:
                points = np.array(annotation["keypoints"], float).reshape(-1, 3)
                points[:, :2] += rng.normal(0, 0.05, (len(points), 2)) * (width, height)
                entry["keypoints"] = points.flatten().tolist()
            found.append(entry)
    return found


def random_truth(seed: int, dense: int = 0) -> PycocotoolsCOCO:
    """Images with boxes of 1 to 100 pixels and outlines, every eighth a crowd; with `dense` one of so many objects."""
    rng = np.random.default_rng(seed)
    content: dict = {"info": {}, "images": [], "annotations": []}
    content["categories"] = [{"id": i, "name": f"c{i}"} for i in (1, 4, 90)]
    for i in range(10):
        content["images"].append({"id": 7 + 3 * i, "file_name": f"{i}.png", "width": SIZE[0], "height": SIZE[1]})
        for _ in range(dense if i == 4 and dense else rng.integers(0, 12)):
            w, h = np.exp(rng.uniform(0, np.log(100), 2))
            x, y = rng.uniform(0, SIZE[0] - w), rng.uniform(0, SIZE[1] - h)
            outline = [x, y, x + w, y, x + w, y + h, x + w / 2, y + h * 0.8, x, y + h]
            content["annotations"].append(
                {
                    "id": len(content["annotations"]) + 1,
                    "image_id": 7 + 3 * i,
                    "category_id": int(rng.choice([1, 4])),
                    "bbox": [float(v) for v in (x, y, w, h)],
                    "area": float(w * h * 0.9),
                    "iscrowd": int(len(content["annotations"]) % 8 == 7),
                    "segmentation": [[float(v) for v in outline]],
                    "keypoints": [v for k in range(5) for v in (x + k * w / 5, y + k * h / 5, int(rng.integers(0, 3)))],
                    "num_keypoints": 5,
                }
            )
    truth = PycocotoolsCOCO()
    truth.dataset = content
    truth.createIndex()
    return truth


def compare(truth, found: list[dict], task: str, fast: str, **choices) -> None:
    measured = {}
    for name in ("pycocotools", fast):
        with use_coco_evaluator(name, **choices):
            measured[name] = evaluate_predictions_on_coco(truth, [dict(f) for f in found], None, task)
    ours, expected = measured[fast], measured["pycocotools"]
    # faster-coco-eval leaves categories without keypoints out.
    places = [expected.params.catIds.index(i) for i in ours.params.catIds]
    left_out = [k for k in range(len(expected.params.catIds)) if k not in places]
    for array in ("precision", "recall"):
        of_expected = expected.eval[array]
        np.testing.assert_allclose(ours.eval[array], of_expected[..., places, :, :], rtol=0, atol=1e-12)
        assert (of_expected[..., left_out, :, :] == -1).all()
    assert ours.metrics == pytest.approx(expected.metrics, abs=1e-12, rel=0)
    assert ours.of_class == [pytest.approx(expected.of_class[k], abs=1e-12, rel=0) for k in places]
    assert any(value > 0 for value in expected.metrics.values()) or not found


@pytest.fixture(params=FAST)
def fast(request) -> str:
    pytest.importorskip(request.param.replace("-", "_"))
    return request.param


@pytest.mark.parametrize("task", ["bbox", "segm", "keypoints"])
def test_random_results(fast, task):
    for seed in range(4):
        truth = random_truth(seed, dense=150 if seed == 3 else 0)
        found = detections_of(truth, np.random.default_rng(seed), task)
        for choices in CHOICES:
            compare(truth, found, task, fast, **choices)
    compare(truth, [], task, fast)


def test_sigmas_of_ones_own(fast):
    truth = random_truth(0)
    compare(
        truth,
        detections_of(truth, np.random.default_rng(0), "keypoints"),
        "keypoints",
        fast,
        sigmas=(0.1, 0.2, 0.05, 0.3, 0.07),
    )


@pytest.mark.parametrize("task", ["bbox", "segm"])
def test_generated_scenes(fast, task, tmp_path):
    truth = load_coco(str(write_relations(tmp_path / "set", {"val": 12}, PRESETS["demo"], progress=False)["val"]))
    found = detections_of(truth, np.random.default_rng(1), task)
    for choices in CHOICES:
        compare(truth, found, task, fast, **choices)


@needs(COCO)
@pytest.mark.parametrize("task", ["bbox", "segm"])
def test_real_images(fast, task):
    truth = load_coco(str(COCO / "annotations" / "instances_val2017.json"))
    assert any(a["iscrowd"] for a in truth.anns.values())
    found = detections_of(truth, np.random.default_rng(2), task)
    for choices in CHOICES if task == "bbox" else ({},):
        compare(truth, found, task, fast, **choices)


def test_images_that_are_left_out_and_ids_that_are_text(fast):
    truth = random_truth(5)
    content = json.loads(json.dumps(truth.dataset))
    for image in content["images"]:
        image["id"] = f"i{image['id']}"
    for annotation in content["annotations"]:
        annotation["image_id"] = f"i{annotation['image_id']}"
    named = PycocotoolsCOCO()
    named.dataset = content
    named.createIndex()
    found = detections_of(named, np.random.default_rng(5), "bbox")
    measured = []
    for name in ("pycocotools", fast):
        with use_coco_evaluator(name):
            measured.append(evaluate_predictions_on_coco(named, found, None, "bbox", sorted(named.imgs)[:5]))
    assert measured[1].metrics == pytest.approx(measured[0].metrics, abs=1e-12, rel=0)
    assert measured[1].params.imgIds == measured[0].params.imgIds == sorted(named.imgs)[:5]


def test_the_fastest_that_is_installed_is_taken(monkeypatch):
    from maskrcnn_benchmark.data.datasets.evaluation.coco import coco_api

    monkeypatch.setattr(coco_api, "find_spec", lambda name: None)
    assert chosen_coco_api()[0] is PycocotoolsCOCO
    hotcoco = pytest.importorskip("hotcoco")
    monkeypatch.undo()
    assert chosen_coco_api() == (hotcoco.COCO, hotcoco.COCOeval)


def test_areas_are_those_that_are_named():
    """Against COCOeval with these areas set by hand."""
    truth = random_truth(1)
    found = detections_of(truth, np.random.default_rng(1), "bbox")
    with use_coco_evaluator("pycocotools", areas=("ai-tod",)):
        measured = evaluate_predictions_on_coco(truth, [dict(f) for f in found], None)
    assert [n for n in measured.metrics if n.startswith("AP") and "@" not in n] == [
        *("AP", "AP50", "AP75", "APvt", "APt", "APs", "APm")
    ]
    for name, low, high in AREAS["ai-tod"]:
        by_hand = type(measured._coco_eval)(truth, truth.loadRes([dict(f) for f in found]), "bbox")
        by_hand.params.areaRng, by_hand.params.areaRngLbl = [[low, high]], ["all"]
        by_hand.params.maxDets = [1500]
        by_hand.evaluate()
        by_hand.accumulate()
        for key, array in (("AP", "precision"), ("AR", "recall")):
            values = by_hand.eval[array]
            assert measured.metrics[f"{key}{name}@1500"] == pytest.approx(values[values > -1].mean(), abs=1e-12)


def test_a_forked_process_does_not_wait_for_threads_that_it_lacks(monkeypatch):
    """hotcoco's threads are those of the process that used it first; its children evaluate with pycocotools."""
    hotcoco = pytest.importorskip("hotcoco")
    monkeypatch.setattr(coco_api, "_threads_of", set())
    with coco_api.use_coco_evaluator("hotcoco"):
        assert coco_api.chosen_coco_api()[1] is hotcoco.COCOeval
        monkeypatch.setattr(coco_api.os, "getpid", lambda: -1)
        assert coco_api.chosen_coco_api()[1] is COCOeval
