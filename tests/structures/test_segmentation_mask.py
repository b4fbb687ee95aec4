"""Masks as polygons and as bitmaps: both must tell of the same pixels, whatever is done to them."""

from __future__ import annotations

import numpy as np
import pycocotools.mask as mask_utils
import pytest
import torch

from maskrcnn_benchmark.structures.bounding_box import FLIP_LEFT_RIGHT, FLIP_TOP_BOTTOM, BoxList
from maskrcnn_benchmark.structures.mask_ops import masks_from_coco
from maskrcnn_benchmark.structures.segmentation_mask import (
    BinaryMaskList,
    PolygonInstance,
    PolygonList,
    SegmentationMask,
)

SIZE = (60, 48)  # width, height
RECTANGLE = [[10.0, 8.0, 40.0, 8.0, 40.0, 30.0, 10.0, 30.0]]
TRIANGLE = [[5.0, 40.0, 30.0, 10.0, 55.0, 44.0]]
TWO_PARTS = [[2.0, 2.0, 20.0, 2.0, 20.0, 20.0, 2.0, 20.0], [35.0, 25.0, 58.0, 25.0, 58.0, 46.0, 35.0, 46.0]]
OBJECTS = [RECTANGLE, TRIANGLE, TWO_PARTS]


def both() -> tuple[SegmentationMask, SegmentationMask]:
    polygons = SegmentationMask(OBJECTS, SIZE)
    return polygons, polygons.convert("mask")


def bitmaps(mask: SegmentationMask) -> torch.Tensor:
    """bool [N, height, width]"""
    return mask.convert("mask").instances.masks.bool()


def iou(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """1 where both are empty."""
    intersection, union = (a & b).sum((1, 2)), (a | b).sum((1, 2))
    return torch.where(union > 0, intersection / union, 1.0)


def assert_same(polygons: SegmentationMask, bitmap: SegmentationMask, bound: float) -> None:
    assert polygons.size == bitmap.size and len(polygons) == len(bitmap) == len(OBJECTS)
    assert polygons.mode == "poly" and bitmap.mode == "mask"
    assert bitmaps(polygons).shape[1:] == (polygons.size[1], polygons.size[0])
    assert (iou(bitmaps(polygons), bitmaps(bitmap)) > bound).all()


def test_pixels_of_a_polygon():
    """The rectangle from (10, 8) to (40, 30), in continuous coordinates, covers 30 x 22 pixels."""
    painted = bitmaps(SegmentationMask([RECTANGLE], SIZE))[0]
    expected = torch.zeros(48, 60, dtype=torch.bool)
    expected[8:30, 10:40] = True
    assert torch.equal(painted, expected)
    parts = bitmaps(SegmentationMask([TWO_PARTS], SIZE))[0]
    assert parts[2:20, 2:20].all() and parts[25:46, 35:58].all() and parts.sum() == 18 * 18 + 23 * 21


@pytest.mark.parametrize("size", [(120, 96), (30, 24), (90, 48), (60, 48)])
def test_resize(size):
    polygons, bitmap = (m.resize(size) for m in both())
    assert polygons.size == size
    assert_same(polygons, bitmap, 0.88)
    area = size[0] * size[1] / (SIZE[0] * SIZE[1])
    assert bitmaps(polygons)[0].sum() == pytest.approx(30 * 22 * area, rel=0.05)


@pytest.mark.parametrize("method", [FLIP_LEFT_RIGHT, FLIP_TOP_BOTTOM])
def test_flip(method):
    polygons, bitmap = both()
    # Polygons are mirrored in pixel centres (w - 1 - x), like boxes: against bitmaps they are one pixel off.
    assert_same(polygons.transpose(method), bitmap.transpose(method), 0.85)
    assert torch.equal(bitmap.transpose(method).instances.masks, bitmap.instances.masks.flip(2 - method))
    for masks in (polygons, bitmap):
        assert torch.equal(bitmaps(masks.transpose(method).transpose(method)), bitmaps(masks))


def test_flip_follows_boxes():
    """The corners of polygons and boxes move alike, so a mask target inside its box stays the same, mirrored."""
    boxes = BoxList([[10, 8, 40, 30]], SIZE)
    boxes.add_field("masks", SegmentationMask([RECTANGLE], SIZE))
    flipped = boxes.transpose(FLIP_LEFT_RIGHT)
    xs = flipped.get_field("masks").instances.polygons[0].polygons[0][0::2]
    assert [xs.min(), xs.max()] == flipped.bbox[0, [0, 2]].tolist() == [19, 49]


@pytest.mark.parametrize("box", [(5, 5, 50, 45), (0, 0, 60, 48), (20, 12, 35, 28), (-10, -10, 100, 100)])
def test_crop(box):
    polygons, bitmap = (m.crop(box) for m in both())
    x1, y1 = (max(v, 0) for v in box[:2])
    x2, y2 = (min(v, n) for v, n in zip(box[2:], SIZE, strict=True))
    assert polygons.size == bitmap.size == (x2 - x1, y2 - y1)
    expected = bitmaps(both()[0])[:, y1:y2, x1:x2]
    assert torch.equal(bitmaps(bitmap), expected)
    assert (iou(bitmaps(polygons), expected) > 0.95).all()


@pytest.mark.parametrize("mode", ["poly", "mask"])
def test_crop_outside_the_image_is_one_pixel(mode):
    mask = SegmentationMask([RECTANGLE], SIZE).convert(mode).crop((70, 70, 90, 90))
    assert mask.size == (1, 1) and not bitmaps(mask).any()


def test_a_box_may_end_between_the_last_corner_and_the_edge():
    """A box clipped to an image ends half a pixel beyond the last corner once both are half as large."""
    mask = SegmentationMask([[[0.0, 0, 50, 0, 50, 48, 0, 48]]], SIZE).resize((30, 24))
    target = mask.crop_and_resize(torch.tensor([[10.0, 10, 29.5, 23.5]]), torch.tensor([0]), 39)[0]
    # 39 cells on 19.5 pixels: the object's edge, 15 pixels from the left, lies at 30 cells.
    assert target[:, :30].all() and not target[:, 30:].any()


BOXES = torch.tensor([[10.0, 8, 39, 29], [2, 5, 57, 46], [0, 0, 59, 47], [12.3, 9.7, 33.1, 40.2]])
INDEX = torch.tensor([0, 1, 2, 1])


@pytest.mark.parametrize("resolution", [14, 28])
def test_crop_and_resize_agrees_between_the_modes(resolution):
    targets = [m.crop_and_resize(BOXES, INDEX, resolution) for m in both()]
    for target in targets:
        assert target.shape == (4, resolution, resolution) and target.dtype == torch.uint8
    assert (iou(*(t.bool() for t in targets)) > 0.9).all()
    assert targets[0][0].float().mean() > 0.99, "the rectangle fills its box"


@pytest.mark.parametrize("mode", ["poly", "mask"])
def test_crop_and_resize_samples_the_mask(mode):
    """Each cell against the pixel under its centre, in a mask large enough for edges to count little."""
    size = (240, 192)
    mask = SegmentationMask(OBJECTS, SIZE).resize(size).convert(mode)
    boxes = BOXES * 4
    targets = mask.crop_and_resize(boxes, INDEX, 28).bool()
    painted = bitmaps(mask)
    for target, box, i in zip(targets, boxes.tolist(), INDEX.tolist(), strict=True):
        centres = (torch.arange(28) + 0.5) / 28
        rows = (box[1] + centres * (box[3] - box[1])).long()
        columns = (box[0] + centres * (box[2] - box[0])).long()
        assert (painted[i][rows][:, columns] == target).float().mean() > 0.97


def rle(mask: np.ndarray, compressed: bool) -> dict:
    if compressed:
        encoded = mask_utils.encode(np.asfortranarray(mask))
        return {"size": encoded["size"], "counts": encoded["counts"].decode()}
    flat = mask.flatten(order="F")
    edges = np.flatnonzero(np.diff(flat)) + 1
    runs = np.diff(np.concatenate(([0], edges, [flat.size]))).tolist()
    return {"size": list(mask.shape), "counts": ([0] if flat[0] else []) + runs}


def test_from_coco_mixes_polygons_and_both_kinds_of_rle():
    ring = np.zeros((48, 60), np.uint8)
    ring[5:30, 5:30] = 1
    ring[10:20, 10:20] = 0
    corner = np.zeros((48, 60), np.uint8)
    corner[:7, :9] = 1
    mixed = masks_from_coco([RECTANGLE, rle(ring, True), rle(corner, False), rle(ring, False)], SIZE)
    assert mixed.mode == "mask"
    masks = bitmaps(mixed).numpy()
    assert np.array_equal(masks[0], bitmaps(SegmentationMask([RECTANGLE], SIZE))[0].numpy())
    for mask, expected in zip(masks[1:], (ring, corner, ring), strict=True):
        assert np.array_equal(mask, expected.astype(bool))
    only = masks_from_coco(OBJECTS, SIZE)
    assert only.mode == "poly" and len(only) == 3


@pytest.mark.parametrize("mode", ["poly", "mask"])
def test_indexing(mode):
    mask = SegmentationMask(OBJECTS, SIZE).convert(mode)
    all_masks = bitmaps(mask)
    for item, kept in [
        (torch.tensor([2, 0]), [2, 0]),
        (torch.tensor([True, False, True]), [0, 2]),
        (slice(1, 3), [1, 2]),
        (1, [1]),
        (torch.tensor([], dtype=torch.int64), []),
    ]:
        part = mask[item]
        assert len(part) == len(kept) and part.size == SIZE and part.mode == mode
        assert torch.equal(bitmaps(part), all_masks[kept])
    assert [len(m) for m in mask] == [1, 1, 1]
    assert mask.get_mask_tensor().shape == (3, 48, 60) and mask[1].get_mask_tensor().shape == (48, 60)


@pytest.mark.parametrize("mode", ["poly", "mask"])
def test_empty(mode):
    mask = SegmentationMask([], SIZE, mode)
    for result in (mask, mask.resize((30, 24)), mask.transpose(0), mask.crop((0, 0, 9, 9)), mask.to("cpu")):
        assert len(result) == 0 and bitmaps(result).shape == (0, result.size[1], result.size[0])
    targets = mask.crop_and_resize(torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64), 14)
    assert targets.shape == (0, 14, 14)


def test_bitmaps_to_polygons_and_back():
    bitmap = both()[1]
    again = bitmap.convert("poly")
    assert again.mode == "poly"
    assert (iou(bitmaps(again), bitmaps(bitmap)) > 0.85).all()


def test_polygons_of_fewer_than_three_points_are_left_out():
    mask = SegmentationMask([[[1.0, 1, 5, 5], *RECTANGLE]], SIZE)
    assert torch.equal(bitmaps(mask), bitmaps(SegmentationMask([RECTANGLE], SIZE)))


def test_errors():
    with pytest.raises(NotImplementedError, match="got 'rle'"):
        SegmentationMask([], SIZE, "rle")
    with pytest.raises(ValueError, match=r"\[N, 48, 60\]; got \[1, 60, 48\]"):
        SegmentationMask(torch.zeros(1, 60, 48), SIZE, "mask")
    with pytest.raises(TypeError, match="got str"):
        SegmentationMask("abc", SIZE)
    with pytest.raises(TypeError, match="got float"):
        SegmentationMask([1.5], SIZE)
    with pytest.raises(NotImplementedError, match="got 5"):
        both()[0].transpose(5)


@pytest.mark.parametrize("mode", ["poly", "mask"])
def test_next(mode):
    squares = [[[x, 2, x + 4, 2, x + 4, 6, x, 6]] for x in (1, 8, 15)]
    masks = SegmentationMask(squares, (20, 10)).convert(mode)
    expected = [m.get_mask_tensor() for m in masks]
    assert len(expected) == 3 and not torch.equal(expected[0], expected[1])
    for _ in range(2):  # iter() begins anew
        assert all(torch.equal(masks.next().get_mask_tensor(), e) for e in expected)
        with pytest.raises(StopIteration):
            masks.next()
        iter(masks)
    assert torch.equal(next(masks).get_mask_tensor(), expected[0])
    assert [len(list(masks)) for _ in masks] == [3, 3, 3]


def test_polygons_are_tensors():
    source = torch.tensor([10.0, 10, 50, 10, 30, 40])
    instance = SegmentationMask([[source, source.tolist()]], SIZE).instances.polygons[0]
    assert all(p.dtype == torch.float32 and torch.equal(p, source) for p in instance.polygons)
    assert instance.polygons[0].data_ptr() == source.data_ptr()
    moved = instance.crop((2, 3, 40, 40))
    assert torch.equal(moved.polygons[0][0::2], source[0::2] - 2) and source[0] == 10
    shared = PolygonInstance(instance, (7, 7))
    assert shared.size == (7, 7) and shared.polygons[0] is instance.polygons[0]


def test_what_iteration_gives():
    polygons = SegmentationMask(OBJECTS, SIZE)
    assert {type(x) for x in polygons.instances} == {PolygonInstance}
    assert {type(x) for x in polygons} == {SegmentationMask}
    bitmaps = polygons.convert("mask").instances
    assert torch.equal(torch.stack(list(bitmaps)), bitmaps.masks)


def test_descriptions():
    polygons = SegmentationMask(OBJECTS, SIZE)
    tail = f"image_width={SIZE[0]}, image_height={SIZE[1]})"
    assert repr(polygons.instances) == f"PolygonList(num_instances={len(OBJECTS)}, {tail}"
    assert repr(polygons.instances.polygons[0]) == f"PolygonInstance(num_groups={len(OBJECTS[0])}, {tail}"
    assert repr(polygons.convert("mask").instances) == f"BinaryMaskList(num_instances={len(OBJECTS)}, {tail}"


def test_what_is_the_same_object():
    polygons = SegmentationMask(OBJECTS, SIZE)
    assert polygons.convert("poly") is polygons and polygons.to("cpu") is polygons
    lists = PolygonList(PolygonList(OBJECTS, SIZE), (1, 1))
    assert lists.size == SIZE and len(lists) == len(OBJECTS)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.bool, torch.float32])
def test_bitmaps_are_copied_and_keep_their_type(dtype):
    width, height = SIZE
    source = torch.zeros(2, height, width, dtype=dtype)
    source[:, 5:20, 5:20] = 1
    masks = SegmentationMask(source, SIZE, "mask")
    source.zero_()
    assert masks.get_mask_tensor().sum() == 2 * 15 * 15
    again = BinaryMaskList(masks.instances, SIZE)
    again.masks.zero_()
    for changed in (masks, masks[0], masks.crop((0, 0, 30, 30)), masks.resize((30, 24)), masks.transpose(0)):
        assert changed.get_mask_tensor().dtype == dtype and changed.get_mask_tensor().any()
    part = masks[0:1]
    part.instances.masks.zero_()
    assert masks.get_mask_tensor()[0].any()
    if dtype == torch.float32:
        assert ((values := masks.resize((47, 31)).get_mask_tensor()) % 1 > 0).any() and values.max() <= 1


def test_encodings_of_another_size_are_scaled():
    half = np.zeros((SIZE[1] // 2, SIZE[0] // 2), np.uint8, order="F")
    half[5:15, 4:12] = 1
    scaled = SegmentationMask([mask_utils.encode(half)], SIZE, "mask").get_mask_tensor()
    assert scaled.shape == (SIZE[1], SIZE[0])
    assert torch.equal(scaled[1::2, 1::2], torch.from_numpy(half))


def test_crop_of_bitmaps_rounds_the_corners():
    width, height = SIZE
    source = torch.arange(width * height, dtype=torch.float32).view(1, height, width)
    cut = SegmentationMask(source, SIZE, "mask").crop((0.6, 2.4, 10.4, 12.6))
    assert cut.size == (9, 11) and torch.equal(cut.get_mask_tensor(), source[0, 2:13, 1:10])
