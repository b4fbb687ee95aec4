"""A training as it goes on, in a terminal or line by line."""

from __future__ import annotations

import contextlib
import os
import shutil
import sys
import time
from collections.abc import Callable
from typing import Any, TextIO

from maskrcnn_benchmark.config.node import ConfigError, read_values
from maskrcnn_benchmark.utils.metric_writer import parse_metrics
from maskrcnn_benchmark.visualization.curves import Series, series_of
from maskrcnn_benchmark.visualization.terminal import dashboard, shown

PERIOD = 1.0  # seconds between two looks at the file
HOME, CLEAR_LINE, CLEAR_BELOW = "\x1b[H", "\x1b[K", "\x1b[J"
HIDE_CURSOR, SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"


class Tail:
    """The lines of a metrics.jsonl as they come; from the beginning again where a resumed training has written it anew."""

    def __init__(self, path: str):
        self.path = path
        self.file, self.offset = 0, 0
        self.lines: list[dict[str, Any]] = []

    def read(self) -> list[dict[str, Any]]:
        """The whole lines that are new. `lines` holds all of them."""
        try:
            with open(self.path, "rb") as f:
                about = os.fstat(f.fileno())
                if about.st_ino != self.file or about.st_size < self.offset:
                    self.file, self.offset, self.lines = about.st_ino, 0, []
                f.seek(self.offset)
                content = f.read()
        except FileNotFoundError:
            return []
        whole = content[: content.rfind(b"\n") + 1]
        self.offset += len(whole)
        parsed = (parse_metrics(text) for text in whole.decode("utf-8", "replace").splitlines())
        new = [line for line in parsed if line is not None]
        self.lines += new
        return new


class Run:
    """A training's folder, or a metrics.jsonl alone, of which the end cannot be known.

    Raises FileNotFoundError for a folder or file that is not there.
    """

    def __init__(self, path: str):
        if not os.path.exists(path):
            raise FileNotFoundError(f"There is no {path}; give the OUTPUT_DIR of a training.")
        self.folder = path if os.path.isdir(path) else ""
        self.path = os.path.join(path, "metrics.jsonl") if self.folder else path
        self.name = path
        self._max_iter: int | None = None

    def is_over(self) -> bool:
        """Whether the last checkpoint is the final one and nothing was measured after it."""
        last = os.path.join(self.folder, "last_checkpoint")
        try:
            with open(last, encoding="utf-8") as f:
                is_final = "model_final" in f.read()
            return bool(self.folder) and is_final and os.path.getmtime(last) >= os.path.getmtime(self.path)
        except OSError:
            return False

    def max_iter(self) -> int:
        """SOLVER.MAX_ITER of its configuration, 0 where that is not known or a time counts instead."""
        if self._max_iter is None:
            self._max_iter = 0
            with contextlib.suppress(ConfigError, OSError, ValueError, TypeError, AttributeError):
                solver = read_values(os.path.join(self.folder, "config.yml"))["SOLVER"] if self.folder else {}
                self._max_iter = 0 if solver.get("MAX_TIME") else int(solver.get("MAX_ITER", 0))
        return self._max_iter


def in_a_line(line: dict[str, Any]) -> str:
    """A line of metrics.jsonl for those who read a log."""
    parts = [f"iteration {line['iteration']:,}"]
    names = sorted((n for n, v in line.items() if n != "iteration" and _is_number(v)), key=lambda n: n != "loss")
    parts += [f"{name} {shown(line[name])}" for name in names]  # the loss first, as lines may be cut
    return "  ".join(parts)


def _is_number(value: Any) -> bool:
    return type(value) in (int, float)


def headline(run: Run, series: Series, lines: list[dict[str, Any]]) -> str:
    """Where the training is, how fast it goes, and how long it will take."""
    iteration = lines[-1]["iteration"]
    of = f" of {run.max_iter():,} ({100 * iteration / run.max_iter():.0f} %)" if run.max_iter() else ""
    parts = [f"iteration {iteration:,}{of}"]
    if "images_s" in series:
        parts.append(f"{shown(series['images_s'][1][-1])} images/s")
    if run.max_iter() and "time" in series:
        left = max(run.max_iter() - iteration, 0) * series["time"][1][-1]
        hours, minutes = divmod(round(left / 60), 60)
        parts.append(f"{hours}:{minutes:02d} h left")
    return "   ".join((*parts, run.name))  # a long name may be cut


def follow(
    path: str,
    out: TextIO | None = None,
    *,
    wait: Callable[[float], Any] = time.sleep,
    size: Callable[[], tuple[int, int]] = lambda: tuple(shutil.get_terminal_size()),  # type: ignore[assignment,return-value]
) -> None:
    """Show a training until it ends or the user ends it (KeyboardInterrupt).

    Curves that are drawn anew as the file grows in a terminal; a line for each of the file's otherwise.

    Args:
        path: the OUTPUT_DIR of a training, which may not have begun to write yet, or a metrics.jsonl.
        size: columns and rows of the terminal.
    """
    out = sys.stdout if out is None else out
    run = Run(path)
    is_terminal = out.isatty()
    screen = Screen(out) if is_terminal else None
    tail, has_waited = Tail(run.path), False
    with screen or contextlib.nullcontext():
        last_size = (0, 0)
        while True:
            is_over = run.is_over()  # before the last lines are read
            new = tail.read()
            if not tail.lines and not has_waited:
                has_waited = True
                print(f"Waiting for {run.path}; Ctrl-C ends.", file=out, flush=True)
            if screen is not None and tail.lines and (new or size() != last_size):
                last_size = size()
                screen.show(run, tail.lines, last_size)
            elif screen is None:
                for line in new:
                    print(in_a_line(line), file=out, flush=True)
            if is_over:
                print(f"The training in {run.name} has ended.", file=out, flush=True)
                return
            wait(PERIOD)


class Screen:
    """A terminal whose cursor is hidden for a while."""

    def __init__(self, out: TextIO):
        self.out = out
        self.braille = "utf" in (out.encoding or "").lower()

    def __enter__(self) -> Screen:
        self.out.write(HIDE_CURSOR + HOME + CLEAR_BELOW)
        return self

    def __exit__(self, *error: Any) -> None:
        self.out.write(SHOW_CURSOR)
        self.out.flush()

    def show(self, run: Run, lines: list[dict[str, Any]], size: tuple[int, int]) -> None:
        columns, rows = size
        series = series_of(lines)
        shown_lines = [headline(run, series, lines)[:columns], ""]
        shown_lines += dashboard(series, columns, max(rows - 4, 1), self.braille)
        self.out.write(HOME + "".join(f"{line}{CLEAR_LINE}\n" for line in shown_lines[: rows - 1]) + CLEAR_BELOW)
        self.out.flush()
