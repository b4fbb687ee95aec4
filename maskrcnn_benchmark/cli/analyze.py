"""What a detector costs: parameters, FLOPs, and memory kept for training, module by module; peak memory and latency.

Images are resized as in testing. Without --size, --sizes, --ann-file or --dataset they are one of COCO's mean size.

    mrb analyze --config-file configs/enl/faster_rcnn_R_50_FPN_3enl_td.yaml --depth 4
"""

import json

import torch

from maskrcnn_benchmark.analysis import analyze, sizes
from maskrcnn_benchmark.config import cfg
from maskrcnn_benchmark.config.checks import check_config
from maskrcnn_benchmark.config.command_line import CommandParser, KeyParser
from maskrcnn_benchmark.engine.command_line import command_line
from maskrcnn_benchmark.utils.files import write_atomically
from maskrcnn_benchmark.utils.wording import counted

MOST_SIZES_PRINTED = 8


def build_parser() -> CommandParser:
    parser = KeyParser(description=__doc__)
    parser.add_config(required=True)
    sizes.add_size_arguments(parser)
    parser.add_argument(
        "--size", action="append", metavar="HxW", help="an image's size, such as 800x1120; may be repeated"
    )
    parser.add_argument("--dataset", metavar="NAME", help="a data set's images, by its name in the configuration")
    parser.add_argument("--padded", action="store_true", help="pad images to multiples of DATALOADER.SIZE_DIVISIBILITY")
    parser.add_argument("--depth", type=int, default=3, help="levels of the tree that are printed (default 3)")
    parser.add_argument(
        "--repeat", type=int, default=5, help="timed runs (default 5); 0: count by shapes, measure nothing"
    )
    parser.add_argument("--json", metavar="FILE", help="also write everything, the whole tree included, to this file")
    return parser


def main() -> None:
    args = build_parser().parse_args()
    with command_line():
        cfg.merge_from_file(args.config_file)
        cfg.merge_from_list(args.opts)
        check_config(cfg)
        cfg.freeze()
        if sum(map(bool, (args.size, args.sizes, args.ann_file, args.dataset))) > 1:
            raise ValueError("Give the images once: --size, --sizes, --ann-file or --dataset.")
        images, described = sizes.chosen_sizes(args)
        if args.size:
            images, described = [sizes.parse_size(size) for size in args.size], f"the sizes {', '.join(args.size)}"
        elif args.dataset:
            images = sizes.dataset_sizes(cfg, args.dataset)
            described = f"the {counted(len(images), 'image')} of {args.dataset}"
        seen = sizes.resized(cfg, images, args.padded)
        # Configurations ask for a GPU by default, and much of this needs none.
        device = torch.device(cfg.MODEL.DEVICE if torch.cuda.is_available() else "cpu")
        analysis = analyze(cfg, seen, device, args.repeat)

        print(f"{args.config_file}: {described}, resized{' and padded' if args.padded else ''}\n")
        print(analysis.as_text(args.depth))
        if 1 < len(analysis.flops_of_sizes) <= MOST_SIZES_PRINTED:
            print()
            for (height, width), flops in analysis.flops_of_sizes:
                print(f"{height} x {width}: {flops / 2e9:.2f} GFLOPs")
        if args.json:
            content = {"config_file": args.config_file, "images": described, **analysis.as_dict()}
            write_atomically(args.json, lambda f: f.write(json.dumps(content, indent=1).encode()))
