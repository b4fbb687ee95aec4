"""Backdrops of the Relations data set: sky, hills, ground in perspective, and what the camera adds."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .pen import Color, bgr

# hue, saturation, value of the ground: meadow, dry grass, sand, paving, snow, heath
_GROUNDS = (
    (0.27, 0.50, 0.52),
    (0.17, 0.42, 0.60),
    (0.12, 0.32, 0.78),
    (0.60, 0.05, 0.50),
    (0.58, 0.07, 0.86),
    (0.09, 0.35, 0.45),
)
# the sky at its zenith and at the horizon: clear, overcast, evening, morning
_SKIES = (
    ((0.58, 0.55, 0.88), (0.55, 0.16, 0.96)),
    ((0.60, 0.08, 0.66), (0.60, 0.04, 0.84)),
    ((0.62, 0.42, 0.62), (0.08, 0.38, 0.95)),
    ((0.56, 0.28, 0.92), (0.12, 0.16, 0.98)),
)


@dataclass(frozen=True)
class Backdrop:
    """canvas: float32[H, W, 3], BGR, 0 to 255.  haze: the air's colour.  light: the sun's side, -1 to 1."""

    canvas: np.ndarray
    haze: Color
    light: float


def _array(color: Color) -> np.ndarray:
    return np.asarray(color, np.float32)


def smooth_noise(rng: np.random.Generator, height: int, width: int, cells: tuple[int, ...]) -> np.ndarray:
    """float32[height, width] of about unit deviation: one octave for each number of cells across."""
    total = np.zeros((height, width), np.float32)
    for cell in cells:
        grid = rng.standard_normal((max(2, cell * height // max(width, 1)), cell), np.float32)
        total += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
    return total / np.sqrt(len(cells))


def _vary(rng: np.random.Generator, color: tuple[float, float, float], amount: float) -> Color:
    hue, saturation, value = color
    return bgr(
        hue + rng.uniform(-0.03, 0.03) * amount,
        saturation * rng.uniform(1 - 0.3 * amount, 1 + 0.3 * amount),
        value * rng.uniform(1 - 0.15 * amount, 1 + 0.10 * amount),
    )


def _sky(rng: np.random.Generator, height: int, width: int) -> tuple[np.ndarray, Color]:
    """The sky, float32[height, width, 3], and its colour at the horizon."""
    zenith, rim = (_vary(rng, color, 1.0) for color in _SKIES[rng.integers(len(_SKIES))])
    share = np.linspace(0, 1, height, dtype=np.float32)[:, None, None] ** 0.8
    sky = np.broadcast_to((1 - share) * _array(zenith) + share * _array(rim), (height, width, 3))
    puffs = sum(
        smooth_noise(rng, 2 * height, width, (cells,))[::2] * weight
        for cells, weight in ((4, 1.0), (9, 0.6), (19, 0.4), (41, 0.28), (83, 0.16))
    )
    cover = np.clip(0.45 * (puffs - rng.uniform(-0.3, 1.2)), 0, 0.85)[..., None]
    cover *= np.linspace(1.0, 0.4, height, dtype=np.float32)[:, None, None]
    return sky + cover * (_array(bgr(0.6, 0.02, 0.97)) - sky), rim


def _hills(rng: np.random.Generator, canvas: np.ndarray, horizon: int, ground: Color, haze: Color) -> None:
    height, width = canvas.shape[:2]
    rows = np.arange(height)[:, None]
    for distance in np.linspace(0.8, 0.5, int(rng.integers(0, 4))):
        knots = horizon - rng.uniform(0.01, 0.13, 7) * height * (0.4 + distance)
        ridge = np.interp(np.linspace(0, 6, width), np.arange(7), knots)
        ridge = cv2.GaussianBlur(ridge[None].astype(np.float32), (0, 0), width / 24)[0]
        ridge += smooth_noise(rng, 1, width, (width // 8,))[0] * 0.004 * height
        tone = (1 - distance) * _array(ground) * 0.8 + distance * _array(haze)
        canvas[(rows >= ridge) & (rows < horizon)] = tone


def _ground(rng: np.random.Generator, height: int, width: int, color: Color, haze: Color, rough: float) -> np.ndarray:
    """The ground below the horizon, float32[height, width, 3]: texture that shrinks with distance, then haze."""
    unit = float(min(width, 2 * height))
    near = (np.arange(height, dtype=np.float32) + 1.0) / height  # 0 at the horizon, 1 at the lower edge
    columns = (np.arange(width, dtype=np.float32) - width * rng.uniform(0.3, 0.7)) / unit
    tile = np.clip(np.stack([smooth_noise(rng, 256, 256, cells) for cells in ((24, 60), (90, 200))], -1), -2.5, 2.5)
    across = 128 + 110 * columns[None] / (near[:, None] + 0.08)
    along = np.broadcast_to(160 / (near[:, None] + 0.08), across.shape)
    texture = cv2.remap(tile, across, np.ascontiguousarray(along), cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
    fade = np.clip(near * 3, 0, 1)[:, None, None]
    broad = smooth_noise(rng, height, width, (3, 6))[..., None] * 0.06
    relief = 1 + broad + fade * rough * (0.10 * texture[..., :1] + 0.06 * texture[..., 1:])
    thick = (0.55 * (1 - near) ** 2.5)[:, None, None]
    return (1 - thick) * _array(color) * relief + thick * _array(haze)


def _path(rng: np.random.Generator, canvas: np.ndarray, horizon: int) -> None:
    """A track that runs from the lower edge towards the horizon."""
    height, width = canvas.shape[:2]
    vanish, foot = rng.uniform(0.2, 0.8) * width, rng.uniform(-0.1, 1.1) * width
    half, bend = rng.uniform(0.08, 0.18) * width, rng.uniform(-0.2, 0.2) * width
    near = np.linspace(0.02, 1, 16)
    middle = vanish + (foot - vanish) * near + bend * near * (1 - near) * 4
    rows = horizon + near * (height - horizon)
    left, right = np.stack([middle - half * near, rows], 1), np.stack([middle + half * near, rows], 1)
    outline = np.concatenate([left, right[::-1]])
    share = np.zeros((height, width), np.float32)
    cv2.fillPoly(share, [np.round(outline * 16).astype(np.int32)], (1.0,), cv2.LINE_8, 4)
    share = cv2.GaussianBlur(share, (0, 0), 1.2)[..., None] * rng.uniform(0.4, 0.75)
    dust = _array(bgr(rng.uniform(0.06, 0.13), rng.uniform(0.05, 0.3), rng.uniform(0.4, 0.75)))
    canvas += share * (dust - canvas)


def paint_backdrop(height: int, width: int, horizon: int, hardness: float, rng: np.random.Generator) -> Backdrop:
    """An empty scene of ``height`` by ``width`` pixels whose ground begins at row ``horizon``."""
    sky, haze = _sky(rng, horizon, width)
    color = _vary(rng, _GROUNDS[rng.integers(len(_GROUNDS))], 1.0)
    canvas = np.empty((height, width, 3), np.float32)
    canvas[:horizon] = sky
    _hills(rng, canvas, horizon, color, haze)
    canvas[horizon:] = _ground(rng, height - horizon, width, color, haze, 0.5 + 0.8 * hardness)
    if rng.random() < 0.5:
        _path(rng, canvas, horizon)
    return Backdrop(canvas, haze, float(rng.uniform(-1, 1)))


def develop(canvas: np.ndarray, hardness: float, rng: np.random.Generator) -> np.ndarray:
    """What the camera adds: exposure, a darker rim, softness and noise. float32[H, W, 3] to uint8[H, W, 3]."""
    height, width = canvas.shape[:2]
    rows, columns = np.linspace(-1, 1, height, dtype=np.float32), np.linspace(-1, 1, width, dtype=np.float32)
    rim = 1 - rng.uniform(0.0, 0.14) * (rows[:, None] ** 2 + columns[None] ** 2)
    exposed = canvas * (rim * rng.uniform(0.95 - 0.25 * hardness, 1.04))[..., None]
    if rng.random() < hardness:
        exposed = cv2.GaussianBlur(exposed, (0, 0), rng.uniform(0.4, 0.4 + 0.5 * hardness))
    noise = rng.standard_normal((height, width), np.float32) * rng.uniform(1.0, 2.0 + 6.0 * hardness)
    return np.clip(np.rint(exposed + noise[..., None]), 0, 255).astype(np.uint8)
