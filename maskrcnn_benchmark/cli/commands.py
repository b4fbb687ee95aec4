"""The commands of `mrb`, and the choice of one."""

from __future__ import annotations

import difflib
import importlib
import sys

from maskrcnn_benchmark import __version__

# A command of two words is in the module of both, joined by an underscore; a module is imported when it is called.
COMMANDS = {
    "train": "train a detector and test it",
    "test": "test a trained detector",
    "predict": "detect objects in images, folders of them, videos and streams",
    "web": "a page in the browser that detects in images and in what a camera sees",
    "webcam": "detect in what a camera, a video file or a stream shows",
    "check": "check data sets: counts and sizes, and what is broken in them",
    "suggest": "write a configuration that suits a data set",
    "subset": "write a small annotation file, for a trial run",
    "convert": "write annotations in another form: COCO, YOLO, VOC, LabelMe, VIA, CSV",
    "convert cityscapes": "the same of Cityscapes' folders",
    "draw detections": "draw detections beside the annotations",
    "draw context": "draw what non-local modules take from the rest of an image",
    "plot": "draw the curves of trainings",
    "analyze errors": "say where detections go wrong: kinds of error by size, curves, the worst as crops",
    "analyze": "parameters, FLOPs, memory and latency of a detector",
    "export": "write a detector as ONNX, as a torch.export program, or as a compiled library",
    "publish": "make a checkpoint small enough to give away",
    "trim": "take the class-dependent layers out of weights, for fine-tuning",
    "launch": "torchrun whose exit status tells a run that was stopped from one that failed",
    "env": "print the versions that a bug report needs",
    "port": "bring a fork of maskrcnn-benchmark over to this package",
}
USAGE_ERROR = 2


def help_text() -> str:
    """All commands, a line each."""
    width = max(map(len, COMMANDS))
    lines = [f"  {name:{width}}  {summary}" for name, summary in COMMANDS.items()]
    return "\n".join(
        (
            "Usage: mrb COMMAND [OPTIONS]\n",
            *lines,
            "\nmrb COMMAND --help tells a command's options. On several devices:",
            "torchrun --nproc_per_node=8 -m maskrcnn_benchmark COMMAND [OPTIONS]",
            "Exit status: 0 all went well, 1 an error that a sentence describes, 2 a wrong command or option, 130 interrupted.",
        )
    )


def find(words: list[str]) -> tuple[str, list[str]]:
    """The command that a command line names, and its arguments.

    Raises:
        ValueError: there is none of that name; the message names the nearest ones.
    """
    for length in (2, 1):
        name = " ".join(words[:length])
        if name in COMMANDS:
            return name, words[length:]
    below = [name for name in COMMANDS if name.startswith(f"{words[0]} ")]
    near = (
        below
        or difflib.get_close_matches(" ".join(words[:2]), COMMANDS)
        or difflib.get_close_matches(words[0], COMMANDS)
    )
    given = f"`mrb {words[0]}` wants a second word" if below else f"there is no command {words[0]!r}"
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
    return importlib.import_module(f"maskrcnn_benchmark.cli.{name.replace(' ', '_')}").main() or 0
