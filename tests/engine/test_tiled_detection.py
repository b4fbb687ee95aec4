"""Tiles: where they lie, and that what is found in them is what one look at the whole image finds.

The detector here finds bright rectangles by their connected pixels, so that each object's place is known exactly.
"""

from __future__ import annotations

import time

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from maskrcnn_benchmark.config import cfg as defaults
from maskrcnn_benchmark.config.checks import check_config
from maskrcnn_benchmark.config.node import ConfigError
from maskrcnn_benchmark.data.tiles import Tiling, make_tiling, starts
from maskrcnn_benchmark.engine import tiled_detection
from maskrcnn_benchmark.engine.tiled_detection import TiledDetection, make_tiled_detection
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.image_list import ImageList
from maskrcnn_benchmark.structures.keypoint import PersonKeypoints

CPU = torch.device("cpu")


class Finder:
    """Finds bright rectangles; the label is 1 for grey ones and 2 for white ones, the score their brightness."""

    def __init__(self, masks: bool = False, keypoints: bool = False):
        self.masks, self.keypoints = masks, keypoints
        self.batches: list[tuple[int, ...]] = []

    def __call__(self, images: ImageList) -> list[BoxList]:
        self.batches.append(tuple(images.tensors.shape))
        return [
            self._find(t[0, :h, :w].numpy(), (w, h))
            for t, (h, w) in zip(images.tensors, images.image_sizes, strict=True)
        ]

    def _find(self, pixels: np.ndarray, size: tuple[int, int]) -> BoxList:
        count, _, stats, _ = cv2.connectedComponentsWithStats((pixels > 0.25).astype(np.uint8))
        boxes = [(x, y, x + w - 1, y + h - 1) for x, y, w, h, _ in stats[1:count]]
        found = BoxList(torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4), size)
        bright = [float(pixels[y1 : y2 + 1, x1 : x2 + 1].mean()) for x1, y1, x2, y2 in boxes]
        found.add_field("scores", torch.tensor(bright))
        found.add_field("labels", torch.tensor([1 + (b > 0.75) for b in bright], dtype=torch.int64))
        if self.masks:
            found.add_field("mask", torch.ones(len(boxes), 1, 4, 4))
        if self.keypoints:
            points = torch.ones(len(boxes), 17, 3)
            points[:, :, :2] = found.bbox[:, None, :2] if boxes else 0
            keypoints = PersonKeypoints(points, size)
            keypoints.extra_fields["logits"] = points[:, :, 0]
            found.add_field("keypoints", keypoints)
        return found


def scene(size: tuple[int, int], boxes: list[tuple[int, int, int, int]]) -> Image.Image:
    """Rectangles x, y, width, height on black, alternately grey and white."""
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    for i, (x, y, w, h) in enumerate(boxes):
        pixels[y : y + h, x : x + w] = 255 if i % 2 else 128
    return Image.fromarray(pixels)


def many(size: tuple[int, int], side: int, step: int) -> list[tuple[int, int, int, int]]:
    return [(x, y, side, side - 2) for y in range(2, size[1] - side, step) for x in range(2, size[0] - side, step)]


def to_input(image: Image.Image, target: None) -> torch.Tensor:
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255


def detect(finder: Finder, images: list[Image.Image], batch_size: int = 4, **tiling) -> list[BoxList]:
    return TiledDetection(Tiling(**tiling), to_input, to_input, batch_size).detect(finder, images, CPU)


def corners(boxlist: BoxList) -> list[tuple[float, ...]]:
    return sorted(tuple(round(v, 2) for v in box) for box in boxlist.bbox.tolist())


@pytest.mark.parametrize(
    "length, size, overlap", [(1000, 300, 0.25), (301, 300, 0.0), (5000, 640, 0.5), (7, 3, 0.5), (640, 640, 0.2)]
)
def test_tiles_cover_evenly_and_overlap_enough(length, size, overlap):
    begin = starts(length, size, overlap)
    assert begin[0] == 0 and begin[-1] + min(size, length) == length
    steps = np.diff(begin)
    assert (steps >= 1).all() and (size - steps >= size * overlap * 0.9).all()
    assert len(steps) == 0 or steps.max() - steps.min() <= 1


@pytest.mark.parametrize(
    "length, shared, tiles",
    [
        (1120, 160, 2),  # exactly the overlap
        (1125, 155, 2),  # 24.2 %, of the frames of many cameras: three tiles would share 397 pixels
        (1136, 144, 2),  # nine tenths of it
        (1137, 391, 3),
        (2000, 186, 4),
    ],
)
def test_a_tenth_of_the_overlap_is_given_up_for_fewer_tiles(length, shared, tiles):
    begin = starts(length, 640, 0.25)
    assert len(begin) == tiles and 640 - int(np.diff(begin).max()) == shared


@pytest.mark.parametrize("whole", [True, False])
@pytest.mark.parametrize("merge, metric", [("nms", "iou"), ("nmm", "iou"), ("nmm", "ios")])
@pytest.mark.parametrize("scale", [1.0, 2.0])
def test_every_object_is_found_once_where_it_is(whole, merge, metric, scale):
    size = (333, 250)
    boxes = many(size, 12, 23)
    (found,) = detect(Finder(), [scene(size, boxes)], size=96, whole=whole, merge=merge, metric=metric, scale=scale)
    assert found.size == size and found.mode == "xyxy"
    expected = sorted((x, y, x + w - 1, y + h - 1) for x, y, w, h in boxes)
    assert len(found) == len(expected) > 100
    np.testing.assert_allclose(
        corners(found), expected, atol=0.0 if scale == 1 else 1.1
    )  # borders of enlarged pixels blur
    scores = found.get_field("scores")
    assert (scores.diff() <= 0).all()
    assert sorted(found.get_field("labels").tolist()) == sorted(1 + i % 2 for i in range(len(boxes)))


def test_objects_larger_than_the_overlap_come_from_the_whole_image():
    size, boxes = (400, 200), [(20, 20, 300, 150), (350, 30, 20, 20)]
    (found,) = detect(Finder(), [scene(size, boxes)], size=128)
    assert corners(found) == [(20, 20, 319, 169), (350, 30, 369, 49)]
    (parts,) = detect(Finder(), [scene(size, boxes)], size=128, whole=False)
    assert len(parts) > 2 and (350, 30, 369, 49) in corners(parts)  # what no tile shows whole stays, in parts


def test_objects_that_the_whole_image_shows_too_small_are_not_left_out():
    """They are larger than the overlap and whole in no tile: a part of them is more than nothing."""
    size = (4000, 600)
    boxes = [(x - 3, 200, 120, 120) for x in starts(4000, 600, 0.1)[1:]]

    def missed(whole_width: int) -> int:
        def shrunk(image: Image.Image, target: None) -> torch.Tensor:
            return to_input(image.resize((whole_width, whole_width * 600 // 4000)), target)

        finder = Finder()
        tiling = Tiling(600, 0.1)
        detection = TiledDetection(tiling, shrunk, to_input, 4)
        blind = finder._find
        # As a network that misses what has less than 10 pixels.
        finder._find = lambda pixels, seen: (lambda b: b[b.area() >= 100])(blind(pixels, seen))
        (joined,) = detection.detect(finder, [scene(size, boxes)], CPU)
        centres = [(x + w / 2, y + h / 2) for x, y, w, h in boxes]
        return sum(not any(a <= x <= c and b <= y <= d for a, b, c, d in joined.bbox.tolist()) for x, y in centres)

    assert missed(200) == 0  # 6 pixels there: nothing of what tiles cut may be left out
    assert missed(2000) == 0  # 60 pixels: the whole image has found them


def test_thousands_of_tiles_are_joined_in_seconds():
    begin = time.process_time()
    tiling = Tiling(64, 0.25, whole=False)
    tiles = tiling.tiles((2000, 2000))
    assert len(tiles) > 1600
    parts = []
    for tile in tiles:
        part = BoxList(torch.tensor([[10.0, 10, 30, 30], [50, 50, 63, 63]]), tile.size)
        part.add_field("scores", torch.tensor([0.9, 0.8]))
        part.add_field("labels", torch.tensor([1, 1]))
        parts.append(part)
    joined = TiledDetection(tiling, to_input, to_input, 4)._join((2000, 2000), tiles, parts)
    assert len(joined) >= len(tiles)
    assert time.process_time() - begin < 10


def test_a_small_image_is_looked_at_once_as_without_tiles():
    finder, image = Finder(), scene((90, 60), [(5, 5, 10, 10)])
    (found,) = detect(finder, [image], size=96, scale=3.0)
    assert finder.batches == [(1, 3, 60, 90)] and corners(found) == [(5, 5, 14, 14)]


def test_tiles_of_several_images_share_batches():
    finder = Finder()
    images = [scene((200, 100), many((200, 100), 10, 25)), scene((120, 220), [(3, 3, 9, 9)]), scene((50, 50), [])]
    found = detect(finder, images, batch_size=4, size=100, whole=False)
    assert [b[0] for b in finder.batches] == [4, 4, 1, 1]  # 3 + 6 tiles, and the small image, which goes alone
    alone = [detect(Finder(), [image], batch_size=1, size=100, whole=False)[0] for image in images]
    for together, single in zip(found, alone, strict=True):
        assert together.bbox.equal(single.bbox) and together.size == single.size


def test_very_many_tiles_are_said_once_before_the_work(caplog):
    tiled, images = TiledDetection(Tiling(16, 0.25), to_input, to_input, 4), [scene((s, s), []) for s in (40, 320)]

    def stop(batch: ImageList) -> list[BoxList]:
        raise RuntimeError("the work")

    for _ in range(2):
        with pytest.raises(RuntimeError, match="the work"):
            tiled.detect(stop, images, CPU)
    (record,) = caplog.records
    assert f"An image (320 x 320) is cut into {len(tiled.tiling.tiles((320, 320)))} tiles of 16" in record.getMessage()
    caplog.clear()
    detect(Finder(), images, size=32)
    assert not caplog.records


def test_masks_and_keypoints_go_along():
    size, boxes = (200, 100), many((200, 100), 10, 30)
    (found,) = detect(Finder(masks=True, keypoints=True), [scene(size, boxes)], size=80)
    assert found.get_field("mask").shape == (len(boxes), 1, 4, 4)
    points = found.get_field("keypoints")
    assert type(points) is PersonKeypoints and points.size == size
    assert points.keypoints[:, 5, :2].equal(found.bbox[:, :2]) and points.extra_fields["logits"].shape == (
        len(boxes),
        17,
    )


def test_merged_masks_cover_their_parts():
    """Two halves of one object, which overlap, become one: the mask is full over the grown box where a half was."""

    class Halves(Finder):
        def _find(self, pixels, size):
            found = BoxList(torch.tensor([[10.0, 10, 49, 29], [20, 10, 89, 29]]), size)
            found.add_field("scores", torch.tensor([0.9, 0.8]))
            found.add_field("labels", torch.ones(2, dtype=torch.int64))
            found.add_field("mask", torch.ones(2, 1, 16, 16))
            return found if size == (200, 100) else found[:0]

    (found,) = detect(Halves(), [scene((200, 100), [])], size=150, merge="nmm", metric="ios", threshold=0.5)
    assert found.bbox.tolist() == [[10, 10, 89, 29]]
    assert found.get_field("mask").shape == (1, 1, 16, 16) and found.get_field("mask").min() == 1


def options(**keys: object):
    cfg = defaults.clone()
    cfg.MODEL.ROI_MASK_HEAD.POSTPROCESS_MASKS = False
    for key, value in keys.items():
        *path, last = key.split("__")
        node = cfg
        for name in path:
            node = node[name]
        node[last] = value
    return cfg


def test_the_keys_make_it():
    assert make_tiling(options()) is None and make_tiled_detection(options()) is None
    keys = {
        "INPUT__TILES__SIZE": 640,
        "INPUT__TILES__SCALE": 1.25,
        "INPUT__TILES__MERGE": "nmm",
        "TEST__IMS_PER_BATCH": 3,
    }
    tiled = make_tiled_detection(options(**keys, INPUT__TILES__MERGE_METRIC="ios"))
    assert tiled.tiling == Tiling(640, 0.25, 1.25, True, "nmm", "ios", 0.5) and tiled.batch_size == 3


@pytest.mark.parametrize(
    "keys, message",
    [
        ({"INPUT__TILES__SIZE": 8}, "INPUT.TILES.SIZE is 8; it must be 0 .no tiles., or 16 pixels or more"),
        (
            {"INPUT__TILES__SIZE": 64, "INPUT__TILES__OVERLAP": 1.0},
            "INPUT.TILES.OVERLAP is 1.0; it must be a number, 0 or more and below 1",
        ),
        ({"INPUT__TILES__SIZE": 64, "INPUT__TILES__SCALE": 0.0}, "INPUT.TILES.SCALE is 0.0"),
        ({"INPUT__TILES__SIZE": 64, "INPUT__TILES__MERGE": "wbf"}, "INPUT.TILES.MERGE is 'wbf'"),
        ({"INPUT__TILES__SIZE": 64, "INPUT__TILES__MERGE_METRIC": "ios"}, "belongs to MERGE 'nmm'"),
        ({"INPUT__TILES__SIZE": 64, "TEST__BBOX_AUG__ENABLED": True}, "exclude each other"),
        (
            {"INPUT__TILES__SIZE": 64, "MODEL__MASK_ON": True, "MODEL__ROI_MASK_HEAD__POSTPROCESS_MASKS": True},
            "not pasted yet",
        ),
        ({"INPUT__TILES__SIZE": 64, "MODEL__RPN_ONLY": True}, "which a region proposal network alone has not"),
    ],
)
def test_mistakes_get_a_sentence(keys, message):
    with pytest.raises(ConfigError, match=message):
        check_config(options(**keys))


def test_a_tile_may_be_larger_than_any_image():
    check_config(options(INPUT__TILES__SIZE=1_000_000))
    (found,) = detect(Finder(), [scene((40, 30), [(4, 4, 9, 7)])], size=1_000_000)
    assert corners(found) == [(4, 4, 12, 10)]


def test_a_loader_without_tiles_is_refused():
    with pytest.raises(ConfigError, match="build the data loader with the same INPUT.TILES"):
        detect(Finder(), ImageList(torch.zeros(1, 3, 9, 9), [(9, 9)]), size=96)  # type: ignore[arg-type]


def test_threads_prepare_what_one_does_in_the_same_order():
    """For a GPU tiles are scaled ahead by threads; making them needs no GPU."""
    images = [scene((100, 80), many((100, 80), 9, 14)), scene((64, 150), many((64, 150), 7, 11))]
    tiled = TiledDetection(Tiling(40, scale=1.5), to_input, to_input, 3)
    views = [tiled._views(image) for image in images]
    prepared = [
        list(tiled._prepared(images, tiled_detection._batches(views, 3), torch.device(device)))
        for device in ("cpu", "cuda")
    ]
    assert [batch for batch, _ in prepared[0]] == [batch for batch, _ in prepared[1]] and len(prepared[0]) > 4
    for (_, inputs), (_, ahead) in zip(*prepared, strict=True):
        assert len(inputs) == len(ahead) and all(map(torch.equal, inputs, ahead))


def test_what_goes_wrong_in_a_thread_is_raised():
    def fails(image: Image.Image, target: None) -> torch.Tensor:
        raise ValueError("no such part")

    tiled = TiledDetection(Tiling(40), fails, fails, 3)
    image = scene((100, 80), [])
    batches = tiled_detection._batches([tiled._views(image)], 3)
    with pytest.raises(ValueError, match="no such part"):
        list(tiled._prepared([image], batches, torch.device("cuda")))
