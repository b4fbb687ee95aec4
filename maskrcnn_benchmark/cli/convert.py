"""Write annotations in another form: COCO, LVIS, YOLO, Pascal VOC, LabelMe, VIA, or a table of boxes (CSV).

    mrb convert photos/data.yaml --split train --to coco --out train.json
    mrb convert VOC2007 --to yolo --out as_yolo
    mrb convert labels/ --img-dir images/ --classes car truck --to coco --out all.json

The form of the source, which may be DOTA's or VisDrone's too, is found by looking at it. Images stay where they are. What the
other form cannot hold is listed.
"""

import os
import sys

from maskrcnn_benchmark.config.command_line import CommandParser
from maskrcnn_benchmark.data import formats
from maskrcnn_benchmark.data.formats.cli_options import add_form_options, form_options
from maskrcnn_benchmark.engine.command_line import command_line
from maskrcnn_benchmark.utils.wording import counted


def build_parser() -> CommandParser:
    parser = CommandParser(description=__doc__)
    parser.add_argument("source", metavar="SOURCE", help="a file or folder of annotations")
    parser.add_argument("--to", required=True, choices=formats.written_forms(), help="the form to write")
    parser.add_argument("--out", required=True, metavar="PLACE", help="folder, or for coco, via and csv also a file")
    parser.add_argument("--form", default="", choices=list(formats.FORMATS), help="the form of the source")
    parser.add_argument("--img-dir", default="", metavar="FOLDER", help="the images, where they do not lie as usual")
    parser.add_argument("--split", default="", metavar="NAME", help="of a source that holds several")
    parser.add_argument("--classes", nargs="+", default=(), metavar="NAME", help="names in the order of their labels")
    add_form_options(parser)
    parser.add_argument("--overwrite", action="store_true", help="replace files that are there, but never the source")
    return parser


def main() -> None:
    args = build_parser().parse_args()
    with command_line():
        content = formats.read(args.source, args.form, args.img_dir, args.split, args.classes, **form_options(args))
        if not content.images:
            raise ValueError(f"{args.source} names no image: there is nothing to write.")
        formats.check_keeps(
            content, formats.locate(args.source, args.form, args.split)[1], args.to, args.out, args.overwrite
        )
        try:
            written = formats.write(content, args.to, args.out)
        except KeyboardInterrupt:
            if os.path.isdir(args.out):
                print(
                    f"{args.out} may hold part of the set: give the command again, with --overwrite.", file=sys.stderr
                )
            raise
        for sentence in content.notes.sentences():
            print(f"note: {sentence}")
        objects = len(content.annotations) - content.unwritten
        print(
            f"Wrote {counted(len(content.images), 'image')} with {counted(objects, 'object')} of "
            f"{counted(len(content.categories), 'class', 'classes')} as {args.to}: {written}"
            f"{formats.place_of_images(content, args.to)}"
        )
