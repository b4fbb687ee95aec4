"""The commands of `mrb`, and the choice of one.

Other packages add commands by an entry point of the group `maskrcnn_benchmark.commands`: its name is the command, its value a
module with `build_parser()` and `main()`, whose docstring's first line is the summary.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.metadata
import importlib.util
import sys
from pathlib import Path
from types import ModuleType

from maskrcnn_benchmark import __version__

# A command of two words is in the module of both, joined by an underscore; a module is imported when it is called.
GROUPS = {
    "To begin with": {
        "demo": "detect objects in an image that comes with the package",
        "env": "print the versions that a bug report needs",
        "completion": "print a script by which a shell completes commands and options",
    },
    "Data": {
        "check": "check data sets: counts and sizes, and what is broken in them",
        "suggest": "write a configuration that suits a data set",
        "convert": "write annotations in another form: COCO, YOLO, VOC, LabelMe, VIA, CSV",
        "convert cityscapes": "the same of Cityscapes' folders",
        "subset": "write a small annotation file, for a trial run",
    },
    "Training and testing": {
        "train": "train a detector and test it",
        "test": "test a trained detector",
        "plot": "draw the curves of trainings, or follow one in the terminal",
        "launch": "torchrun whose exit status tells a run that was stopped from one that failed",
        "analyze errors": "say where detections go wrong: kinds of error by size, curves, the worst as crops",
        "analyze": "parameters, FLOPs, memory and latency of a detector",
        "draw detections": "draw detections beside the annotations",
        "draw context": "draw what non-local modules take from the rest of an image",
    },
    "Using a detector": {
        "predict": "detect objects in images, folders of them, videos and streams",
        "web": "a page in the browser that detects in images and in what a camera sees",
        "webcam": "detect in what a camera, a video file or a stream shows",
        "export": "write a detector as ONNX, as a torch.export program, or as a compiled library",
        "publish": "make a checkpoint small enough to give away",
        "trim": "take the class-dependent layers out of weights, for fine-tuning",
        "port": "bring a fork of maskrcnn-benchmark over to this package",
    },
}
COMMANDS = {name: summary for group in GROUPS.values() for name, summary in group.items()}
ENTRY_POINTS = "maskrcnn_benchmark.commands"
USAGE_ERROR = 2


def plugins() -> dict[str, str]:
    """The modules of commands that other packages add, by name; one of ours stays ours."""
    found = {entry.name: entry.value for entry in importlib.metadata.entry_points(group=ENTRY_POINTS)}
    return {name: module for name, module in sorted(found.items()) if name not in COMMANDS}


def _groups() -> dict[str, dict[str, str]]:
    """All commands by what they are for, and those of entry points by the package that adds them."""
    groups = dict(GROUPS)
    for name, module in plugins().items():
        title = f"Added by {module.partition('.')[0]}"
        groups[title] = {**groups.get(title, {}), name: _summary(module)}
    return groups


def load(name: str) -> ModuleType:
    """The module of a command."""
    module = plugins().get(name)
    return importlib.import_module(module or f"maskrcnn_benchmark.cli.{name.replace(' ', '_')}")


def _summary(module: str) -> str:
    """The first line of a module's docstring, read without importing it, which takes seconds."""
    try:
        spec = importlib.util.find_spec(module)
        text = ast.get_docstring(ast.parse(Path(spec.origin).read_text(encoding="utf-8")))  # type: ignore[union-attr, arg-type]
    except (ImportError, AttributeError, OSError, TypeError, SyntaxError):
        return f"of {module}"
    line = (text or f"of {module}").partition("\n")[0].rstrip(".")
    return line[:1].lower() + line[1:]


def help_text() -> str:
    """All commands, a line each."""
    groups = _groups()
    width = max(len(name) for group in groups.values() for name in group)
    lines = ["Usage: mrb COMMAND [OPTIONS]"]
    for title, group in groups.items():
        lines += ["", f"{title}:", *(f"  {name:{width}}  {summary}" for name, summary in group.items())]
    return "\n".join(
        (
            *lines,
            "\nmrb COMMAND --help tells a command's options. CONFIG is a YAML file, or a configuration that comes with the",
            "package (enl/faster_rcnn_R_50_FPN_3enl_td). On several devices:",
            "torchrun --nproc_per_node=8 -m maskrcnn_benchmark COMMAND [OPTIONS]",
            "Exit status: 0 all went well, 1 an error that a sentence describes, 2 a wrong command or option, 130 interrupted.",
        )
    )


def find(words: list[str]) -> tuple[str, list[str]]:
    """The command that a command line names, and its arguments.

    Raises:
        ValueError: there is none of that name; the message names the nearest ones.
    """
    known = [*COMMANDS, *plugins()]
    for length in (2, 1):
        name = " ".join(words[:length])
        if name in known:
            return name, words[length:]
    below = [name for name in known if name.startswith(f"{words[0]} ")]
    near = below or difflib.get_close_matches(" ".join(words[:2]), known) or difflib.get_close_matches(words[0], known)
    given = f"there is no command {words[0]!r}"
    if below:
        second = words[1:] and not words[1].startswith("-")
        given = f"`mrb {words[0]}` has no {words[1]!r}" if second else f"`mrb {words[0]}` wants a second word"
    hint = f"; did you mean {' or '.join(f'`mrb {name}`' for name in near)}?" if near else ";"
    raise ValueError(f"{given}{hint} `mrb --help` lists all commands.")


def main(words: list[str] | None = None) -> int:
    """Run a command line (by default the program's own); returns the exit status."""
    words = sys.argv[1:] if words is None else list(words)
    if not words or words[0] in ("-h", "--help", "help"):
        print(help_text())
        return 0 if words else USAGE_ERROR
    if words[0] == "--version":
        print(f"maskrcnn_benchmark {__version__}")
        return 0
    try:
        name, arguments = find(words)
    except ValueError as error:
        print(f"error: {error}", file=sys.stderr)
        return USAGE_ERROR
    sys.argv = [f"mrb {name}", *arguments]  # parsers take their name from it
    try:
        return load(name).main() or 0
    except KeyboardInterrupt:  # while the libraries are still loaded; from then on commands see to it themselves
        print("Interrupted.", file=sys.stderr)
        return 130
