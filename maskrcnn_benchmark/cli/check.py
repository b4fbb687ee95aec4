"""Check a data set: counts and sizes, and whatever is broken in files, boxes, categories and masks.

    mrb check data/train.json --img-dir data/train [--sheet sheet.jpg] [--json report.json]
    mrb check cars/data.yaml --split train      # any form that `mrb convert` reads
    mrb check my.yaml                           # the data sets of DATASETS.TRAIN and TEST

After the report stands what `mrb suggest` would choose for the set, with its reasons. The exit status is 0 if all is fine, 1 if
there are problems; notes alone are fine.
"""

import argparse
import contextlib
import dataclasses
import json
import os
from typing import Any

import cv2

from maskrcnn_benchmark.config import cfg
from maskrcnn_benchmark.config.command_line import CommandParser, KeyParser, is_configuration
from maskrcnn_benchmark.config.options import options
from maskrcnn_benchmark.data import formats
from maskrcnn_benchmark.data.catalog import dataset_catalog, tested_as_trained
from maskrcnn_benchmark.data.check import check, contact_sheet, load
from maskrcnn_benchmark.data.datasets.coco_entries import file_name
from maskrcnn_benchmark.data.formats.cli_options import OPTIONS, add_form_options, form_options
from maskrcnn_benchmark.data.formats.content import REFUSED, Content, collect_refused
from maskrcnn_benchmark.data.suggest import as_table, suggest
from maskrcnn_benchmark.engine.command_line import command_line
from maskrcnn_benchmark.engine.predictor_options import shipped_model
from maskrcnn_benchmark.utils.files import (
    check_folder,
    check_kind,
    check_other_file,
    check_picture_name,
    read_json,
    write_json,
)

MOST_SUGGESTED = 200_000  # annotations: reading more a second time would take minutes


@dataclasses.dataclass
class Source:
    """A set to check: annotations of a form ("coco" where it is read as it stands), their images, split and class names."""

    path: str
    images: str = ""
    form: str = ""
    split: str = ""
    classes: tuple[str, ...] = ()
    options: dict[str, Any] = dataclasses.field(default_factory=dict)

    def load(self) -> tuple[dict, str, Content | None]:
        """The entries in COCO's format, the folder of the images, and what a reader of another form says besides."""
        form, path = formats.locate(self.path, self.form, self.split)
        if form == "coco" and self.images and not self.classes:
            if not os.path.isdir(self.images):
                raise FileNotFoundError(f"There is no image folder {self.images!r}, which {self.path} belongs to.")
            return load(path), self.images, None
        with collect_refused() as refused:
            content = formats.read(self.path, self.form, self.images, self.split, self.classes, **self.options)
        content.check_images(self.path)
        content.notes.merge(refused)
        return content.as_coco(), content.root, content


def chosen_sets(args: argparse.Namespace) -> dict[str, Source]:
    """What to check, by name."""
    if args.source.lower().endswith((".yaml", ".yml")) and not args.config_file and is_configuration(args.source):
        args.config_file, args.source = args.source, ""
    source = args.source or args.ann_file
    if bool(source) == bool(args.config_file) or (args.source and args.ann_file):
        raise ValueError(
            "Give the annotations (SOURCE, or --ann-file) and, where they do not say it, --img-dir; or --config-file."
        )
    if source:
        chosen = Source(source, args.img_dir, args.form, args.split, options=form_options(args))
        return {os.path.basename(os.path.normpath(source)): chosen}
    cfg.merge_from_file(args.config_file)
    cfg.merge_from_list(args.opts)
    catalog, sets = dataset_catalog(cfg), {}
    for name in dict.fromkeys((*cfg.DATASETS.TRAIN, *cfg.DATASETS.TEST)):
        sets[name] = _defined(name, options(cfg).DATASETS.DEFINITIONS.get(name, {}), catalog)
    if not sets:
        raise ValueError("The configuration names no data set in DATASETS.TRAIN and DATASETS.TEST.")
    return sets


def _defined(name: str, entry: dict, catalog: Any) -> Source:
    """A data set of a configuration."""
    if "ANN_FILE" in entry and "FACTORY" not in entry:
        path, images, form, split = (str(entry.get(key, "")) for key in ("ANN_FILE", "IMG_DIR", "FORM", "SPLIT"))
        classes = entry.get("CLASSES", ())
        names = (classes,) if isinstance(classes, str) else tuple(map(str, classes))
        own = {name: entry[name.upper()] for name in OPTIONS if name.upper() in entry}
        return Source(path, images, form, split, names, own)
    values = catalog.get(name)["args"]
    if {"ann_file", "root"} <= set(values):
        return Source(values["ann_file"], values["root"], "coco")
    if {"data_dir", "split"} <= set(values):
        return Source(values["data_dir"], form="voc", split=values["split"])
    raise ValueError(f"The data set {name} is in no form that is known here; known are {', '.join(formats.FORMATS)}.")


def suggestions(content: Content) -> str:
    """The table of `mrb suggest`; "" for a set without objects."""
    config = cfg.clone()
    config.merge_from_file(shipped_model()[0])
    try:
        _, choices = suggest(content, config)
    except ValueError:
        return ""
    return "What mrb suggest would choose, on a machine without a GPU:\n" + as_table(choices)


def _is_report(path: str) -> bool:
    try:
        content = read_json(path)
    except ValueError:
        return False
    return isinstance(content, list) and all(isinstance(r, dict) and "findings" in r for r in content)


def build_parser() -> CommandParser:
    parser = KeyParser(description=__doc__)
    parser.add_argument(
        "source", nargs="?", default="", metavar="SOURCE", help="annotations: a file or folder of any form"
    )
    parser.add_argument("--ann-file", default="", metavar="FILE", help="the same")
    parser.add_argument(
        "--img-dir", default="", metavar="FOLDER", help="the images, where the annotations do not say it"
    )
    parser.add_argument("--form", default="", choices=list(formats.FORMATS), help="where it is not found by itself")
    parser.add_argument("--split", default="", metavar="NAME", help="of a source that holds several")
    add_form_options(parser)
    parser.add_config()
    parser.add_argument("--skip-images", action="store_true", help="do not decode the image files")
    parser.add_argument("--sheet", metavar="FILE", help="draw images with their annotations (of the first data set)")
    parser.add_argument("--json", metavar="FILE", help="also write the reports to this file")
    return parser


def main() -> None:
    args = build_parser().parse_args()
    with command_line():
        if args.sheet:
            check_picture_name(args.sheet, "--sheet")
        if args.json:
            check_kind(args.json, _is_report, "a report of this command", "--json")
        reports = []
        for number, (name, source) in enumerate(chosen_sets(args).items()):
            content, img_dir, read = source.load()
            reports.append(check(content, img_dir, name, not args.skip_images))
            if read is not None:
                reports[-1].add_notes(read.notes)
            print(reports[-1].as_text())
            is_readable = read is None or not any(what.endswith(REFUSED) for what in read.notes.counts)
            if is_readable and len(content.get("annotations", [])) <= MOST_SUGGESTED:
                with contextlib.suppress(ValueError, OSError):  # what is broken was said above
                    print(suggestions(read or formats.read(source.path, "coco", img_dir)))
            if args.sheet and number == 0:
                check_folder(os.path.dirname(os.path.abspath(args.sheet)), "The folder of --sheet")
                for entry in content["images"]:
                    image = file_name(entry) if isinstance(entry, dict) else None
                    if image and os.path.basename(image) == os.path.basename(args.sheet):
                        check_other_file(args.sheet, os.path.join(img_dir, image), "--sheet")
                sheet = contact_sheet(content, img_dir)
                if sheet is None or not cv2.imwrite(args.sheet, sheet):
                    raise OSError(
                        f"No sheet was written to {args.sheet}: no image can be read, or the file cannot be written."
                    )
        for sentence in tested_as_trained(cfg) if args.config_file else ():
            print(f"note: {sentence}")
        if args.json:
            write_json(args.json, json.loads(json.dumps([report.as_dict() for report in reports])))
        if any(report.problems for report in reports):
            raise SystemExit(1)
