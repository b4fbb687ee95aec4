"""Cars of 24 to 60 pixels in photographs of up to 2000 x 1125: what the scale at the network's input and tiles change.

    MRB_AERIAL_CARS=... python benchmarks/bench_small_objects.py table --config-file cars.yaml --ckpt runs/cars/model_final.pth
    MRB_AERIAL_CARS=... python benchmarks/bench_small_objects.py mosaic --config-file cars.yaml --ckpt runs/cars/model_final.pth

MRB_AERIAL_CARS names a folder with YOLO's train.txt, val.txt, images and labels, whose class 0 is a car. The weights are those of
any training on them.

`table` tests one set of weights at several sizes and in tiles: AP50 and AP of cars, the recall at an IoU of 0.5 (AR50), AP50 of
those below and above 40 pixels (the root of a box's area), AP50 of the photographs whose median car is below 30 and above 50
pixels, and seconds of the processor for an image, its decoding among them.
`mosaic` puts eight copies of an image of val side by side and tests with the limits of the configuration, and with those
that `mrb suggest` chooses for that image.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import io
import math
import os
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

import harness
from maskrcnn_benchmark.config import cfg as defaults
from maskrcnn_benchmark.data import formats
from maskrcnn_benchmark.data.formats.content import Content
from maskrcnn_benchmark.data.suggest import suggest
from maskrcnn_benchmark.engine.predictor import Predictor

BORDER = 40.0  # pixels: the smaller cars are below
PHOTOGRAPHS = {"far": (0.0, 30.0), "near": (50.0, float("inf"))}  # pixels of the median car
MANY = 2000  # detections of an image that are counted
TILES = ("INPUT.TILES.SIZE", 640, "INPUT.TILES.SCALE", 1.25, "INPUT.TILES.OVERLAP", 0.25, "INPUT.TILES.TEST", True)
GREEDY = ("INPUT.TILES.MERGE", "nmm", "INPUT.TILES.MERGE_METRIC", "ios")


def sizes(low: int, high: int) -> tuple:
    return "INPUT.MIN_SIZE_TEST", low, "INPUT.MAX_SIZE_TEST", high


WAYS: dict[str, tuple] = {
    "whole 800/1333": (*sizes(800, 1333), "INPUT.TILES.SIZE", 0),
    "whole 1125/1333": (*sizes(1125, 1333), "INPUT.TILES.SIZE", 0),
    "whole 1125/2000": (*sizes(1125, 2000), "INPUT.TILES.SIZE", 0),
    "tiles of 640, enlarged to 800": (*sizes(800, 1333), *TILES, "INPUT.TILES.WHOLE", False),
    "these and the whole 800/1333": (*sizes(800, 1333), *TILES),
    "merged by SAHI's greedy IoS": (*sizes(800, 1333), *TILES, *GREEDY),
    "as configured": (),
}


def as_coco(content: Content) -> COCO:
    coco = COCO()
    coco.dataset = content.as_coco()
    with contextlib.redirect_stdout(io.StringIO()):
        coco.createIndex()
    return coco


def measures(coco: COCO, found: list[dict]) -> dict[str, float]:
    """Of cars, in percent: AP50, AP, the recall at 0.5, and AP50 of the smaller and the larger ones."""
    with contextlib.redirect_stdout(io.StringIO()):
        evaluation = COCOeval(coco, coco.loadRes(found) if found else COCO(), "bbox")
        params = evaluation.params
        params.catIds, params.maxDets = [1], [MANY]
        params.areaRng = [[0, 1e10], [0, BORDER**2], [BORDER**2, 1e10]]
        params.areaRngLbl = ["all", "smaller", "larger"]
        evaluation.evaluate()
        evaluation.accumulate()
    precision, recall = evaluation.eval["precision"], evaluation.eval["recall"]  # [IoU, recall, class, area, maxDets]

    def mean(values: np.ndarray) -> float:
        known = values[values > -1]
        return 100 * float(known.mean()) if len(known) else float("nan")

    return {
        "AP50": mean(precision[0, :, 0, 0, 0]),
        "AP": mean(precision[:, :, 0, 0, 0]),
        "AR50": mean(recall[0, :, 0, 0]),
        "smaller": mean(precision[0, :, 0, 1, 0]),
        "larger": mean(precision[0, :, 0, 2, 0]),
    }


def by_photograph(content: Content, found: list[dict]) -> dict[str, float]:
    """AP50 of cars, in percent, of the photographs whose median car has the size of each of PHOTOGRAPHS."""
    sides: dict[Any, list[float]] = {image["id"]: [] for image in content.images}
    for annotation in content.annotations:
        if annotation["category_id"] == 1 and annotation["image_id"] in sides:
            sides[annotation["image_id"]].append(math.prod(annotation["bbox"][2:]) ** 0.5)
    medians = {image: statistics.median(of_cars) for image, of_cars in sides.items() if of_cars}
    values = {}
    for name, (low, high) in PHOTOGRAPHS.items():
        part = copy.copy(content)
        part.images = [i for i in content.images if low <= medians.get(i["id"], math.nan) < high]
        kept = {image["id"] for image in part.images}
        part.annotations = [a for a in content.annotations if a["image_id"] in kept]
        values[name] = (
            measures(as_coco(part), [f for f in found if f["image_id"] in kept])["AP50"] if kept else math.nan
        )
    return values


def detect(predictor: Predictor, content: Content) -> tuple[list[dict], float]:
    """Results of all images, class 1 being cars, and seconds of the processor for an image."""
    found: list[dict] = []
    begin = time.process_time()
    for image in content.images:
        detections = predictor(os.path.join(content.root, image["file_name"]))
        boxes, scores = detections.convert("xywh").bbox.tolist(), detections.get_field("scores").tolist()
        labels = detections.get_field("labels").tolist()
        found += [
            {"image_id": image["id"], "category_id": label, "bbox": box, "score": score}
            for box, score, label in zip(boxes, scores, labels, strict=True)
        ]
    return found, (time.process_time() - begin) / len(content.images)


def predictor_of(args: argparse.Namespace, opts: tuple) -> Predictor:
    return Predictor(args.config_file, args.ckpt, threshold=0.05, opts=[*args.opts, *opts])


def table(args: argparse.Namespace) -> None:
    content = formats.read(str(args.images / "val.txt"))
    content.images = content.images[: args.most]
    coco = as_coco(content)
    print("| | AP50 | AP | AR50 | AP50 below 40 pixels | above | of far photographs | of near ones | CPU s an image |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name in args.ways or WAYS:
        found, seconds = detect(predictor_of(args, WAYS[name]), content)
        values = measures(coco, found) | by_photograph(content, found)
        print(
            f"| {name} | " + " | ".join(f"{value:.1f}" for value in values.values()) + f" | {seconds:.2f} |", flush=True
        )


def mosaic(args: argparse.Namespace) -> None:
    content = formats.read(str(args.images / "val.txt"))
    by_image = content.by_image()
    named = [image for image in content.images if args.image in image["file_name"]]
    if not named:
        raise SystemExit(f"val.txt names no image {args.image}.")
    fullest = max(named, key=lambda image: len(by_image[image["id"]]))
    picture = Image.open(os.path.join(content.root, fullest["file_name"])).convert("RGB")
    args.out.mkdir(parents=True, exist_ok=True)
    wide = Image.new("RGB", (picture.width * args.copies, picture.height))
    made = Content(str(args.out))
    made.name_classes(list(content.names().values()))
    for i in range(args.copies):
        wide.paste(picture, (i * picture.width, 0))
    wide.save(args.out / "mosaic.png")
    entry = made.add_image("mosaic.png", wide.size)
    for i in range(args.copies):
        for annotation in by_image[fullest["id"]]:
            x, y, w, h = annotation["bbox"]
            made.add(entry, annotation["category_id"], (x + i * picture.width, y, w, h))
    config = defaults.clone()
    config.merge_from_file(args.config_file)
    chosen = {choice.key: choice.value for choice in suggest(made, config)[1]}
    kept = {
        k: v for k, v in chosen.items() if k.startswith(("INPUT.", "MODEL.RPN.F", "MODEL.RPN.P", "MODEL.ROI_HEADS.D"))
    }
    side = round(wide.height)
    ways = {
        "limits of the configuration": ("INPUT.TILES.SIZE", 0, *sizes(side, wide.width)),
        "suggested for it": (*(word for pair in kept.items() for word in pair), "INPUT.TILES.TEST", True),
    }
    print(f"{wide.width} x {wide.height} pixels, {len(made.annotations)} vehicles")
    print("| | found | AP50 | AP | AR50 | CPU s |")
    print("|---|---|---|---|---|---|")
    for name, opts in ways.items():
        found, seconds = detect(predictor_of(args, opts), made)
        values = list(measures(as_coco(made), found).values())[:3]
        print(f"| {name} | {len(found)} | " + " | ".join(f"{value:.1f}" for value in values) + f" | {seconds:.1f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = parser.add_subparsers(required=True)
    for name, run in (("table", table), ("mosaic", mosaic)):
        kind = kinds.add_parser(name)
        kind.add_argument("--config-file", required=True, metavar="FILE")
        kind.add_argument("--ckpt", required=True, metavar="FILE")
        kind.set_defaults(run=run)
        if name == "table":
            kind.add_argument("--ways", nargs="*", choices=list(WAYS), metavar="WAY", help=f"of {', '.join(WAYS)}")
            kind.add_argument("--most", type=int, default=None, metavar="N", help="images to test on")
        else:
            kind.add_argument("--copies", type=int, default=8)
            kind.add_argument(
                "--image", default="", metavar="NAME", help="a part of its name (default: the fullest image)"
            )
            kind.add_argument("--out", type=Path, default=Path("runs/mosaic"), metavar="FOLDER")
        kind.add_argument("opts", nargs="*", metavar="KEY VALUE")
    args: Any = parser.parse_args()
    folder = os.environ.get("MRB_AERIAL_CARS", "")
    if not os.path.isfile(os.path.join(folder, "val.txt")):
        raise SystemExit("MRB_AERIAL_CARS names no folder with a val.txt.")
    args.images = Path(folder)
    print(harness.machine(torch.device("cpu")), end="\n\n")
    args.run(args)


if __name__ == "__main__":
    main()
