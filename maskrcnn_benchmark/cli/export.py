"""Export a trained detector to ONNX, to a torch.export program, or to a library compiled ahead of time.

The file takes one image, uint8 [H, W, 3] in RGB, with sides of at most 4096 pixels. ONNX takes any smaller image, the two others
take sides from the largest stride + 1 ("min_side" among the file's notes). It returns boxes (xyxy, pixels, both corners inside),
labels (from 1), scores and, of a model with masks, masks [N, 1, M, M], each over its box. Suppression is inside. Scale images
first as INPUT.MIN_SIZE_TEST and MAX_SIZE_TEST say; both, and the names of the classes where OUTPUT_DIR has them, are noted in the
file.

    mrb export --config-file configs/demo/relations_R_18_FPN_enl.yaml --out demo.onnx OUTPUT_DIR runs/demo
    mrb export --config-file FILE --ckpt WEIGHTS --out small.onnx --int8 photos/
"""

import json
import math
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from maskrcnn_benchmark.config.command_line import CommandParser
from maskrcnn_benchmark.data.categories import Categories, find_categories
from maskrcnn_benchmark.data.datasets.images import IMAGE_ENDINGS
from maskrcnn_benchmark.data.pictures import read_upright
from maskrcnn_benchmark.data.transforms import Resize
from maskrcnn_benchmark.engine import run
from maskrcnn_benchmark.engine.command_line import argument_parser, command_line
from maskrcnn_benchmark.engine.loading import find_weights, load_detector
from maskrcnn_benchmark.engine.predict_files import find_inputs
from maskrcnn_benchmark.export import FORMATS, ExportableDetector, export_program, quantize_onnx, write
from maskrcnn_benchmark.export.program import MAX_SIDE
from maskrcnn_benchmark.utils.progress_bar import progress_bar
from maskrcnn_benchmark.utils.wording import counted

CALIBRATION_IMAGES = 64


def notes(cfg, min_side: int, categories: Categories) -> dict[str, str]:
    """What a user of the file wants to know: the size that images are scaled to, which sides it takes, and the classes by their
    ids, in the order of the labels."""
    found = {"min_size": str(cfg.INPUT.MIN_SIZE_TEST), "max_size": str(cfg.INPUT.MAX_SIZE_TEST)}
    found |= {"min_side": str(min_side), "max_side": str(MAX_SIDE)}
    return found | {"labels": json.dumps({entry["id"]: entry["name"] for entry in categories.as_coco()})}


def calibration_pictures(name: str) -> list[str]:
    """Of a folder or pattern at most CALIBRATION_IMAGES pictures, evenly."""
    paths = [path for path in find_inputs([name]) if path.lower().endswith(IMAGE_ENDINGS)]
    if not paths:
        raise FileNotFoundError(f"--int8 needs pictures; there are none in {name}.")
    return paths[:: math.ceil(len(paths) / CALIBRATION_IMAGES)]


def network_inputs(paths: list[str]) -> Iterator[Tensor]:
    """The pictures scaled as in a test: uint8 Tensor[H, W, 3], RGB."""
    resize = Resize(run.cfg.INPUT.MIN_SIZE_TEST, run.cfg.INPUT.MAX_SIZE_TEST)
    for path in progress_bar(paths, desc="ranges of maps", unit="image"):
        yield torch.from_numpy(np.array(resize(read_upright(path))))


def build_parser() -> CommandParser:
    parser = argument_parser(__doc__)
    parser.needs_config = True
    ends = ", ".join(f"{end} for {name}" for name, (end, _) in FORMATS.items())
    parser.add_argument("--out", required=True, metavar="FILE", help=f"file to write; its end says the format: {ends}")
    parser.add_argument(
        "--ckpt",
        "--weights",
        metavar="FILE",
        help="weights (default: the last checkpoint in OUTPUT_DIR, or MODEL.WEIGHT)",
    )
    parser.add_argument(
        "--int8",
        metavar="FOLDER",
        help="8-bit convolutions, for .onnx: a folder or pattern of pictures to find the ranges of the maps from",
    )
    return parser


def main() -> None:
    args = build_parser().parse_args()
    with command_line():
        chosen = [name for name, (end, _) in FORMATS.items() if args.out.endswith(end)]
        if not chosen:
            raise ValueError(
                f"--out must end in one of {', '.join(end for end, _ in FORMATS.values())}; got {args.out}."
            )
        if args.int8 and chosen != ["onnx"]:
            raise ValueError(f"--int8 is for files that end in .onnx; got {args.out}.")
        device = run.set_up(args)
        pictures = calibration_pictures(args.int8) if args.int8 else []
        model = load_detector(run.cfg, args.ckpt or "", device)
        detector = ExportableDetector(model, run.cfg)
        names = detector.names
        weights = find_weights(run.cfg, args.ckpt or "")
        categories = find_categories(run.cfg, weights, names=getattr(model, "class_names", None))
        least = 1 if chosen == ["onnx"] else detector.min_side
        if run.cfg.INPUT.MIN_SIZE_TEST < least:
            raise ValueError(
                f"{args.out} would take images with sides of {counted(least, 'pixel')} or more, and INPUT.MIN_SIZE_TEST "
                f"{run.cfg.INPUT.MIN_SIZE_TEST} scales them to less: export .onnx, which takes any, or set it to {least}."
            )
        with torch.no_grad():
            written = notes(run.cfg, least, categories)
            write(export_program(model, run.cfg), chosen[0], args.out, names, written)
        if pictures:
            quantize_onnx(args.out, network_inputs(pictures))
        sides = f"sides of {least} to {counted(MAX_SIDE, 'pixel')}"
        print(f"Wrote {args.out}: image -> {', '.join(names)} ({sides})")
