"""Detection in tiles: a detector looks at parts of a large image, enlarged where that helps, and at the whole.

What the tiles' edges cut is left out where another tile or the whole image can show the object; the rest is joined, class by
class.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from maskrcnn_benchmark.config.node import ConfigError
from maskrcnn_benchmark.data.large_images import LargeImage
from maskrcnn_benchmark.data.size_checks import FEW_PIXELS
from maskrcnn_benchmark.data.tiles import Tile, Tiling, make_tiling
from maskrcnn_benchmark.data.transforms import build_transforms
from maskrcnn_benchmark.data.transforms.transforms import Compose
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.structures.boxlist_ops import cat_boxlist
from maskrcnn_benchmark.structures.image_list import ImageList, to_image_list
from maskrcnn_benchmark.structures.keypoint import Keypoints
from maskrcnn_benchmark.structures.merging import merge_greedily, suppress
from maskrcnn_benchmark.utils import distributed
from maskrcnn_benchmark.utils.progress_bar import progress_bar
from maskrcnn_benchmark.utils.wording import counted

logger = logging.getLogger(__name__)

View = tuple[int, Tile | None]  # the image's place in the list, and the tile; None: the whole image
SHOWN = 100  # tiles of an image from which a bar tells how far it is
MANY = 500  # from which they are counted before the work begins
EDGE = 3.0  # pixels of the network's input: a box that comes as near to an edge is taken as cut by it
SEEN = float(FEW_PIXELS)  # pixels of the network's input along an object that the whole image is trusted to show


class TiledDetection:
    """Detects in PIL images, tile by tile; see `Tiling`.

    Args:
        tiling: how images are cut.
        transforms: PIL image, None -> the network's input of a whole image, Tensor[3, H, W], resized as in plain testing.
        to_input: PIL image, None -> Tensor[3, H, W] of a tile that has its scale already.
        batch_size: tiles that go through the network together; memory is theirs, however large the image.
        size_divisible: batches are padded to multiples of it.

    Attributes:
        progress: if given, called with the tiles that are done and their whole number; what it raises ends the detection.
    """

    def __init__(
        self,
        tiling: Tiling,
        transforms: Callable[..., Any],
        to_input: Callable[..., Any],
        batch_size: int,
        size_divisible: int = 0,
    ):
        self.tiling, self.transforms, self.to_input = tiling, transforms, to_input
        self.batch_size, self.size_divisible = batch_size, size_divisible
        self.progress: Callable[[int, int], None] | None = None
        self._said_many = False

    def detect(
        self, model: Callable[[ImageList], list[BoxList]], images: Sequence[Image.Image | LargeImage], device: Any
    ) -> list[BoxList]:
        """Detections of each image on the CPU, best first, in its own pixels, with the fields that the model gives.

        An image that fits into one tile is looked at once, as without tiles, and its detections are in pixels of the
        network's input.
        """
        if isinstance(images, ImageList) or not all(isinstance(image, (Image.Image, LargeImage)) for image in images):
            raise ConfigError("Tiles are cut from PIL images: build the data loader with the same INPUT.TILES.")
        views = [self._views(image) for image in images]
        self._say_many(images, views)
        found: list[list[BoxList]] = [[] for _ in images]
        done, count = 0, sum(map(len, views))
        bar = progress_bar(total=count, desc="tiles", unit="tile", leave=False, disable=count <= SHOWN * len(images))
        for batch, inputs in self._prepared(images, _batches(views, self.batch_size), torch.device(device)):
            outputs = model(to_image_list([one.to(device) for one in inputs], self.size_divisible))
            for (index, _), output in zip(batch, outputs, strict=True):
                found[index].append(output.to(torch.device("cpu")))
            done += len(batch)
            bar.update(len(batch))
            if self.progress is not None:
                self.progress(done, count)
        bar.close()
        return [
            self._join(image.size, tiles, parts) if len(tiles) > 1 else parts[0]
            for image, tiles, parts in zip(images, views, found, strict=True)
        ]

    def _views(self, image: Image.Image | LargeImage) -> list[Tile | None]:
        """The tiles, and None for the whole image."""
        tiles = self.tiling.tiles(image.size)
        if len(tiles) == 1:
            return [None]
        return [*([None] if self.tiling.whole else []), *tiles]

    def _say_many(self, images: Sequence[Image.Image | LargeImage], views: Sequence[Sequence[Tile | None]]) -> None:
        """Warn of very many tiles, of the first such image."""
        counts = [len(of_image) - of_image.count(None) for of_image in views]
        most = max(counts, default=0)
        if most <= MANY or self._said_many or not distributed.is_main_process():
            return
        self._said_many = True
        logger.warning(
            "An image (%d x %d) is cut into %s of %s, which take their time. A larger INPUT.TILES.SIZE (or a "
            "smaller OVERLAP) makes fewer.",
            *images[counts.index(most)].size,
            counted(most, "tile"),
            counted(self.tiling.size, "pixel"),
        )

    def _prepared(
        self, images: Sequence[Image.Image | LargeImage], batches: Iterable[list[View]], device: torch.device
    ) -> Iterator[tuple[list[View], list[Tensor]]]:
        """Each batch with its inputs. While a GPU looks at one, threads scale the tiles of the next."""
        if device.type == "cpu":
            for batch in batches:
                yield batch, [self._input(self._part(images[index], tile), tile) for index, tile in batch]
            return
        ahead: list[tuple[list[View], list[Future[Tensor]]]] = []
        with ThreadPoolExecutor(min(self.batch_size, os.cpu_count() or 1)) as pool:
            for batch in batches:
                ahead.append((batch, [self._begin(pool, images[index], tile) for index, tile in batch]))
                if len(ahead) == 2:
                    done, inputs = ahead.pop(0)
                    yield done, [one.result() for one in inputs]
            for done, inputs in ahead:
                yield done, [one.result() for one in inputs]

    def _begin(self, pool: Executor, image: Image.Image | LargeImage, tile: Tile | None) -> Future[Tensor]:
        part = self._part(image, tile)
        if not isinstance(part, LargeImage):
            return pool.submit(self._input, part, tile)
        read: Future[Tensor] = Future()  # a file is read by one thread alone
        read.set_result(self._input(part, tile))
        return read

    def _part(self, image: Image.Image | LargeImage, tile: Tile | None) -> Image.Image | LargeImage:
        if isinstance(image, Image.Image):
            image.load()
        return image if tile is None else image.crop(tile.box)

    def _input(self, part: Image.Image | LargeImage, tile: Tile | None) -> Tensor:
        if tile is None:
            return _first(self.transforms(part, None))
        if self.tiling.scale != 1:
            size = tuple(max(round(side * self.tiling.scale), 1) for side in part.size)
            part = part.resize(size, Image.Resampling.BILINEAR)  # type: ignore[arg-type]
        return _first(self.to_input(part, None))

    def _join(self, size: tuple[int, int], views: Sequence[Tile | None], parts: Sequence[BoxList]) -> BoxList:
        inner = _insides([tile for tile in views if tile is not None], size, EDGE / self.tiling.scale)
        shown_from = float("inf")  # pixels along an object from which the whole image shows it
        placed = []
        for tile, part in zip(views, parts, strict=True):
            if tile is None:
                shown_from = SEEN * size[0] / part.size[0]
                placed.append(part.resize(size))
                continue
            found = shift(part.resize(tile.size), tile.box[:2], size)
            is_cut = ~_within(found.bbox, _insides([tile], size, EDGE / self.tiling.scale))
            is_shown = _within(found.bbox, inner) | (found.area().sqrt() >= shown_from)
            placed.append(found[~(is_cut & is_shown)])
        joined = cat_boxlist([_plain(boxlist) for boxlist in placed])
        return _wrapped(self._merge(joined), placed[0])

    def _merge(self, joined: BoxList) -> BoxList:
        scores, labels = joined.get_field("scores"), joined.get_field("labels")
        if self.tiling.merge == "nms":
            return joined[suppress(joined.bbox, scores, labels, self.tiling.threshold)]
        corners = joined.bbox.double().numpy() + np.array([0.0, 0.0, 1.0, 1.0])  # from inclusive ones
        kept, grown, taken = merge_greedily(
            corners, scores.numpy(), labels.numpy(), self.tiling.threshold, self.tiling.metric
        )
        merged = joined[torch.from_numpy(kept)]
        boxes = torch.from_numpy(grown - np.array([0.0, 0.0, 1.0, 1.0])).to(joined.bbox.dtype)
        if merged.has_field("mask"):
            merged.add_field("mask", _joined_masks(joined, merged, boxes, taken))
        merged.bbox = boxes
        return merged


def make_tiled_detection(cfg: Any) -> TiledDetection | None:
    """What INPUT.TILES describes; None where it is off."""
    tiling = make_tiling(cfg)
    if tiling is None:
        return None
    steps = build_transforms(cfg, is_train=False)
    return TiledDetection(
        tiling, steps, Compose(steps.transforms[1:]), cfg.TEST.IMS_PER_BATCH, cfg.DATALOADER.SIZE_DIVISIBILITY
    )


def _first(result: Any) -> Tensor:
    return result[0] if isinstance(result, tuple) else result


def _batches(views: Sequence[Sequence[Tile | None]], count: int) -> Iterator[list[View]]:
    """Views of all images in their order, `count` at a time; a whole image goes alone, as it has another size."""
    batch: list[View] = []
    for index, of_image in enumerate(views):
        for tile in of_image:
            if tile is None:
                yield [(index, tile)]
                continue
            batch.append((index, tile))
            if len(batch) == count:
                yield batch
                batch = []
    if batch:
        yield batch


def shift(boxlist: BoxList, by: tuple[int, int], size: tuple[int, int]) -> BoxList:
    """Boxes and keypoints of a part of an image in the whole one: `by` (x, y) further, in an image of (width, height)."""
    x, y = by
    moved = BoxList(boxlist.bbox + torch.tensor((x, y, x, y), dtype=boxlist.bbox.dtype), size, boxlist.mode)
    for name in boxlist.fields():
        data = boxlist.get_field(name)
        if isinstance(data, Keypoints):
            points = type(data)(data.keypoints + torch.tensor((x, y, 0.0)), size, data.mode)
            points.extra_fields = dict(data.extra_fields)
            data = points
        moved.add_field(name, data)
    return moved


def _insides(tiles: Sequence[Tile], size: tuple[int, int], margin: float) -> Tensor:
    """The corners between which a box touches none of a tile's edges but those of the image of (width, height): [tiles, 4]."""
    boxes = torch.tensor([tile.box for tile in tiles], dtype=torch.float32).reshape(-1, 4)
    whole = torch.tensor((0, 0, *size), dtype=torch.float32)
    inwards = torch.tensor((1, 1, -1, -1), dtype=torch.float32)
    last = boxes - torch.tensor((0, 0, 1, 1), dtype=torch.float32)
    return torch.where(boxes == whole, -inwards * torch.inf, last + margin * inwards)


def _within(boxes: Tensor, insides: Tensor) -> Tensor:
    """Which boxes lie in one of `_insides`: bool [N]."""
    low = (boxes[:, None, :2] >= insides[:, :2]).all(dim=2)
    high = (boxes[:, None, 2:] <= insides[:, 2:]).all(dim=2)
    return (low & high).any(dim=1)


def _plain(boxlist: BoxList) -> BoxList:
    """The same with keypoints as tensors, which can be joined."""
    plain = BoxList(boxlist.bbox, boxlist.size, boxlist.mode)
    for name in boxlist.fields():
        data = boxlist.get_field(name)
        if isinstance(data, Keypoints):
            for extra, values in data.extra_fields.items():
                plain.add_field(f"{name}.{extra}", values)
            data = data.keypoints
        plain.add_field(name, data)
    return plain


def _wrapped(boxlist: BoxList, like: BoxList) -> BoxList:
    """The opposite of `_plain`, with keypoints of the kind that `like` has."""
    for name in like.fields():
        data = like.get_field(name)
        if isinstance(data, Keypoints):
            points = type(data)(boxlist.get_field(name), boxlist.size, data.mode)
            for extra in data.extra_fields:
                points.extra_fields[extra] = boxlist.extra_fields.pop(f"{name}.{extra}")
            boxlist.add_field(name, points)
    return boxlist


def _joined_masks(joined: BoxList, merged: BoxList, boxes: Tensor, taken: Sequence[np.ndarray]) -> Tensor:
    """The masks of merged detections over their grown boxes: where any of their parts has the object, [N, 1, M, M].

    Args:
        joined: all detections, with "mask" over their own boxes; merged: those that were kept.
        boxes: the grown boxes, inclusive corners; taken: the indices in `joined` of what each took.
    """
    masks = merged.get_field("mask").clone()
    all_masks = joined.get_field("mask")
    for i, others in enumerate(taken):
        if not len(others):
            continue
        parts = torch.cat((masks[i : i + 1], all_masks[torch.from_numpy(others)]))
        places = torch.cat((merged.bbox[i : i + 1], joined.bbox[torch.from_numpy(others)]))
        masks[i] = _resampled(parts, places, boxes[i]).amax(dim=0)
    return masks


def _resampled(masks: Tensor, boxes: Tensor, whole: Tensor) -> Tensor:
    """Masks [N, 1, M, M] over their boxes, sampled over the box `whole`, zero outside: [N, 1, M, M]."""
    side = masks.shape[-1]
    centres = (torch.arange(side, dtype=torch.float32) + 0.5) / side
    axes = []
    for low, high in ((0, 2), (1, 3)):
        position = whole[low] + centres * (whole[high] - whole[low] + 1)
        extent = boxes[:, high] - boxes[:, low] + 1
        axes.append((position - boxes[:, low, None]) / extent[:, None] * 2 - 1)
    grid = torch.stack((axes[0][:, None].expand(-1, side, -1), axes[1][:, :, None].expand(-1, -1, side)), dim=3)
    sampled = torch.nn.functional.grid_sample(masks.float(), grid, align_corners=False)
    inside = (grid.abs() <= 1).all(dim=3)[:, None]
    return torch.where(inside, sampled, 0.0).to(masks.dtype)
