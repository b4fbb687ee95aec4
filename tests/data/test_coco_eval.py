"""Metrics against pycocotools run on the same detections by hand, and recall against a naive reference."""

import contextlib
import io
import json
import sys

import numpy as np
import pycocotools.mask as mask_utils
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from maskrcnn_benchmark.data.datasets import COCODataset
from maskrcnn_benchmark.data.datasets.evaluation import evaluate
from maskrcnn_benchmark.data.datasets.evaluation.coco import do_orig_coco_evaluation as coco_evaluation
from maskrcnn_benchmark.data.datasets.evaluation.coco.coco_api import use_coco_evaluator
from maskrcnn_benchmark.data.datasets.evaluation.coco.coco_eval import (
    METRICS,
    COCOResults,
    check_expected_results,
    evaluate_box_proposals,
    prepare_for_coco_detection,
    prepare_for_coco_segmentation,
)
from maskrcnn_benchmark.engine.results import to_original_image
from maskrcnn_benchmark.structures.bounding_box import BoxList
from tests.support.helpers import uncompressed_rle, write_annotations

SIZE = (320, 240)
CATEGORIES = {2: "two", 5: "five", 9: "nine"}


def random_object(rng: np.random.Generator) -> tuple[list[int], np.ndarray]:
    """A box (x, y, width, height) of any of COCO's three sizes, and the ellipse inside it as a bitmap."""
    w, h = (int(v) for v in rng.integers(8, rng.choice([24, 80, 160]), 2))
    x, y = int(rng.integers(0, SIZE[0] - w)), int(rng.integers(0, SIZE[1] - h))
    rows, columns = np.ogrid[: SIZE[1], : SIZE[0]]
    inside = ((columns - x - w / 2 + 0.5) / (w / 2)) ** 2 + ((rows - y - h / 2 + 0.5) / (h / 2)) ** 2 <= 1
    return [x, y, w, h], inside.astype(np.uint8)


@pytest.fixture
def dataset(tmp_path) -> COCODataset:
    """Twelve images, one of them empty; sixty objects, every tenth a crowd; the last category has none."""
    rng = np.random.default_rng(1)
    images = [{"id": 100 + i, "file_name": f"{i}.jpg", "width": SIZE[0], "height": SIZE[1]} for i in range(12)]
    annotations = []
    for k in range(60):
        box, mask = random_object(rng)
        annotations.append(
            {
                "id": k + 1,
                "image_id": 100 + k % 11,
                "category_id": (2, 5)[k // 11 % 2],
                "bbox": box,
                "area": int(mask.sum()),
                "iscrowd": int(k % 10 == 9),
                "segmentation": uncompressed_rle(mask),
            }
        )
    categories = [{"id": i, "name": name} for i, name in CATEGORIES.items()]
    (tmp_path / "set").mkdir()
    write_annotations(tmp_path, "set", {"images": images, "annotations": annotations, "categories": categories})
    return COCODataset(str(tmp_path / "set.json"), str(tmp_path / "set"), False)


def as_boxlist(boxes: list[list[int]], labels: list[int], scores: list[float], masks: list[np.ndarray]) -> BoxList:
    corners = np.array(boxes, np.float32).reshape(-1, 4)
    corners[:, 2:] += corners[:, :2] - 1
    prediction = BoxList(torch.from_numpy(corners), SIZE)
    prediction.add_field("labels", torch.tensor(labels, dtype=torch.int64))
    prediction.add_field("scores", torch.tensor(scores))
    rles = [mask_utils.encode(np.asfortranarray(m)) for m in masks]
    prediction.add_field("rle", [{"size": r["size"], "counts": r["counts"].decode()} for r in rles])
    return prediction


def some_detections(dataset: COCODataset) -> tuple[list[BoxList], dict[str, list[dict]]]:
    """Detections near the objects and elsewhere, as BoxLists and, made independently, as COCO results."""
    rng = np.random.default_rng(2)
    predictions, results = [], {"bbox": [], "segm": []}
    for image_id in dataset.ids:
        boxes, labels, scores, masks = [], [], [], []
        for annotation in dataset.coco.imgToAnns[image_id]:
            for _ in range(rng.integers(0, 3)):
                shift = rng.integers(-4, 5, 2)
                mask = np.roll(dataset.coco.annToMask(annotation), shift[::-1], (0, 1))
                x, y, w, h = annotation["bbox"]
                boxes.append([int(x + shift[0]), int(y + shift[1]), w, h])
                masks.append(mask)
                labels.append(int(rng.choice([1, 2, 3], p=[0.45, 0.45, 0.1])))
        for _ in range(rng.integers(0, 4)):
            box, mask = random_object(rng)
            boxes.append(box)
            masks.append(mask)
            labels.append(int(rng.integers(1, 4)))
        scores = np.float32(rng.random(len(boxes))).tolist()
        predictions.append(as_boxlist(boxes, labels, scores, masks))
        for box, label, score, mask in zip(boxes, labels, scores, masks, strict=True):
            entry = {"image_id": image_id, "category_id": sorted(CATEGORIES)[label - 1], "score": score}
            results["bbox"].append(entry | {"bbox": box})
            results["segm"].append(entry | {"segmentation": mask_utils.encode(np.asfortranarray(mask))})
    return predictions, results


def by_hand(dataset: COCODataset, results: list[dict], task: str, categories: list[int] | None = None) -> np.ndarray:
    """The summary of pycocotools, without this package."""
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(dataset.ann_file)
        truth.dataset["info"] = {}
        evaluation = COCOeval(truth, truth.loadRes([dict(r) for r in results]), task)
        evaluation.params.catIds = categories or evaluation.params.catIds
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return evaluation.stats


def test_metrics_are_those_of_pycocotools(dataset, tmp_path):
    predictions, results = some_detections(dataset)
    measured, entries = coco_evaluation(dataset, predictions, False, str(tmp_path), ["bbox", "segm"])
    for task in ("bbox", "segm"):
        expected = by_hand(dataset, results[task], task)
        assert 0.05 < expected[0] < 0.95 and (expected >= 0).all()
        assert [measured.results[task][name] for name in METRICS] == expected.tolist()
        assert len(entries[task]) == len(results[task]) > 40
        for category, name in CATEGORIES.items():
            of_category = by_hand(dataset, results[task], task, [category]).tolist()
            assert measured.per_class[task][name] == pytest.approx(of_category[0], abs=1e-12)
            assert list(measured.per_class_metrics[task][name].values()) == pytest.approx(of_category, abs=1e-12)
    assert measured.per_class["bbox"]["nine"] == -1  # nothing to find
    written = json.loads((tmp_path / "metrics.json").read_text())
    by_class = {"per_class": measured.per_class, "per_class_metrics": measured.per_class_metrics}
    assert written == {**measured.results, **by_class}
    assert f"{100 * measured.results['segm']['AP75']:.2f}" in str(measured)


def test_the_fast_evaluator_gives_the_same_numbers(dataset):
    pytest.importorskip("faster_coco_eval")
    predictions, _ = some_detections(dataset)
    for given in (predictions, [p[:0] for p in predictions]):
        slow, _ = coco_evaluation(dataset, given, False, None, ["bbox", "segm"])
        with use_coco_evaluator("faster-coco-eval"):
            fast, _ = coco_evaluation(dataset, given, False, None, ["bbox", "segm"])
        for task, metrics in slow.results.items():
            assert fast.results[task] == pytest.approx(metrics, abs=1e-12)
            assert fast.per_class[task] == pytest.approx(slow.per_class[task], abs=1e-12)


def test_an_unknown_or_missing_evaluator_is_named(dataset, monkeypatch):
    predictions, _ = some_detections(dataset)
    with pytest.raises(ValueError, match="must be one of auto, pycocotools, faster-coco-eval, hotcoco; got 'fast'"):
        with use_coco_evaluator("fast"):
            pass
    monkeypatch.setitem(sys.modules, "faster_coco_eval", None)
    with pytest.raises(ImportError, match="pip install faster-coco-eval"), use_coco_evaluator("faster-coco-eval"):
        coco_evaluation(dataset, predictions, False, None, ["bbox"])


def test_written_results_load_with_pycocotools(dataset, tmp_path):
    predictions, results = some_detections(dataset)
    coco_evaluation(dataset, predictions, False, str(tmp_path), ["bbox", "segm"])
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(dataset.ann_file)
        truth.dataset["info"] = {}
        for task in ("bbox", "segm"):
            loaded = truth.loadRes(str(tmp_path / f"{task}.json"))
            assert len(loaded.anns) == len(results[task])
            stats = by_hand(dataset, json.loads((tmp_path / f"{task}.json").read_text()), task)
            assert stats.tolist() == by_hand(dataset, results[task], task).tolist()


def perfect(dataset: COCODataset) -> list[BoxList]:
    predictions = []
    for image_id in dataset.ids:
        found = [a for a in dataset.coco.imgToAnns[image_id] if not a["iscrowd"]]
        labels = [dataset.json_category_id_to_contiguous_id[a["category_id"]] for a in found]
        masks = [dataset.coco.annToMask(a) for a in found]
        predictions.append(as_boxlist([a["bbox"] for a in found], labels, [1.0] * len(found), masks))
    return predictions


def test_perfect_predictions(dataset):
    measured, _ = coco_evaluation(dataset, perfect(dataset), False, None, ["bbox", "segm"])
    for task in ("bbox", "segm"):
        aps = {name: value for name, value in measured.results[task].items() if name.startswith("AP")}
        assert aps == pytest.approx(dict.fromkeys(METRICS[:6], 1.0)) and measured.results[task]["AR@100"] == 1
        assert measured.per_class[task] == {"two": pytest.approx(1.0), "five": pytest.approx(1.0), "nine": -1.0}


def test_detections_in_a_scaled_image_count_in_the_original(dataset):
    halves = [p.resize((SIZE[0] // 2, SIZE[1] // 2)) for p in perfect(dataset)]
    measured, entries = coco_evaluation(dataset, halves, False, None, ["bbox"])
    assert measured.results["bbox"]["AP50"] == pytest.approx(1.0)
    assert entries == coco_evaluation(dataset, perfect(dataset), False, None, ["bbox"])[1]


def test_no_predictions(dataset, tmp_path):
    nothing = [as_boxlist([], [], [], []) for _ in dataset.ids]
    measured, entries = coco_evaluation(dataset, nothing, False, str(tmp_path), ["bbox", "segm"])
    assert entries == {"bbox": [], "segm": []}
    for task in ("bbox", "segm"):
        assert measured.results[task] == dict.fromkeys(METRICS, 0.0)
    assert json.loads((tmp_path / "bbox.json").read_text()) == []


def test_images_left_out_of_the_set_do_not_count(dataset):
    predictions = perfect(dataset)
    dataset.ids = dataset.ids[:5]
    dataset.id_to_img_map = dict(enumerate(dataset.ids))
    measured, _ = coco_evaluation(dataset, predictions[:5], False, None, ["bbox"])
    assert measured.results["bbox"]["AP"] == pytest.approx(1.0)


def test_masks_are_encoded_alike_wherever_that_happens(dataset):
    """The field "mask" of a network's size, and the field "rle" that `to_original_image` makes of it."""
    generator = torch.Generator().manual_seed(0)
    raw = []
    for prediction in perfect(dataset):
        prediction = prediction.resize((160, 120)).copy_with_fields(["labels", "scores"])
        prediction.add_field("mask", torch.rand(len(prediction), 1, 28, 28, generator=generator))
        raw.append(prediction)
    encoded = [to_original_image(p, *SIZE) for p in raw]
    assert all(p.has_field("rle") and not p.has_field("mask") for p in encoded)
    entries = prepare_for_coco_segmentation(encoded, dataset)
    assert entries == prepare_for_coco_segmentation(raw, dataset)
    assert len(entries) == 54 and all(e["segmentation"]["size"] == [SIZE[1], SIZE[0]] for e in entries)
    assert sum(mask_utils.area(e["segmentation"]) for e in entries) > 0


def test_boxes_are_written_with_their_extent(dataset):
    prediction = as_boxlist([[3, 4, 10, 20]], [2], [0.5], [np.zeros(SIZE[::-1], np.uint8)])
    empty = [as_boxlist([], [], [], [])] * (len(dataset) - 1)
    entries = prepare_for_coco_detection([*empty, prediction], dataset)
    assert entries == [{"image_id": 111, "category_id": 5, "bbox": [3.0, 4.0, 10.0, 20.0], "score": 0.5}]


def some_proposals(dataset: COCODataset) -> list[BoxList]:
    predictions, _ = some_detections(dataset)
    for i, prediction in enumerate(predictions):
        # Continuous, so that no two overlaps are equal.
        prediction.bbox += torch.rand(prediction.bbox.shape, generator=torch.Generator().manual_seed(i))
        prediction.add_field("objectness", prediction.get_field("scores"))
    return [p.copy_with_fields("objectness") for p in predictions]


def naive_overlaps(dataset, proposals: list[BoxList], low: float, high: float, limit: int) -> list[float]:
    """What each object overlaps with when all pairs are gone through from the best one down."""
    found = []
    for image_id, prediction in zip(dataset.ids, proposals, strict=True):
        objects = [a for a in dataset.coco.imgToAnns[image_id] if not a["iscrowd"] and low <= a["area"] <= high]
        ranked = sorted(
            zip(prediction.get_field("objectness").tolist(), prediction.bbox.tolist(), strict=True), reverse=True
        )
        pairs = []
        for p, (_, (x1, y1, x2, y2)) in enumerate(ranked[:limit]):
            for o, (x, y, w, h) in enumerate(a["bbox"] for a in objects):
                columns = max(min(x2 + 1, x + w) - max(x1, x), 0)
                rows = max(min(y2 + 1, y + h) - max(y1, y), 0)
                union = (x2 - x1 + 1) * (y2 - y1 + 1) + w * h - columns * rows
                pairs.append((columns * rows / union, p, o))
        taken: dict[int, float] = {}
        used = set()
        for overlap, p, o in sorted(pairs, reverse=True):
            if p not in used and o not in taken:
                used.add(p)
                taken[o] = overlap
        found += [taken.get(o, 0.0) for o in range(len(objects))]
    return sorted(found)


@pytest.mark.parametrize("limit", [1, 3, 100])
@pytest.mark.parametrize(("area", "low", "high"), [("all", 0, 1e10), ("small", 0, 1024), ("medium", 1024, 9216)])
def test_recall_of_proposals(dataset, area, low, high, limit):
    proposals = some_proposals(dataset)
    measured = evaluate_box_proposals(proposals, dataset, area=area, limit=limit)
    overlaps = naive_overlaps(dataset, proposals, low, high, limit)
    assert measured["num_pos"] == len(overlaps) > 5
    np.testing.assert_allclose(measured["gt_overlaps"].numpy(), overlaps, atol=1e-5)
    thresholds = [0.5 + 0.05 * i for i in range(10)]
    recalls = [sum(v >= t for v in overlaps) / len(overlaps) for t in thresholds]
    np.testing.assert_allclose(measured["recalls"].numpy(), recalls, atol=1e-6)
    assert measured["ar"].item() == pytest.approx(np.mean(recalls), abs=1e-6)
    assert 0 < measured["ar"] < 1


def test_an_evaluation_of_proposals_only(dataset, tmp_path):
    proposals = some_proposals(dataset)
    measured, entries = coco_evaluation(dataset, proposals, True, str(tmp_path), ["bbox"])
    assert entries == {}
    expected = evaluate_box_proposals(proposals, dataset, area="small", limit=100)["ar"].item()
    assert measured.results["box_proposal"]["ARs@100"] == expected
    for image_id in dataset.ids:
        dataset.coco.imgToAnns[image_id] = []
    assert evaluate_box_proposals(proposals, dataset)["ar"].item() == -1  # nothing to find


def test_expected_results_are_compared(log):
    results = COCOResults("bbox")
    results.results["bbox"]["AP"] = 0.4
    check_expected_results(results, [["bbox", "AP", 0.38, 0.01]], sigma_tol=4)
    check_expected_results(results, [["bbox", "AP", 0.3, 0.01]], sigma_tol=4)
    assert [(r.levelname, r.getMessage()) for r in log.records] == [
        ("INFO", "bbox AP is 0.4000, as expected: 0.3800 +- 4 * 0.0100"),
        ("ERROR", "bbox AP is 0.4000, NOT as expected: 0.3000 +- 4 * 0.0100"),
    ]


def test_unknown_tasks_and_unnamed_evaluators():
    with pytest.raises(ValueError, match="no task panoptic"):
        COCOResults("bbox", "panoptic")
    with pytest.raises(ValueError, match="list does not name its evaluation.*coco"):
        evaluate([], [], None)
