"""How everything in a Relations scene looks: one function per thing, x to the right and y down, 0 to 1 over its box."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from .pen import Color, Pen, bgr


def _blobs(
    pen: Pen,
    rng: np.random.Generator,
    count: int,
    box: tuple[float, float, float, float],
    radius: float,
    colors: Sequence[Color],
) -> None:
    """Round lumps around the rim and over the middle of ``box`` (x1, y1, x2, y2, units): foliage, wool."""
    cx, cy, rx, ry = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2, (box[2] - box[0]) / 2, (box[3] - box[1]) / 2
    pen.ellipse(cx, cy, rx * 0.85, ry * 0.85, colors[0])
    aspect = pen.height / pen.width
    for color in colors:
        angles = np.linspace(0, 2 * np.pi, count, endpoint=False) + rng.uniform(0, 2 * np.pi)
        reach = rng.uniform(0.35, 1.0, count) if color is not colors[0] else np.full(count, 1.0)
        for angle, far in zip(angles, reach, strict=True):
            r = radius * rng.uniform(0.75, 1.2) * (1.0 if color is colors[0] else 0.6)
            x = cx + (rx - r * aspect) * far * np.cos(angle)
            y = cy + (ry - r) * far * np.sin(angle)
            pen.ellipse(x, y, r * aspect, r, color)


def _car(pen: Pen, rng: np.random.Generator, clear: bool) -> None:
    hue, value = rng.uniform(0.52, 0.86), rng.uniform(0.6, 0.95)
    body, dark, glass = bgr(hue, 0.85, value), bgr(hue, 0.9, 0.6 * value), bgr(0.55, 0.25, rng.uniform(0.25, 0.85))
    roof = rng.uniform(0.0, 0.08)
    pen.poly([(0.16, 0.48), (0.30, roof + 0.03), (0.68, roof + 0.03), (0.86, 0.48)], body)
    pen.poly([(0.22, 0.46), (0.33, roof + 0.13), (0.48, roof + 0.13), (0.48, 0.46)], glass)
    pen.poly([(0.53, 0.46), (0.53, roof + 0.13), (0.66, roof + 0.13), (0.79, 0.46)], glass)
    pen.poly([(0.0, 0.55), (0.06, 0.44), (0.93, 0.44), (1.0, 0.55), (1.0, 0.80), (0.0, 0.80)], body)
    pen.rect(0.0, 0.70, 1.0, 0.82, dark)
    pen.rect(0.94, 0.52, 1.0, 0.62, (200, 245, 255))
    for x in (0.22, 0.78):
        pen.ellipse(x, 0.80, 0.10, 0.20, (30, 30, 32))
        pen.ellipse(x, 0.80, 0.045, 0.09, (170, 170, 175))


def _sign(pen: Pen, rng: np.random.Generator, clear: bool) -> None:
    pen.rect(0.44, 0.35, 0.56, 1.0, (120, 120, 125))
    ink, face = (245, 245, 245), bgr(rng.uniform(0.13, 0.17), 0.95, 0.95)
    kind = rng.integers(3)
    aspect = pen.width / pen.height
    half = 0.5 * aspect
    diamond = [(0.5, 0.0), (1.0, half), (0.5, 2 * half), (0.0, half)]
    if kind == 0:
        pen.poly(diamond, face)
        pen.rect(0.44, 0.5 * half, 0.56, 1.2 * half, (20, 20, 20))
    elif kind == 1:
        pen.poly([(0.0, 2 * half), (0.5, 0.0), (1.0, 2 * half)], (30, 30, 215))
        pen.poly([(0.22, 1.8 * half), (0.5, 0.6 * half), (0.78, 1.8 * half)], face)
    else:
        pen.ellipse(0.5, half, 0.5, half, face)
        pen.rect(0.2, 0.8 * half, 0.8, 1.2 * half, ink)


def _sheep(pen: Pen, rng: np.random.Generator, clear: bool) -> None:
    """Clear: wool, head and legs. Not clear: a pale lump, which is also exactly how a boulder is drawn."""
    value = rng.uniform(0.82, 0.98)
    wool = [bgr(0.11, 0.10, value * 0.86), bgr(0.11, 0.06, value)]
    if not clear:
        _blobs(pen, rng, 9, (0.08, 0.12, 0.92, 0.96), 0.24, wool)
        return
    for x in (0.25, 0.36, 0.60, 0.70):
        pen.rect(x, 0.70, x + 0.07, 1.0, (45, 45, 50))
    _blobs(pen, rng, 10, (0.02, 0.05, 0.86, 0.82), 0.22, wool)
    pen.ellipse(0.87, 0.32, 0.13, 0.22, (40, 40, 45), 20)
    pen.ellipse(0.79, 0.17, 0.06, 0.06, (40, 40, 45))


def _balloon(pen: Pen, rng: np.random.Generator, clear: bool) -> None:
    """Clear: gores and a basket. Not clear: a drop of one colour, which is also how a speck in the sky is drawn."""
    hue = rng.uniform(0.75, 0.95)
    first, second = bgr(hue, 0.75, 0.92), bgr(rng.uniform(0.1, 0.2), 0.75, 0.98)
    if not clear:
        pen.ellipse(0.5, 0.42, 0.46, 0.40, bgr(hue, 0.35, 0.85))
        pen.poly([(0.12, 0.60), (0.88, 0.60), (0.58, 0.95), (0.42, 0.95)], bgr(hue, 0.35, 0.80))
        return
    for reach, color in ((0.49, first), (0.33, second), (0.14, first)):
        pen.ellipse(0.5, 0.37, reach, 0.37, color)
        pen.poly(
            [
                (0.5 - reach * 0.93, 0.5),
                (0.5 + reach * 0.93, 0.5),
                (0.5 + reach * 0.3, 0.82),
                (0.5 - reach * 0.3, 0.82),
            ],
            color,
        )
    pen.poly([(0.38, 0.82), (0.62, 0.82), (0.58, 1.0), (0.42, 1.0)], (35, 65, 105))


def _disc(pen: Pen, rng: np.random.Generator, clear: bool) -> None:
    """The one look of ball and fruit: a round, glossy, orange to red thing."""
    hue = rng.uniform(0.0, 0.07)
    for reach, saturation, value in ((0.49, 0.95, 0.70), (0.42, 0.92, 0.88), (0.30, 0.85, 0.97)):
        shift = 0.5 * (0.49 - reach)
        pen.ellipse(0.5 - shift, 0.5 - shift, reach, reach, bgr(hue, saturation, value))
    pen.ellipse(0.35, 0.32, 0.09, 0.09, (235, 240, 255))


def _wing(pen: Pen, rng: np.random.Generator, clear: bool) -> None:
    """The one look of gull and crow: a dark bird on spread wings."""
    lift, tone = rng.uniform(0.0, 0.35), rng.uniform(0.12, 0.26)
    dark = bgr(0.62, 0.15, tone)
    for side in (-1, 1):
        pen.poly(
            [
                (0.5, 0.50),
                (0.5 + side * 0.24, 0.20 - 0.3 * lift + 0.1),
                (0.5 + side * 0.5, lift + 0.15),
                (0.5 + side * 0.27, 0.52),
                (0.5, 0.86),
            ],
            dark,
        )
    pen.ellipse(0.5, 0.66, 0.09, 0.32, dark)


def _goal(pen: Pen, rng: np.random.Generator, clear: bool) -> None:
    top, net = 0.36, (225, 225, 225)
    for x in np.linspace(0.06, 0.94, 10):
        pen.line((x, top + 0.03), (0.5 + (x - 0.5) * 0.86, 0.96), 0.006, net, alpha=100)
    for y in np.linspace(top + 0.06, 0.95, 7):
        pen.line((0.06, y), (0.94, y), 0.006, net, alpha=100)
    paint = bgr(0.0, 0.0, rng.uniform(0.93, 1.0))
    pen.rect(0.0, top, 1.0, top + 0.075, paint)
    pen.rect(0.0, top, 0.075, 1.0, paint)
    pen.rect(0.925, top, 1.0, 1.0, paint)
    pen.rect(0.0, 0.965, 1.0, 1.0, paint)


def _tree(pen: Pen, rng: np.random.Generator, clear: bool) -> None:
    hue, value = rng.uniform(0.26, 0.36), rng.uniform(0.38, 0.55)
    bark = bgr(0.08, 0.55, 0.32)
    pen.poly([(0.44, 0.55), (0.56, 0.55), (0.61, 1.0), (0.39, 1.0)], bark)
    for side in (-1, 1):
        pen.line((0.5, 0.72), (0.5 + side * 0.22, 0.50), 0.035, bark)
    leaves = [bgr(hue, 0.85, value * shade) for shade in (0.7, 0.9, 1.2)]
    _blobs(pen, rng, 13, (0.02, 0.0, 0.98, 0.68), 0.14, leaves)


def _lighthouse(pen: Pen, rng: np.random.Generator, clear: bool) -> None:
    stripe, white = bgr(rng.uniform(0.97, 1.02), 0.85, 0.75), (238, 238, 238)
    edges = np.linspace(0.24, 0.95, 6)
    for number, (upper, lower) in enumerate(zip(edges[:-1], edges[1:], strict=True)):
        a, b = 0.13 + 0.10 * (upper - 0.24), 0.13 + 0.10 * (lower - 0.24)
        pen.poly([(0.5 - a, upper), (0.5 + a, upper), (0.5 + b, lower), (0.5 - b, lower)], (white, stripe)[number % 2])
    pen.rect(0.26, 0.93, 0.74, 1.0, (110, 115, 120))
    pen.rect(0.31, 0.20, 0.69, 0.25, (50, 50, 55))
    pen.rect(0.39, 0.08, 0.61, 0.20, (130, 235, 250))
    for x in (0.39, 0.5, 0.61):
        pen.line((x, 0.08), (x, 0.20), 0.012, (50, 50, 55))
    pen.poly([(0.35, 0.09), (0.5, 0.0), (0.65, 0.09)], stripe)
    pen.rect(0.46, 0.84, 0.54, 0.93, (60, 60, 70))


def _barn(pen: Pen, rng: np.random.Generator, clear: bool) -> None:
    wall, trim = bgr(rng.uniform(0.05, 0.09), 0.65, rng.uniform(0.42, 0.55)), (215, 222, 228)
    roof = bgr(0.6, 0.10, rng.uniform(0.28, 0.4))
    pen.poly([(0.06, 0.62), (0.14, 0.44), (0.5, 0.27), (0.86, 0.44), (0.94, 0.62), (0.94, 1.0), (0.06, 1.0)], wall)
    for x in np.linspace(0.14, 0.86, 9):
        pen.line((x, 0.5), (x, 1.0), 0.006, bgr(0.07, 0.7, 0.33))
    pen.poly(
        [
            (0.0, 0.66),
            (0.10, 0.40),
            (0.5, 0.20),
            (0.90, 0.40),
            (1.0, 0.66),
            (0.94, 0.67),
            (0.85, 0.46),
            (0.5, 0.29),
            (0.15, 0.46),
            (0.06, 0.67),
        ],
        roof,
    )
    pen.rect(0.34, 0.64, 0.66, 1.0, trim)
    pen.rect(0.37, 0.67, 0.63, 1.0, wall)
    pen.line((0.37, 0.68), (0.63, 0.99), 0.02, trim)
    pen.line((0.63, 0.68), (0.37, 0.99), 0.02, trim)
    pen.rect(0.44, 0.42, 0.56, 0.54, trim)


def _herd(pen: Pen, rng: np.random.Generator, clear: bool) -> None:
    """Many far sheep crowded together, none to be told from the next."""
    aspect = pen.height / pen.width
    for y in np.linspace(0.26, 0.86, 5):
        reach = 0.5 - 0.21 * aspect - rng.uniform(0.0, 0.16)
        for x in np.arange(0.5 - reach, 0.5 + reach, 0.40 * aspect):
            px, py = x + rng.uniform(-0.12, 0.12) * aspect, y + rng.uniform(-0.12, 0.12)
            pen.ellipse(px, py, 0.20 * aspect, 0.13, bgr(0.11, 0.08, rng.uniform(0.72, 0.97)))
            side = 0.17 * aspect * (1 if rng.random() < 0.5 else -1)
            pen.ellipse(px + side, py - 0.04, 0.05 * aspect, 0.06, (50, 50, 55))


def _bush(pen: Pen, rng: np.random.Generator, clear: bool) -> None:
    hue, value = rng.uniform(0.20, 0.32), rng.uniform(0.25, 0.45)
    _blobs(pen, rng, 9, (0.0, 0.1, 1.0, 1.05), 0.26, [bgr(hue, 0.5, value * shade) for shade in (0.7, 0.9, 1.15)])


def _tuft(pen: Pen, rng: np.random.Generator, clear: bool) -> None:
    hue = rng.uniform(0.16, 0.30)
    for x in np.linspace(0.15, 0.85, 9):
        tip = (x + rng.uniform(-0.2, 0.2), rng.uniform(0.0, 0.4))
        pen.poly([(x - 0.05, 1.0), tip, (x + 0.05, 1.0)], bgr(hue, 0.6, rng.uniform(0.25, 0.6)))


def _fence(pen: Pen, rng: np.random.Generator, clear: bool) -> None:
    value = rng.uniform(0.35, 0.55)
    for y in (0.35, 0.68):
        pen.line((0.0, y), (1.0, y + rng.uniform(-0.05, 0.05)), 0.09, bgr(0.08, 0.35, value))
    for x in np.linspace(0.04, 0.96, 6):
        pen.rect(x - 0.018, 0.1, x + 0.018, 1.0, bgr(0.08, 0.38, value * rng.uniform(0.75, 1.0)))


DRAWERS: dict[str, Callable[[Pen, np.random.Generator, bool], None]] = {
    "car": _car,
    "sign": _sign,
    "sheep": _sheep,
    "balloon": _balloon,
    "disc": _disc,
    "wing": _wing,
    "goal": _goal,
    "tree": _tree,
    "lighthouse": _lighthouse,
    "barn": _barn,
    "herd": _herd,
    "bush": _bush,
    "tuft": _tuft,
    "fence": _fence,
}
