"""What documents name exists: links, commands with their options, configurations, keys, targets of make."""

from __future__ import annotations

import contextlib
import functools
import inspect
import io
import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path
from unittest import mock

import pytest

import command_line_page
import repository_links
from maskrcnn_benchmark.cli.commands import find
from maskrcnn_benchmark.config import cfg as defaults
from maskrcnn_benchmark.modeling.backbone.fpn import FPN
from maskrcnn_benchmark.modeling.box_losses import BoxLosses
from maskrcnn_benchmark.modeling.poolers import Pooler
from maskrcnn_benchmark.modeling.roi_heads.box_head.inference import PostProcessor
from tests.docs.blocks import READ, ROOT, RUN, blocks_of

DOCUMENTS = sorted([*RUN, *READ])
START = re.compile(r"^(?:\S+=\S+ )*(mrb|python|torchrun|make) ")
# Programs with commands that have options of their own.
SUBCOMMANDS = {
    "benchmarks/bench_small_objects.py": ("table", "mosaic"),
    "benchmarks/bench_tiles.py": ("merge", "network"),
    "mrb reproduce": ("all", "finetune", "relations", "table1", "table2", "table3"),
}
KEY = re.compile(r"[A-Z][A-Z0-9_]*(\.[A-Z0-9_]+)*")


def commands(text: str) -> list[list[str]]:
    """Of blocks, fenced or indented, and of code marks: the words of what begins with mrb, python, torchrun or make."""
    shell = "".join(block.text for block in blocks_of(text) if block.language == "shell").replace("\\\n", " ")
    rest = re.sub(r"^ *```.*?^ *```$", "", text, flags=re.MULTILINE | re.DOTALL).replace("\\\n", " ")
    lines = [line.strip() for line in (*shell.splitlines(), *(x for x in rest.splitlines() if x.startswith("    ")))]
    lines += [
        code for line in rest.splitlines() if not line.startswith("    ") for code in re.findall(r"`([^`]+)`", line)
    ]
    return [shlex.split(line, comments=True) for line in lines if START.match(line)]


def program_of(words: list[str]) -> tuple[str, list[str]] | None:
    """The program that a command line runs and its arguments: a command of `mrb`, or a file of this checkout."""
    if "pytest" in words:
        return None
    words = words[next(i for i, word in enumerate(words) if "=" not in word) :]
    if words[0] == "mrb":
        words = words[1:]
        if words[:1] == ["launch"]:
            words = words[words.index("train") if "train" in words else len(words) :]
        if not words or words[0].startswith("-"):
            return None
        name, arguments = find(words)
        return f"mrb {name}", arguments
    for i, word in enumerate(words):
        if word == "maskrcnn_benchmark" and words[i - 1] == "-m" and words[i + 1 :] and words[i + 1] != "COMMAND":
            return program_of(["mrb", *words[i + 1 :]])
        if word.endswith(".py") and "/" in word and word != "tools/launch.py":
            command = re.match(r'"""`mrb ([a-z ]+)`:', (ROOT / word).read_text())  # a thin call of one
            return (f"mrb {command[1]}" if command else word), words[i + 1 :]
    return None


@functools.cache
def help_of(program: str, command: str | None) -> str:
    """What a program says of itself, or a command of it, with --help."""
    if program.startswith("mrb "):
        return command_line_page.help_of(f"{program.removeprefix('mrb ')} {command or ''}".strip())
    printed = io.StringIO()
    words = [program, *([command] if command else []), "--help"]
    with (
        mock.patch.object(sys, "argv", words),
        mock.patch.object(sys, "path", [str((ROOT / program).parent), *sys.path]),
    ):
        with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
            runpy.run_path(str(ROOT / program), run_name="__main__")
    assert "usage:" in printed.getvalue(), program
    return printed.getvalue()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document):
    text = (ROOT / document).read_text()
    for _, link, anchor in repository_links.LINK.findall(text):
        target = (ROOT / document).parent / link
        assert target.exists(), link
        if anchor and target.suffix == ".md":
            assert anchor[1:] in anchors(target), f"{link}{anchor}"


def anchors(document: Path) -> set[str]:
    """Of the headings, as the site and GitHub make them, and of configuration keys."""
    headings = re.findall(r"^#+ (.+)$", document.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_are_understood(document):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for words in commands((ROOT / document).read_text()):
        if words[0] == "make":
            assert {w for w in words[1:] if "=" not in w} <= targets, words
            continue
        found = program_of(words)
        if found is None:
            continue
        program, arguments = found
        text = help_of(program, None)
        command = next((word for word in arguments if word in SUBCOMMANDS.get(program, ())), None)
        if command:
            text += help_of(program, command)
        for word in arguments:
            if word.startswith("--"):
                assert word.split("=")[0] in text, (program, word)
            elif word.startswith("configs/"):
                assert (ROOT / word).is_file(), word
        pairs = zip(arguments, arguments[1:], strict=False)
        keys = [(key, value) for key, value in pairs if KEY.fullmatch(key) and ("." in key or key in defaults)]
        defaults.clone().merge_from_list([word for pair in keys for word in pair])


def test_commands_are_found():
    text = "```shell\nmrb train --x \\\n  A.B c\n```\n\nSee `python tools/y.py`.\n\n    make demo\n"
    assert commands(text) == [["mrb", "train", "--x", "A.B", "c"], ["make", "demo"], ["python", "tools/y.py"]]
    assert program_of(["python", "tools/train_net.py", "--skip-test"]) == ("mrb train", ["--skip-test"])
    assert program_of(["torchrun", "-m", "maskrcnn_benchmark", "test", "X"]) == ("mrb test", ["X"])


@pytest.mark.parametrize("kind", [BoxLosses, FPN, Pooler, PostProcessor])
def test_arguments_are_those_of_the_class(kind):
    """In CONTRIBUTING.md, where an extension is told what it can be made of."""
    (written,) = re.findall(rf"`{kind.__name__}\(([^)`]*)\)`", (ROOT / "CONTRIBUTING.md").read_text())
    assert written.split(", ") == list(inspect.signature(kind).parameters)


def test_the_import_of_the_generated_scenes():
    """As REPRODUCING.md has it, which is all that programs outside the project need."""
    text = (ROOT / "projects" / "enl_paper" / "REPRODUCING.md").read_text()
    (block,) = [block for block in blocks_of(text) if block.language == "python"]
    words = [sys.executable, "-c", block.text + "print(image.shape, len(annotations))"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and re.match(r"\(\d+, \d+, 3\) [1-9]", done.stdout), done.stderr
