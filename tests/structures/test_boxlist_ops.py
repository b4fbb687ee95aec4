"""Operations on BoxLists against loops over boxes."""

from __future__ import annotations

import pytest
import torch

from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.boxes import box_iou, clip_boxes
from maskrcnn_benchmark.structures.boxlist_ops import _cat, boxlist_iou, boxlist_nms, cat_boxlist, remove_small_boxes
from maskrcnn_benchmark.structures.segmentation_mask import SegmentationMask

SIZE = (60, 50)


def random_boxes(count: int, seed: int = 0, mode: str = "xyxy") -> BoxList:
    generator = torch.Generator().manual_seed(seed)
    corner = torch.rand(count, 2, generator=generator) * 35
    boxlist = BoxList(torch.cat((corner, corner + torch.rand(count, 2, generator=generator) * 14), dim=1), SIZE)
    boxlist.add_field("scores", torch.rand(count, generator=generator))
    return boxlist.convert(mode)


def naive_iou(a: list[float], b: list[float]) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]) + 1)
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]) + 1)
    areas = sum((c[2] - c[0] + 1) * (c[3] - c[1] + 1) for c in (a, b))
    return width * height / (areas - width * height)


@pytest.mark.parametrize("mode", ["xyxy", "xywh"])
def test_iou(mode):
    a, b = random_boxes(7, 0, mode), random_boxes(9, 1, mode)
    expected = [[naive_iou(x, y) for y in b.convert("xyxy").bbox.tolist()] for x in a.convert("xyxy").bbox.tolist()]
    torch.testing.assert_close(boxlist_iou(a, b), torch.tensor(expected))
    assert boxlist_iou(a, BoxList([], SIZE)).shape == (7, 0)


def test_iou_of_known_boxes():
    boxes = torch.tensor([[0.0, 0, 9, 9], [5, 0, 14, 9], [10, 0, 19, 9], [0, 0, 9, 9]])
    expected = torch.tensor([[1, 1 / 3, 0, 1], [1 / 3, 1, 1 / 3, 1 / 3], [0, 1 / 3, 1, 0], [1, 1 / 3, 0, 1]])
    torch.testing.assert_close(box_iou(boxes, boxes), expected)


def test_iou_needs_one_image():
    with pytest.raises(RuntimeError, match="different size"):
        boxlist_iou(BoxList([], (3, 4)), BoxList([], (4, 3)))


@pytest.mark.parametrize("mode", ["xyxy", "xywh"])
@pytest.mark.parametrize("max_proposals", [-1, 0, 3])
def test_nms(mode, max_proposals):
    boxes = random_boxes(40, 2, mode)
    corners, scores = boxes.convert("xyxy").bbox.tolist(), boxes.get_field("scores").tolist()
    kept: list[int] = []
    for i in sorted(range(40), key=lambda i: -scores[i]):
        if all(naive_iou(corners[i], corners[j]) <= 0.3 for j in kept):
            kept.append(i)
    assert 3 < len(kept) < 40
    result = boxlist_nms(boxes, 0.3, max_proposals)
    kept = sorted(kept[:max_proposals] if max_proposals > 0 else kept)  # the best, in the order they came in
    assert result.mode == mode
    torch.testing.assert_close(result.bbox, boxes.bbox[kept])
    assert torch.equal(result.get_field("scores"), boxes.get_field("scores")[kept])


def test_nms_without_a_threshold_changes_nothing():
    boxes = random_boxes(5)
    assert boxlist_nms(boxes, 0.0, 2) is boxes


def test_remove_small_boxes():
    boxes = BoxList([[0, 0, 4, 4], [0, 0, 3, 9], [0, 0, 9, 3], [0, 0, 5, 5]], SIZE)
    assert remove_small_boxes(boxes, 5).bbox.tolist() == [[0, 0, 4, 4], [0, 0, 5, 5]]
    wide = remove_small_boxes(boxes.convert("xywh"), 5)
    assert wide.mode == "xywh" and wide.bbox.tolist() == [[0, 0, 5, 5], [0, 0, 6, 6]]
    assert len(remove_small_boxes(boxes, 0)) == 4


def test_cat():
    a, b = random_boxes(3, 0), random_boxes(2, 1)
    joined = cat_boxlist([a, b, random_boxes(0)])
    assert torch.equal(joined.bbox, torch.cat((a.bbox, b.bbox)))
    assert torch.equal(joined.get_field("scores"), torch.cat((a.get_field("scores"), b.get_field("scores"))))
    assert joined.size == SIZE


@pytest.mark.parametrize("modes", [("poly", "poly"), ("mask", "mask"), ("mask", "poly")])
def test_cat_joins_masks(modes):
    objects = [[[0, 0, 10, 0, 10, 10]], [[20, 20, 40, 20, 40, 40]], [[5, 5, 9, 5, 9, 30]]]
    parts = [random_boxes(1, 0), random_boxes(2, 1)]
    for part, own, mode in zip(parts, (objects[:1], objects[1:]), modes, strict=True):
        part.add_field("masks", SegmentationMask(SegmentationMask(own, SIZE), SIZE, mode))
    masks = cat_boxlist(parts).get_field("masks")
    assert isinstance(masks, SegmentationMask) and masks.mode == modes[0] and len(masks) == 3
    assert torch.equal(masks.get_mask_tensor(), SegmentationMask(objects, SIZE).get_mask_tensor())
    with pytest.raises(ValueError, match="different size"):
        torch.cat([masks, SegmentationMask(objects, (9, 9))])


@pytest.mark.parametrize(
    "other", [BoxList([], SIZE), random_boxes(1, mode="xywh"), BoxList([], (1, 1))], ids=["fields", "mode", "size"]
)
def test_cat_of_boxes_that_do_not_agree(other):
    with pytest.raises(ValueError, match="Cannot join"):
        cat_boxlist([random_boxes(1), other])


@pytest.mark.parametrize("bad", [[], [torch.zeros(1, 4)]])
def test_cat_of_something_else(bad):
    with pytest.raises(ValueError, match="non-empty list of BoxLists"):
        cat_boxlist(bad)


def test_clip_boxes_of_several_images():
    boxes = torch.tensor([[[-3.0, 5, 70, 80]], [[-3.0, 5, 70, 80]]])
    width, height = torch.tensor([[60.0], [20.0]]), torch.tensor([[50.0], [100.0]])
    assert clip_boxes(boxes, width, height).tolist() == [[[0, 5, 59, 49]], [[0, 5, 19, 80]]]


def test_cat_of_a_single_one_keeps_any_field():
    boxes = random_boxes(3)
    fields = {"names": ["a", "b", "c"], "object": object()}
    for name, data in fields.items():
        boxes.add_field(name, data)
    joined = cat_boxlist([boxes])
    assert torch.equal(joined.bbox, boxes.bbox) and joined is not boxes
    assert all(joined.get_field(name) is data for name, data in fields.items())


def test_cat_of_tensors():
    a, b = torch.zeros(2, 3), torch.ones(2, 3)
    assert _cat([a]) is a and _cat((a, b)).shape == (4, 3) and _cat([a, b], 1).shape == (2, 6)
