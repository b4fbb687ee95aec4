"""Check data sets: counts and sizes, and whatever is broken in files, boxes, categories and masks.

    mrb check --ann-file data/train.json --img-dir data/train [--sheet sheet.jpg] [--json report.json]
    mrb check --ann-file VOC2007 --split train      # annotations in any form that `mrb convert` reads
    mrb check --config-file my.yaml      # the data sets of DATASETS.TRAIN and TEST

The exit status is 0 if all is fine, 1 if there are problems; notes alone are fine.
"""

import argparse
import json
import os

import cv2

from maskrcnn_benchmark.config import cfg
from maskrcnn_benchmark.data import formats
from maskrcnn_benchmark.data.catalog import annotations_of, dataset_catalog
from maskrcnn_benchmark.data.check import check, contact_sheet, load
from maskrcnn_benchmark.data.formats.cache import notes_of
from maskrcnn_benchmark.engine.run import command_line
from maskrcnn_benchmark.utils.files import write_json


def chosen_sets(args: argparse.Namespace) -> dict[str, tuple[str, str]]:
    """(annotation file, image folder) by name."""
    is_coco = not args.form and str(args.ann_file).lower().endswith(".json")
    if bool(args.ann_file) == bool(args.config_file) or is_coco and not args.img_dir:
        raise ValueError("Give --ann-file and --img-dir, or --config-file.")
    if args.ann_file:
        name = os.path.basename(os.path.normpath(args.ann_file))
        return {name: annotations_of(args.ann_file, args.img_dir, args.form, args.split)}
    cfg.merge_from_file(args.config_file)
    cfg.merge_from_list(args.opts)
    catalog, sets = dataset_catalog(cfg), {}
    for name in dict.fromkeys((*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST)):
        values = catalog.get(name)["args"]
        if not {"ann_file", "root"} <= set(values):
            raise ValueError(f"The data set {name} is read by its own class; this tool checks files of annotations.")
        sets[name] = (values["ann_file"], values["root"])
    if not sets:
        raise ValueError("The configuration names no data set in DATASETS.TRAIN and DATASETS.TEST.")
    return sets


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ann-file", metavar="FILE", help="annotations, in COCO format or another form")
    parser.add_argument("--img-dir", default="", metavar="FOLDER", help="folder of the images")
    parser.add_argument(
        "--form", default="", choices=list(formats.FORMATS), help="the form, where it is not found by itself"
    )
    parser.add_argument("--split", default="", metavar="NAME", help="of annotations that hold several")
    parser.add_argument("--config-file", metavar="FILE", help="check the data sets of this configuration")
    parser.add_argument("--skip-images", action="store_true", help="do not decode the image files")
    parser.add_argument("--sheet", metavar="FILE", help="draw images with their annotations (of the first data set)")
    parser.add_argument("--json", metavar="FILE", help="also write the reports to this file")
    parser.add_argument("opts", nargs=argparse.REMAINDER, metavar="KEY VALUE", help="change configuration keys")
    args = parser.parse_args()
    with command_line():
        reports = []
        for number, (name, (ann_file, img_dir)) in enumerate(chosen_sets(args).items()):
            if not os.path.isdir(img_dir):
                raise FileNotFoundError(f"There is no image folder {img_dir!r}, which {ann_file} belongs to.")
            content = load(ann_file)
            reports.append(check(content, img_dir, name, not args.skip_images))
            reports[-1].add_notes(notes_of(ann_file))
            print(reports[-1].as_text())
            if args.sheet and number == 0:
                os.makedirs(os.path.dirname(os.path.abspath(args.sheet)), exist_ok=True)
                sheet = contact_sheet(content, img_dir)
                if sheet is None or not cv2.imwrite(args.sheet, sheet):
                    raise OSError(
                        f"No sheet was written to {args.sheet}: no image can be read, or the path is no .jpg or .png."
                    )
        if args.json:
            write_json(args.json, json.loads(json.dumps([report.as_dict() for report in reports])))
        if any(report.problems for report in reports):
            raise SystemExit(1)
