"""`mrb`: every command is found and says what it does, and a mistaken one gets a sentence."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import maskrcnn_benchmark
from maskrcnn_benchmark.cli import commands

ROOT = Path(__file__).parents[2]
CLI = Path(commands.__file__).parent
# Modules of commands by the programs of tools/ that are upstream's or older than `mrb`.
TOOLS = sorted(path for path in (ROOT / "tools").rglob("*.py"))


@pytest.fixture(autouse=True)
def own_arguments(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["mrb"])


@pytest.mark.parametrize("name", commands.COMMANDS)
def test_every_command_tells_its_options(name, capsys):
    before = signal.getsignal(signal.SIGUSR1)  # which `launch` handles
    try:
        status = commands.main([*name.split(), "--help"])
    except SystemExit as stop:
        status = stop.code
    finally:
        signal.signal(signal.SIGUSR1, before)
    text = capsys.readouterr().out
    assert status == 0 and text.startswith(f"usage: mrb {name} ") and len(text) > 100


def test_the_table_names_every_module():
    modules = {path.stem for path in CLI.glob("*.py")} - {"__init__", "commands"}
    assert modules == {name.replace(" ", "_") for name in commands.COMMANDS}


@pytest.mark.parametrize("path", TOOLS, ids=lambda path: path.stem)
def test_tools_are_thin(path):
    """A program of tools/ holds nothing but the call of its command."""
    source = path.read_text()
    assert len(source.splitlines()) <= 9 and "import main" in source
    command = source.partition("`mrb ")[2].partition("`")[0]
    assert command in commands.COMMANDS and f"maskrcnn_benchmark.cli.{command.replace(' ', '_')} import" in source


@pytest.mark.parametrize(
    "words, expected",
    [
        (["trian"], "there is no command 'trian'; did you mean `mrb train`"),
        (["draw"], "`mrb draw` wants a second word; did you mean `mrb draw detections` or `mrb draw context`?"),
        (["draw", "contxt", "--image"], "`mrb draw` wants a second word; did you mean"),
        (["--config-file"], "there is no command '--config-file'; `mrb --help` lists"),
        ([""], "there is no command ''; `mrb --help` lists"),
    ],
)
def test_a_mistaken_command_gets_a_sentence(words, expected, capsys):
    assert commands.main(words) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(f"error: {expected}") and not printed.out


def test_help_and_version(capsys):
    assert commands.main(["--help"]) == 0 and commands.main([]) == 2
    text = capsys.readouterr().out
    assert all(f"  {name} " in text for name in commands.COMMANDS)
    assert commands.main(["--version"]) == 0
    assert capsys.readouterr().out == f"maskrcnn_benchmark {maskrcnn_benchmark.__version__}\n"


def test_arguments_and_status_are_passed_on(tmp_path, capsys):
    """An error of the command's own, and a result, through `mrb` and `python -m`."""
    with pytest.raises(SystemExit) as stop:
        commands.main(["subset", "--ann-file", str(tmp_path / "no.json"), "--out", str(tmp_path / "x.json")])
    assert stop.value.code == 1 and "no.json" in capsys.readouterr().err
    (tmp_path / "set.json").write_text(
        '{"images": [{"id": 3, "file_name": "a.jpg", "width": 9, "height": 9}], "categories": [{"id": 1, "name": "x"}],'
        ' "annotations": [{"id": 1, "image_id": 3, "category_id": 1, "bbox": [1, 1, 4, 4], "area": 16, "iscrowd": 0}]}'
    )
    words = ["subset", "--ann-file", "set.json", "--out", "made.json"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "maskrcnn_benchmark", *words],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.startswith("Wrote 1 image with 1 annotation ")


def test_the_installed_program():
    program = shutil.which("mrb", path=os.path.dirname(sys.executable))
    if program is None:
        pytest.skip("the package is not installed with its programs")
    done = subprocess.run([program, "--version"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("maskrcnn_benchmark ")
