"""Bring a fork of maskrcnn-benchmark over to this package: OUT is the fork, running on today's PyTorch.

    mrb port FORK OUT [--check]

FORK is a checkout, a bare git directory or a folder; it is only read. OUT must not exist. Files of the fork that are equal to any
version of upstream's are this package's in OUT, the others are the fork's with dead names rewritten; OUT/PORT.md says all.
The exit status is 0 if every module that imports in the fork by itself imports in OUT (and the check passes)
and none waits for an extension of the fork's own, else 1. What needs a person is counted at the end.
"""

import argparse
import sys
from pathlib import Path

from maskrcnn_benchmark.config.command_line import CommandParser
from maskrcnn_benchmark.utils.wording import counted


def folder(text: str) -> Path:
    """A path; an empty word, as of a variable that is not set, would be the current folder."""
    if not text.strip():
        raise argparse.ArgumentTypeError("is empty: name a folder")
    return Path(text)


def build_parser() -> CommandParser:
    parser = CommandParser(description=__doc__)
    parser.add_argument("fork", metavar="FORK", type=folder, help="the fork; it is only read")
    parser.add_argument("out", metavar="OUT", type=folder, help="the folder to make")
    parser.add_argument(
        "--check", action="store_true", help="also train two iterations and test on the CPU with the fork's own tools"
    )
    return parser


def main() -> int:
    args = build_parser().parse_args()
    try:
        from maskrcnn_benchmark.porting.porting import REPORT, port
        from maskrcnn_benchmark.porting.report import left_alone, needs_person

        outcome = port(args.fork, args.out, args.check)
    except ModuleNotFoundError as error:
        if error.name != "libcst":
            raise
        print(
            "error: porting a fork needs LibCST: pip install libcst, or install the package with its extra 'port'.",
            file=sys.stderr,
        )
        return 1
    except (ValueError, OSError, ImportError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted; nothing was written.", file=sys.stderr)
        return 130
    for name, why in sorted({**outcome.broken, **outcome.unbuilt}.items()):
        print(f"does not import: {name}: {why.reason}")
    for line in outcome.check:
        print(line)
    called = sum(bool(missing.callers) for missing in outcome.native)
    if called:
        print(f"{counted(called, 'native function is', 'native functions are')} called and missing.")
    if kept := left_alone(outcome):
        print(kept)
    left = len(needs_person(outcome))
    print(f"{counted(left, 'thing needs', 'things need')} a person. See {args.out / REPORT}.")
    return int(outcome.failed)
