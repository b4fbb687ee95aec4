"""Keys and values on command lines: wherever they stand among the options, for every command that takes them."""

from __future__ import annotations

import argparse
import re
from pathlib import Path

import pytest

from maskrcnn_benchmark.cli import analyze_errors, check, commands, predict
from maskrcnn_benchmark.config.command_line import KeyParser, is_key

CLI = Path(commands.__file__).parent


def parser(**positional) -> KeyParser:
    made = KeyParser()
    made.add_argument("--format", nargs="+", default=(), choices=("coco", "yolo"))
    made.add_argument("--input", nargs="+", default=())
    made.add_argument("--out", default="")
    made.add_argument("--skip", action="store_true")
    if positional:
        made.add_argument("source", **positional)
    return made


KEYS = ["SOLVER.BASE_LR", "-0.5", "OUTPUT_DIR", "runs/x"]


@pytest.mark.parametrize(
    "words",
    [
        [*KEYS, "--format", "coco", "yolo", "--input", "a", "b", "--out", "o", "--skip"],
        ["--format", "coco", "yolo", *KEYS, "--input", "a", "b", "--out", "o", "--skip"],
        ["--skip", "--input", "a", "b", *KEYS[:2], "--out", "o", "--format", "coco", "yolo", *KEYS[2:]],
        ["--skip", *KEYS[:2], "--out", "o", *KEYS[2:], "--format", "coco", "yolo", "--input", "a", "b"],
    ],
)
def test_pairs_stand_anywhere(words):
    found = parser().parse_args(words)
    assert found.opts == KEYS and found.skip
    assert (found.format, found.input, found.out) == (["coco", "yolo"], ["a", "b"], "o")


def test_a_positional_word_is_the_commands_own():
    for words in (["x.yaml", *KEYS], [*KEYS, "--skip", "x.yaml"], ["--out", "o", "x.yaml", *KEYS, "--skip"]):
        found = parser(nargs="?").parse_args(words)
        assert (found.source, found.opts) == ("x.yaml", KEYS)
    made = parser(nargs="?")
    for _ in range(2):
        assert made.parse_args(["x.yaml", "stray", "--skip", *KEYS]).opts == [*KEYS, "stray"]


def test_a_value_that_looks_like_a_key_belongs_to_its_option():
    assert parser().parse_args(["--out", "OUTPUT_DIR", *KEYS]) == argparse.Namespace(
        format=(), input=(), out="OUTPUT_DIR", skip=False, opts=KEYS
    )


@pytest.mark.parametrize("words", [["SOLVER.BASE_LR"], ["SOLVER.BASE_LR", "--skip", "SOLVER.MAX_ITER", "--skip"]])
def test_a_key_without_a_value_is_named(words, capsys):
    with pytest.raises(SystemExit):
        parser().parse_args(words)
    assert "SOLVER.BASE_LR has no value: configuration keys come in pairs KEY VALUE" in capsys.readouterr().err


def test_the_last_configuration_counts_and_the_other_is_named(capsys):
    parser = KeyParser()
    parser.add_config()
    assert parser.parse_args(["--config-file", "a.yaml", "--config-file", "b.yaml"]).config_file == "b.yaml"
    assert "warning: --config-file b.yaml comes after a.yaml, which is not read" in capsys.readouterr().err


def test_what_looks_like_a_key(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert all(
        map(is_key, ["SEED", "MODEL.WEIGHT", "DATASETS.DEFINITIONS.mine.ANN_FILE", "SOLVR.MAX_ITER", "MODEL.NO_SUCH"])
    )
    (tmp_path / "TEST.JPG").touch()
    words = [
        "MODEL",
        "x",
        "a.jpg",
        "TEST.jpg",
        "TEST.JPG",
        "README.MD",
        "IMG.JPG",
        "data/MODEL.yaml",
        "--out",
        "-1",
        "0.5",
        "",
    ]
    assert not any(map(is_key, words))


def test_every_command_with_keys_reads_them_so():
    """One parser for all: none of its own, whatever command comes."""
    taking = [path for path in CLI.glob("*.py") if "opts" in path.read_text()]
    assert {path.stem for path in taking} >= {"analyze", "analyze_errors", "check"}
    parsers = re.compile(r"(KeyParser|argument_parser|predictor_parser)\(")  # the latter two are made of the first
    assert all(parsers.search(path.read_text()) and "REMAINDER" not in path.read_text() for path in taking)


@pytest.mark.parametrize("command", [predict, analyze_errors, check])
def test_of_commands(command, monkeypatch, capsys):
    """Options behind the keys, and keys behind an option of several words, are no mistake: what is wrong is said of the file."""
    words = {
        predict: ["--input", "x", "--format", "coco", *KEYS, "--out", "o", "--config-file", "no.yaml"],
        analyze_errors: [*KEYS, "--task", "bbox", "--out", "o", "--config-file", "no.yaml"],
        check: [*KEYS, "--skip-images", "--config-file", "no.yaml"],
    }
    monkeypatch.setattr("sys.argv", ["mrb", *words[command]])
    with pytest.raises(SystemExit) as stop:
        command.main()
    said = capsys.readouterr().err
    assert stop.value.code == 1 and ("no.yaml" in said or "no file, folder or pattern x" in said)
