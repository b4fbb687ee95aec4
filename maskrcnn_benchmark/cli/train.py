"""Train a detector and test it. On several devices: torchrun --nproc_per_node=8 -m maskrcnn_benchmark train ..."""

import logging

from maskrcnn_benchmark.config.command_line import CommandParser
from maskrcnn_benchmark.engine import run
from maskrcnn_benchmark.engine.command_line import argument_parser, command_line
from maskrcnn_benchmark.engine.periodic_test import keep_if_best
from maskrcnn_benchmark.engine.testing import check_evaluators


def build_parser() -> CommandParser:
    parser = argument_parser(__doc__)
    parser.add_argument("--skip-test", action="store_true", help="do not test the trained model")
    return parser


def main() -> None:
    args = build_parser().parse_args()
    with command_line():
        device = run.set_up(args, "TRAIN")
        if not args.skip_test and not run.cfg.DATASETS.TEST:
            logging.getLogger("maskrcnn_benchmark").warning(
                "DATASETS.TEST names no data set: this training ends without a test."
            )
        if not args.skip_test or run.cfg.SOLVER.TEST_PERIOD > 0:
            check_evaluators(run.cfg)
        model = run.train(device)
        if not args.skip_test and run.cfg.DATASETS.TEST:
            keep_if_best(run.cfg, run.test(model, device))
            run.report_training(run.cfg)  # again, with the results of the test
