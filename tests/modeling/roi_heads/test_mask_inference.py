"""Pasting masks into images, against one mask at a time by interpolation."""

from __future__ import annotations

import pycocotools.mask as mask_utils
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from maskrcnn_benchmark.modeling.roi_heads.mask_head import pasting
from maskrcnn_benchmark.modeling.roi_heads.mask_head.inference import (
    Masker,
    MaskPostProcessor,
    MaskPostProcessorCOCOFormat,
    expand_boxes,
    paste_mask_in_image,
    paste_masks,
)
from maskrcnn_benchmark.structures.bounding_box import BoxList

SIZE = (70, 50)
# Inside, across each edge, tiny, larger than the image, and outside of it.
BOXES = [[10, 8, 40, 30], [-9.5, -4.2, 20.3, 18.8], [50.1, 30, 90, 70], [5, 5, 5.4, 5.2], [-20, -30, 120, 90]]
BOXES += [[100, 100, 130, 120], [20.5, 3.25, 33.75, 44.5]]


def masks(count: int = len(BOXES), side: int = 28) -> Tensor:
    """Smooth random masks in [0, 1], Tensor[count, 1, side, side]."""
    noise = torch.randn(count, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    return F.interpolate(2 * noise, size=(side, side), mode="bicubic").sigmoid()


def naive_paste(mask: Tensor, box: list[float], padding: int) -> Tensor:
    """Tensor[side, side] -> Tensor[height, width]: pad, enlarge the box alike, scale to whole pixels, copy what fits."""
    width, height = SIZE
    side = mask.shape[-1]
    scale = (side + 2 * padding) / side
    x1, y1, x2, y2 = torch.tensor(box, dtype=torch.float32).tolist()
    cx, cy, half_w, half_h = (x1 + x2) / 2, (y1 + y2) / 2, (x2 - x1) / 2 * scale, (y2 - y1) / 2 * scale
    left, top, right, bottom = (int(v) for v in (cx - half_w, cy - half_h, cx + half_w, cy + half_h))
    extent = (max(bottom - top + 1, 1), max(right - left + 1, 1))
    padded = F.pad(mask, (padding,) * 4)[None, None]
    scaled = F.interpolate(padded, size=extent, mode="bilinear", align_corners=False)[0, 0]
    image = torch.zeros(height, width)
    for y in range(max(top, 0), min(bottom + 1, height)):
        for x in range(max(left, 0), min(right + 1, width)):
            image[y, x] = scaled[y - top, x - left]
    return image


@pytest.mark.parametrize("padding", [0, 1, 2])
@pytest.mark.parametrize("pixels", [1, 3 * SIZE[0] * SIZE[1], 1 << 24])
def test_paste(monkeypatch, padding, pixels):
    monkeypatch.setattr(pasting, "MAX_PASTED_PIXELS", pixels)
    values = masks()
    groups = list(paste_masks(values[:, 0], torch.tensor(BOXES), SIZE[1], SIZE[0], padding))
    assert len(groups) == {1: 7, 3 * SIZE[0] * SIZE[1]: 3, 1 << 24: 1}[pixels]
    pasted = torch.cat(groups).mT
    for image, mask, box in zip(pasted, values[:, 0], BOXES, strict=True):
        torch.testing.assert_close(image, naive_paste(mask, box, padding), rtol=1e-4, atol=1e-4)
    assert pasted.flatten(1).any(dim=1).tolist() == [True] * 5 + [False, True]


def boxlist(boxes=BOXES, mode: str = "xyxy") -> BoxList:
    return BoxList(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), SIZE).convert(mode)


def safe(values: Tensor, threshold: float) -> Tensor:
    """Where rounding cannot decide."""
    return (values - threshold).abs() > 1e-4


@pytest.mark.parametrize("threshold", [0.0, 0.5, 0.7])
def test_masker_thresholds(threshold):
    values = masks()
    (result,) = Masker(threshold, padding=1)(values, boxlist())
    assert result.shape == (len(BOXES), 1, SIZE[1], SIZE[0]) and result.dtype == torch.bool
    for got, mask, box in zip(result[:, 0], values[:, 0], BOXES, strict=True):
        expected = naive_paste(mask, box, 1)
        decided = safe(expected, threshold) | (expected == 0)
        assert torch.equal(got[decided], (expected > threshold)[decided])


def test_masker_with_a_negative_threshold_returns_values():
    values = masks()
    (result,) = Masker(-1.0)(values, boxlist())
    assert result.dtype == torch.uint8
    for got, mask, box in zip(result[:, 0], values[:, 0], BOXES, strict=True):
        assert (got.float() - 255 * naive_paste(mask, box, 1)).abs().max() <= 1.01


@pytest.mark.parametrize("mode", ["xyxy", "xywh"])
def test_encode_is_the_encoding_of_the_pasted_masks(mode):
    values, boxes = masks(), boxlist([b for b in BOXES if b[0] < 70 and b[3] - b[1] > 1], mode)
    values = values[: len(boxes)]
    masker = Masker(0.5)
    full = masker.forward_single_image(values, boxes)
    rles = pasting.encode_masks(values, boxes.convert("xyxy").bbox, SIZE[1], SIZE[0])
    assert len(rles) == len(boxes)
    for rle, mask in zip(rles, full[:, 0], strict=True):
        assert isinstance(rle["counts"], str) and rle["size"] == [SIZE[1], SIZE[0]]
        assert torch.equal(torch.from_numpy(mask_utils.decode(rle)).bool(), mask)
        assert mask_utils.area(rle) == mask.sum() > 0


def test_no_detections():
    masker, none = Masker(), boxlist([])
    values = torch.zeros(0, 1, 28, 28)
    assert masker.forward_single_image(values, none).shape == (0, 1, SIZE[1], SIZE[0])
    assert pasting.encode_masks(values, none.bbox, SIZE[1], SIZE[0]) == []


def test_several_images():
    values = masks()
    results = Masker()([values[:2], values[2:]], [boxlist(BOXES[:2]), boxlist(BOXES[2:])])
    (together,) = Masker()(values, boxlist())
    assert torch.equal(torch.cat(results), together)
    with pytest.raises(ValueError, match=r"got \[2\] and \[7\]"):
        Masker()([values[:2]], [boxlist()])


def test_post_processor_takes_the_mask_of_each_label():
    logits = torch.randn(5, 4, 3, 3)
    labels = torch.tensor([1, 3, 2, 3, 1])
    boxes = [boxlist(BOXES[:2]), boxlist(BOXES[2:5])]
    for b, of_image in zip(boxes, labels.split([2, 3]), strict=True):
        b.add_field("labels", of_image)
    results = MaskPostProcessor()(logits, boxes)
    found = torch.cat([r.get_field("mask") for r in results])
    expected = torch.stack([logits[i, label].sigmoid() for i, label in enumerate(labels.tolist())])[:, None]
    torch.testing.assert_close(found, expected)
    assert not boxes[0].has_field("mask") and results[1].fields() == ["labels", "mask"]
    pasted = MaskPostProcessor(Masker(0.5))(logits, boxes)
    assert [p.get_field("mask").shape for p in pasted] == [(2, 1, *SIZE[::-1]), (3, 1, *SIZE[::-1])]


def test_one_mask_by_upstreams_functions():
    box = torch.tensor(BOXES[-1])
    assert expand_boxes(torch.tensor([[2.0, 2.0, 6.0, 10.0]]), 1.5).tolist() == [[1.0, 0.0, 7.0, 12.0]]
    pasted = paste_mask_in_image(masks(1)[0, 0], box, SIZE[1], SIZE[0])
    assert pasted.shape == (SIZE[1], SIZE[0])
    assert torch.equal(pasted, naive_paste(masks(1)[0, 0], BOXES[-1], 1) > 0.5)


def test_rles_straight_from_the_logits():
    boxes = BoxList(torch.tensor(BOXES[:3], dtype=torch.float32), SIZE)
    boxes.add_field("labels", torch.tensor([1, 2, 1]))
    logits = torch.randn(3, 3, 14, 14, generator=torch.Generator().manual_seed(1))
    rles = MaskPostProcessorCOCOFormat()(logits, [boxes])[0].get_field("mask")
    bitmaps = MaskPostProcessor(Masker())(logits, [boxes])[0].get_field("mask")[:, 0]
    assert [
        torch.equal(torch.from_numpy(mask_utils.decode(rle)).bool(), b) for rle, b in zip(rles, bitmaps, strict=True)
    ] == [True] * 3


@pytest.mark.parametrize("pixels", [1, 50, 1000])
def test_masks_of_large_images_are_computed_in_their_boxes(monkeypatch, pixels):
    """The same codes as of the whole image: boxes inside, across every border, outside, and over all of it."""
    torch.manual_seed(0)
    masks, boxes = torch.rand(40, 1, 14, 14), torch.rand(40, 4) * torch.tensor([90.0, 70, 60, 50]) - 20
    boxes[:, 2:] = boxes[:, :2] + boxes[:, 2:].abs() + 1
    masks[2], masks[3] = 0, 1
    boxes[1], boxes[3] = torch.tensor([500.0, 500, 510, 510]), torch.tensor([-20.0, -50, 130, 200])
    whole = pasting.encode_masks(masks, boxes, 73, 101)
    monkeypatch.setattr(pasting, "MAX_PASTED_PIXELS", pixels)
    assert pasting.encode_masks(masks, boxes, 73, 101) == whole
