"""Images with more objects than are detected or counted."""

import contextlib
import io
import json

import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from maskrcnn_benchmark.config import cfg
from maskrcnn_benchmark.data import make_data_loader, size_checks
from maskrcnn_benchmark.data.datasets import COCODataset
from maskrcnn_benchmark.data.datasets.evaluation import evaluate
from maskrcnn_benchmark.data.datasets.evaluation.coco.coco_api import use_coco_evaluator
from maskrcnn_benchmark.structures.bounding_box import BoxList
from tests.support.helpers import CONFIG, options

COUNT = 150


@pytest.fixture
def dense(tmp_path):
    (tmp_path / "set").mkdir()
    content: dict = {"images": [], "annotations": [], "categories": [{"id": 1, "name": "a"}]}
    for i, objects in enumerate((COUNT, 3)):
        Image.new("RGB", (200, 100)).save(tmp_path / "set" / f"{i}.png")
        content["images"].append({"id": 40 + i, "file_name": f"{i}.png", "width": 200, "height": 100})
        for k in range(objects):
            box = [10 * (k % 20), 10 * (k // 20), 8, 8]
            ids = {"id": len(content["annotations"]) + 1, "image_id": 40 + i, "category_id": 1}
            content["annotations"].append({**ids, "bbox": box, "area": 64, "iscrowd": 0})
    (tmp_path / "set.json").write_text(json.dumps(content))
    return COCODataset(str(tmp_path / "set.json"), str(tmp_path / "set"), False)


def detections(dataset) -> list[BoxList]:
    rng, found = np.random.default_rng(0), []
    for _, target, _ in dataset:
        target.bbox = target.bbox + torch.from_numpy(rng.integers(0, 3, (len(target), 1)))
        target.add_field("scores", torch.from_numpy(rng.random(len(target))))
        found.append(target)
    return found


def by_hand(dataset, entries, limit: int) -> float:
    """AP with this many detections an image, by a COCOeval that knows no other number."""
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(dataset.ann_file)
        coco.dataset["info"] = {}
        coco_eval = COCOeval(coco, coco.loadRes(entries), "bbox")
        coco_eval.params.maxDets = [limit]
        coco_eval.evaluate()
        coco_eval.accumulate()
    precision = coco_eval.eval["precision"][:, :, :, 0, 0]
    return float(precision[precision > -1].mean())


@pytest.mark.parametrize("evaluator", ["pycocotools", "faster-coco-eval", "hotcoco"])
def test_both_numbers_are_reported(dense, evaluator):
    if evaluator != "pycocotools":
        pytest.importorskip(evaluator.replace("-", "_"))
    found = detections(dense)
    plain, entries = evaluate(dense, found, None, box_only=False, iou_types=("bbox",))
    with use_coco_evaluator(evaluator, detections=300):
        more, _ = evaluate(dense, found, None, box_only=False, iou_types=("bbox",))
    of_more = more.results["bbox"]["AP@300"]
    own = {name: value for name, value in more.results["bbox"].items() if not name.endswith("@300")}
    assert own == pytest.approx(plain.results["bbox"], abs=1e-12)
    assert more.per_class == plain.per_class
    copies = [dict(e) for e in entries["bbox"]]
    assert plain.results["bbox"]["AP"] == pytest.approx(by_hand(dense, entries["bbox"], 100), abs=1e-9)
    assert of_more == pytest.approx(by_hand(dense, copies, 300), abs=1e-9)
    assert of_more > plain.results["bbox"]["AP"] + 0.05
    with (
        pytest.raises(ValueError, match="COCO_MAX_DETECTIONS must be 100 or more; got 50"),
        use_coco_evaluator(evaluator, 50),
    ):
        pass


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        (
            {},
            "but MODEL.ROI_HEADS.DETECTIONS_PER_IMG is 100 and TEST.COCO_MAX_DETECTIONS is 100. The others count as missed; "
            "raise both",
        ),
        (
            {"MODEL__ROI_HEADS__DETECTIONS_PER_IMG": 200},
            "but TEST.COCO_MAX_DETECTIONS is 100. The others count as missed; raise it",
        ),
        ({"MODEL__ROI_HEADS__DETECTIONS_PER_IMG": 200, "TEST__COCO_MAX_DETECTIONS": 150}, ""),
    ],
)
def test_one_warning_with_the_numbers_and_the_keys(dense, tmp_path, keys, said, log, monkeypatch):
    monkeypatch.setattr(size_checks, "_said", set())
    config = cfg.clone()
    config.merge_from_file(str(CONFIG))
    config.merge_from_list(options(tmp_path, MODEL__ROI_BOX_HEAD__NUM_CLASSES=2, **keys))
    for _ in range(2):
        make_data_loader(config, is_train=False)
    warnings = [r.getMessage() for r in log.records if "objects, but" in r.getMessage()]
    assert len(warnings) == bool(said)
    if said:
        assert warnings[0].startswith(f"set: image 40 has {COUNT} objects, {said}")
