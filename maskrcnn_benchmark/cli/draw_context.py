"""Draw what a trained model's non-local modules take from the rest of an image for one pixel: by appearance, by position, and
the sum, a row of pictures for each module."""

import os

import cv2
import numpy as np
import torch

from maskrcnn_benchmark.analysis.context import context_weights, non_local_modules
from maskrcnn_benchmark.config.command_line import CommandParser
from maskrcnn_benchmark.data.pictures import read_upright
from maskrcnn_benchmark.data.transforms import build_transforms
from maskrcnn_benchmark.engine import run
from maskrcnn_benchmark.engine.command_line import argument_parser, command_line
from maskrcnn_benchmark.engine.loading import load_detector
from maskrcnn_benchmark.utils.files import check_picture_name
from maskrcnn_benchmark.visualization import draw_weights, side_by_side


def build_parser() -> CommandParser:
    parser = argument_parser(__doc__)
    parser.add_argument("--image", required=True, metavar="FILE", help="the image")
    parser.add_argument(
        "--point",
        required=True,
        nargs=2,
        type=float,
        metavar=("X", "Y"),
        help="the pixel, in the image as it is seen",
    )
    parser.add_argument("--out", default="context.jpg", metavar="FILE", help="the picture to write (context.jpg)")
    parser.add_argument(
        "--ckpt",
        "--weights",
        metavar="FILE",
        help="weights (default: the last checkpoint in OUTPUT_DIR, or MODEL.WEIGHT)",
    )
    return parser


@torch.inference_mode()
def main() -> None:
    args = build_parser().parse_args()
    with command_line():
        check_picture_name(args.out, "--out")
        image = read_upright(args.image)
        if not all(0 <= p < size for p, size in zip(args.point, image.size, strict=True)):
            x, y = args.point
            raise ValueError(
                f"The point ({x:g}, {y:g}) is outside {args.image}, {image.width} x {image.height} pixels."
            )
        device = run.set_up(args)
        model = load_detector(run.cfg, args.ckpt or "", device, require_weights=False)
        tensor, _ = build_transforms(run.cfg, is_train=False)(image, None)
        scale = np.divide(tensor.shape[:0:-1], image.size)
        names = list(non_local_modules(model)) or ["res3"]  # without any, the error says so
        picture = np.array(image)[:, :, ::-1]
        rows = []
        for name in names:
            weights = context_weights(model, tensor.to(device), tuple(args.point * scale), name)
            panels, titles = [], []
            for kind, part in zip(weights._fields, weights, strict=True):
                limit = float(part.abs().quantile(0.995))
                panels.append(draw_weights(picture, part.cpu().numpy(), tuple(args.point), limit))
                titles.append(f"{name.removeprefix('backbone.')}: {kind}, full colour at {limit:.2g}")
            rows.append(side_by_side(panels, titles))
        folder = os.path.dirname(os.path.abspath(args.out))
        if not os.path.isdir(folder) or not cv2.imwrite(args.out, np.concatenate(rows)):
            raise OSError(f"Cannot write {os.path.abspath(args.out)}: its folder must exist and be writable.")
        print(f"Wrote {args.out}")
