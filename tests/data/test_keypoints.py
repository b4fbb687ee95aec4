"""Keypoints from annotation files to OKS: what the data set gives, and metrics against pycocotools run by hand."""

import contextlib
import io
import json

import numpy as np
import pytest
import torch
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from maskrcnn_benchmark.config import ConfigError, cfg
from maskrcnn_benchmark.config.paths_catalog import DatasetCatalog
from maskrcnn_benchmark.data import make_data_loader
from maskrcnn_benchmark.data.datasets import COCODataset
from maskrcnn_benchmark.data.datasets.coco_keypoints import expected_keypoints
from maskrcnn_benchmark.data.datasets.evaluation import evaluate
from maskrcnn_benchmark.data.datasets.evaluation.coco.coco_api import use_coco_evaluator
from maskrcnn_benchmark.data.datasets.evaluation.coco.coco_eval import KEYPOINT_METRICS, prepare_for_coco_keypoint
from maskrcnn_benchmark.engine.results import to_original_image
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.keypoint import Keypoints, PersonKeypoints
from tests.support.helpers import CONFIG, options, write_annotations, write_coco
from tests.support.people import write_people

NUMBERS = {f"MODEL__{key}": value for key, value in {"KEYPOINT_ON": True, "ROI_BOX_HEAD__NUM_CLASSES": 2}.items()}


def people_set(root, change=lambda content: None, **keys) -> COCODataset:
    content = write_people(root, **keys)
    change(content)
    write_annotations(root, "people", content)
    return COCODataset(str(root / "people.json"), str(root / "people"), False)


def test_items_carry_keypoints(tmp_path):
    dataset = people_set(tmp_path)
    _, target, _ = dataset[1]
    keypoints = target.get_field("keypoints")
    assert isinstance(keypoints, PersonKeypoints) and len(keypoints) == len(target) == 2
    annotations = dataset.coco.imgToAnns[2]
    expected = torch.tensor([a["keypoints"] for a in annotations]).reshape(2, 17, 3)
    assert torch.equal(keypoints.keypoints, expected)
    points = keypoints.keypoints[0][keypoints.keypoints[0, :, 2] > 0]
    x1, y1, x2, y2 = target.bbox[0].tolist()
    assert 10 < len(points) <= 17 and (points[:, 0] > x1).all() and (points[:, 1] < y2).all()


def test_objects_and_images_without_keypoints(tmp_path):
    """Whatever else the file holds, an image's keypoints go with its objects."""

    def change(content):
        del content["annotations"][0]["keypoints"]
        content["annotations"] = [a for a in content["annotations"] if a["image_id"] != 3]

    dataset = people_set(tmp_path, change)
    first = dataset[0][1].get_field("keypoints").keypoints
    assert first.shape == (2, 17, 3) and not first[0].any() and first[1].any()
    assert dataset[2][1].get_field("keypoints").keypoints.shape == (0, 17, 3)
    flipped = dataset[2][1].transpose(0).resize((50, 50))
    assert len(flipped.get_field("keypoints")) == 0


def test_entries_of_different_length(tmp_path, log):
    def change(content):
        content["annotations"][0]["keypoints"] = [1, 2, 2]

    dataset = people_set(tmp_path, change)
    assert "1 annotation has another number of keypoints than the others, 17: taken as not labelled" in log.text
    first = dataset[0][1].get_field("keypoints").keypoints
    assert first.shape == (2, 17, 3) and not first[0].any() and first[1].any()

    def load(**keys):
        config = cfg.clone()
        config.merge_from_file(str(CONFIG))
        keys = {**NUMBERS, "MODEL__MASK_ON": False, **keys}
        config.merge_from_list(options(tmp_path, train="people", test="people", **keys))
        return make_data_loader(config)

    with pytest.raises(ConfigError, match="people: 1 object has another number of keypoints than the others, 17: 1 "):
        load()
    assert len(load(MODEL__KEYPOINT_ON=False).dataset) == 4


@pytest.mark.parametrize(
    ("names", "lengths", "expected"),
    [(None, [3, 15, 15], 5), (5, [3, 3, 15], 5), (5, [6, 6], 2), (None, [6, 15], 0), (None, [], 0), (None, [7, 6], 2)],
)
def test_the_number_of_keypoints(names, lengths, expected):
    entries = [{"id": 1, "name": "a", **({} if names is None else {"keypoints": list("abcdefgh")[:names]})}]
    assert expected_keypoints(entries, lengths) == expected


def test_images_are_left_out_for_keypoints_only_where_keypoints_are_trained(tmp_path, log):
    def change(content):
        for annotation in content["annotations"]:
            annotation.update(keypoints=[0] * 51, num_keypoints=0)

    people_set(tmp_path, change)
    place = str(tmp_path / "people.json"), str(tmp_path / "people"), True
    assert len(COCODataset(*place)) == 0 and "visible keypoints" in log.text
    log.clear()
    assert len(COCODataset(*place, for_keypoints=False)) == 4 and not log.text


def test_the_model_and_the_data_must_agree(tmp_path):
    write_people(tmp_path)
    write_coco(tmp_path)

    def load(**keys):
        config = cfg.clone()
        config.merge_from_file(str(CONFIG))
        config.merge_from_list(options(tmp_path, **{**NUMBERS, "MODEL__MASK_ON": False, **keys}))
        return make_data_loader(config)

    _, targets, _ = next(iter(load(train="people", test="people")))
    assert all(t.has_field("keypoints") for t in targets)
    with pytest.raises(ConfigError, match="people have 17 keypoints, but .*NUM_CLASSES 5"):
        load(train="people", test="people", MODEL__ROI_KEYPOINT_HEAD__NUM_CLASSES=5)
    with pytest.raises(ConfigError, match="set have no keypoints"):
        load(MODEL__ROI_BOX_HEAD__NUM_CLASSES=3)


def test_the_built_in_names():
    for part, folder in (("train", "train2014"), ("minival", "val2014"), ("valminusminival", "val2014")):
        args = DatasetCatalog.get(f"keypoints_coco_2014_{part}")["args"]
        assert args["root"].endswith(f"coco/{folder}")
        assert args["ann_file"].endswith(f"coco/annotations/person_keypoints_{part}2014.json")


def noisy_predictions(dataset: COCODataset, scale: float = 1.0) -> list[BoxList]:
    """Each object about where it is, some twice, and as many in the wrong place; in images scaled by `scale`."""
    rng = np.random.default_rng(5)
    predictions = []
    for i in range(len(dataset)):
        info = dataset.get_img_info(i)
        boxes, points = [], []
        for ann in dataset.coco.imgToAnns[info["id"]]:
            truth = np.array(ann["keypoints"]).reshape(17, 3)
            x, y, w, h = ann["bbox"]
            for spread in (0.02, 0.08, 2.0):
                if rng.random() < 0.8:
                    moved = truth[:, :2] + rng.normal(0, spread * h, (17, 2))
                    points.append(np.column_stack((moved, np.ones(17))) * (scale, scale, 1))
                    boxes.append([scale * v for v in (x, y, x + w, y + h)])
        prediction = BoxList(boxes, (info["width"] * scale, info["height"] * scale))
        prediction.add_field("labels", torch.ones(len(boxes), dtype=torch.int64))
        prediction.add_field("scores", torch.from_numpy(rng.random(len(boxes))))
        prediction.add_field("keypoints", PersonKeypoints(np.array(points), prediction.size))
        predictions.append(prediction)
    return predictions


def reference(dataset: COCODataset, entries: list[dict]) -> list[float]:
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(dataset.ann_file)
        coco.dataset.setdefault("info", {})
        coco_eval = COCOeval(coco, coco.loadRes(entries), "keypoints")
        coco_eval.evaluate()
        coco_eval.accumulate()
        coco_eval.summarize()
    return coco_eval.stats.tolist()


def test_metrics_are_those_of_pycocotools(tmp_path):
    dataset = people_set(tmp_path, images=8)
    predictions = noisy_predictions(dataset)
    entries = []
    for i, prediction in enumerate(predictions):
        points = prediction.get_field("keypoints").keypoints.tolist()
        for person, score in zip(points, prediction.get_field("scores").tolist(), strict=True):
            flat = [value for point in person for value in point]
            entries.append({"image_id": i + 1, "category_id": 1, "keypoints": flat, "score": score})
    out = tmp_path / "out"
    out.mkdir()
    results, by_task = evaluate(dataset, predictions, str(out), box_only=False, iou_types=("bbox", "keypoints"))
    assert [e["keypoints"] for e in by_task["keypoints"]] == [e["keypoints"] for e in entries]
    measured = results.results["keypoints"]
    expected = reference(dataset, entries)
    assert tuple(measured) == KEYPOINT_METRICS and 0.2 < expected[0] < 0.9
    assert list(measured.values()) == pytest.approx(expected, abs=1e-9)
    assert results.per_class["keypoints"]["person"] == pytest.approx(expected[0], abs=1e-9)
    assert json.loads((out / "metrics.json").read_text())["keypoints"]["AP"] == measured["AP"]
    assert len(json.loads((out / "keypoints.json").read_text())) == len(entries)
    pytest.importorskip("faster_coco_eval")
    with use_coco_evaluator("faster-coco-eval"):
        fast, _ = evaluate(dataset, predictions, None, box_only=False, iou_types=("keypoints",))
    assert fast.results["keypoints"] == pytest.approx(measured, abs=1e-12)


def test_detections_in_a_scaled_image_count_in_the_original(tmp_path):
    dataset = people_set(tmp_path)
    plain, scaled = (noisy_predictions(dataset, scale) for scale in (1.0, 2.5))
    moved = [to_original_image(p, 192, 192) for p in scaled]
    assert moved[0].get_field("keypoints").size == (192, 192)
    for entries in (prepare_for_coco_keypoint(scaled, dataset), prepare_for_coco_keypoint(moved, dataset)):
        for a, b in zip(entries, prepare_for_coco_keypoint(plain, dataset), strict=True):
            assert a["keypoints"] == pytest.approx(b["keypoints"], abs=1e-3)


def test_people_without_keypoints_do_not_count(tmp_path):
    """As in COCO: neither the person missed nor a detection of them changes the result."""
    dataset = people_set(tmp_path, images=6)
    predictions = noisy_predictions(dataset)

    def change(content):
        del content["annotations"][3]["keypoints"]
        for ann in content["annotations"]:
            del ann["num_keypoints"]

    unlabelled = people_set(tmp_path, change, images=6)
    results, _ = evaluate(unlabelled, predictions, None, box_only=False, iou_types=("keypoints",))
    assert 0.2 < results.results["keypoints"]["AP"] < 0.9


def test_objects_with_keypoints_of_another_kind(tmp_path):
    """Five of them: COCO's tolerances are a person's, the others get their mean."""

    def change(content):
        for ann in content["annotations"]:
            ann["keypoints"] = ann["keypoints"][:15]
            del ann["num_keypoints"]

    dataset = people_set(tmp_path, change)
    assert type(dataset[0][1].get_field("keypoints")) is Keypoints
    predictions = []
    for i in range(len(dataset)):
        target = dataset[i][1]
        target.add_field("scores", torch.ones(len(target)))
        predictions.append(target)
    for evaluator in ("pycocotools", "faster-coco-eval"):
        if evaluator != "pycocotools":
            pytest.importorskip("faster_coco_eval")
        with use_coco_evaluator(evaluator):
            results, _ = evaluate(dataset, predictions, None, box_only=False, iou_types=("keypoints",))
        assert results.results["keypoints"]["AP"] == pytest.approx(1)


def test_no_predictions(tmp_path):
    dataset = people_set(tmp_path)
    empty = [BoxList(torch.zeros(0, 4), (192, 192)) for _ in range(4)]
    results, entries = evaluate(dataset, empty, None, box_only=False, iou_types=("keypoints",))
    assert entries["keypoints"] == [] and results.results["keypoints"]["AP"] == 0
