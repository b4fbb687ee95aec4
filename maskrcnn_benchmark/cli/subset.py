"""Write a small COCO-format annotation file: the first images, by id, of a larger one. Good for a trial run."""

import os

from maskrcnn_benchmark.config.command_line import CommandParser
from maskrcnn_benchmark.data.datasets.coco_tree import load_coco
from maskrcnn_benchmark.engine.command_line import command_line
from maskrcnn_benchmark.utils.files import check_other_file, write_json
from maskrcnn_benchmark.utils.wording import counted


def build_parser() -> CommandParser:
    parser = CommandParser(description=__doc__)
    parser.add_argument("--ann-file", required=True, help="annotations in COCO format")
    parser.add_argument("--out", required=True, help="file to write")
    parser.add_argument("--count", type=int, default=8, help="number of images (default 8)")
    parser.add_argument(
        "--min-objects", type=int, default=1, help="objects, crowds aside, that an image has (default 1)"
    )
    return parser


def main() -> None:
    args = build_parser().parse_args()
    with command_line():
        if args.count < 1:
            raise ValueError(f"--count must be 1 or more; got {args.count}.")
        check_other_file(args.out, args.ann_file, "--out")
        coco = load_coco(args.ann_file)
        objects = {i: sum(not a.get("iscrowd", 0) for a in coco.imgToAnns.get(i, [])) for i in coco.imgs}
        ids = [i for i in sorted(coco.imgs) if objects[i] >= args.min_objects][: args.count]
        if not ids:
            raise ValueError(f"No image of {args.ann_file} has {counted(args.min_objects, 'object')}.")
        content = dict(coco.dataset)
        content["images"] = [coco.imgs[i] for i in ids]
        content["annotations"] = [a for i in ids for a in coco.imgToAnns.get(i, [])]
        os.makedirs(os.path.dirname(os.path.abspath(args.out)), exist_ok=True)
        write_json(args.out, content)
        print(
            f"Wrote {counted(len(ids), 'image')} with "
            f"{counted(len(content['annotations']), 'annotation')} to {args.out}: ids {ids}"
        )
