"""Places that cannot be written to, and broken files, end commands with a sentence that says what to do."""

from __future__ import annotations

import pytest

from maskrcnn_benchmark.cli import commands
from tests.support.helpers import write_coco


def run(capsys, *words: object) -> str:
    """The command's one line on stderr; it must fail."""
    with pytest.raises(SystemExit) as stop:
        commands.main([str(word) for word in words])
    assert stop.value.code == 1
    (line,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    return line


def test_a_place_that_cannot_be_written_to(tmp_path, capsys):
    write_coco(tmp_path)
    ann_file, img_dir = tmp_path / "set.json", tmp_path / "set"
    (tmp_path / "file").touch()
    images, inside = ("--img-dir", img_dir), tmp_path / "file" / "out.json"
    for out in (inside, tmp_path / "missing" / "out.json"):
        line = run(capsys, "check", ann_file, *images, "--json", out)
        assert f"{out} cannot be written (N" in line and "name another place" in line and ".partial" not in line
    line = run(capsys, "suggest", ann_file, *images, "--out", inside)
    assert f"{tmp_path / 'file'}: " in line and "Name another file or folder." in line and "Errno" not in line


def test_an_empty_set_is_a_problem(tmp_path, capsys):
    (tmp_path / "none.json").write_text('{"images": [], "annotations": [], "categories": []}')
    with pytest.raises(SystemExit) as stop:
        commands.main(["check", str(tmp_path / "none.json"), "--img-dir", str(tmp_path)])
    assert stop.value.code == 1 and "there is nothing to train on" in capsys.readouterr().out


def test_what_is_no_annotation(tmp_path, capsys):
    (tmp_path / "mine.yaml").write_text("DATASETS: {TRAIN: [a]}\n")
    (tmp_path / "empty.txt").touch()
    assert "There is no data set 'a'" in run(capsys, "check", tmp_path / "mine.yaml")
    out = tmp_path / "out.yaml"
    assert "it is a configuration, not annotations" in run(capsys, "suggest", tmp_path / "mine.yaml", "--out", out)
    assert "names no image: it is an empty list" in run(capsys, "check", tmp_path / "empty.txt")
    assert "is not a readable checkpoint" in run(capsys, "publish", tmp_path / "mine.yaml", tmp_path / "small.pth")
    assert "Ports go from 0 to 65535; got --port 99999" in run(capsys, "web", "--port", 99999)
