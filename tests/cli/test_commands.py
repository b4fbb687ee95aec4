"""`mrb`: every command is found and says what it does, and a mistaken one gets a sentence."""

from __future__ import annotations

import importlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import pytest

import maskrcnn_benchmark
from maskrcnn_benchmark.cli import commands, completion
from maskrcnn_benchmark.utils import shipped

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
        (
            ["draw", "contxt", "--image"],
            "`mrb draw` has no 'contxt'; did you mean `mrb draw detections` or `mrb draw context`?",
        ),
        (["--config-file"], "there is no command '--config-file'; `mrb --help` lists"),
        ([""], "there is no command ''; `mrb --help` lists"),
    ],
)
def test_a_mistaken_command_gets_a_sentence(words, expected, capsys):
    assert commands.main(words) == 2
    printed = capsys.readouterr()
    assert printed.err.startswith(f"error: {expected}") and not printed.out


@pytest.mark.parametrize("name", [name for name in commands.COMMANDS if name != "launch"])  # which is torchrun's
def test_every_command_builds_its_parser_alone(name):
    """What the completion and the reference are made of."""
    parser = commands.load(name).build_parser()
    assert parser.description and "--help" in parser._option_string_actions


def test_a_mistaken_option_gets_the_nearest(capsys):
    for words, near in (
        (["predict", "--inptu", "x", "--out", "y"], "there is no option --inptu: did you mean --input?"),
        (["suggest", "x.json", "--outt=y"], "there is no option --outt: did you mean --out?"),
        (["train", "--skiptest"], "there is no option --skiptest: did you mean --skip-test?"),
    ):
        with pytest.raises(SystemExit) as stop:
            commands.main(words)
        assert stop.value.code == 2 and near in capsys.readouterr().err


def test_commands_of_other_packages(tmp_path, monkeypatch, capsys):
    """An entry point makes a module a command; its summary is read without running it, and ours cannot be replaced."""
    (tmp_path / "guest.py").write_text(
        '"""Greet someone.\n\nMore."""\n\nimport sys\n\n\ndef main():\n    print("hello", *sys.argv[1:])\n    return 3\n'
    )
    information = tmp_path / "guest-1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: guest\nVersion: 1.0\n")
    (information / "entry_points.txt").write_text(f"[{commands.ENTRY_POINTS}]\ngreet = guest\ntrain = guest\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert "greet" in commands.plugins() and "train" not in commands.plugins()
    assert commands.main(["--help"]) == 0 and "guest" not in sys.modules
    assert re.search(r"Added by guest:\n(  .*\n)*  greet +greet someone\n", capsys.readouterr().out)
    assert commands.main(["greet", "you"]) == 3 and capsys.readouterr().out == "hello you\n"
    assert commands.main(["gret"]) == 2 and "did you mean `mrb greet`" in capsys.readouterr().err


def test_the_project_of_the_paper_adds_its_commands():
    added = dict(
        re.findall(r'^(\w+) = "(enl_paper\.commands\.\w+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    )
    assert set(added) == {"reproduce", "scenes"}
    for module in added.values():
        assert importlib.import_module(module).build_parser().description


def completed(shell: str, script: str, words: list[str]) -> list[str]:
    """What a shell with the script offers for the last of these words."""
    quoted = " ".join(f"'{word}'" for word in words)
    program = (
        f"{script}\nCOMP_WORDS=({quoted}); COMP_CWORD={len(words) - 1}; _mrb; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    )
    return subprocess.run([shell], input=program, capture_output=True, text=True, check=True).stdout.split()


def test_completion_in_bash(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").touch()
    script = completion.script("bash")
    assert completed("bash", script, ["mrb", "tr"]) == ["train", "trim"]
    assert set(completed("bash", script, ["mrb", "draw", ""])) >= {"detections", "context"}
    assert completed("bash", script, ["mrb", "draw", "context", "--im"]) == ["--image"]
    assert completed("bash", script, ["mrb", "predict", "--format", "y"]) == ["yolo"]
    config = "enl/faster_rcnn_R_50_FPN_3enl_td"
    for words in (["train", "--config-file", config[:-2]], ["train", config[:-2]]):
        assert completed("bash", script, ["mrb", *words]) == [config]
    assert completed("bash", script, ["mrb", "train", "mi"]) == ["mine.yaml"]
    keys = completed("bash", script, ["mrb", "train", "mine.yaml", "SOLVER.BASE"])
    assert keys == ["SOLVER.BASE_LR"] and "OUTPUT_DIR" in completed("bash", script, ["mrb", "test", "O"])
    assert completed("bash", script, ["mrb", "suggest", "SOLVER.B"]) == []  # which takes no keys
    assert completed("bash", script, ["mrb", "train", "mine.yaml", "DTYPE", ""]) == ["mine.yaml"]  # any value
    assert {"bash", "zsh", "fish"} <= set(completed("bash", script, ["mrb", "completion", ""]))
    assert completed("bash", script, ["mrb", "train", "--local"]) == []  # is hidden


@pytest.mark.parametrize("shell, check", [("zsh", ("zsh", "-n")), ("fish", ("fish", "--no-execute"))])
def test_completion_in_other_shells(shell, check):
    script = completion.script(shell)
    assert all(name.split()[-1] in script for name in commands.COMMANDS) and "config-file" in script
    if shutil.which(check[0]):
        subprocess.run(check, input=script, text=True, check=True)


@pytest.mark.parametrize("program", [["-m", "maskrcnn_benchmark", "demo"], [str(ROOT / "tools/train_net.py")]])
def test_a_system_without_the_libraries_of_windows(program, tmp_path):
    (tmp_path / "cv2.py").write_text("raise ImportError('libGL.so.1: cannot open shared object file')\n")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(ROOT)])}
    done = subprocess.run([sys.executable, *program], env=environment, capture_output=True, text=True)
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert (
        "libGL.so.1" in done.stderr and "apt install libgl1" in done.stderr and "opencv-python-headless" in done.stderr
    )


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


def test_demo_draws_what_the_shipped_model_finds(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert commands.main(["demo", "MODEL.DEVICE", "cpu"]) == 0
    assert "objects found; the drawing: mrb_demo/scene.jpg" in capsys.readouterr().out
    drawn, plain = (cv2.imread(str(path)) for path in (tmp_path / "mrb_demo/scene.jpg", shipped.IMAGE))
    enlarged = cv2.resize(plain, drawn.shape[1::-1])
    assert 0.02 < (cv2.absdiff(drawn, enlarged).max(2) > 60).mean() < 0.4
    assert len(json.loads((tmp_path / "mrb_demo/predictions.json").read_text())) >= 10
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit) as stop:
        commands.main(["demo", "--out", "file"])
    assert stop.value.code == 1 and "--out file is a file; name a folder." in capsys.readouterr().err


def test_the_installed_program():
    program = shutil.which("mrb", path=os.path.dirname(sys.executable))
    if program is None:
        pytest.skip("the package is not installed with its programs")
    done = subprocess.run([program, "--version"], capture_output=True, text=True)
    assert done.returncode == 0 and done.stdout.startswith("maskrcnn_benchmark ")


@pytest.mark.parametrize("command", ["train", "test"])
def test_without_a_configuration_the_next_command_is_named(command, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        commands.main([command, "OUTPUT_DIR", "run"])
    said = capsys.readouterr().err
    assert stop.value.code == 1 and said.startswith(
        f"error: No configuration was named: `mrb {command} CONFIG`. `mrb suggest`"
    )
    assert not os.listdir(tmp_path)
