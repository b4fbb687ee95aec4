"""Transforms that change which part of an image is seen: random crops, tiles, and large-scale jitter."""

import math
import random
from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image

from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.boxes import box_overlap
from maskrcnn_benchmark.structures.keypoint import Keypoints
from maskrcnn_benchmark.structures.keypoint_ops import crop_keypoints
from maskrcnn_benchmark.structures.mask_ops import bitmaps, masks_on_canvas
from maskrcnn_benchmark.structures.segmentation_mask import SegmentationMask

CROP_TYPES = ("absolute", "relative", "relative_range")


def crop(
    image: Image.Image, target: BoxList | None, region: tuple[int, int, int, int], min_visible: float = 0.0
) -> tuple[Image.Image, BoxList | None]:
    """The part x1, y1, x2, y2 (pixels, without column x2 and row y2) of an image and its objects.

    Boxes are cut at the edges, those of objects with masks drawn anew around what is left of the mask; objects of which
    nothing is left are removed. Keypoints outside are not labelled any more. With `min_visible` above 0, objects of whose box
    a smaller share is left get True in the field "ignored", and are neither learned nor background (`match_objects`).
    """
    if target is not None and min_visible > 0:
        target = target.copy_with_fields(target.fields())
        cut_off = (
            box_overlap(torch.tensor([region]) - torch.tensor([0, 0, 1, 1]), target.convert("xyxy").bbox)[0]
            < min_visible
        )
        if target.has_field("ignored"):
            cut_off |= target.get_field("ignored")
        target.add_field("ignored", cut_off)
    whole = region == (0, 0, *image.size)
    if whole:
        return image, target
    image = image.crop(region)
    if target is None:
        return image, None
    x1, y1, x2, y2 = region
    boxes = target.convert("xyxy").bbox
    cut = (boxes < boxes.new_tensor((x1, y1, x1, y1))).any(1) | (boxes > boxes.new_tensor((x2, y2, x2, y2)) - 1).any(1)
    pointed = [f for f in target.fields() if isinstance(target.get_field(f), Keypoints)]
    cropped = target.copy_with_fields([f for f in target.fields() if f not in pointed]).convert("xyxy").crop(region)
    for field in pointed:
        cropped.add_field(field, crop_keypoints(target.get_field(field), region))
    if target.has_field("masks"):
        cropped = fit_boxes(cropped, cut)
    return image, cropped.clip_to_image(remove_empty=True)


def fit_boxes(target: BoxList, changed: torch.Tensor) -> BoxList:
    """Draw the boxes of the objects in `changed`, bool Tensor[N], around their masks; without a pixel they get an empty one."""
    target.bbox = target.bbox.clone()
    masks = target.get_field("masks")
    for i in changed.nonzero().flatten().tolist():
        target.bbox[i] = mask_box(bitmaps(masks[i])[0])
    return target


def mask_box(bitmap: torch.Tensor) -> torch.Tensor:
    """The inclusive corners of the pixels of uint8 Tensor[height, width], or zeros: float32 Tensor[4]."""
    rows, columns = bitmap.any(1).nonzero().flatten(), bitmap.any(0).nonzero().flatten()
    if len(rows) == 0:
        return torch.zeros(4)
    return torch.stack((columns[0], rows[0], columns[-1], rows[-1])).float()


def on_canvas(target: BoxList, size: tuple[int, int]) -> BoxList:
    """The same objects in an image of another size = (width, height) with the same upper left corner.

    What lies outside a smaller image is cut off the masks' bitmaps and keypoints; boxes stay as they are.
    """
    if target.size == size:
        return target
    result = BoxList(target.bbox, size, target.mode)
    for name in target.fields():
        data = target.get_field(name)
        if isinstance(data, SegmentationMask):
            data = masks_on_canvas(data, size)
        elif isinstance(data, Keypoints):
            data = crop_keypoints(data, (0, 0, *size))
        result.add_field(name, data)
    return result


class RandomCrop:
    """A random part of the image.

    Args:
        crop_type: "absolute", `size` is (height, width) in pixels, or the image's where that is smaller; "relative", fractions
            of the image's; "relative_range", fractions drawn between those and 1.
        size: two numbers.
        min_visible: see `crop`.
    """

    def __init__(self, crop_type: str, size: Sequence[float], min_visible: float = 0.0):
        if crop_type not in CROP_TYPES:
            raise ValueError(f"The type of a crop (INPUT.CROP_TYPE) is one of {CROP_TYPES}; got {crop_type!r}.")
        limit = float("inf") if crop_type == "absolute" else 1
        if len(size) != 2 or not all(0 < v <= limit for v in size):
            raise ValueError(
                f"The size of a crop (INPUT.CROP_SIZE) is a height and a width above 0, of type {crop_type!r} "
                f"{'in pixels' if crop_type == 'absolute' else 'at most 1'}; got {tuple(size)}."
            )
        self.crop_type, self.size, self.min_visible = crop_type, tuple(size), min_visible

    def get_size(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """(width, height) of an image -> (width, height) of the crop."""
        width, height = image_size
        if self.crop_type == "absolute":
            return min(int(self.size[1]), width), min(int(self.size[0]), height)
        low_h, low_w = self.size
        if self.crop_type == "relative_range":
            low_h, low_w = random.uniform(low_h, 1), random.uniform(low_w, 1)
        return max(int(width * low_w + 0.5), 1), max(int(height * low_h + 0.5), 1)

    def __call__(self, image: Image.Image, target: BoxList | None = None) -> Any:
        width, height = self.get_size(image.size)
        x, y = random.randint(0, image.width - width), random.randint(0, image.height - height)
        return crop(image, target, (x, y, x + width, y + height), self.min_visible)

    def __repr__(self) -> str:
        return f"RandomCrop(crop_type={self.crop_type!r}, size={self.size}, min_visible={self.min_visible})"


class RandomTile:
    """A tile of the image, as large and as much enlarged as those that tests are made on, chosen around an object or anywhere.

    Args:
        size: pixels of the image along a side of a tile.
        scale: pixels of the network's input for one of the image.
        jitter: the scale is multiplied by a number between these two; a tile then shows as much less or more of the image.
        objects: probability that the tile is chosen around one of the objects, drawn among all.
        min_visible: see `crop`.
    """

    def __init__(
        self,
        size: int,
        scale: float = 1.0,
        jitter: Sequence[float] = (1.0, 1.0),
        objects: float = 0.75,
        min_visible: float = 0.4,
    ):
        self.size, self.scale, self.jitter = size, scale, tuple(jitter)
        self.objects, self.min_visible = objects, min_visible

    def __call__(self, image: Image.Image, target: BoxList | None = None) -> tuple[Image.Image, BoxList | None]:
        low, high = map(math.log, self.jitter)
        factor = math.exp(random.uniform(low, high))
        side = max(round(self.size / factor), 1)
        width, height = min(side, image.width), min(side, image.height)
        x, y = self._corner(image.size, (width, height), target)
        image, target = crop(image, target, (x, y, x + width, y + height), self.min_visible)
        scale = self.scale * self.size / side  # a whole tile is as large at the input as any other
        size = (max(round(width * scale), 1), max(round(height * scale), 1))
        if image.size != size:
            image = image.resize(size, Image.Resampling.BILINEAR)
            target = None if target is None else target.resize(size)
        return image, target

    def _corner(
        self, image_size: tuple[int, int], tile_size: tuple[int, int], target: BoxList | None
    ) -> tuple[int, int]:
        """The left and the upper edge of the tile."""
        if target is None or not len(target) or random.random() >= self.objects:
            lows, highs = (0, 0), tuple(a - b for a, b in zip(image_size, tile_size, strict=True))
            return random.randint(lows[0], highs[0]), random.randint(lows[1], highs[1])
        box = target.convert("xyxy").bbox[random.randrange(len(target))].tolist()
        return (
            _start(box[0], box[2], tile_size[0], image_size[0]),
            _start(box[1], box[3], tile_size[1], image_size[1]),
        )

    def __repr__(self) -> str:
        return (
            f"RandomTile(size={self.size}, scale={self.scale}, jitter={self.jitter}, objects={self.objects}, "
            f"min_visible={self.min_visible})"
        )


def _start(low: float, high: float, length: int, whole: int) -> int:
    """Where a part of `length` pixels of `whole` begins that holds the pixels from low to high, or as many as it can."""
    first, last = sorted((math.ceil(high) + 1 - length, math.floor(low)))
    room = whole - length
    return random.randint(min(max(first, 0), room), min(max(last, 0), room))


class ScaleJitter:
    """Large-scale jitter (Ghiasi et al. 2021, arXiv 2012.07177, section 3): scale at random, then crop or pad to a square.

    Args:
        scales: the image is made to fit a square of this many, drawn between the two, times `size`.
        size: side of the square in pixels.
        fill: colour of the padding, which is at the right and the bottom, RGB.
        min_visible: see `crop`.
    """

    def __init__(self, scales: Sequence[float], size: int, fill: Sequence[int] = (0, 0, 0), min_visible: float = 0.0):
        if len(scales) != 2 or not 0 < scales[0] <= scales[1] or size < 1:
            raise ValueError(
                "Scale jitter needs two factors, 0 < low <= high (INPUT.SCALE_JITTER), and a size of 1 or more "
                f"(INPUT.SCALE_JITTER_SIZE); got {tuple(scales)} and {size}."
            )
        self.scales, self.size, self.fill, self.min_visible = tuple(scales), size, tuple(fill), min_visible

    def get_size(self, image_size: tuple[int, int]) -> tuple[int, int]:
        """(width, height) -> (width, height) after scaling."""
        scale = random.uniform(*self.scales) * self.size / max(image_size)
        return max(int(image_size[0] * scale + 0.5), 1), max(int(image_size[1] * scale + 0.5), 1)

    def __call__(self, image: Image.Image, target: BoxList | None = None) -> Any:
        width, height = self.get_size(image.size)
        if image.size != (width, height):
            image = image.resize((width, height), Image.Resampling.BILINEAR)
            target = None if target is None else target.resize((width, height))
        x, y = random.randint(0, max(width - self.size, 0)), random.randint(0, max(height - self.size, 0))
        image, target = crop(
            image, target, (x, y, min(x + self.size, width), min(y + self.size, height)), self.min_visible
        )
        canvas = Image.new("RGB", (self.size, self.size), self.fill)
        canvas.paste(image, (0, 0))
        return canvas, None if target is None else on_canvas(target, canvas.size)

    def __repr__(self) -> str:
        return f"ScaleJitter(scales={self.scales}, size={self.size}, fill={self.fill}, min_visible={self.min_visible})"
