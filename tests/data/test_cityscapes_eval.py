"""Cityscapes' AP against the definition written out with loops over pixels and scores."""

import json
import math

import numpy as np
import pycocotools.mask as mask_utils
import pytest
import torch

from maskrcnn_benchmark.data.datasets import AbstractDataset, CityScapesDataset
from maskrcnn_benchmark.data.datasets.evaluation import evaluate
from maskrcnn_benchmark.data.datasets.evaluation.cityscapes import eval_instances
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.segmentation_mask import SegmentationMask
from tests.support.cityscapes_set import write_cityscapes

SIZE = (80, 60)
HALF = np.arange(SIZE[0])[None].repeat(SIZE[1], 0) < SIZE[0] // 2
OVERLAPS = [0.5 + 0.05 * i for i in range(10)]


def ellipse(x: int, y: int, w: int, h: int) -> np.ndarray:
    rows, columns = np.ogrid[: SIZE[1], : SIZE[0]]
    return ((columns - x - w / 2) / (w / 2)) ** 2 + ((rows - y - h / 2) / (h / 2)) ** 2 <= 1


def boxlist(items: list[tuple[int, tuple, float]], predicted: bool) -> BoxList:
    """Of (label, (x, y, w, h), score)."""
    boxes = [[x, y, x + w - 1, y + h - 1] for _, (x, y, w, h), _ in items]
    result = BoxList(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), SIZE)
    result.add_field("labels", torch.tensor([label for label, _, _ in items], dtype=torch.int64))
    masks = [torch.from_numpy(ellipse(*box)) for _, box, _ in items]
    if predicted:
        result.add_field("scores", torch.tensor([score for _, _, score in items], dtype=torch.float32))
        result.add_field("rle", [mask_utils.encode(np.asfortranarray(m.numpy().astype(np.uint8))) for m in masks])
    else:
        result.add_field("masks", SegmentationMask(masks, SIZE, "mask"))
    return result


class Streets(AbstractDataset):
    evaluator = "cityscapes"
    CLASSES = ("__background__", "person", "car", "train")

    def __init__(self, objects: list[list[tuple]], ignored: tuple[int, ...] = ()):
        super().__init__()
        self.objects, self.ignored = objects, ignored
        self.initMaps()

    def ignored_regions(self, idx: int) -> dict[int, np.ndarray]:
        """Of the labels in `ignored`, the left half of every image."""
        return {label: HALF for label in self.ignored}

    def __len__(self) -> int:
        return len(self.objects)

    def __getitem__(self, idx: int):
        return None, boxlist(self.objects[idx], predicted=False), idx

    def get_img_info(self, index: int) -> dict:
        return {"width": SIZE[0], "height": SIZE[1]}


@pytest.fixture
def scene() -> tuple[list[list[tuple]], list[list[tuple]]]:
    """Objects and detections of twelve images: small objects, doubled detections, equal scores, no train."""
    rng = np.random.default_rng(3)
    objects, detections = [], []
    for i in range(12):
        of_image, found = [], []
        for _ in range(0 if i == 4 else 4):
            w, h = (int(v) for v in rng.integers(6, 26, 2))
            box = (int(rng.integers(0, SIZE[0] - w)), int(rng.integers(0, SIZE[1] - h)), w, h)
            of_image.append((int(rng.integers(1, 3)), box, 0.0))
            for _ in range(rng.integers(0, 3)):
                dx, dy, dw, dh = (int(v) for v in rng.integers(-2, 3, 4))
                label = of_image[-1][0] if rng.random() < 0.9 else 3
                near = (box[0] + dx, box[1] + dy, box[2] + dw, box[3] + dh)
                found.append((label, near, round(float(rng.random()), 1)))
        found.append((1, (int(rng.integers(0, 50)), 5, 20, 30), round(float(rng.random()), 1)))
        objects.append(of_image)
        detections.append(found if i != 7 else [])
    return objects, detections


def naive_ap(objects, detections, label: int, overlap: float, area, ignored=()) -> float:
    """`area(box)` -> bool pixels [height, width] that an object covers."""
    right, wrong, total = [], [], 0
    for of_image, found in zip(objects, detections, strict=True):
        gts = [area(box) for k, box, _ in of_image if k == label]
        preds = [(area(box), score) for k, box, score in found if k == label]
        for gt in gts:
            if gt.sum() < 100:
                continue
            total += 1
            hits = [s for p, s in preds if (p & gt).sum() / (p | gt).sum() > overlap]
            if hits:
                right.append(max(hits))
                hits.remove(max(hits))
                wrong += hits
        for p, score in preds:
            if any((p & gt).sum() / (p | gt).sum() > overlap for gt in gts):
                continue
            excused = sum((p & gt).sum() for gt in gts if gt.sum() < 100)
            if label in ignored:
                region = HALF if p.shape == HALF.shape else np.pad(HALF, [(side, side) for side in HALF.shape])
                excused += (p & region).sum()
            if excused / p.sum() <= overlap:
                wrong.append(score)
    points = [(0.0, 1.0)]
    for threshold in sorted({*right, *wrong}, reverse=True):
        tp, fp = sum(s >= threshold for s in right), sum(s >= threshold for s in wrong)
        points.append((tp / total, tp / (tp + fp)))
    return sum((r2 - r1) * (p1 + p2) / 2 for (r1, p1), (r2, p2) in zip(points, points[1:], strict=False))


def rectangle(box: tuple) -> np.ndarray:
    x, y, w, h = box
    pixels = np.zeros((3 * SIZE[1], 3 * SIZE[0]), bool)  # with room for boxes that reach beyond the image
    pixels[SIZE[1] + y : SIZE[1] + y + h, SIZE[0] + x : SIZE[0] + x + w] = True
    return pixels


@pytest.mark.parametrize(
    ("evaluation", "area"),
    [
        (eval_instances.evaluateBoxMatches, rectangle),
        (eval_instances.evaluateMaskMatches, lambda box: ellipse(*box)),
    ],
)
@pytest.mark.parametrize("ignored", [(), (2,), (1, 2)])
def test_ap_is_the_definitions(scene, evaluation, area, ignored):
    objects, detections = scene
    matches = eval_instances.matchGtsWithPreds(
        Streets(objects, ignored), [boxlist(d, predicted=True) for d in detections]
    )
    aps = evaluation(matches, eval_instances.CArgs(labels=Streets.CLASSES[1:]))
    expected = [[naive_ap(objects, detections, label, t, area, ignored) for t in OVERLAPS] for label in (1, 2)]
    assert 0 < np.mean(expected) < 0.95
    np.testing.assert_allclose(aps[:2], expected, atol=1e-9)
    assert np.isnan(aps[2]).all() and aps.shape == (3, 10)


def test_a_data_set_is_evaluated_by_its_own_metric(scene, tmp_path, log):
    objects, detections = scene
    predictions = [boxlist(d, predicted=True) for d in detections]
    result = evaluate(
        dataset=Streets(objects),
        predictions=[p.resize((160, 120)) for p in predictions],
        output_folder=str(tmp_path),
        box_only=False,
        iou_types=("bbox", "segm"),
        expected_results=[["bbox", "AP", 2.0, 0.01]],
    )
    for task, area in (("bbox", rectangle), ("segm", lambda box: ellipse(*box))):
        expected = np.array([[naive_ap(objects, detections, k, t, area) for t in OVERLAPS] for k in (1, 2)])
        assert result.metrics[task]["AP"] == pytest.approx(expected.mean())
        assert result.metrics[task]["AP50"] == pytest.approx(expected[:, 0].mean())
        assert result.per_class[task]["car"] == pytest.approx(expected[1].mean())
        written = json.loads((tmp_path / f"cityscapes_{task}.json").read_text())
        assert written["averages"]["allAp"] == result.metrics[task]["AP"]
        assert written["averages"]["classes"]["train"] == {"ap": None, "ap50%": None}
        np.testing.assert_allclose(written["resultApMatrix"][:2], expected, atol=1e-9)
    assert "NOT as expected" in log.text and "average" in log.text


def test_objects_found_exactly(tmp_path):
    write_cityscapes(tmp_path)
    dataset = CityScapesDataset(str(tmp_path / "leftImg8bit"), str(tmp_path / "gtFine"), "val")
    predictions = []
    for i in range(len(dataset)):
        objects = dataset.get_groundtruth(i)
        _, rles = eval_instances.prepareGtImage(dataset, i)
        prediction = objects.copy_with_fields(["labels"])
        prediction.add_field("scores", torch.full((len(objects),), 0.5))
        prediction.add_field("rle", rles)
        predictions.append(prediction)
    result = evaluate(dataset, predictions, None, box_only=False, iou_types=("bbox", "segm"))
    for task in ("bbox", "segm"):
        assert result.metrics[task] == {"AP": 1.0, "AP50": 1.0}
        # The person is too small to count.
        assert {k for k, v in result.per_class[task].items() if not math.isnan(v)} == {"rider", "car", "bicycle"}


def test_masks_of_the_network_are_pasted(scene):
    objects, _ = scene
    dataset = Streets(objects[:1])
    prediction = boxlist(objects[0], predicted=True)
    rles = prediction.get_field("rle")
    prediction = prediction.copy_with_fields(["labels", "scores"])
    masks = []
    for (_, (x, y, w, h), _), rle in zip(objects[0], rles, strict=True):
        cut = torch.from_numpy(mask_utils.decode(rle)[y : y + h, x : x + w]).float()
        masks.append(torch.nn.functional.interpolate(cut[None, None], (28, 28), mode="bilinear"))
    prediction.add_field("mask", torch.cat(masks))
    match = eval_instances.matchGtWithPred(dataset, [prediction], 0)
    sizes = np.array([gt["pixelCount"] for gt in match["groundTruth"]])
    assert (match["maskIntersection"].diagonal() > 0.8 * sizes).all()


def test_boxes_of_pairs():
    a, b, c = [0, 0, 9, 9], [5, 5, 14, 24], [10, 0, 12, 9]
    assert eval_instances.isOverlapping(a, b) and not eval_instances.isOverlapping(a, c)
    assert list(eval_instances.getIntersectionBox(a, b)) == [5, 5, 9, 9]
    assert list(eval_instances.getUnionBox(a, b)) == [0, 0, 14, 24]
    assert eval_instances.computeBoxIntersection({"box": a}, {"box": b}) == 25
    assert eval_instances.computeBoxIntersection({"box": a}, {"box": c}) == 0


def test_what_cannot_be_evaluated(scene):
    objects, detections = scene
    boxes = [boxlist(d, predicted=True).copy_with_fields(["labels", "scores"]) for d in detections]
    with pytest.raises(ValueError, match="no masks to evaluate"):
        evaluate(Streets(objects), boxes, None, box_only=False, iou_types=("segm",))
    with pytest.raises(ValueError, match="no task 'keypoints'"):
        evaluate(Streets(objects), boxes, None, box_only=False, iou_types=("keypoints",))
    for prediction in boxes:
        prediction.add_field("objectness", prediction.get_field("scores"))
    results, _ = evaluate(Streets(objects), boxes, None, box_only=True, iou_types=("bbox",))
    assert 0 < results.results["box_proposal"]["AR@100"] < 1
