"""Curves in a terminal, and a training that is followed."""

from __future__ import annotations

import io
import json
import os
import re
from pathlib import Path

import numpy as np
import pytest

from maskrcnn_benchmark.visualization import curves, live, terminal
from maskrcnn_benchmark.visualization.live import follow


def entry(iteration: int, **values: float) -> str:
    return json.dumps({"iteration": iteration, **values}) + "\n"


def line(iteration: int) -> str:
    return entry(iteration, loss_mask=1.0, loss=2.0 / iteration, lr=0.01, time=0.5, images_s=4.0)


def unpacked(text: list[str]) -> np.ndarray:
    """The dots of lines of Braille patterns (Unicode 4.6: bits by column, the last row's at the end)."""
    order = [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1), (3, 0), (3, 1)]
    grid = np.zeros((4 * len(text), 2 * len(text[0])), bool)
    for y, row in enumerate(text):
        for x, character in enumerate(row):
            code = 0 if character == " " else ord(character) - 0x2800
            for bit, (down, right) in enumerate(order):
                grid[4 * y + down, 2 * x + right] = code >> bit & 1
    return grid


def test_a_curve_is_where_its_values_are():
    x = list(range(0, 101))
    grid = terminal.dots(x, [float(v) for v in x], 50, 20)
    rows, columns = grid.nonzero()
    np.testing.assert_allclose(rows, 19 - columns / 49 * 19, atol=1.01)
    assert grid.any(axis=0).all() and grid[0, -1] and grid[-1, 0]
    assert (unpacked(terminal.as_text(grid)) == grid).all()
    stars = terminal.as_text(grid, braille=False)
    assert set("".join(stars)) == {"*", " "} and len(stars) == 5 and len(stars[0]) == 25


def test_gaps_are_joined_and_single_values_drawn():
    grid = terminal.dots([0, 100], [0.0, 1.0], 40, 8)
    assert grid.any(axis=0).all()
    assert terminal.dots([7], [3.0], 40, 8).sum() == 1
    assert curves.limits(np.array([2.0, 2.0])) == (1.0, 3.0)


def test_the_first_steps_do_not_flatten_the_rest():
    values = np.array([1e9, 1e6, *np.linspace(2, 1, 98)])
    low, high = curves.limits(values)
    assert low == 1 and high < 4
    assert curves.limits(np.linspace(0, 10, 50)) == (0, 10)


@pytest.mark.parametrize("columns", [20, 40, 80, 95, 96, 200])
@pytest.mark.parametrize("rows", [4, 12, 24, 60])
def test_a_dashboard_fits_its_terminal(columns, rows):
    names = ("loss", "loss_mask", "loss_box", "lr", "images_s", "memory_mb", "test/val/bbox/AP")
    series = {name: ([1, 2, 30_000], [1e-7, 123456.0, -1.0]) for name in names}
    lines = terminal.dashboard(series, columns, rows)
    assert all(len(text) <= columns for text in lines)
    assert len(lines) <= max(rows, 5)
    assert lines[0].startswith("loss  -1")
    if rows == 60 and columns == 200:
        assert all(any(name in text for text in lines) for name in names)


def test_without_a_terminal_there_is_a_line_for_each(tmp_path):
    (tmp_path / "config.yml").write_text("SOLVER: {MAX_ITER: 40}")
    steps = iter(
        [
            lambda f: f.write(line(20) + line(40)[:10]),  # a line that is not whole yet
            lambda f: f.write(line(40)[10:] + entry(40, **{"test/val/bbox/AP": 0.25})),
            lambda f: (tmp_path / "last_checkpoint").write_text("model_final.pth"),
        ]
    )

    def wait(seconds: float) -> None:
        with open(tmp_path / "metrics.jsonl", "a") as f:
            next(steps)(f)

    out = io.StringIO()
    follow(str(tmp_path), out, wait=wait)
    waiting, first, second, tested, ended = out.getvalue().splitlines()
    assert waiting == f"Waiting for {tmp_path / 'metrics.jsonl'}; Ctrl-C ends."
    assert first == "iteration 20  loss 0.1  loss_mask 1  lr 0.01  time 0.5  images_s 4"
    assert second.startswith("iteration 40  loss 0.05") and tested == "iteration 40  test/val/bbox/AP 0.25"
    assert ended == f"The training in {tmp_path} has ended."


class Terminal(io.TextIOWrapper):
    def __init__(self, encoding: str):
        super().__init__(io.BytesIO(), encoding=encoding, write_through=True)

    def isatty(self) -> bool:
        return True

    def text(self) -> str:
        return self.buffer.getvalue().decode(self.encoding)  # type: ignore[attr-defined]


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_in_a_terminal_curves_are_drawn_anew(tmp_path, encoding):
    (tmp_path / "config.yml").write_text("SOLVER: {MAX_ITER: 400}")
    path = tmp_path / "metrics.jsonl"
    path.write_text("".join(line(i) for i in range(1, 101)))
    steps = iter([line(200), "", ""])
    out, sizes = Terminal(encoding), iter([(80, 24), (80, 24), (80, 24), (80, 24), (40, 12), (40, 12)])
    size = [(80, 24)]

    def wait(seconds: float) -> None:
        text = next(steps, None)
        if text is None:
            raise KeyboardInterrupt
        size[0] = next(sizes)
        with open(path, "a") as f:
            f.write(text)

    with pytest.raises(KeyboardInterrupt):
        follow(str(tmp_path), out, wait=wait, size=lambda: size[0])
    text = out.text()
    assert text.startswith(live.HIDE_CURSOR) and text.endswith(live.SHOW_CURSOR)
    screens = text.split(live.HOME)[2:]
    assert len(screens) == 2  # the first, and the one of the new line
    assert "iteration 100 of 400 (25 %)   4 images/s   0:02 h left" in screens[0]
    assert "iteration 200 of 400 (50 %)" in screens[1] and "loss  0.01" in screens[1]
    assert bool(re.search("[⠁-⣿]", screens[1])) == (encoding == "utf-8")
    assert all(len(row) <= 80 + len(live.CLEAR_LINE) for row in screens[1].splitlines())
    assert len(screens[1].splitlines()) <= 24


def test_a_training_that_was_resumed_is_read_anew(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text(line(20) + line(40) + line(60))
    tail = live.Tail(str(path))
    assert [e["iteration"] for e in tail.read()] == [20, 40, 60] and tail.read() == []
    again = tmp_path / "new"
    again.write_text(line(20) + line(30) + line(50) + line(70))
    os.replace(again, path)
    assert [e["iteration"] for e in tail.read()] == [20, 30, 50, 70] == [e["iteration"] for e in tail.lines]


def test_a_run_that_goes_on_after_its_end_is_not_over(tmp_path):
    (tmp_path / "metrics.jsonl").write_text(line(20))
    (tmp_path / "last_checkpoint").write_text("model_final.pth")
    run = live.Run(str(tmp_path))
    assert run.is_over()
    later = os.path.getmtime(tmp_path / "last_checkpoint") + 5
    os.utime(tmp_path / "metrics.jsonl", (later, later))
    assert not run.is_over()
    (tmp_path / "last_checkpoint").write_text("model_0000020.pth")
    assert not run.is_over()


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(FileNotFoundError, match="There is no .*nowhere; give the OUTPUT_DIR of a training"):
        live.Run(str(tmp_path / "nowhere"))


def test_the_command(run_program, tmp_path):
    (tmp_path / "metrics.jsonl").write_text(line(20))
    (tmp_path / "last_checkpoint").write_text("model_final.pth")
    tool = Path(__file__).parents[2] / "tools" / "plot_metrics.py"
    code, printed = run_program(tool, tmp_path, "--follow")
    assert code == 0 and printed.splitlines()[0].startswith("iteration 20") and "has ended" in printed
    code, printed = run_program(tool, tmp_path, tmp_path, "--follow")
    assert code == 2 and "--follow shows one run; got 2." in printed
    code, printed = run_program(tool, tmp_path / "no", "--follow")
    assert code == 1 and printed.startswith("error: There is no ")
