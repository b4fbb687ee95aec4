"""Draw curves of one or several runs, from their metrics.jsonl, into one picture; or follow one in the terminal."""

from maskrcnn_benchmark.config.command_line import CommandParser
from maskrcnn_benchmark.engine.command_line import command_line
from maskrcnn_benchmark.utils.files import check_picture_name
from maskrcnn_benchmark.utils.wording import counted
from maskrcnn_benchmark.visualization.curves import plot
from maskrcnn_benchmark.visualization.live import follow

PLOT_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".pdf", ".svg")  # that Matplotlib writes
DEFAULT = ("loss", r"loss_.*", "lr", r"test/.*/AP", "images_s")


def build_parser() -> CommandParser:
    parser = CommandParser(description=__doc__)
    parser.add_argument("runs", nargs="+", metavar="RUN", help="folders of runs (OUTPUT_DIR), or metrics.jsonl files")
    parser.add_argument(
        "--follow",
        action="store_true",
        help="show a run's curves in the terminal as it goes on, until it ends or Ctrl-C; without a terminal a line for each "
        "log period",
    )
    parser.add_argument("--out", default="metrics.png", metavar="FILE", help="the picture (default metrics.png)")
    parser.add_argument(
        "--metrics",
        nargs="+",
        default=list(DEFAULT),
        metavar="NAME",
        help=f"names of series or regular expressions (default {' '.join(DEFAULT)})",
    )
    parser.add_argument(
        "--smooth",
        type=float,
        default=0.9,
        help="weight of the moving average of long curves, 0 to less than 1 (default 0.9)",
    )
    return parser


def main() -> None:
    parser = build_parser()
    args = parser.parse_args()
    if not 0 <= args.smooth < 1:
        parser.error("--smooth must be at least 0 and less than 1.")
    if args.follow and len(args.runs) > 1:
        parser.error(f"--follow shows one run; got {len(args.runs)}.")
    with command_line():
        if args.follow:
            try:
                follow(args.runs[0])
            except KeyboardInterrupt:
                print()  # the ordinary end of a look
            return
        check_picture_name(args.out, "--out", PLOT_ENDINGS)
        names = plot(args.runs, args.metrics, args.out, args.smooth)
        print(f"{counted(len(names), 'curve')} of {counted(len(args.runs), 'run')}: {args.out}")
