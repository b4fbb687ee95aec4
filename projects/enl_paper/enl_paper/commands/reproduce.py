"""Reproduce the tables of the paper about ENL, and its claim on generated scenes.

The paper: "Efficient Coarse-to-Fine Non-Local Module for the Detection of Small Objects" (arXiv 1811.12152).

relations trains its models and their ablations on generated scenes in which the class or the existence of small objects depends
on the rest of the image, and measures who finds them.

table1, table2 and all train and test each row by the paper's schedule, one run after the other; runs that are done are left
out, runs that were begun go on. Each table is written to --out as Markdown, CSV and a plot.
"""

import argparse
import dataclasses
import os
import re
import shlex
import sys
from typing import Any

import torch

from enl_paper import experiment, experiment_report, finetuning, reproduction, table3, tables
from enl_paper.commands import scenes
from enl_paper.survey import survey
from maskrcnn_benchmark.analysis import sizes
from maskrcnn_benchmark.config.command_line import CommandParser
from maskrcnn_benchmark.data.categories import find_categories
from maskrcnn_benchmark.engine.command_line import command_line
from maskrcnn_benchmark.utils.files import write_text
from maskrcnn_benchmark.utils.shipped import CONFIGS


def add_accuracy(commands: Any, name: str, included: tuple[str, ...], text: str) -> None:
    parser = commands.add_parser(name, help=text, description=__doc__)
    parser.add_argument(
        "--out", default="runs/reproduce", metavar="DIR", help="folder of runs and tables (default %(default)s)"
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], metavar="SEED", help="a run for each (default 0)")
    parser.add_argument(
        "--processes", type=int, default=max(torch.cuda.device_count(), 1), help="on this machine (default: one a GPU)"
    )
    parser.add_argument(
        "--slurm", metavar="OPTIONS", help='submit each run as a job, with these options of sbatch: --slurm="--nodes=1"'
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="print all commands and what is missing, and run nothing"
    )
    parser.add_argument(
        "--scale",
        nargs=4,
        metavar=("TRAIN_IMAGES", "TRAIN_FILE", "VAL_IMAGES", "VAL_FILE"),
        help="the whole pipeline on another set in COCO format, with small models",
    )
    parser.add_argument("--iterations", type=int, default=100, help="of each run with --scale (default 100)")
    parser.add_argument("opts", nargs="*", metavar="KEY VALUE", help="change configuration keys of every run")
    parser.set_defaults(run=run_accuracy, tables=included)


def run_accuracy(args: argparse.Namespace) -> int:
    launch = reproduction.Launch(args.processes, None if args.slurm is None else shlex.split(args.slurm))
    if args.scale:
        data = reproduction.small_data(args.scale, args.iterations)
        runs = reproduction.plan_small(args.tables, os.path.abspath(args.out), args.seeds, data, args.opts)
    else:
        runs = reproduction.plan(args.tables, os.path.abspath(args.out), args.seeds, args.opts)
    found = survey(runs, launch)
    if args.dry_run:
        for run in runs:
            state = "# done: " if run.figures() is not None else ""
            print(state + shlex.join(launch.command(run)))
    for sentence in found.notes:
        print(sentence)
    for sentence in found.problems:
        print(f"missing: {sentence}")
    if args.dry_run:
        return 1 if found.problems else 0
    if found.problems:
        raise ValueError("Nothing was started: see what is missing above.")
    status = reproduction.execute(runs, launch, lambda: write_tables(args, runs))
    write_tables(args, runs)
    for table in args.tables:
        print(f"Table: {os.path.join(args.out, table)}.md, .csv, .png")
    return status


def write_tables(args: argparse.Namespace, runs: list) -> None:
    """The tables as far as their runs are done."""
    for table in args.tables:
        results = reproduction.collect(table, runs)
        about = "Percent on COCO val2017, beside the paper's figures and the difference to them."
        if args.scale:
            about = (
                f"A trial of the pipeline: small models, {args.iterations} iterations, {args.scale[3]}. The paper's figures "
                "beside them are of its models on COCO; the differences say nothing."
            )
        stem = os.path.join(args.out, table)
        write_text(stem + ".md", tables.as_markdown(table, results, about))
        write_text(stem + ".csv", tables.as_csv(table, results))
        tables.plot(table, results, stem + ".png")


def add_relations(commands: Any) -> None:
    text = "the paper's claim as a controlled experiment on generated scenes"
    parser = commands.add_parser("relations", help=text, description=experiment.__doc__)
    parser.add_argument(
        "--size", choices=list(experiment.SIZES), default="small", help="small: CPU, R-18; full: GPU, R-50"
    )
    parser.add_argument("--out", default="runs/relations", metavar="DIR", help="default %(default)s")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2], metavar="SEED", help="default 0 1 2")
    models = list(experiment.MODELS)
    eight = [model for model in models if "LA" not in model]
    parser.add_argument(
        "--models", nargs="+", default=eight, choices=models, metavar="MODEL", help="default: the eight of relations.md"
    )
    parser.add_argument("--jobs", type=int, default=1, help="runs at the same time on this machine (default 1)")
    parser.add_argument("--processes", type=int, default=max(torch.cuda.device_count(), 1), help="of each run")
    parser.add_argument("--iterations", type=int, help="of each run (default: by --size)")
    parser.add_argument("--dry-run", action="store_true", help="print all commands and run nothing")
    parser.add_argument("opts", nargs="*", metavar="KEY VALUE", help="change configuration keys of every run")
    parser.set_defaults(run=run_relations)


def run_relations(args: argparse.Namespace) -> int:
    out = os.path.abspath(args.out)
    size = experiment.resized(experiment.SIZES[args.size], args.iterations)
    start, runs = experiment.plan(args.size, size, out, args.seeds, args.opts, args.models)
    launch = reproduction.Launch(args.processes, jobs=args.jobs)
    data = experiment.data_commands(size, out)
    if args.dry_run:
        for command in (*(["mrb", "scenes", *words] for words in data), *map(launch.command, (*start, *runs))):
            print(shlex.join(command))
        return 0
    for words in data:
        status = scenes.main(words)
        if status:
            return status
    found = survey([*start, *runs], launch)
    print("\n".join(found.notes))
    if found.problems:
        raise ValueError("Nothing was started: " + " ".join(found.problems))

    def report() -> None:
        experiment_report.write(out, experiment.outcomes(runs, out), runs)

    status = reproduction.execute(start, launch, lambda: None) or reproduction.execute(runs, launch, report)
    report()
    print(f"Results: {os.path.join(args.out, 'relations')}.md, .csv, .png, curves.png")
    return status


def add_finetuning(commands: Any) -> None:
    text = "the models of relations on a data set of one's own"
    parser = commands.add_parser("finetune", help=text, description=finetuning.__doc__)
    parser.add_argument(
        "--config-file",
        required=True,
        metavar="FILE",
        help="data, starting weights and schedule, as mrb suggest writes",
    )
    parser.add_argument("--out", required=True, metavar="DIR", help="folder of runs and tables")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2, 3, 4], metavar="SEED", help="default 0 to 4")
    models = list(experiment.MODELS)
    chosen = ["baseline", "+3NL, TD", "+3ENL, TD", "+3LA, TD"]
    parser.add_argument("--models", nargs="+", default=chosen, choices=models, metavar="MODEL", help=", ".join(chosen))
    parser.add_argument(
        "--category", default="", metavar="NAME", help="figures of this category alone (default: the mean)"
    )
    parser.add_argument("--jobs", type=int, default=1, help="runs at the same time on this machine (default 1)")
    parser.add_argument("--processes", type=int, default=max(torch.cuda.device_count(), 1), help="of each run")
    parser.add_argument(
        "opts",
        nargs="*",
        metavar="KEY VALUE",
        help="change configuration keys of every run; before --seeds and --models, or after --",
    )
    parser.set_defaults(run=run_finetuning)


def run_finetuning(args: argparse.Namespace) -> int:
    out = os.path.abspath(args.out)
    runs = finetuning.plan(os.path.abspath(args.config_file), out, args.seeds, args.models, args.opts)
    name = "finetuning"
    if args.category:
        categories = find_categories(runs[0].cfg)
        (label,) = categories.labels([args.category])  # raises an error now, not after the first training
        category = categories.name(label)
        runs = [dataclasses.replace(run, category=category) for run in runs]
        name += "_" + re.sub(r"\W+", "_", category)

    def report() -> None:
        found = finetuning.figures(runs)
        about = f"Of the category {runs[0].category}. " if args.category else ""
        write_text(os.path.join(out, f"{name}.md"), about + finetuning.as_markdown(found))
        write_text(os.path.join(out, f"{name}.csv"), finetuning.as_csv(found))

    status = reproduction.execute(runs, reproduction.Launch(args.processes, jobs=args.jobs), report)
    report()
    print(f"Results: {os.path.join(args.out, name)}.md, .csv")
    return status


def add_table3(commands: Any) -> None:
    parser = commands.add_parser("table3", help="parameters, GFLOPs and memory", description=table3.__doc__)
    sizes.add_size_arguments(parser)
    parser.add_argument("--out", metavar="DIR", help="folder for table3.md and table3.csv (default runs/table3)")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", help="memory needs a GPU")
    parser.set_defaults(run=run_table3, out="runs/table3")


def run_table3(args: argparse.Namespace) -> int:
    images, described = sizes.chosen_sizes(args)
    device = torch.device(args.device)
    rows = table3.table3(str(CONFIGS / "enl"), images, device)
    markdown = table3.as_markdown(rows, described, device)
    table3.write(args.out, markdown, table3.as_csv(rows))
    print(f"{markdown}\nWritten to {args.out}: table3.md, table3.csv")
    return 0


def build_parser() -> CommandParser:
    parser = CommandParser(description=__doc__)
    commands = parser.add_subparsers(title="tables", required=True, metavar="TABLE")
    add_accuracy(commands, "table1", ("table1",), "Faster R-CNN: box AP of nine models")
    add_accuracy(commands, "table2", ("table2",), "Mask R-CNN: box and mask AP of six models")
    add_table3(commands)
    add_relations(commands)
    add_finetuning(commands)
    add_accuracy(commands, "all", ("table1", "table2"), "Tables 1 and 2, 15 models (Table 3 trains nothing: table3)")
    return parser


def main() -> None:
    args = build_parser().parse_args()
    with command_line():
        sys.exit(args.run(args))
