"""Test a trained detector. On several devices: torchrun --nproc_per_node=8 -m maskrcnn_benchmark test ..."""

from maskrcnn_benchmark.config.command_line import CommandParser
from maskrcnn_benchmark.config.node import ConfigError
from maskrcnn_benchmark.engine import run
from maskrcnn_benchmark.engine.command_line import argument_parser, command_line
from maskrcnn_benchmark.engine.loading import load_detector, optimize

NO_TEST = "DATASETS.TEST names no data set to test on; add DATASETS.TEST \"('NAME',)\" with the name of one of yours."


def build_parser() -> CommandParser:
    parser = argument_parser(__doc__)
    parser.add_argument(
        "--ckpt",
        "--weights",
        metavar="FILE",
        help="weights to test (default: the last checkpoint in OUTPUT_DIR, or MODEL.WEIGHT)",
    )
    return parser


def main() -> None:
    args = build_parser().parse_args()
    with command_line():
        device = run.set_up(args, "TEST")
        if not run.cfg.DATASETS.TEST:
            raise ConfigError(NO_TEST)
        run.test(optimize(run.cfg, load_detector(run.cfg, args.ckpt or "", device)), device)
