"""Take out of pre-trained weights the layers that depend on the number of classes, to fine-tune on other classes."""

import os
import re

import torch

from maskrcnn_benchmark.checkpoint.weights import is_checkpoint, load_weights
from maskrcnn_benchmark.config import cfg
from maskrcnn_benchmark.config.command_line import CommandParser
from maskrcnn_benchmark.engine.command_line import command_line
from maskrcnn_benchmark.utils.files import check_kind, check_other_file, write_atomically
from maskrcnn_benchmark.utils.wording import counted

CLASS_DEPENDENT = re.compile(r"(.*\.)?predictor\.(cls_score|bbox_pred|mask_fcn_logits)\.(weight|bias)")


def build_parser() -> CommandParser:
    parser = CommandParser(description=__doc__)
    parser.add_argument(
        "--pretrained_path",
        "--pretrained-path",
        required=True,
        metavar="WEIGHTS",
        help="what MODEL.WEIGHT may name: a .pkl or .pth file, a URL, catalog://..., torchvision://...",
    )
    parser.add_argument("--save_path", "--save-path", required=True, metavar="FILE", help=".pth file to write")
    parser.add_argument("--cfg", default="", metavar="FILE", help="configuration of the model the weights are for")
    return parser


def main() -> None:
    args = build_parser().parse_args()
    with command_line():
        config = cfg.clone()
        if args.cfg:
            config.merge_from_file(args.cfg)
        weights = load_weights(config, os.path.expanduser(args.pretrained_path))["model"]
        kept = {name: value for name, value in weights.items() if not CLASS_DEPENDENT.fullmatch(name)}
        removed = [name for name in weights if name not in kept]
        if not removed:
            raise ValueError(f"{args.pretrained_path} holds no layer that depends on the number of classes.")
        check_other_file(args.save_path, os.path.expanduser(args.pretrained_path), "--save_path")
        check_kind(args.save_path, is_checkpoint, "a checkpoint", "--save_path")
        os.makedirs(os.path.dirname(os.path.abspath(args.save_path)), exist_ok=True)
        write_atomically(args.save_path, lambda f: torch.save({"model": kept}, f))
        print(f"Wrote {counted(len(kept), 'weight')} to {args.save_path}, without {', '.join(removed)}")
