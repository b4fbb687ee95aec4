"""What the package does with structures that have upstream's interface and nothing more."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch import Tensor

from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.boxlist_fields import resized
from maskrcnn_benchmark.structures.keypoint import PersonKeypoints
from maskrcnn_benchmark.structures.keypoint_ops import cat_keypoints, crop_keypoints
from maskrcnn_benchmark.structures.mask_ops import bitmaps, mask_targets, masks_from_coco, masks_on_canvas
from maskrcnn_benchmark.structures.segmentation_mask import SegmentationMask

SIZE = (60, 48)
OBJECTS = [[[5.0, 5, 40, 5, 40, 30, 5, 30]], [[10.0, 12, 50, 20, 30, 44]]]
BOXES = torch.tensor([[4.0, 4, 30, 25], [9, 11, 52, 45], [20, 10, 41, 31]])
INDEX = torch.tensor([0, 1, 0])


class Masks:
    """Upstream's methods of masks over ours. `first_years`: single objects convert to tensors, as in upstream's first years."""

    def __init__(self, masks: SegmentationMask, first_years: bool = False):
        self.own, self.first_years = masks, first_years

    def _with(self, masks: SegmentationMask) -> Masks:
        return Masks(masks, self.first_years)

    def crop(self, box) -> Masks:
        return self._with(self.own.crop(box))

    def resize(self, size, *args, **kwargs) -> Masks:
        return self._with(self.own.resize(size))

    def convert(self, mode):
        converted = self.own.convert(mode)
        return converted.get_mask_tensor() if self.first_years else self._with(converted)

    def get_mask_tensor(self) -> Tensor:
        return self.own.get_mask_tensor()

    def __len__(self) -> int:
        return len(self.own)

    def __getitem__(self, item) -> Masks:
        return self._with(self.own[item])

    def __iter__(self):
        return (self[i] for i in range(len(self)))


@pytest.mark.parametrize("mode", ["poly", "mask"])
@pytest.mark.parametrize("first_years", [False, True])
def test_mask_targets(mode: str, first_years: bool) -> None:
    own = SegmentationMask(OBJECTS, SIZE).convert(mode)
    targets = mask_targets(Masks(own, first_years), BOXES, INDEX, 28)
    assert targets.shape == (3, 28, 28) and targets.dtype == torch.uint8
    expected = mask_targets(own, BOXES, INDEX, 28)
    if mode == "poly":
        assert torch.equal(targets, expected)
    else:  # by whole pixels there, sampled between them here
        assert (targets != expected).float().mean() < 0.05
    assert mask_targets(Masks(own), BOXES[:0], INDEX[:0], 14).shape == (0, 14, 14)


@pytest.mark.parametrize("count", [0, 1, 2])
def test_bitmaps_have_three_dimensions(count: int) -> None:
    own = SegmentationMask(OBJECTS[:count], SIZE)
    assert bitmaps(own).shape == bitmaps(Masks(own)).shape == (count, 48, 60)
    assert torch.equal(bitmaps(Masks(own)), bitmaps(own))


@pytest.mark.parametrize("size", [(80, 70), (30, 20)])
def test_masks_on_another_canvas(size: tuple[int, int]) -> None:
    own = SegmentationMask(OBJECTS, SIZE)
    of_polygons, of_bitmaps = masks_on_canvas(own, size), masks_on_canvas(Masks(own), size)
    assert of_polygons.mode == "poly" and of_bitmaps.mode == "mask"
    assert of_polygons.size == of_bitmaps.size == size
    width, height = (min(a, b) for a, b in zip(size, SIZE, strict=True))
    assert torch.equal(bitmaps(of_bitmaps)[:, :height, :width], bitmaps(own)[:, :height, :width])
    assert (bitmaps(of_polygons) != bitmaps(of_bitmaps)).float().mean() < 0.01


def test_masks_of_an_annotation_file() -> None:
    assert masks_from_coco(OBJECTS, SIZE).mode == "poly" and masks_from_coco([], SIZE).mode == "poly"
    rle = {"size": [48, 60], "counts": [100, 20, 48 * 60 - 120]}
    mixed = masks_from_coco([OBJECTS[0], rle], SIZE)
    assert mixed.mode == "mask" and bitmaps(mixed)[1].sum() == 20
    assert torch.equal(bitmaps(mixed)[0], bitmaps(SegmentationMask(OBJECTS, SIZE))[0])


class StrictKeypoints(PersonKeypoints):
    """Upstream's cannot be cropped and have no length."""

    crop = None  # type: ignore[assignment]
    __len__ = None  # type: ignore[assignment]


def test_keypoints() -> None:
    points = torch.rand(3, 17, 3, generator=torch.Generator().manual_seed(0)) * 40
    points[..., 2] = 2
    strict, own = StrictKeypoints(points, SIZE), PersonKeypoints(points, SIZE)
    for keypoints in (strict, own):
        keypoints.add_field("scores", torch.arange(3.0))
    cropped = crop_keypoints(strict, (5, 6, 30, 40))
    assert type(cropped) is StrictKeypoints and cropped.size == (25, 34)
    assert torch.equal(cropped.keypoints, own.crop((5, 6, 30, 40)).keypoints)
    assert torch.equal(cropped.get_field("scores"), torch.arange(3.0))
    joined = cat_keypoints([strict, strict])
    assert type(joined) is StrictKeypoints and torch.equal(joined.keypoints, points.repeat(2, 1, 1))
    assert joined.get_field("scores").tolist() == [0, 1, 2, 0, 1, 2]


class StrictBoxList(BoxList):
    """Upstream's BoxList asks every field that is no tensor to resize itself."""

    def copy_with_fields(self, fields, skip_missing=False):
        copy = StrictBoxList(self.bbox, self.size, self.mode)
        for field in fields:
            copy.add_field(field, self.get_field(field))
        return copy

    def resize(self, size, *args, **kwargs):
        result = super().resize(size)
        for name, data in self.extra_fields.items():
            result.add_field(name, data if isinstance(data, Tensor) else data.resize(size))
        return result


def test_boxes_with_lists_among_their_fields() -> None:
    boxes = StrictBoxList(BOXES, SIZE)
    boxes.add_field("rle", [{}, {}, {}])
    boxes.add_field("scores", torch.arange(3.0))
    with pytest.raises(AttributeError, match="resize"):
        boxes.resize((120, 96))
    assert resized(boxes, SIZE) is boxes
    larger = resized(boxes, (120, 96))
    assert torch.equal(larger.bbox, 2 * BOXES) and larger.size == (120, 96)
    assert larger.get_field("rle") is boxes.get_field("rle") and larger.get_field("scores").tolist() == [0, 1, 2]


def test_masks_do_not_import_boxes() -> None:
    """A fork's bounding_box.py may import segmentation_mask.py."""
    program = (
        "import sys, maskrcnn_benchmark.structures.segmentation_mask, maskrcnn_benchmark.structures.keypoint; "
        "assert 'maskrcnn_benchmark.structures.bounding_box' not in sys.modules"
    )
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
