"""Reproduce a table of "Efficient Coarse-to-Fine Non-Local Module for the Detection of Small Objects" (arXiv 1811.12152)."""

import argparse
import os
from typing import Any

import torch

from maskrcnn_benchmark.analysis import sizes, table3
from maskrcnn_benchmark.engine.run import command_line

CONFIGS = os.path.join(os.path.dirname(__file__), "..", "configs", "enl")


def add_table3(commands: Any) -> None:
    parser = commands.add_parser("table3", help="parameters, GFLOPs and memory", description=table3.__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    sizes.add_size_arguments(parser)
    parser.add_argument("--out", metavar="DIR", help="folder for table3.md and table3.csv (default runs/table3)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="memory needs a GPU")
    parser.set_defaults(run=run_table3, out="runs/table3")


def run_table3(args: argparse.Namespace) -> None:
    images, described = sizes.chosen_sizes(args)
    device = torch.device(args.device)
    rows = table3.table3(CONFIGS, images, device)
    markdown = table3.as_markdown(rows, described, device)
    table3.write(args.out, markdown, table3.as_csv(rows))
    print(f"{markdown}\nWritten to {args.out}: table3.md, table3.csv")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    commands = parser.add_subparsers(title="tables", required=True, metavar="TABLE")
    add_table3(commands)
    args = parser.parse_args()
    with command_line():
        args.run(args)


if __name__ == "__main__":
    main()
