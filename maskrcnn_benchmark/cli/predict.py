"""Detect objects in pictures, folders of them, videos and streams. Writes drawn pictures and videos and, in COCO's formats,
predictions.json and images.json; as annotations of other programs with --format.

    mrb predict --input photos/ 'more/*.jpg' clip.mp4 http://camera/stream --out found
    mrb predict --config-file FILE --input photos/ --out found OUTPUT_DIR runs/mine
    mrb predict --input photos/ --format yolo coco --out found
    torchrun --nproc_per_node=8 -m maskrcnn_benchmark predict --config-file FILE --input archive/ --out found --no-drawing

Over several processes, on several machines with a common disk too, the inputs are shared out and the results are the same. A run
that was stopped or killed goes on where it was when it is started again.
"""

import os
import sys

from maskrcnn_benchmark.config.command_line import CommandParser
from maskrcnn_benchmark.engine.command_line import command_line
from maskrcnn_benchmark.engine.predict_files import AnnotatedInputs, find_inputs, predict_files
from maskrcnn_benchmark.engine.prediction_forms import FORMS, write_forms
from maskrcnn_benchmark.engine.prediction_results import Results
from maskrcnn_benchmark.engine.predictor_options import make_predictor, predictor_parser
from maskrcnn_benchmark.utils import distributed
from maskrcnn_benchmark.utils.files import check_not_replaced
from maskrcnn_benchmark.utils.logger import setup_logger
from maskrcnn_benchmark.utils.wording import counted

LONGEST_RUN = 365 * 86400  # seconds that a process waits for the others: one may have much more to do


def build_parser() -> CommandParser:
    parser = predictor_parser(__doc__)
    parser.add_argument("--input", nargs="+", required=True, metavar="NAME", help="files, folders, patterns, addresses")
    parser.add_argument("--out", required=True, metavar="FOLDER", help="folder for the results")
    parser.add_argument(
        "--ann-file",
        metavar="FILE",
        help="annotations in COCO format: image ids and which way up images are come from it; for an evaluation "
        "(mrb analyze errors) let low scores through, --threshold 0.01",
    )
    parser.add_argument("--frames", type=int, metavar="N", help="only the first N frames of each video or stream")
    parser.add_argument("--no-drawing", action="store_true", help="write the JSON files alone")
    parser.add_argument(
        "--format",
        nargs="+",
        default=(),
        choices=FORMS,
        help="write what was found as annotations too, in the folder OUT/FORMAT; several are possible",
    )
    return parser


def main() -> None:
    args = build_parser().parse_args()
    with command_line():
        if args.frames is not None and args.frames < 1:
            raise ValueError(f"--frames must be 1 or more; got {args.frames}.")
        distributed.init_from_environment("cpu", timeout_s=LONGEST_RUN)
        distributed.take_gpu()
        setup_logger("maskrcnn_benchmark", "", distributed.get_rank())
        inputs = find_inputs(args.input, args.out)
        if os.path.exists(args.out) and not os.path.isdir(args.out):
            raise NotADirectoryError(f"--out {args.out} is a file; name a folder.")
        if not args.no_drawing:
            check_not_replaced(args.out, inputs, "--out")
        annotated = AnnotatedInputs(args.ann_file, inputs) if args.ann_file else None
        predictor = make_predictor(
            args, threshold=args.threshold, classes=args.classes, top_k=args.top_k, batch_size=args.batch_size
        )
        if annotated is not None:
            predictor.categories = predictor.categories.with_ids_of(annotated.categories)
        settings = {"frames": args.frames, "annotations": args.ann_file}
        with Results(args.out, predictor, inputs, annotated, not args.no_drawing, settings) as results:
            if len(results.waiting) < len(inputs) and distributed.is_main_process():
                print(f"{counted(len(inputs) - len(results.waiting), 'input is', 'inputs are')} done already.")
            predict_files(predictor, results, args.frames)
        if not distributed.is_main_process():
            return
        for form, (written, notes) in write_forms(args.out, list(dict.fromkeys(args.format))).items():
            print(f"As {form}: {written}")
            for sentence in notes:
                print(f"note: {sentence}")
        print(f"{counted(results.detections, 'detection')} in {counted(len(results.images), 'image')}: {args.out}")
        if results.failures:
            count = f"{len(results.failures):,} of {counted(len(inputs), 'input')}"
            print(f"error: {count} could not be used:", file=sys.stderr)
            for failure in results.failures:
                print(f"  {failure}", file=sys.stderr)
            raise SystemExit(1)
