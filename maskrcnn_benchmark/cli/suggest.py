"""Write a configuration for a data set: input sizes or tiles, anchors, limits and a schedule that suit its objects.

    mrb suggest cars/data.yaml --out cars.yaml    # to train on its train and test on its val
    mrb suggest train.txt --test val.txt --out cars.yaml
    mrb suggest coco/train.json --img-dir coco/train --test coco/val.json --test-img-dir coco/val --base BASE.yaml --out my.yaml

Annotations may be in any form that `mrb convert` reads. Each choice is printed with its reason, and stands in the file with it.
"""

import argparse
import os
import re
import shlex
from typing import Any

import torch

from maskrcnn_benchmark.config import cfg
from maskrcnn_benchmark.config.command_line import CommandParser, is_configuration
from maskrcnn_benchmark.data import formats
from maskrcnn_benchmark.data.check_annotations import other_meaning
from maskrcnn_benchmark.data.check_report import KINDS
from maskrcnn_benchmark.data.formats.cli_options import add_form_options, form_options
from maskrcnn_benchmark.data.set_facts import Facts
from maskrcnn_benchmark.data.suggest import Choice, as_table, suggest
from maskrcnn_benchmark.engine.command_line import command_line
from maskrcnn_benchmark.engine.predictor_options import shipped_model
from maskrcnn_benchmark.utils.files import check_kind, write_atomically
from maskrcnn_benchmark.utils.shipped import find_config, name_of
from maskrcnn_benchmark.utils.wording import counted

TESTED = ("val", "valid", "validation", "test")  # names of splits, the first that is there
BASE_OF_GPUS = "enl/faster_rcnn_R_50_FPN_3enl_td"  # without a GPU, the model that comes with the package


def definition(args: argparse.Namespace, test: bool, classes: tuple[str, ...]) -> dict[str, Any]:
    """An entry of DATASETS.DEFINITIONS; the classes, in the order of training, where the form leaves that to the files."""
    source = args.test or args.source if test else args.source
    images = (args.test_img_dir or (args.img_dir if source == args.source else "")) if test else args.img_dir
    split = (args.test_split if test else args.split) or ""
    own = {name.upper(): value for name, value in form_options(args).items()}
    named = {"ANN_FILE": source, "IMG_DIR": images, "FORM": args.form, "SPLIT": split}
    paths = ("ANN_FILE", "IMG_DIR")
    entry: dict[str, Any] = {k: os.path.abspath(v) if k in paths else v for k, v in named.items() if v}
    if not (source.lower().endswith(".json") and images and not args.form):
        entry["CLASSES"] = list(classes)
    return entry | own


def choose_splits(args: argparse.Namespace) -> str:
    """Take the source's own train and val (or test) where the command line names none: `args` is changed. Returns what is to be
    said of it."""
    known = formats.splits(args.source, args.form)
    if "train" in known and not args.split:
        args.split = "train"
    others = [name for name in TESTED if name in known and name != args.split]
    if args.no_test or args.test or args.test_split or not args.split or not others:
        return ""
    args.test_split = others[0]
    return f"trained on {args.split!r}, tested on {others[0]!r} (--split, --test-split; --no-test for no test)"


def as_yaml(base: str, sets: dict[str, dict], train: str, test: str, facts: Facts, choices: list[Choice]) -> str:
    """The file, a key a line with its reason."""
    lines = [
        f"# From {_contents(facts)}.",
        f'_BASE_: "{name_of(base)}"',
        "DATASETS:",
        "  DEFINITIONS:",
        *(
            f"    {name}: {{{', '.join(f'{k}: {_quoted(v)}' for k, v in entry.items())}}}"
            for name, entry in sets.items()
        ),
        f'  TRAIN: ("{train}",)',
        *([f'  TEST: ("{test}",)'] if test else ["  TEST: ()"]),
    ]
    opened: list[str] = []
    for choice in sorted(choices, key=lambda c: c.key):
        *path, name = choice.key.split(".")
        shared = 0
        while shared < min(len(path), len(opened)) and path[shared] == opened[shared]:
            shared += 1
        lines += [f"{'  ' * depth}{path[depth]}:" for depth in range(shared, len(path))]
        opened = path
        lines.append(f"{'  ' * len(path)}{name}: {_quoted(choice.value)}  # {choice.reason}")
    return "\n".join(lines) + "\n"


def _shared(content: formats.Content, tested: formats.Content) -> str:
    """What is said of images that are trained and tested on."""
    paths = [{os.path.join(c.root, image["file_name"]) for image in c.images} for c in (content, tested)]
    count = len(paths[0] & paths[1])
    return f"{counted(count, 'image is', 'images are')} trained on as well as tested on" if count else ""


def _contents(facts: Facts) -> str:
    classes = counted(facts.classes, "class", "classes")
    return f"{counted(facts.images, 'image')}, {counted(facts.objects, 'object')} of {classes}"


def _quoted(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_quoted, value))}]"
    if isinstance(value, tuple):
        return f"({', '.join(map(_quoted, value))}{',' if len(value) == 1 else ''})"
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"' if isinstance(value, str) else str(value)


def _start(base: str, weights: str, on_gpu: bool) -> tuple[str, str]:
    """The configuration to refine and the weights to start from, "" for those that the configuration names."""
    if weights and not os.path.isfile(weights):
        raise FileNotFoundError(
            f"There is no file of weights {weights!r} (--weights; current directory: {os.getcwd()})."
        )
    if not base and on_gpu:
        base = BASE_OF_GPUS
    elif not base:
        base, shipped = shipped_model()
        weights = weights or shipped
    return find_config(base), name_of(weights) if weights else ""


def build_parser() -> CommandParser:
    parser = CommandParser(description=__doc__)
    parser.add_argument("source", metavar="SOURCE", help="annotations to train on: a file or folder of any form")
    parser.add_argument("--img-dir", default="", metavar="FOLDER", help="the images, where they do not lie as usual")
    parser.add_argument(
        "--form", default="", choices=list(formats.FORMATS), help="the form, where it is not found by itself"
    )
    parser.add_argument("--split", default="", metavar="NAME", help="of a source that holds several")
    add_form_options(parser)
    parser.add_argument("--test", default="", metavar="SOURCE", help="annotations to test on")
    parser.add_argument("--test-img-dir", default="", metavar="FOLDER", help="their images")
    parser.add_argument(
        "--test-split",
        default="",
        metavar="NAME",
        help="their split, also of SOURCE itself (default: its val, or test)",
    )
    parser.add_argument("--no-test", action="store_true", help="leave a val or test of SOURCE aside")
    parser.add_argument(
        "--base",
        default="",
        metavar="FILE",
        help="the configuration to refine (default: for a GPU an R-50 with ENL, else the small model of the package)",
    )
    parser.add_argument(
        "--weights",
        default="",
        metavar="FILE",
        help="to start from (default: the base's)",
    )
    parser.add_argument("--out", required=True, metavar="FILE", help="the YAML file to write")
    return parser


def main() -> None:
    args = build_parser().parse_args()
    with command_line():
        check_kind(args.out, is_configuration, "a configuration", "--out")
        on_gpu = torch.cuda.is_available()
        base, weights = _start(args.base, args.weights, on_gpu)
        config = cfg.clone()
        config.merge_from_file(base)
        chosen = choose_splits(args)
        own = form_options(args)
        content = formats.read(args.source, args.form, args.img_dir, args.split, **own)
        content.check_images(args.source)
        meaning = other_meaning(content.annotations, {image["id"]: image for image in content.images})
        if meaning is not None:
            content.notes.add(KINDS[meaning][1], str(content.annotations[0]["bbox"]))
        memory = torch.cuda.get_device_properties(0).total_memory / 2**30 if on_gpu else None
        facts, choices = suggest(content, config, memory, weights)
        name = re.sub(r"[^\w.-]+", "_", os.path.splitext(os.path.basename(args.out))[0]).strip("_") or "own"
        classes = tuple(content.names().values())
        sets = {f"{name}_train": definition(args, False, classes)}
        if args.test or args.test_split:
            entry = definition(args, True, classes)
            try:
                tested = formats.read(
                    entry["ANN_FILE"], args.form, entry.get("IMG_DIR", ""), args.test_split, classes, **own
                )
            except (ValueError, OSError) as error:
                if not chosen:
                    raise
                chosen = f"there is no test, as the split {args.test_split!r} cannot be read: {error}"
            else:
                sets[f"{name}_test"] = entry
                chosen = "; ".join(filter(None, (chosen, _shared(content, tested))))
        elif not args.no_test:
            chosen = "no set to test on (--test, --test-split): a training will end without a test"
        names = [*sets, ""]
        text = as_yaml(base, sets, names[0], names[1], facts, choices)
        check = cfg.clone()
        os.makedirs(os.path.dirname(os.path.abspath(args.out)), exist_ok=True)
        write_atomically(args.out, lambda f: f.write(text.encode()))
        check.merge_from_file(args.out)
        for sentence in (chosen, *content.notes.sentences()) if chosen else content.notes.sentences():
            print(f"note: {sentence}")
        print(f"{_contents(facts)}, at most {facts.densest} in an image\n")
        print(as_table(choices))
        print(f"\nWrote {args.out}: mrb train {shlex.quote(args.out)} OUTPUT_DIR runs/{name}")
