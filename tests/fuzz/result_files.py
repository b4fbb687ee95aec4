"""Files that a run wrote and that are read again: detections, metrics, labels, sizes of images, its configuration."""

from __future__ import annotations

import json
import random
from typing import Any

import numpy as np

from maskrcnn_benchmark.analysis.sizes import read_annotation_sizes, read_sizes, typical
from maskrcnn_benchmark.config import ConfigError, cfg
from maskrcnn_benchmark.config.node import read_values
from maskrcnn_benchmark.data.categories import class_names_of, find_categories
from maskrcnn_benchmark.data.datasets.coco_tree import load_coco
from maskrcnn_benchmark.data.detection_files import read_detections
from maskrcnn_benchmark.visualization import draw_annotations
from maskrcnn_benchmark.visualization.curves import load_series, smooth
from tests.fuzz.driver import Kind, folder
from tests.fuzz.mutations import as_json, changed_bytes, changed_value

Files = dict[str, bytes]
SIZE = (40, 30)
IMAGES = [{"id": i, "file_name": f"{i}.png", "width": SIZE[0], "height": SIZE[1]} for i in (1, 2)]
CATEGORIES = [{"id": 2, "name": "thing"}, {"id": 7, "name": "other"}]
BOXES = [
    {"image_id": 1, "category_id": 2, "bbox": [4.0, 5.5, 12.0, 9.0], "score": 0.75},
    {"image_id": 2, "category_id": 7, "bbox": [0.0, 0.0, 40.0, 30.0], "score": 0.5},
]
RLE = {"size": [SIZE[1], SIZE[0]], "counts": [100, 60, 1040]}
MASKS = [
    {"image_id": b["image_id"], "category_id": b["category_id"], "segmentation": RLE, "score": 0.75} for b in BOXES
]
METRICS = [{"iteration": i, "loss": 1.5 / i, "lr": 0.1, "test/set/bbox/AP": 0.25} for i in (1, 2, 3)]
LABELS: tuple[Any, ...] = ({"1": "thing", "3": "other"}, {"COCODataset": {"1": "thing"}}, ["thing"], CATEGORIES)
SIZES: tuple[Any, ...] = ({"sizes": [[30, 40], [20, 20]]}, [[30, 40]], {"images": IMAGES})


def changed(rng: random.Random, content: Any, times: int = 0) -> bytes:
    """A JSON file of content in which something is changed."""
    for _ in range(times or rng.choice((0, 1, 1, 2, 4))):
        content = changed_value(rng, content)
    text = json.dumps(as_json(content)).encode()
    return changed_bytes(rng, text) if rng.random() < 0.3 else text


def files(rng: random.Random) -> Files:
    kind = rng.randrange(5)
    if kind == 0:
        made = {"bbox.json": changed(rng, BOXES)}
        if rng.random() < 0.5:
            made["segm.json"] = changed(rng, MASKS)
        return made
    if kind == 1:
        lines = b"\n".join(changed(rng, line) for line in METRICS)
        return {"metrics.jsonl": changed_bytes(rng, lines) if rng.random() < 0.3 else lines}
    if kind == 2:
        return {"labels.json": changed(rng, rng.choice(LABELS))}
    if kind == 3:
        return {"sizes.json": changed(rng, rng.choice(SIZES))}
    return {"config.yml": changed(rng, {"SEED": 5, "MODEL": {"WEIGHT": "a.pth"}, "OUTPUT_DIR": "x"})}


def use(made: Files) -> None:
    """What mrb draw, plot, predict and analyze, and a run that goes on, make of them."""
    for name in ("segm.json", *made):
        (folder() / name).unlink(missing_ok=True)
    for name, content in made.items():
        (folder() / name).write_bytes(content)
    if "bbox.json" in made:
        coco = load_coco(str(folder() / "set.json"))
        for of_image in read_detections(str(folder()), coco, 0.3).values():
            draw_annotations(np.zeros((*SIZE[::-1], 3), np.uint8), of_image, coco.cats)
    elif "metrics.jsonl" in made:
        for iterations, values in load_series(str(folder())).values():
            assert np.isfinite(smooth(values, 0.9)).all() and np.isfinite(np.array(iterations, np.float64)).all()
    elif "labels.json" in made:
        weights = str(folder() / "model_final.pth")
        find_categories(cfg, weights, names=class_names_of(cfg, {}, weights)).as_coco()
    elif "sizes.json" in made:
        path = str(folder() / "sizes.json")
        errors = []
        for read in (read_sizes, read_annotation_sizes):
            try:
                typical(read(path))
            except ValueError as error:
                errors.append(error)
        if len(errors) > 1:
            raise errors[0]
    else:
        read_values(str(folder() / "config.yml"))


def prepare() -> None:
    objects = [{**b, "id": i, "iscrowd": 0, "area": 1} for i, b in enumerate(BOXES, start=1)]
    content = {"images": IMAGES, "categories": CATEGORIES, "annotations": objects}
    (folder() / "set.json").write_text(json.dumps(content))


RESULTS = Kind("results", files, use, (ConfigError, ValueError, OSError), prepare)
