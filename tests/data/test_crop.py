"""Crops, large-scale jitter and copy-paste: pixels, boxes and masks of rectangles that can be seen in the picture."""

import random

import numpy as np
import pytest
import torch
from PIL import Image

from maskrcnn_benchmark.config import cfg
from maskrcnn_benchmark.config.node import ConfigError
from maskrcnn_benchmark.data import make_data_loader
from maskrcnn_benchmark.data.copy_paste import CopyPasteDataset, paste
from maskrcnn_benchmark.data.datasets.images import BrokenImageError
from maskrcnn_benchmark.data.transforms import RandomCrop, Resize, ScaleJitter, build_transforms
from maskrcnn_benchmark.data.transforms.crop import crop, on_canvas
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.keypoint import PersonKeypoints
from maskrcnn_benchmark.structures.segmentation_mask import SegmentationMask
from tests.support.helpers import CONFIG, options, write_annotations, write_coco

MODES = pytest.mark.parametrize("mode", ["poly", "mask"])


def scene(boxes: list, mode: str = "mask", size=(60, 40), base: int = 10) -> tuple[Image.Image, BoxList]:
    """Rectangles x, y, w, h: object i has the colour base * (i + 1), the label i + 1 and a keypoint in each corner pixel."""
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    corners, outlines, points = [], [], []
    for i, (x, y, w, h) in enumerate(boxes):
        pixels[y : y + h, x : x + w] = base * (i + 1)
        corners.append([x, y, x + w - 1, y + h - 1])
        outlines.append([[x, y, x + w, y, x + w, y + h, x, y + h]])
        ends = [(x, y), (x + w - 1, y), (x, y + h - 1), (x + w - 1, y + h - 1)]
        points.append([[a, b, 2] for a, b in ends] + [[0, 0, 0]] * 13)
    target = BoxList(torch.tensor(corners, dtype=torch.float32).reshape(-1, 4), size)
    target.add_field("labels", torch.arange(1, len(boxes) + 1))
    target.add_field("masks", SegmentationMask(outlines, size).convert(mode))
    target.add_field("keypoints", PersonKeypoints(torch.tensor(points, dtype=torch.float32).reshape(-1, 17, 3), size))
    return Image.fromarray(pixels), target


def check(image: Image.Image, target: BoxList, colours: list[int]) -> None:
    """Each object's mask and box are the pixels of its colour; keypoints that are labelled lie on corners of theirs."""
    pixels = np.asarray(image)[..., 0]
    assert target.size == image.size == target.get_field("masks").size == tuple(target.get_field("keypoints").size)
    assert len(target) == len(colours) == len(target.get_field("masks")) == len(target.get_field("keypoints"))
    masks = target.get_field("masks").convert("mask").instances.masks.numpy()
    for mask, box, points, colour in zip(
        masks, target.bbox.tolist(), target.get_field("keypoints").keypoints, colours, strict=True
    ):
        assert (mask.astype(bool) == (pixels == colour)).all()
        rows, columns = np.nonzero(pixels == colour)
        assert box == [columns.min(), rows.min(), columns.max(), rows.max()]
        for x, y, visibility in points.tolist():
            assert visibility < 2 or pixels[int(y), int(x)] == colour


BOXES = [(2, 3, 10, 8), (20, 10, 15, 20), (50, 30, 9, 9)]


@MODES
@pytest.mark.parametrize(
    ("region", "left"),
    [
        ((0, 0, 60, 40), [1, 2, 3]),
        ((5, 5, 30, 25), [1, 2]),
        ((12, 0, 20, 40), []),  # between them
        ((21, 11, 25, 15), [2]),  # inside one
        ((0, 0, 12, 11), [1]),
    ],
)
def test_a_crop_shows_what_it_should(mode, region, left):
    image, target = scene(BOXES, mode)
    cropped, rest = crop(image, target, region)
    assert (np.asarray(cropped) == np.asarray(image)[region[1] : region[3], region[0] : region[2]]).all()
    assert rest.get_field("labels").tolist() == left
    check(cropped, rest, [10 * label for label in left])
    check(image, target, [10, 20, 30])  # untouched
    assert crop(image, None, region)[1] is None


def test_a_box_is_drawn_around_what_is_left_of_the_mask():
    outline = [[0, 0, 40, 0, 40, 4, 4, 4, 4, 30, 0, 30]]  # an L; below its arm there is nothing
    target = BoxList([[0, 0, 39, 29]], (40, 30))
    target.add_field("masks", SegmentationMask([outline], (40, 30)))
    image = Image.new("RGB", (40, 30))
    assert crop(image, target, (0, 0, 20, 30))[1].bbox.tolist() == [[0, 0, 19, 29]]
    assert crop(image, target, (10, 0, 40, 30))[1].bbox.tolist() == [[0, 0, 29, 3]]
    assert len(crop(image, target, (10, 10, 40, 30))[1]) == 0  # the box reaches in there, the object does not
    del target.extra_fields["masks"]
    assert crop(image, target, (10, 10, 40, 30))[1].bbox.tolist() == [[0, 0, 29, 19]]


def test_sizes_of_crops():
    random.seed(0)
    assert RandomCrop("absolute", (30, 50)).get_size((60, 20)) == (50, 20)
    assert RandomCrop("relative", (0.5, 0.25)).get_size((60, 40)) == (15, 20)
    sizes = [RandomCrop("relative_range", (0.5, 0.25)).get_size((60, 40)) for _ in range(300)]
    assert {w for w, _ in sizes} == set(range(15, 61)) and {h for _, h in sizes} == set(range(20, 41))
    for kind, size in (("half", (1, 1)), ("relative", (0.5, 1.5)), ("absolute", (0, 5)), ("relative", (0.5,))):
        with pytest.raises(ValueError, match="INPUT.CROP_(TYPE|SIZE)"):
            RandomCrop(kind, size)


@MODES
def test_random_crops_keep_image_and_objects_together(mode):
    image, target = scene(BOXES, mode)
    places = set()
    for seed in range(60):
        random.seed(seed)
        cropped, rest = RandomCrop("absolute", (20, 25))(image, target)
        check(cropped, rest, [10 * label for label in rest.get_field("labels").tolist()])
        random.seed(seed)
        again, _ = RandomCrop("absolute", (20, 25))(image, target)
        assert again.tobytes() == cropped.tobytes() and cropped.size == (25, 20)
        places.add(cropped.tobytes())
    assert len(places) > 30


@MODES
def test_scale_jitter_at_whole_factors(mode):
    """Enlarged by 2 and cut, or reduced by none and padded."""
    image, target = scene(BOXES, mode)
    jittered, rest = ScaleJitter((1, 1), 60, (7, 8, 9))(image, target)
    assert jittered.size == (60, 60) and (np.asarray(jittered)[:40] == np.asarray(image)).all()
    assert (np.asarray(jittered)[40:] == (7, 8, 9)).all()
    check(jittered, rest, [10, 20, 30])
    for seed in range(10):
        random.seed(seed)
        jittered, rest = ScaleJitter((2, 2), 60)(image, target)
        assert jittered.size == rest.size == (60, 60)
        large = np.asarray(Resize(80, None)(image))
        random.seed(seed)
        random.uniform(2, 2)
        x, y = random.randint(0, 60), random.randint(0, 20)
        assert (np.asarray(jittered) == large[y : y + 60, x : x + 60]).all()
        for box, label in zip(rest.bbox.tolist(), rest.get_field("labels").tolist(), strict=True):
            bx, by, bw, bh = (2 * v for v in BOXES[label - 1])
            exact = np.array([bx - x, by - y, bx - x + bw - 1, by - y + bh - 1]).clip(0, 59)
            assert np.abs(exact - box).max() <= 2


def test_scales_are_drawn_from_the_whole_range():
    random.seed(0)
    sizes = [ScaleJitter((0.1, 2.0), 100).get_size((60, 40))[0] for _ in range(500)]
    assert 10 <= min(sizes) < 15 and 195 < max(sizes) <= 200 and 95 < np.mean(sizes) < 115
    for scales, size in (((0, 1), 5), ((2, 1), 5), ((1,), 5), ((1, 2), 0)):
        with pytest.raises(ValueError, match="INPUT.SCALE_JITTER"):
            ScaleJitter(scales, size)


@MODES
def test_pasted_objects_cover_what_is_below(mode):
    image, target = scene(BOXES, mode)
    # Over part of the first, all of the third; the last reaches out of the image, the one before lies outside.
    other, objects = scene([(8, 3, 20, 4), (45, 25, 15, 15), (65, 5, 10, 10), (30, 35, 8, 20)], mode, (90, 60), base=50)
    pasted, both = paste(image, target, other, objects)
    assert both.get_field("labels").tolist() == [1, 2, 1, 2, 4]
    check(pasted, both, [10, 20, 50, 100, 200])
    hidden = both.get_field("keypoints").keypoints[0, :4, 2].tolist()
    assert hidden == [2, 1, 2, 2]  # its upper right corner lies under the first that was pasted
    check(image, target, [10, 20, 30])


@MODES
def test_pasting_nothing_and_into_nothing(mode):
    image, target = scene(BOXES, mode)
    other, objects = scene([(8, 3, 20, 4)], mode, base=50)
    nothing = torch.zeros(0, dtype=torch.int64)
    assert paste(image, target, other, objects[nothing])[1] is target
    pasted, both = paste(*scene([], mode), other, objects)
    check(pasted, both, [50])
    pasted, both = paste(image, target, *scene([(0, 0, 60, 40)], mode, base=50))  # everything is covered
    check(pasted, both, [50])
    del objects.extra_fields["masks"]
    assert paste(image, target, other, objects) == (image, target)


class Two:
    name = "two"

    def __init__(self, broken=None):
        self.scenes, self.broken = [scene(BOXES), scene([(8, 3, 20, 4)], base=50)], broken

    def __len__(self) -> int:
        return 2

    def __getitem__(self, i: int):
        if i == self.broken:
            raise BrokenImageError(f"{i} is broken")
        return *self.scenes[i], i


def test_what_is_pasted_depends_on_the_seed():
    dataset = CopyPasteDataset(Two(), lambda image, target: (image.tobytes(), target), 1.0)
    seen = set()
    for seed in range(30):
        random.seed(seed)
        first = dataset[0]
        random.seed(seed)
        assert dataset[0][0] == first[0] and first[2] == 0
        seen.add((first[0], len(first[1])))
    assert len(seen) >= 2 and dataset.name == "two"
    never = CopyPasteDataset(Two(), lambda image, target: (image, target), 0.0)
    check(*never[0][:2], [10, 20, 30])
    without = CopyPasteDataset(Two(broken=1), lambda image, target: (image, target), 1.0)
    for _ in range(10):
        without[0]
    with pytest.raises(BrokenImageError):
        without[1]
    with pytest.raises(ValueError, match="COPY_PASTE_PROB"):
        CopyPasteDataset(Two(), None, 1.5)


def loader(root, **keys):
    config = cfg.clone()
    config.merge_from_file(str(CONFIG))
    config.merge_from_list(options(root, SOLVER__MAX_ITER=6, **keys))
    return make_data_loader(config)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_with_everything_on(tmp_path, workers):
    write_coco(tmp_path, images=6, empty=(2,))
    keys = dict(
        INPUT__CROP_TYPE="relative_range",
        INPUT__CROP_SIZE="(0.3, 0.3)",
        INPUT__SCALE_JITTER="(0.1, 2.0)",
        INPUT__SCALE_JITTER_SIZE=96,
        INPUT__COPY_PASTE_PROB=0.5,
        DATALOADER__FILTER_EMPTY_ANNOTATIONS=False,
    )
    first, second = (list(loader(tmp_path, DATALOADER__NUM_WORKERS=n, **keys)) for n in (0, workers))
    assert len(first) == len(second) == 6
    for (images, targets, indices), (again, targets_again, indices_again) in zip(first, second, strict=True):
        assert images.tensors.shape[-2:] == (96, 96) and torch.equal(images.tensors, again.tensors)
        assert indices == indices_again
        for a, b in zip(targets, targets_again, strict=True):
            assert torch.equal(a.bbox, b.bbox) and a.size == (96, 96)
            assert len(a) == len(a.get_field("masks")) == len(a.get_field("labels"))


def test_pasting_needs_masks(tmp_path):
    content = write_coco(tmp_path)
    for annotation in content["annotations"]:
        del annotation["segmentation"]
    write_annotations(tmp_path, "set", content)
    with pytest.raises(ConfigError, match="INPUT.COPY_PASTE_PROB is above 0; set it to 0"):
        loader(tmp_path, INPUT__COPY_PASTE_PROB=0.5, MODEL__MASK_ON=False)


def test_padding_is_the_mean_colour():
    config = cfg.clone()
    config.merge_from_list(["INPUT.SCALE_JITTER", (0.1, 0.1), "INPUT.SCALE_JITTER_SIZE", 64])
    tensor, _ = build_transforms(config, True)(Image.new("RGB", (64, 64), (255, 255, 255)), None)
    corner = tensor[:, -1, -1].tolist()
    assert tensor.shape == (3, 64, 64) and all(abs(v) <= 0.5 for v in corner)


def test_another_canvas():
    _, target = scene(BOXES)
    assert on_canvas(target, (60, 40)) is target
    larger = on_canvas(target, (70, 50))
    assert larger.get_field("masks").get_mask_tensor().shape == (3, 50, 70)
    assert larger.get_field("masks").get_mask_tensor()[:, :40, :60].equal(target.get_field("masks").get_mask_tensor())
