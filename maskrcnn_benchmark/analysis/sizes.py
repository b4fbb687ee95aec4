"""Which images costs are averaged over: given sizes, a file of them, or those of a data set. Sizes are (height, width)."""

from __future__ import annotations

import os
from argparse import ArgumentParser, Namespace
from typing import Any

from maskrcnn_benchmark.config.node import shown
from maskrcnn_benchmark.data.catalog import dataset_catalog
from maskrcnn_benchmark.data.transforms.transforms import Resize
from maskrcnn_benchmark.utils.files import read_json
from maskrcnn_benchmark.utils.wording import counted

Size = tuple[int, int]

MAX_SIDE = 10**6  # pixels: more is no image's
MEAN_SIZE = (800, 1120)  # of the mean area of COCO's images when their shorter side is 800 and the longer at most 1333


def add_size_arguments(parser: ArgumentParser) -> None:
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--sizes", metavar="FILE", help='JSON file of image sizes: {"sizes": [[height, width], ...]}')
    source.add_argument("--ann-file", metavar="FILE", help="annotations in COCO format: the sizes of their images")


def chosen_sizes(args: Namespace) -> tuple[list[Size], str]:
    """The images of `add_size_arguments` before resizing, and which they are in words."""
    if args.sizes:
        sizes = read_sizes(args.sizes)
        return sizes, f"the {counted(len(sizes), 'image size')} in {os.path.basename(args.sizes)}"
    if args.ann_file:
        sizes = read_annotation_sizes(args.ann_file)
        return sizes, f"the {counted(len(sizes), 'image')} in {os.path.basename(args.ann_file)}"
    height, width = MEAN_SIZE
    return [MEAN_SIZE], f"one image of COCO's mean size, {height} x {width} (no file of sizes was given)"


def parse_size(text: str) -> Size:
    """HEIGHTxWIDTH, as in 800x1120."""
    return _as_size(text.lower().split("x"), "An image size is written HEIGHTxWIDTH, such as 800x1120")


def read_sizes(path: str) -> list[Size]:
    content = _read_json(path)
    entries = content.get("sizes") if isinstance(content, dict) else content
    if not isinstance(entries, list) or not entries:
        raise ValueError(f'{path} holds no image sizes; it should be like {{"sizes": [[480, 640], [427, 640]]}}.')
    return [_as_size(entry, f"{path}: an image size is [height, width] in pixels") for entry in entries]


def read_annotation_sizes(path: str) -> list[Size]:
    """Height and width of the images of a COCO annotation file."""
    content = _read_json(path)
    images = content.get("images") if isinstance(content, dict) else None
    if not isinstance(images, list) or not images:
        raise ValueError(f"{path} is not in COCO format, or names no images: it has no list under the key 'images'.")
    expected = f"{path}: every image has a height and a width in pixels"
    return [
        _as_size([image.get("height"), image.get("width")] if isinstance(image, dict) else image, expected)
        for image in images
    ]


def dataset_sizes(cfg, name: str) -> list[Size]:
    """Those of a data set that the configuration or the catalog names."""
    return read_annotation_sizes(dataset_catalog(cfg).get(name)["args"]["ann_file"])


def resized(cfg, sizes: list[Size], padded: bool = False) -> list[Size]:
    """As the model sees them in testing, with `padded` to multiples of DATALOADER.SIZE_DIVISIBILITY."""
    resize = Resize(cfg.INPUT.MIN_SIZE_TEST, cfg.INPUT.MAX_SIZE_TEST)
    results = [resize.get_size((width, height)) for height, width in sizes]
    step = cfg.DATALOADER.SIZE_DIVISIBILITY
    if padded and step > 0:
        results = [(-(-height // step) * step, -(-width // step) * step) for height, width in results]
    return results


def typical(sizes: list[Size]) -> Size:
    """The one whose area is nearest to the mean: what can be measured on one image alone is measured on it."""
    mean = sum(height * width for height, width in sizes) / len(sizes)
    return min(sizes, key=lambda size: (abs(size[0] * size[1] - mean), size))


def _read_json(path: str) -> Any:
    if not os.path.isfile(path):
        raise FileNotFoundError(f"There is no file {path!r} (current directory: {os.getcwd()}).")
    return read_json(path)


def _as_size(entry: Any, expected: str) -> Size:
    try:
        height, width = (int(side) for side in entry)
        if not (1 <= height <= MAX_SIDE and 1 <= width <= MAX_SIDE):
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        raise ValueError(f"{expected}; got {shown(entry)}.") from None
    return height, width
