"""BoxList: geometry with inclusive corners, and fields that travel with the boxes."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from maskrcnn_benchmark.structures.bounding_box import FLIP_LEFT_RIGHT, FLIP_TOP_BOTTOM, BoxList

SIZE = (40, 30)  # width, height


@st.composite
def boxlists(draw, max_boxes: int = 6) -> BoxList:
    boxes = []
    for _ in range(draw(st.integers(0, max_boxes))):
        x1, x2 = sorted(draw(st.lists(st.integers(0, SIZE[0] - 1), min_size=2, max_size=2)))
        y1, y2 = sorted(draw(st.lists(st.integers(0, SIZE[1] - 1), min_size=2, max_size=2)))
        boxes.append([x1, y1, x2, y2])
    boxlist = BoxList(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), SIZE)
    boxlist.add_field("labels", torch.arange(len(boxes)))
    return boxlist


def pixels(boxlist: BoxList) -> torch.Tensor:
    """Each box painted, bool [N, height, width]: what inclusive corners mean."""
    canvas = torch.zeros(len(boxlist), boxlist.size[1], boxlist.size[0], dtype=torch.bool)
    for image, (x1, y1, x2, y2) in zip(canvas, boxlist.convert("xyxy").bbox.long().tolist(), strict=True):
        image[y1 : y2 + 1, x1 : x2 + 1] = True
    return canvas


@settings(max_examples=50, deadline=None)
@given(boxlists(), st.sampled_from([FLIP_LEFT_RIGHT, FLIP_TOP_BOTTOM]), st.sampled_from(["xyxy", "xywh"]))
def test_transpose_mirrors_the_pixels_and_undoes_itself(boxlist, method, mode):
    boxlist = boxlist.convert(mode)
    mirrored = boxlist.transpose(method)
    assert mirrored.mode == mode
    assert torch.equal(pixels(mirrored), pixels(boxlist).flip(2 if method == FLIP_LEFT_RIGHT else 1))
    assert torch.equal(mirrored.transpose(method).bbox, boxlist.bbox)
    assert torch.equal(mirrored.get_field("labels"), boxlist.get_field("labels"))


@settings(max_examples=50, deadline=None)
@given(boxlists())
def test_modes_and_area(boxlist):
    xywh = boxlist.convert("xywh")
    counted = pixels(boxlist).sum((1, 2))
    assert torch.equal(xywh.bbox[:, 2] * xywh.bbox[:, 3], counted.float())
    assert torch.equal(boxlist.area(), counted.float()) and torch.equal(xywh.area(), counted.float())
    assert torch.equal(xywh.convert("xyxy").bbox, boxlist.bbox)
    assert boxlist.convert("xyxy") is boxlist


@settings(max_examples=50, deadline=None)
@given(boxlists(), st.data())
def test_crop_keeps_the_boxes_over_the_pixels(boxlist, data):
    x1, x2 = sorted(data.draw(st.lists(st.integers(0, SIZE[0]), min_size=2, max_size=2, unique=True)))
    y1, y2 = sorted(data.draw(st.lists(st.integers(0, SIZE[1]), min_size=2, max_size=2, unique=True)))
    cropped = boxlist.crop((x1, y1, x2, y2))
    assert cropped.size == (x2 - x1, y2 - y1) and len(cropped) == len(boxlist)
    corners = boxlist.bbox - torch.tensor([x1, y1, x1, y1])
    limit = torch.tensor([x2 - x1, y2 - y1] * 2)
    assert torch.equal(cropped.bbox, torch.minimum(corners.clamp(min=0), limit))


@pytest.mark.parametrize(("size", "expected"), [((80, 60), [20, 8, 60, 40]), ((20, 60), [5, 8, 15, 40])])
def test_resize_scales_corners(size, expected):
    resized = BoxList([[10, 4, 30, 20]], SIZE).resize(size)
    assert resized.size == size and resized.bbox.tolist() == [expected]
    wide = BoxList([[10, 4, 21, 17]], SIZE, mode="xywh").resize(size)
    same_ratio = (
        size[0] / SIZE[0] == size[1] / SIZE[1]
    )  # then extents scale, and the box is a pixel off the scaled corners
    assert wide.mode == "xywh"
    assert (
        (wide.bbox.tolist() == [[20, 8, 42, 34]]) if same_ratio else (wide.convert("xyxy").bbox.tolist() == [expected])
    )


def test_clip_to_image():
    boxes = BoxList([[-5, -5, 50, 50], [45, 3, 50, 9], [3, 4, 5, 6]], SIZE)
    boxes.add_field("labels", torch.tensor([1, 2, 3]))
    clipped = boxes.clip_to_image(remove_empty=True)
    assert clipped.bbox.tolist() == [[0, 0, 39, 29], [3, 4, 5, 6]]
    assert clipped.get_field("labels").tolist() == [1, 3]
    kept = BoxList([[45, 3, 50, 9]], SIZE).clip_to_image(remove_empty=False)
    assert kept.bbox.tolist() == [[39, 3, 39, 9]]
    wide = BoxList([[-5, 2, 10, 4]], SIZE, mode="xywh").clip_to_image()
    assert wide.mode == "xywh" and wide.bbox.tolist() == [[0, 2, 5, 4]]


class Geometry:
    """A field that records what is done to it."""

    def __init__(self, log=()):
        self.log = tuple(log)

    def resize(self, size):
        return Geometry((*self.log, ("resize", size)))

    def transpose(self, method):
        return Geometry((*self.log, ("transpose", method)))

    def crop(self, box):
        return Geometry((*self.log, ("crop", box)))

    def to(self, device):
        return Geometry((*self.log, ("to", str(device))))

    def __getitem__(self, item):
        return Geometry((*self.log, ("item", item)))


def test_fields_travel_with_geometry():
    boxes = BoxList([[0, 0, 3, 3], [1, 1, 2, 2]], SIZE)
    boxes.add_field("scores", torch.tensor([0.5, 0.6]))
    boxes.add_field("masks", Geometry())
    moved = boxes.resize((80, 60)).transpose(0).crop((1, 2, 30, 40)).to("cpu")[[1]]
    assert moved.get_field("masks").log == (
        ("resize", (80, 60)),
        ("transpose", 0),
        ("crop", (1, 2, 30, 40)),
        ("to", "cpu"),
        ("item", [1]),
    )
    assert moved.get_field("scores").tolist() == pytest.approx([0.6])
    assert boxes.get_field("masks").log == (), "the original must not change"


def test_indexing():
    boxes = BoxList(torch.arange(12.0).reshape(3, 4), SIZE)
    boxes.add_field("labels", torch.tensor([5, 6, 7]))
    for item, kept in [
        (torch.tensor([2, 0]), [2, 0]),
        (torch.tensor([False, True, True]), [1, 2]),
        (slice(1, None), [1, 2]),
        (torch.tensor([], dtype=torch.int64), []),
    ]:
        part = boxes[item]
        assert torch.equal(part.bbox, boxes.bbox[kept]) and part.size == SIZE
        assert part.get_field("labels").tolist() == [5 + i for i in kept]
    assert boxes[1].bbox.tolist() == [[4, 5, 6, 7]]


def test_fields():
    boxes = BoxList([[0, 0, 1, 1]], SIZE)
    boxes.add_field("a", torch.tensor([1]))
    boxes.add_field("b", torch.tensor([2]))
    assert boxes.fields() == ["a", "b"] and boxes.has_field("a") and not boxes.has_field("c")
    assert boxes.copy_with_fields("b").fields() == ["b"]
    assert boxes.copy_with_fields(["a", "c"], skip_missing=True).fields() == ["a"]
    for ask in (lambda: boxes.get_field("c"), lambda: boxes.copy_with_fields(["c"])):
        with pytest.raises(KeyError, match=r"no field 'c'; it has \['a', 'b'\]"):
            ask()


def test_empty():
    for empty in (BoxList([], SIZE), BoxList(torch.zeros(0, 4), SIZE)):
        for result in (
            empty,
            empty.resize((8, 6)),
            empty.transpose(0),
            empty.crop((0, 0, 2, 2)),
            empty.clip_to_image(),
        ):
            assert result.bbox.shape == (0, 4) and len(result.convert("xywh")) == 0


def test_boxes_are_float32():
    assert BoxList(torch.tensor([[1, 2, 3, 4]]), SIZE).bbox.dtype == torch.float32
    for dtype in (torch.float64, torch.float16):
        assert BoxList(torch.ones(1, 4, dtype=dtype), SIZE).bbox.dtype == torch.float32


def test_errors():
    with pytest.raises(ValueError, match=r"shape \[N, 4\]; got \[2, 5\]"):
        BoxList(torch.zeros(2, 5), SIZE)
    with pytest.raises(ValueError, match=r"got \[4\]"):
        BoxList(torch.zeros(4), SIZE)
    with pytest.raises(ValueError, match="got 'cxcywh'"):
        BoxList([], SIZE, mode="cxcywh")
    with pytest.raises(ValueError, match="got 'cxcywh'"):
        BoxList([], SIZE).convert("cxcywh")
    with pytest.raises(NotImplementedError, match="got 2"):
        BoxList([], SIZE).transpose(2)


@pytest.mark.parametrize(
    ("item", "rows"),
    [
        (torch.tensor([True, False, True]), [0, 2]),
        (torch.tensor([False] * 3), []),
        (torch.tensor([2]), [2]),
        (torch.tensor([], dtype=torch.int64), []),
        ([1, 0], [1, 0]),
        (slice(1, None), [1, 2]),
        (1, [1]),
    ],
)
def test_indexing_a_field_that_is_a_list(item, rows):
    boxlist = BoxList(torch.arange(12.0).reshape(3, 4), (20, 20))
    boxlist.add_field("rle", [{"counts": str(i)} for i in range(3)])
    taken = boxlist[item]
    assert taken.get_field("rle") == [{"counts": str(i)} for i in rows]
    assert (taken.bbox[:, 0] / 4).tolist() == rows


def test_corners_one_by_one():
    for mode in ("xyxy", "xywh"):
        boxes = BoxList([[1.0, 2, 10, 20], [3, 4, 5, 6]], SIZE).convert(mode)
        corners = boxes._split_into_xyxy()
        assert [c.shape for c in corners] == [(2, 1)] * 4
        assert torch.equal(torch.cat(corners, dim=1), boxes.convert("xyxy").bbox)


def test_fields_get_what_resize_is_told():
    class Field:
        def resize(self, size, *args, **kwargs):
            self.told = (size, args, kwargs)
            return self

    boxes, field = BoxList([[1.0, 2, 10, 20]], SIZE), Field()
    boxes.add_field("field", field)
    boxes.resize((80, 60), "bilinear", fill=0)
    assert field.told == ((80, 60), ("bilinear",), {"fill": 0})


def test_a_subclass_says_its_name():
    class Boxes(BoxList):
        pass

    assert repr(Boxes([[1.0, 2, 3, 4]], SIZE)).startswith("Boxes(num_boxes=1, ")
