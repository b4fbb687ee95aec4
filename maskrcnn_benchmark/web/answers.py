"""What the web page shows: detections as lists that the browser filters and draws, and drawings of the context of a pixel."""

from __future__ import annotations

import base64
import contextlib
import time
from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image

from maskrcnn_benchmark.analysis.context import context_weights, non_local_modules, without_context
from maskrcnn_benchmark.config.options import options
from maskrcnn_benchmark.data.formats.files import as_polygons
from maskrcnn_benchmark.data.pictures import to_bgr
from maskrcnn_benchmark.engine.predictor import Predictor
from maskrcnn_benchmark.engine.tiled_detection import TiledDetection, make_tiled_detection
from maskrcnn_benchmark.structures.bounding_box import BoxList
from maskrcnn_benchmark.utils.wording import counted
from maskrcnn_benchmark.visualization import class_colour, draw_weights
from maskrcnn_benchmark.visualization.detections import visible_keypoints
from maskrcnn_benchmark.web.jobs import Job

FLOOR = 0.05  # the least score of a detection that the browser gets; it filters by higher ones itself
MOST_DETECTIONS = 1000  # of an image, the best
MOST_OUTLINED = 300  # of these have their masks
MOST_POINTS = 200  # of the outline of a mask
MOST_TILES = 400
MOST_TILE_INPUT = 2048  # pixels of the network's input along a tile's side
MAX_SHOWN = 1800  # pixels of a drawing's longer side; masks are made at this size too


def as_url(image: np.ndarray) -> str:
    """A BGR image as a data URL that a page can show, scaled down if it is very large."""
    longer = max(image.shape[:2])
    if longer > MAX_SHOWN:
        image = cv2.resize(image, shown_size(image.shape[1], image.shape[0]), interpolation=cv2.INTER_AREA)
    quality = [cv2.IMWRITE_JPEG_QUALITY, 92, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444]
    content = cv2.imencode(".jpg", image, quality)[1].tobytes()
    return "data:image/jpeg;base64," + base64.b64encode(content).decode("ascii")


def shown_size(width: int, height: int) -> tuple[int, int]:
    """(width, height) of what is shown of an image of this size."""
    scale = min(MAX_SHOWN / max(width, height), 1)
    return max(round(width * scale), 1), max(round(height * scale), 1)


def short(name: str) -> str:
    return name.removeprefix("backbone.")


def hexadecimal(label: int) -> str:
    """A class's colour as the page takes it, #rrggbb."""
    return "#{2:02x}{1:02x}{0:02x}".format(*class_colour(label))


def describe(name: str, predictor: Predictor) -> dict:
    """A model as the page lists it: classes, non-local modules (the finest first) and the tiles of its configuration."""
    categories, tiles = predictor.categories, options(predictor.cfg).INPUT.TILES
    return {
        "name": name,
        "classes": [
            {"label": label, "id": categories.id(label), "name": class_name, "colour": hexadecimal(label)}
            for label, class_name in categories.names.items()
        ],
        "modules": [short(module) for module in non_local_modules(predictor.model)][::-1],
        "can_compare": bool(non_local_modules(predictor.model)) and not options(predictor.cfg).MODEL.COMPILE,
        "tiles": tiles.SIZE if tiles.TEST else 0,
    }


def detect(
    predictor: Predictor,
    image: Image.Image,
    job: Job,
    tiles: int | None = None,
    scale: float = 1.0,
    context: bool = True,
    preview: bool = False,
) -> dict:
    """All detections in an image down to FLOOR, the best MOST_DETECTIONS.

    Args:
        job: is told of the tiles that are done.
        tiles: pixels along a tile's side; 0 for the whole image alone, None for what the configuration says.
        scale: pixels of the network's input for one of a tile.
        context: whether non-local modules do anything; otherwise they give back what they take.
        preview: whether to send the image too, for browsers that cannot decode it.

    Raises ValueError with a sentence.
    """
    began = time.perf_counter()
    with contextlib.nullcontext() if context else _without_context(predictor):
        raw = _look(predictor, image, job, tiles, scale)
    predictor.threshold = FLOOR
    selected = predictor.select(raw)
    found = predictor.finish(selected[:MOST_DETECTIONS].copy_with_fields(_light(selected)), image.size)
    seconds = time.perf_counter() - began
    points, connections = visible_keypoints(found)
    answer = {
        "width": image.width,
        "height": image.height,
        "seconds": seconds,
        "detections": _entries(predictor, found, points, _outlines(predictor, selected, image.size)),
        "left_out": max(len(selected) - MOST_DETECTIONS, 0),
        "connections": [list(pair) for pair in connections],
    }
    if preview:
        answer["picture"] = as_url(to_bgr(image.resize(shown_size(*image.size), Image.Resampling.BILINEAR)))
    return answer


def _light(found: BoxList) -> list[str]:
    """Fields that cost little at any size of the image: all but masks."""
    return [name for name in found.fields() if name != "mask"]


def _without_context(predictor: Predictor) -> contextlib.AbstractContextManager[None]:
    if options(predictor.cfg).MODEL.COMPILE:
        raise ValueError(
            "The context of a compiled model cannot be switched off; start `mrb web` without MODEL.COMPILE to compare."
        )
    return without_context(predictor.model)


def _look(predictor: Predictor, image: Image.Image, job: Job, tiles: int | None, scale: float) -> BoxList:
    own = options(predictor.cfg).INPUT.TILES
    if tiles is None:
        tiles, scale = (own.SIZE, own.SCALE) if own.TEST else (0, 1.0)
    if predictor.cfg.TEST.BBOX_AUG.ENABLED:
        if tiles:
            raise ValueError("The model looks at enlarged and mirrored images (TEST.BBOX_AUG), which excludes tiles.")
        return predictor.detect([image])[0]
    if not tiles:
        return predictor.detect_inputs([predictor.network_input(image)])[0]
    return predictor.detect([image], _tiled(predictor, image, job, tiles, scale))[0]


def _tiled(predictor: Predictor, image: Image.Image, job: Job, tiles: int, scale: float) -> TiledDetection:
    if tiles * scale > MOST_TILE_INPUT:
        raise ValueError(
            f"Tiles of {tiles} pixels enlarged {scale:g} times are larger than {MOST_TILE_INPUT} pixels; take smaller ones."
        )
    cfg = predictor.cfg.clone()
    cfg.defrost()
    cfg.merge_from_list(["INPUT.TILES.TEST", True, "INPUT.TILES.SIZE", tiles, "INPUT.TILES.SCALE", float(scale)])
    tiled = make_tiled_detection(cfg)
    assert tiled is not None
    count = len(tiled.tiling.tiles(image.size))
    if count > MOST_TILES:
        raise ValueError(
            f"An image of {image.width} x {image.height} pixels has {counted(count, 'tile')} of {tiles} pixels, and at most "
            f"{MOST_TILES} are looked at here; take larger ones, or `mrb predict`."
        )
    tiled.progress = job.advance
    return tiled


def _entries(predictor: Predictor, found: BoxList, points: np.ndarray | None, outlines: Sequence[list]) -> list[dict]:
    labels = found.get_field("labels").tolist()
    entries = []
    for i, (label, entry) in enumerate(zip(labels, predictor.coco(found), strict=True)):
        made: dict[str, Any] = {
            "label": label,
            "name": predictor.categories.name(label),
            "colour": hexadecimal(label),
            **{key: entry[key] for key in ("category_id", "score", "bbox")},
        }
        if i < len(outlines):
            made["polygons"] = outlines[i]
        if points is not None:
            made["keypoints"] = [[round(float(v), 1) for v in point] for point in points[i]]
        entries.append(made)
    return entries


def _outlines(predictor: Predictor, selected: BoxList, size: tuple[int, int]) -> list[list[list[float]]]:
    """Polygons of the masks of the best MOST_OUTLINED detections, in pixels of the image; none without masks.

    They are made for the size that is shown: what a mask costs grows with it.
    """
    if not selected.has_field("mask"):
        return []
    width, height = shown_size(*size)
    fields = ["scores", "labels", "mask"]
    finished = predictor.finish(selected[:MOST_OUTLINED].copy_with_fields(fields), (width, height))
    factors = np.array((size[0] / width, size[1] / height))
    outlines = []
    for rle in finished.get_field("rle"):
        polygons = as_polygons(rle, {"width": width, "height": height})
        outlines.append([(simplified(polygon) * factors).round(1).flatten().tolist() for polygon in polygons])
    return outlines


def simplified(polygon: Sequence[float]) -> np.ndarray:
    """A polygon x1, y1, x2, y2, ... with at most MOST_POINTS corners, as few pixels as it takes from the original: [P, 2]."""
    points: np.ndarray = np.asarray(polygon, np.float32).reshape(-1, 1, 2)
    tolerance = 0.25  # pixels
    while len(points) > MOST_POINTS:
        points = cv2.approxPolyDP(points, tolerance, closed=True)
        tolerance *= 2
    return points[:, 0].astype(np.float64)


def context(predictor: Predictor, image: Image.Image, job: Job, point: tuple[float, float], module: str) -> dict:
    """What a module takes from the whole image for one pixel: drawings of the two terms and their sum."""
    x, y = point
    if not (0 <= x < image.width and 0 <= y < image.height):
        raise ValueError(f"The point ({x:g}, {y:g}) is outside the image of {image.width} x {image.height} pixels.")
    tensor = predictor.network_input(image)
    height, width = tensor.shape[-2:]
    scaled = (x * width / image.width, y * height / image.height)
    with torch.inference_mode():
        weights = context_weights(predictor.model, tensor.to(predictor.device), scaled, module)
    shown = image.resize(shown_size(*image.size), Image.Resampling.BILINEAR)
    point = (x * shown.width / image.width, y * shown.height / image.height)
    canvas, panels = to_bgr(shown), []
    for kind, part in zip(weights._fields, weights, strict=True):
        limit = float(part.abs().quantile(0.995))
        drawn = draw_weights(canvas, part.cpu().numpy(), point, limit)
        panels.append({"kind": kind, "limit": limit, "picture": as_url(drawn)})
    return {"module": module, "panels": panels}
