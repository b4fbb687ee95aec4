"""Curves as SVG, in the colours of the page."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from maskrcnn_benchmark.reports.page import Markup, escaped
from maskrcnn_benchmark.visualization.curves import limits, smooth

WIDTH, HEIGHT = 360, 190  # units of the drawing
LEFT, RIGHT, TOP, BOTTOM = 52, 10, 8, 24
MOST_POINTS = 240  # of a curve
MOST_LINES = 6  # of a chart
LONG = 30  # values from which on a noisy curve is smoothed
FEW = 12  # values that are fewer are marked
WEIGHT = 0.9  # of the moving average

Line = tuple[str, Sequence[float], Sequence[float]]  # name, x and y


def ticks(low: float, high: float, count: int = 4) -> list[float]:
    """Round numbers between two others, about `count` of them."""
    step = 10 ** math.floor(math.log10((high - low) / count))
    step *= next(k for k in (1, 2, 5, 10) if (high - low) / (k * step) <= count + 0.5)
    first = math.ceil(low / step - 1e-9)
    return [k * step for k in range(first, math.floor(high / step + 1e-9) + 1)]


def reduced(x: Any, y: Any) -> tuple[np.ndarray, np.ndarray]:
    """At most MOST_POINTS of a curve: the means of neighbours."""
    xs, ys = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if len(xs) <= MOST_POINTS:
        return xs, ys
    parts = np.linspace(0, len(xs), MOST_POINTS + 1).astype(int)[:-1]
    counts = np.diff(np.append(parts, len(xs)))
    return np.add.reduceat(xs, parts) / counts, np.add.reduceat(ys, parts) / counts


def chart(
    title: str, lines: Sequence[Line], *, across: str = "iteration", percent: bool = False, is_noisy: bool = False
) -> Markup:
    """A chart of at most MOST_LINES curves over what `across` names, their values times 100 with `percent`; long ones that are
    noisy are drawn smoothed over what they were."""
    lines = [line for line in lines if len(line[1])][:MOST_LINES]
    factor = 100 if percent else 1
    values = np.concatenate([np.asarray(y, np.float64) for _, _, y in lines]) * factor
    low, high = limits(values)
    first, last = (float(of(of(x) for _, x, _ in lines)) for of in (min, max))
    last = last if last > first else first + 1

    def place(x: np.ndarray, y: np.ndarray) -> str:
        across = LEFT + (x - first) / (last - first) * (WIDTH - LEFT - RIGHT)
        down = HEIGHT - BOTTOM - ((y - low) / (high - low)).clip(0, 1) * (HEIGHT - TOP - BOTTOM)
        return " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(across, down, strict=True))

    parts = []
    for value in ticks(low, high):
        y = HEIGHT - BOTTOM - (value - low) / (high - low) * (HEIGHT - TOP - BOTTOM)
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y:.1f}" y2="{y:.1f}" stroke="var(--rule)"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{_number(value)}</text>')
    for value, anchor, x_place in ((first, "start", LEFT), (last, "end", WIDTH - RIGHT)):
        parts.append(f'<text x="{x_place}" y="{HEIGHT - 7}" text-anchor="{anchor}">{value:,.0f}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    parts.append(f'<text x="{middle}" y="{HEIGHT - 7}" text-anchor="middle">{escaped(across)}</text>')
    for number, (name, x, y_values) in enumerate(lines):
        colour = f"var(--c{number})"
        xs, ys = np.asarray(x, np.float64), factor * np.asarray(y_values, np.float64)
        if len(xs) >= LONG and is_noisy:
            parts.append(_line(place(*reduced(xs, ys)), colour, 'stroke-opacity="0.35"'))
            ys = np.array(smooth(ys.tolist(), WEIGHT))
        parts.append(_line(place(*reduced(xs, ys)), colour, f'stroke-width="1.8"><title>{escaped(name)}</title', True))
        if len(xs) < FEW:
            dots = (point.split(",") for point in place(xs, ys).split())
            parts += [f'<circle cx="{a}" cy="{b}" r="2.4" fill="{colour}"/>' for a, b in dots]
    ends = (f"{name} from {_number(factor * y[0])} to {_number(factor * y[-1])}" for name, _, y in lines)
    label = escaped(f"{title}: {', '.join(ends)}")
    legend = "".join(
        f' <span class="name"><span style="color:var(--c{i})" aria-hidden="true">●</span> {escaped(name)}</span>'
        for i, (name, _, _) in enumerate(lines)
    )
    return Markup(
        f"<figure><figcaption><b>{escaped(title)}</b>{legend if len(lines) > 1 else ''}</figcaption>"
        f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">{"".join(parts)}</svg></figure>'
    )


def _line(points: str, colour: str, more: str, has_child: bool = False) -> str:
    end = "></polyline>" if has_child else "/>"
    return f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-linejoin="round" {more}{end}'


def _number(value: float) -> str:
    if 1e3 <= abs(value) < 1e7:
        return f"{value:,.0f}"
    return f"{value:.3g}" if 1e-3 <= abs(value) < 1e4 or value == 0 else f"{value:.1e}"
