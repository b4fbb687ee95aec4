"""Selecting proposals, against loops over images and levels."""

from __future__ import annotations

import pytest
import torch
import torchvision
from torch import Tensor

from maskrcnn_benchmark.modeling.box_coder import BoxCoder
from maskrcnn_benchmark.modeling.rpn.anchor_generator import AnchorGenerator
from maskrcnn_benchmark.modeling.rpn.inference import RPNPostProcessor
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.image_list import to_image_list

RATIOS = (0.5, 1.0, 2.0)
IMAGES = [torch.zeros(3, 60, 96), torch.zeros(3, 64, 80)]
GRIDS = [(8, 12), (4, 6), (2, 3)]


def predictions(levels: int, seed: int = 0) -> tuple[list[list[BoxList]], list[Tensor], list[Tensor]]:
    generator = torch.Generator().manual_seed(seed)
    grids = GRIDS[:levels]
    anchors = AnchorGenerator([16, 32, 64][:levels], RATIOS, [8, 16, 32][:levels])
    objectness = [2 * torch.randn(2, 3, *grid, generator=generator) for grid in grids]
    regression = [0.3 * torch.randn(2, 12, *grid, generator=generator) for grid in grids]
    return anchors(to_image_list(IMAGES), [torch.zeros(2, 1, *grid) for grid in grids]), objectness, regression


def naive_select(anchors, objectness, regression, pre: int, post: int, threshold: float, min_size: float):
    """For each image and level: (scores, boxes) after top-k, decoding, clipping, size filter, NMS and top-k again."""
    selected = []
    for i, levels in enumerate(anchors):
        width, height = levels[0].size
        of_image = []
        for level, boxlist in enumerate(levels):
            _, rows, columns = objectness[level][i].shape
            scores, boxes = [], []
            for index, anchor in enumerate(boxlist.bbox):
                cell, a = divmod(index, len(RATIOS))
                y, x = divmod(cell, columns)
                scores.append(objectness[level][i, a, y, x].sigmoid())
                code = regression[level][i, 4 * a : 4 * a + 4, y, x]
                x1, y1, x2, y2 = BoxCoder((1.0, 1.0, 1.0, 1.0)).decode(code[None], anchor[None])[0].tolist()
                clamp = [
                    min(max(v, 0.0), limit - 1.0)
                    for v, limit in zip((x1, y1, x2, y2), (width, height) * 2, strict=True)
                ]
                boxes.append(clamp)
            scores, boxes = torch.stack(scores), torch.tensor(boxes)
            order = scores.argsort(descending=True)[:pre]
            scores, boxes = scores[order], boxes[order]
            large = ((boxes[:, 2:] - boxes[:, :2] + 1) >= min_size).all(dim=1)
            scores, boxes = scores[large], boxes[large]
            exclusive = boxes + torch.tensor([0.0, 0, 1, 1])
            keep = torchvision.ops.nms(exclusive, scores, threshold)[:post]
            of_image.append((scores[keep], boxes[keep]))
        selected.append(of_image)
    return selected


def best_of_image(of_image, count: int) -> tuple[Tensor, Tensor]:
    scores, boxes = (torch.cat(values) for values in zip(*of_image, strict=True))
    order = scores.argsort(descending=True)[:count]
    return scores[order], boxes[order]


def assert_proposals(proposals: list[BoxList], expected: list[tuple[Tensor, Tensor]]) -> None:
    for proposal, (scores, boxes), image in zip(proposals, expected, IMAGES, strict=True):
        assert proposal.size == (image.shape[2], image.shape[1]) and proposal.mode == "xyxy"
        torch.testing.assert_close(proposal.get_field("objectness"), scores)
        torch.testing.assert_close(proposal.bbox, boxes, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("min_size", [0, 14])
@pytest.mark.parametrize(("pre", "post", "total"), [(1000, 1000, 1000), (40, 10, 12), (15, 1000, 1000), (60, 8, 1000)])
@pytest.mark.parametrize("levels", [1, 3])
@pytest.mark.parametrize("threshold", [0.5, 0])
@torch.no_grad()
def test_selection_in_evaluation(threshold, levels, pre, post, total, min_size):
    inputs = predictions(levels)
    selector = RPNPostProcessor(pre, post, threshold, min_size, fpn_post_nms_top_n=total).eval()
    selected = naive_select(*inputs, pre, post, threshold or 1.0, min_size)  # 0: no suppression
    limit = total if levels > 1 else post
    expected = [best_of_image(of_image, limit) for of_image in selected]
    assert all(len(scores) for scores, _ in expected)
    assert_proposals(selector(*inputs), expected)
    anchors, objectness, regression = inputs
    first = anchors[:1], [o[:1] for o in objectness], [r[:1] for r in regression]
    (alone,) = selector(*first)
    torch.testing.assert_close(alone.get_field("objectness"), expected[0][0])


@pytest.mark.parametrize("per_batch", [True, False])
@torch.no_grad()
def test_selection_in_training(per_batch):
    anchors, objectness, regression = predictions(3)
    for logits in objectness:
        logits[0] += 2  # the first image takes most of a budget of the batch
    selector = RPNPostProcessor(60, 30, 0.6, 0, fpn_post_nms_top_n=25, fpn_post_nms_per_batch=per_batch).train()
    selected = naive_select(anchors, objectness, regression, 60, 30, 0.6, 0)
    counts = [25, 25]
    if per_batch:
        ranked = sorted((s for of_image in selected for scores, _ in of_image for s in scores.tolist()), reverse=True)
        counts = [sum((scores >= ranked[24]).sum().item() for scores, _ in of_image) for of_image in selected]
        assert sum(counts) == 25 and counts[0] > counts[1]
    expected = [best_of_image(of_image, count) for of_image, count in zip(selected, counts, strict=True)]
    assert_proposals(selector(anchors, objectness, regression), expected)

    targets = [BoxList([[1.0, 2, 30, 40]], (96, 60)), BoxList([], (80, 64))]
    targets[0].add_field("labels", torch.tensor([3]))
    joined = selector(anchors, objectness, regression, targets)
    assert [len(p) for p in joined] == [counts[0] + 1, counts[1]]
    assert joined[0].bbox[-1].tolist() == [1, 2, 30, 40] and joined[0].get_field("objectness")[-1] == 1
    assert joined[0].fields() == ["objectness"]


@torch.no_grad()
def test_nothing_large_enough():
    proposals = RPNPostProcessor(100, 100, 0.5, 1000).eval()(*predictions(3))
    assert [len(p) for p in proposals] == [0, 0]


@pytest.mark.parametrize("training", [True, False])
@torch.no_grad()
def test_scores_that_are_no_numbers_take_no_place(training):
    """They come first in every order, and are none of the best of a level, of an image or of the batch."""
    anchors, objectness, regression = predictions(3)
    selector = RPNPostProcessor(1000, 5, 0, 0, fpn_post_nms_top_n=8).train(training)
    found = []
    for value in (float("nan"), -float("inf")):
        for logits in objectness:
            logits[:, :, 0] = value
        found.append(selector(anchors, objectness, regression))
    assert sum(map(len, found[0])) == (8 if training else 16)
    for ours, expected in zip(*found, strict=True):
        assert torch.equal(ours.bbox, expected.bbox)
        assert torch.equal(ours.get_field("objectness"), expected.get_field("objectness"))
