"""Commands in the documents: tools, options, configurations, keys exist; those of GETTING_STARTED.md are run in their order."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from maskrcnn_benchmark.config import cfg as defaults

ROOT = Path(__file__).parents[1]
PLACES = ("*.md", "docker/*.md", "benchmarks/results/*.md", "projects/**/*.md", "tests/**/README.md")
DOCUMENTS = sorted(str(path.relative_to(ROOT)) for place in PLACES for path in ROOT.glob(place))
LINK = re.compile(r"\]\((?!https?:|#)([^)#]+)(#[^)]*)?\)")
START = re.compile(r"^(?:\S+=\S+ )*(python|torchrun|make) ")
# Programs with commands that have options of their own.
COMMANDS = {
    "benchmarks/bench_small_objects.py": ("table", "mosaic"),
    "benchmarks/bench_tiles.py": ("merge", "network"),
    "projects/enl_paper/reproduce.py": ("all", "finetune", "relations", "table1", "table2", "table3"),
}
KEY = re.compile(r"[A-Z][A-Z0-9_]*(\.[A-Z0-9_]+)*")


def commands(text: str) -> list[list[str]]:
    """Of indented blocks and of whole sentences in code marks: words of what begins with python, torchrun or make."""
    joined = text.replace("\\\n", " ")
    lines = [line.strip() for line in joined.splitlines() if line.startswith("    ")]
    lines += [
        code for line in joined.splitlines() if not line.startswith("    ") for code in re.findall(r"`([^`]+)`", line)
    ]
    return [shlex.split(line, comments=True) for line in lines if START.match(line)]


def tool_of(words: list[str]) -> tuple[str, list[str]] | None:
    """(tools/x.py, its arguments) if the command runs a program of this checkout."""
    for i, word in enumerate(words):
        if word.endswith(".py") and "/" in word and word != "tools/launch.py" and "pytest" not in words:
            return word, words[i + 1 :]
    return None


@pytest.fixture(scope="module")
def options() -> dict[str, str]:
    """What each program says of itself with --help, and its commands' help, once."""
    return {}


def help_of(options: dict[str, str], program: str, command: str | None) -> str:
    name = f"{program} {command or ''}"
    if name not in options:
        words = [sys.executable, program, *([command] if command else []), "--help"]
        done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        options[name] = done.stdout
    return options[name]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document):
    for target, _ in LINK.findall((ROOT / document).read_text()):
        assert (ROOT / document).parent.joinpath(target).exists(), target


@pytest.mark.parametrize("document", DOCUMENTS)
def test_commands_are_understood(document, options):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for words in commands((ROOT / document).read_text()):
        if words[0] == "make":
            assert {w for w in words[1:] if "=" not in w} <= targets, words
            continue
        found = tool_of(words)
        if found is None:
            continue
        program, arguments = found
        assert (ROOT / program).is_file(), program
        text = help_of(options, program, None)
        command = next((word for word in arguments if word in COMMANDS.get(program, ())), None)
        if command:
            text += help_of(options, program, command)
        for word in arguments:
            if word.startswith("--"):
                assert word.split("=")[0] in text, (program, word)
            elif word.startswith("configs/"):
                assert (ROOT / word).is_file(), word
        pairs = zip(arguments, arguments[1:], strict=False)
        keys = [(key, value) for key, value in pairs if KEY.fullmatch(key) and ("." in key or key in defaults)]
        defaults.clone().merge_from_list([word for pair in keys for word in pair])


def python_blocks(text: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)


def test_the_import_of_the_generated_scenes():
    """As REPRODUCING.md has it, which is all that programs outside the project need."""
    (program,) = python_blocks((ROOT / "projects" / "enl_paper" / "REPRODUCING.md").read_text(), "python")
    words = [sys.executable, "-c", program + "print(image.shape, len(annotations))"]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and re.match(r"\(\d+, \d+, 3\) [1-9]", done.stdout), done.stderr


@pytest.mark.slow
def test_getting_started_from_its_first_line_to_its_last(tmp_path):
    """As it is written, but for a smaller model, smaller images, two iterations and no weights to download."""
    text = (ROOT / "GETTING_STARTED.md").read_text()
    for name in ("tools", "configs", "projects"):
        os.symlink(ROOT / name, tmp_path / name)
    content = yaml.safe_load(python_blocks(text, "yaml")[0])
    assert content["_BASE_"].startswith("configs/enl/")
    content["_BASE_"] = "configs/demo/base_R_18_FPN.yaml"
    content["INPUT"] = {"MIN_SIZE_TRAIN": [64], "MIN_SIZE_TEST": 64}
    content["SOLVER"].update(MAX_ITER=2, STEPS=[1], TEST_PERIOD=0)
    content["DATALOADER"] = {"NUM_WORKERS": 0}
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(content))
    steps = [words for words in commands(text) if words[0] == "python"]
    assert len(steps) == 8 and "projects/enl_paper/make_relations.py" in steps[-1]
    for words in (steps[-1], *steps[:-1]):  # the data are offered in a sentence, which comes last in the list
        replaced = ["8" if w == "400" else "4" if w == "50" else w for w in words[1:]]
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        done = subprocess.run(
            [sys.executable, *replaced], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, f"{words}\n{done.stdout}\n{done.stderr}"
    program = python_blocks(text, "python")[0]
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0 and "tensor" in done.stdout, done.stderr
    expected = ("sheet.jpg", "mine/curves.png", "mine/pictures/sheet.jpg", "mine/errors/report.md")
    for made in (*expected, "mine/inference/mine_val/metrics.json"):
        assert (tmp_path / "runs" / made).is_file(), made
    assert list((tmp_path / "runs" / "mine" / "predicted").iterdir())
