"""Make a checkpoint small enough to give away: its weights (the averaged ones, if there are) in half precision, and the names of
its classes."""

import os

import torch

from maskrcnn_benchmark.checkpoint.context import KINDS
from maskrcnn_benchmark.checkpoint.weights import is_checkpoint, load_file
from maskrcnn_benchmark.config.command_line import CommandParser
from maskrcnn_benchmark.engine.command_line import command_line
from maskrcnn_benchmark.utils.files import check_kind, check_other_file, write_atomically
from maskrcnn_benchmark.utils.wording import counted


def build_parser() -> CommandParser:
    parser = CommandParser(description=__doc__)
    parser.add_argument("source", metavar="CHECKPOINT", help="model_final.pth of a training")
    parser.add_argument("target", metavar="FILE", help="what to write, .pth")
    parser.add_argument("--full", action="store_true", help="keep single precision")
    return parser


def main() -> None:
    args = build_parser().parse_args()
    with command_line():
        check_other_file(args.target, args.source, "FILE")
        check_kind(args.target, is_checkpoint, "a checkpoint", "FILE")
        content = load_file(args.source)
        if "model" not in content:
            raise ValueError(f"{args.source} is no checkpoint of a training: it has no 'model'.")
        weights = content.get("ema") or content["model"]
        small = {k: v if args.full or not v.is_floating_point() else v.half() for k, v in weights.items()}
        too_large = [k for k, v in small.items() if v.is_floating_point() and not v.isfinite().all()]
        if too_large:
            raise ValueError(
                f"Not a number in half precision: {', '.join(too_large[:3])}; --full keeps single precision."
            )
        kept = {key: content[key] for key in ("class_names", KINDS) if content.get(key)}
        write_atomically(args.target, lambda f: torch.save({"model": small, **kept}, f))
        print(f"Wrote {args.target}: {counted(len(small), 'tensor')}, {os.path.getsize(args.target) / 1e6:.2f} MB")
