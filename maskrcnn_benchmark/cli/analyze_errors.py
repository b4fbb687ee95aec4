"""Say where detections go wrong: what each kind of error costs (TIDE), by size of object, precision by recall, a confusion
matrix, and the worst misses and false positives as crops.

    mrb analyze errors --config-file mine.yaml --out runs/mine/errors      # after `mrb test`; of the first set of DATASETS.TEST
    mrb analyze errors --ann-file val.json --img-dir data/val --results runs/mine/inference/mine_val --out runs/mine/errors

The folder gets report.md, errors.json and their pictures. TEST.COCO_AREAS names the sizes.
"""

import argparse
import os
from typing import Any

import numpy as np

from maskrcnn_benchmark.analysis.error_report import FILES, examine, summary, write_report
from maskrcnn_benchmark.config import cfg
from maskrcnn_benchmark.config.areas import ranges
from maskrcnn_benchmark.config.checks import check_config
from maskrcnn_benchmark.config.command_line import CommandParser, KeyParser
from maskrcnn_benchmark.config.node import ConfigError
from maskrcnn_benchmark.config.options import options
from maskrcnn_benchmark.data.catalog import annotations_of, dataset_catalog
from maskrcnn_benchmark.data.datasets.annotated_images import AnnotatedImages
from maskrcnn_benchmark.data.datasets.coco_tree import load_coco
from maskrcnn_benchmark.data.datasets.converted import source_of
from maskrcnn_benchmark.data.detection_files import read_detections
from maskrcnn_benchmark.data.pictures import to_bgr
from maskrcnn_benchmark.engine.command_line import command_line
from maskrcnn_benchmark.utils.files import check_folder
from maskrcnn_benchmark.utils.wording import counted


def chosen_set(args: argparse.Namespace) -> tuple[str, str, str]:
    """Annotation file, folder of the images, and folder or file of the results."""
    if args.ann_file:
        if not args.results:
            raise ValueError("--ann-file wants --results, the folder that a test or prediction wrote, or its file.")
        return (*annotations_of(args.ann_file, args.img_dir, split=args.split), args.results)
    if not args.config_file:
        raise ValueError("Give --config-file, or --ann-file with --img-dir and --results.")
    if not cfg.DATASETS.TEST and not args.dataset:
        raise ValueError("The configuration names no data set in DATASETS.TEST.")
    name = args.dataset or cfg.DATASETS.TEST[0]
    values = dataset_catalog(cfg).get(name)["args"]
    if not {"ann_file", "root"} <= set(values):
        raise ConfigError(
            f"The data set {name} is read by its own class, not from annotations in a known form; name these with --ann-file."
        )
    return values["ann_file"], values["root"], args.results or os.path.join(cfg.OUTPUT_DIR, "inference", name)


def image_reader(truth: Any, ann_file: str, img_dir: str) -> Any:
    """Image id -> uint8 [H, W, 3], BGR, read as it was annotated."""
    places = {id: place for place, id in enumerate(truth.imgs)}
    images = AnnotatedImages.of_entries(ann_file, img_dir, list(truth.imgs.values()))

    def read(image_id: Any) -> np.ndarray:
        return to_bgr(images.read_at(places[image_id]))

    return read


def build_parser() -> CommandParser:
    parser = KeyParser(description=__doc__)
    parser.add_config()
    parser.add_argument("--dataset", default="", metavar="NAME", help="another set of the configuration's")
    parser.add_argument("--ann-file", default="", metavar="FILE", help="annotations in any form `mrb convert` reads")
    parser.add_argument("--img-dir", default="", metavar="FOLDER", help="their images")
    parser.add_argument("--split", default="", metavar="NAME", help="of annotations that hold several")
    parser.add_argument(
        "--results",
        default="",
        metavar="PATH",
        help="a folder that `mrb test` (OUTPUT_DIR/inference/NAME) or `mrb predict` wrote, or a file of results in COCO's format",
    )
    parser.add_argument("--out", required=True, metavar="FOLDER", help="folder for the report")
    parser.add_argument("--task", choices=("bbox", "segm"), default="bbox", help="boxes (default) or masks")
    parser.add_argument(
        "--threshold", type=float, help="least score of what counts as found (default: that of the best F1)"
    )
    parser.add_argument("--crops", type=int, default=24, metavar="N", help="in a sheet, of each size (default 24)")
    return parser


def main() -> None:
    args = build_parser().parse_args()
    with command_line():
        if args.config_file:
            cfg.merge_from_file(args.config_file)
        cfg.merge_from_list(args.opts)
        check_config(cfg)
        if args.crops < 1 or (args.threshold is not None and not 0 <= args.threshold <= 1):
            raise ValueError(
                f"--crops must be 1 or more and --threshold from 0 to 1; got {args.crops} and {args.threshold}."
            )
        ann_file, img_dir, folder = chosen_set(args)
        truth = load_coco(ann_file)
        results = [entry for of_image in read_detections(folder, truth, img_dir=img_dir).values() for entry in of_image]
        if args.task == "segm" and not all("segmentation" in entry for entry in results):
            raise ValueError(
                f'There are no masks in {folder}: it has no segm.json, or its detections have no "segmentation".'
            )
        if not truth.anns:
            raise ValueError(f"{source_of(ann_file)} holds no objects to compare detections with.")
        check_folder(args.out, "--out", FILES)
        report = examine(truth, results, args.task, ranges(options(cfg).TEST.COCO_AREAS), args.threshold)
        write_report(report, image_reader(truth, ann_file, img_dir), truth, args.out, args.crops)
        found = report.found[""]
        print(
            f"{found['found']:,} of {counted(int(found['objects']), 'object')} found at a score of {report.threshold:.3f} or "
            f"more. What errors cost:\n{summary(report)}\nReport: {os.path.join(args.out, 'report.md')}"
        )
