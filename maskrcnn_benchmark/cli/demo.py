"""Detect objects in an image that comes with the package, with the small model that comes with it: to see that all works, and
what a result looks like. Takes seconds, needs no GPU and no network.

    mrb demo
"""

import os

from maskrcnn_benchmark.config.command_line import KeyParser
from maskrcnn_benchmark.engine.command_line import command_line
from maskrcnn_benchmark.engine.predict_files import find_inputs, predict_files
from maskrcnn_benchmark.engine.prediction_results import Results
from maskrcnn_benchmark.engine.predictor import Predictor
from maskrcnn_benchmark.engine.predictor_options import shipped_model
from maskrcnn_benchmark.utils import shipped
from maskrcnn_benchmark.utils.wording import counted

NEXT = """
Next, with images of your own:
    mrb predict --input photos/ --out found     # the same on files, folders and videos
    mrb web                                     # the same as a page in the browser
    mrb suggest data.yaml --out mine.yaml       # a configuration for your labels (COCO, YOLO, VOC, LabelMe, ...)
    mrb train mine.yaml OUTPUT_DIR runs/mine    # train a detector of your own"""


def build_parser() -> KeyParser:
    parser = KeyParser(description=__doc__)
    parser.add_argument("--out", default="mrb_demo", metavar="FOLDER", help="folder for the result (default mrb_demo)")
    return parser


def main() -> None:
    args = build_parser().parse_args()
    with command_line():
        if os.path.exists(args.out) and not os.path.isdir(args.out):
            raise NotADirectoryError(f"--out {args.out} is a file; name a folder.")
        inputs = find_inputs([str(shipped.IMAGE)])
        predictor = Predictor(*shipped_model(), opts=args.opts)
        with Results(args.out, predictor, inputs, None, True, {}) as results:
            predict_files(predictor, results, None)
        drawn = os.path.join(args.out, shipped.IMAGE.name)
        print(f"{counted(results.detections, 'object')} found; the drawing: {drawn}")
        print(NEXT)
