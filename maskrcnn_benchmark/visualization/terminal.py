"""Curves in a terminal, of characters with two by four dots each."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from maskrcnn_benchmark.visualization.curves import Series, limits

LABEL = 9  # characters left of a curve
LEAST_WIDTH, LEAST_HEIGHT = 24, 3  # characters of a curve
TWO_COLUMNS = 96  # characters from which on two curves stand beside each other
MOST_ROWS = 10  # of a curve
# What is drawn, the most telling first, as far as there is room.
MAIN = ("loss", r"test/.*/AP", "lr", "images_s", r"loss_.*", r"test/.*/AP50", "memory_mb")
# The bit of each dot in Unicode's block of Braille patterns, rows and columns.
BITS = np.array([[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]])


def chosen(series: Series, most: int) -> list[str]:
    """The names of at most so many series, those that `MAIN` names first."""
    names = [name for pattern in MAIN for name in series if re.fullmatch(pattern, name)]
    return list(dict.fromkeys(names))[:most]


def dots(iterations: Sequence[int], values: Sequence[float], width: int, height: int) -> np.ndarray:
    """A curve as a grid of dots, bool [height, width]: the mean of what falls into each column, joined to its neighbours."""
    x, y = np.asarray(iterations, np.float64), np.asarray(values, np.float64)
    low, high = limits(y)
    columns = np.round((x - np.min(x)) / max(np.ptp(x), 1) * (width - 1)).astype(int)
    sums, counts = np.bincount(columns, y, width), np.bincount(columns, minlength=width)
    places = np.flatnonzero(counts)
    share = (sums[places] / counts[places] - low) / (high - low)
    rows = np.round((1 - share.clip(0, 1)) * (height - 1)).astype(int)
    everywhere = np.round(np.interp(np.arange(places[0], places[-1] + 1), places, rows)).astype(int)
    grid = np.zeros((height, width), bool)
    last = everywhere[0]
    for column, row in enumerate(everywhere, start=int(places[0])):
        grid[min(last, row) : max(last, row) + 1, column] = True
        last = row
    return grid


def as_text(grid: np.ndarray, braille: bool = True) -> list[str]:
    """Lines of a grid whose sides are multiples of 4 and 2; without `braille` a star for each character that is not empty."""
    height, width = grid.shape
    cells = grid.reshape(height // 4, 4, width // 2, 2).transpose(0, 2, 1, 3)
    codes = (cells * BITS).sum(axis=(2, 3))
    if not braille:
        return ["".join("*" if code else " " for code in row) for row in codes.tolist()]
    return ["".join(chr(0x2800 + code) if code else " " for code in row) for row in codes.tolist()]


def shown(value: float) -> str:
    """A number in at most eight characters."""
    return f"{value:.4g}" if 1e-4 <= abs(value) < 1e5 or value == 0 else f"{value:.1e}"


def panel(name: str, series: Series, width: int, height: int, braille: bool = True) -> list[str]:
    """A curve with its name, its last value and its axes: height + 2 lines of `width` characters."""
    iterations, values = series[name]
    inner = max(width - LABEL - 1, 2)
    body = as_text(dots(iterations, values, 2 * inner, 4 * height), braille)
    low, high = limits(np.asarray(values, np.float64))
    labels = [shown(high), *[""] * (height - 2), shown(low)]
    lines = [f"{name}  {shown(values[-1])}"]
    lines += [f"{label:>{LABEL - 1}} {row}" for label, row in zip(labels, body, strict=True)]
    first, last = f"{iterations[0]:,}", f"{iterations[-1]:,}"
    lines.append(" " * LABEL + first + last.rjust(max(inner - len(first), len(last) + 1)))
    return [line[:width].ljust(width) for line in lines]


def dashboard(series: Series, columns: int, rows: int, braille: bool = True) -> list[str]:
    """As many curves as a terminal of `columns` and `rows` has room for, each line at most `columns` characters."""
    across = 2 if columns >= TWO_COLUMNS else 1
    width = max(columns // across - (across > 1), LABEL + LEAST_WIDTH)
    most = max(rows // (LEAST_HEIGHT + 3), 1) * across
    names = chosen(series, most)
    if not names:
        return []
    down = -(-len(names) // across)
    height = min(max(rows // down - 3, 2), MOST_ROWS)
    lines = []
    for start in range(0, len(names), across):
        beside = [panel(name, series, width, height, braille) for name in names[start : start + across]]
        lines += ["  ".join(parts).rstrip()[:columns] for parts in zip(*beside, strict=True)]
        lines.append("")
    return lines[:-1]
