"""Detections from the box head's predictions, against a loop over images and classes."""

from __future__ import annotations

import pytest
import torch
import torchvision

from maskrcnn_benchmark.modeling.box_coder import BoxCoder
from maskrcnn_benchmark.modeling.roi_heads.box_head.inference import PostProcessor
from maskrcnn_benchmark.structures.bounding_box import BoxList

SIZES = [(120, 90), (100, 140)]
CLASSES = 5
CODER = BoxCoder((10.0, 10.0, 5.0, 5.0))


def inputs(counts=(60, 40), seed: int = 0, classes: int = CLASSES):
    generator = torch.Generator().manual_seed(seed)
    proposals = []
    for count, (width, height) in zip(counts, SIZES, strict=True):
        corner = torch.rand(count, 2, generator=generator) * torch.tensor([width - 50.0, height - 50.0])
        boxes = torch.cat((corner, corner + 5 + torch.rand(count, 2, generator=generator) * 60), dim=1)
        proposals.append(BoxList(boxes, (width, height)))
    total = sum(counts)
    return (
        2 * torch.randn(total, classes, generator=generator),
        torch.randn(total, 4 * classes, generator=generator),
        proposals,
    )


def clipped(boxes: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    limit = torch.tensor([size[0] - 1.0, size[1] - 1.0] * 2)
    return torch.minimum(boxes.clamp(min=0), limit)


def naive_detections(logits, regression, proposals, threshold, nms, limit, agnostic=False):
    """For each image: rows (score, label, box), best first."""
    results, start = [], 0
    for proposal in proposals:
        rows = range(start, start + len(proposal))
        start += len(proposal)
        found = []
        for label in range(1, logits.shape[1]):
            column = 4 if agnostic else 4 * label
            scores = torch.stack([logits[r].softmax(0)[label] for r in rows]) if len(rows) else torch.zeros(0)
            boxes = clipped(CODER.decode(regression[rows, column : column + 4], proposal.bbox), proposal.size)
            scores, boxes = scores[scores > threshold], boxes[scores > threshold]
            for i in torchvision.ops.nms(boxes + torch.tensor([0.0, 0, 1, 1]), scores, nms).tolist():
                found.append((scores[i].item(), label, boxes[i].tolist()))
        found.sort(key=lambda row: -row[0])
        results.append(found[:limit] if limit > 0 else found)
    return results


@pytest.mark.parametrize("agnostic", [False, True])
@pytest.mark.parametrize("limit", [0, 7, 1000])
@pytest.mark.parametrize(("threshold", "nms"), [(0.05, 0.5), (0.5, 0.2)])
@pytest.mark.parametrize("classes", [CLASSES, 2])
def test_follows_the_loop(classes, threshold, nms, limit, agnostic):
    logits, regression, proposals = inputs(classes=classes)
    if agnostic:
        regression = regression[:, :8]
    selector = PostProcessor(threshold, nms, limit, CODER, cls_agnostic_bbox_reg=agnostic)
    expected = naive_detections(logits, regression, proposals, threshold, nms, limit, agnostic)
    for detections, rows, size in zip(selector((logits, regression), proposals), expected, SIZES, strict=True):
        scores, labels, boxes = zip(*rows, strict=True)
        assert detections.size == size and detections.fields() == ["scores", "labels"]
        assert detections.get_field("labels").tolist() == list(labels)
        torch.testing.assert_close(detections.get_field("scores"), torch.tensor(scores))
        torch.testing.assert_close(detections.bbox, torch.tensor(boxes), rtol=1e-4, atol=1e-3)
        assert len(set(labels)) == classes - 1 or limit == 7


@pytest.mark.parametrize("counts", [(0, 0), (0, 5), (5, 0)])
def test_images_without_proposals(counts):
    logits, regression, proposals = inputs(counts)
    detections = PostProcessor(0.05, 0.5, 100, CODER)((logits, regression), proposals)
    assert [len(d) > 0 for d in detections] == [c > 0 for c in counts]
    assert all(d.get_field("labels").dtype == torch.int64 for d in detections)


def test_nothing_above_the_threshold():
    logits, regression, proposals = inputs()
    detections = PostProcessor(1.0, 0.5, 100, CODER)((logits, regression), proposals)
    assert [len(d) for d in detections] == [0, 0] and [d.size for d in detections] == SIZES


def test_all_classes_for_test_time_augmentation():
    logits, regression, proposals = inputs((3, 2))
    results = PostProcessor(0.9, 0.5, 1, CODER, bbox_aug_enabled=True)((logits, regression), proposals)
    row = 0
    for result, proposal in zip(results, proposals, strict=True):
        assert len(result) == len(proposal) * CLASSES
        for i in range(len(proposal)):
            for label in range(CLASSES):
                code = regression[row : row + 1, 4 * label : 4 * label + 4]
                expected = clipped(CODER.decode(code, proposal.bbox[i : i + 1]), proposal.size)
                torch.testing.assert_close(result.bbox[i * CLASSES + label], expected[0])
                torch.testing.assert_close(
                    result.get_field("scores")[i * CLASSES + label], logits[row].softmax(0)[label]
                )
            row += 1


@pytest.mark.parametrize("agnostic", [False, True])
@pytest.mark.parametrize("limit", [0, 7])
def test_the_steps_give_what_forward_gives(limit, agnostic):
    logits, regression, proposals = inputs()
    settings = (0.05, 0.4, limit, CODER, agnostic)
    unfiltered = PostProcessor(*settings, bbox_aug_enabled=True)((logits, regression), proposals)
    selector = PostProcessor(*settings)
    for boxlist, expected in zip(unfiltered, selector((logits, regression), proposals), strict=True):
        found = selector.filter_results(boxlist, CLASSES)
        assert found.size == expected.size and len(found) > 5
        assert torch.equal(found.get_field("labels"), expected.get_field("labels"))
        assert torch.equal(found.get_field("scores"), expected.get_field("scores"))
        torch.testing.assert_close(found.bbox, expected.bbox)


def test_the_boxes_of_all_classes_as_one_boxlist():
    boxes, scores = torch.arange(24.0).reshape(2, 12), torch.arange(6.0).reshape(2, 3)
    boxlist = PostProcessor().prepare_boxlist(boxes, scores, (30, 20))
    assert boxlist.size == (30, 20) and boxlist.mode == "xyxy"
    assert boxlist.bbox.tolist() == torch.arange(24.0).reshape(6, 4).tolist()
    assert boxlist.get_field("scores").tolist() == [0, 1, 2, 3, 4, 5]


def test_a_detector_calls_what_a_fork_overrides():
    class Filter(PostProcessor):
        def filter_results(self, boxlist, num_classes):
            assert len(boxlist) % num_classes == 0 and boxlist.bbox.max() <= 139
            found = super().filter_results(boxlist, num_classes)
            return found[found.get_field("labels") == 3]

    class Boxes(PostProcessor):
        def prepare_boxlist(self, boxes, scores, image_shape):
            return super().prepare_boxlist(boxes, scores.flip(0), image_shape)

    logits, regression, proposals = inputs()
    plain = PostProcessor(0.05, 0.5, 0, CODER)((logits, regression), proposals)
    filtered = Filter(0.05, 0.5, 0, CODER)((logits, regression), proposals)
    for found, expected in zip(filtered, plain, strict=True):
        expected = expected[expected.get_field("labels") == 3]
        assert len(expected) and torch.equal(found.get_field("scores"), expected.get_field("scores"))
        torch.testing.assert_close(found.bbox, expected.bbox)
    flipped = torch.cat((logits[:60].flip(0), logits[60:].flip(0)))
    expected = PostProcessor(0.05, 0.5, 0, CODER)((flipped, regression), proposals)
    for found, other in zip(Boxes(0.05, 0.5, 0, CODER)((logits, regression), proposals), expected, strict=True):
        assert torch.equal(found.get_field("labels"), other.get_field("labels"))
        torch.testing.assert_close(found.bbox, other.bbox)
