"""Detect objects in pictures, folders of them, videos and streams. Writes drawn pictures and videos and, in COCO's formats,
predictions.json and images.json.

    mrb predict --input photos/ 'more/*.jpg' clip.mp4 http://camera/stream --out found
    mrb predict --config-file FILE --input photos/ --out found OUTPUT_DIR runs/mine
"""

import argparse
import os
import sys

from maskrcnn_benchmark.engine.predict_files import AnnotatedInputs, Results, find_inputs, predict_files
from maskrcnn_benchmark.engine.predictor_options import make_predictor, predictor_parser
from maskrcnn_benchmark.engine.run import command_line
from maskrcnn_benchmark.utils.logger import setup_logger
from maskrcnn_benchmark.utils.wording import counted


def main() -> None:
    parser = predictor_parser(__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    parser.add_argument("--input", nargs="+", required=True, metavar="NAME", help="files, folders, patterns, addresses")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="folder for the results")
    parser.add_argument(
        "--ann-file",
        metavar="FILE",
        help="annotations in COCO format: image ids and which way up images are come from it",
    )
    parser.add_argument("--frames", type=int, metavar="N", help="only the first N frames of each video or stream")
    parser.add_argument("--no-drawing", action="store_true", help="write the JSON files alone")
    args = parser.parse_args()
    with command_line():
        if args.frames is not None and args.frames < 1:
            raise ValueError(f"--frames must be 1 or more; got {args.frames}.")
        inputs = find_inputs(args.input)
        if os.path.exists(args.out) and not os.path.isdir(args.out):
            raise NotADirectoryError(f"--out {args.out} is a file; name a folder.")
        setup_logger("maskrcnn_benchmark", "", 0)
        annotated = AnnotatedInputs(args.ann_file, inputs) if args.ann_file else None
        predictor = make_predictor(
            args, threshold=args.threshold, classes=args.classes, top_k=args.top_k, batch_size=args.batch_size
        )
        with Results(args.out, predictor, annotated, draw=not args.no_drawing) as results:
            failures = predict_files(predictor, inputs, results, args.frames)
        print(f"{counted(results.detections, 'detection')} in {counted(len(results.images), 'image')}: {args.out}")
        if failures:
            print(f"error: {len(failures):,} of {counted(len(inputs), 'input')} could not be used:", file=sys.stderr)
            for failure in failures:
                print(f"  {failure}", file=sys.stderr)
            raise SystemExit(1)
