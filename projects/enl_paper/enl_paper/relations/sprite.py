"""From a look to a sprite: drawn, shaded, seen through air, placed.

A sprite is drawn several times its size and then reduced, which smooths its edges.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from .looks import DRAWERS
from .pen import OPAQUE, Color, Pen

_MIRRORED = {"car", "sheep", "fence"}


@dataclass(frozen=True)
class Sprite:
    """A drawn thing, placed.

    color: float32[h, w, 3], BGR multiplied by alpha.  alpha: float32[h, w], 0 to 1.
    solid: bool[h, w], the pixels that belong to the thing's mask.  x, y: pixel of the upper left corner.
    """

    color: np.ndarray
    alpha: np.ndarray
    solid: np.ndarray
    x: int
    y: int


def draw_sprite(
    kind: str,
    box: tuple[float, float, float, float],
    seed: int,
    clear: bool,
    light: float,
    haze: Color,
    haze_share: float,
) -> Sprite:
    """Draw one thing into ``box`` (x1, y1, x2, y2, pixels; it may reach out of the image).

    light: where the sun is, -1 (left) to 1 (right).  haze, haze_share: the air's colour and how much of it lies
    before the thing, 0 to 1.  clear=False takes away detail, contrast and sharpness.  The sprite depends on nothing
    else, so equal arguments give equal pixels whatever stands elsewhere in the scene.
    """
    rng = np.random.default_rng(seed)
    x, y = int(np.floor(box[0])), int(np.floor(box[1]))
    width, height = max(2, round(box[2] - box[0])), max(2, round(box[3] - box[1]))
    pen = Pen(width, height)
    DRAWERS[kind](pen, rng, clear)
    if kind in _MIRRORED and rng.random() < 0.5:
        pen.color, pen.alpha = pen.color[:, ::-1], pen.alpha[:, ::-1]
    fine = pen.alpha.astype(np.float32) / OPAQUE
    alpha = cv2.resize(fine, (width, height), interpolation=cv2.INTER_AREA)
    color = cv2.resize(pen.color.astype(np.float32) * fine[..., None], (width, height), interpolation=cv2.INTER_AREA)

    grain = rng.normal(0.0, 0.07, (max(2, height // 3), max(2, width // 3))).astype(np.float32)
    shade = 1.0 + cv2.resize(grain, (width, height), interpolation=cv2.INTER_LINEAR)
    shade += 0.18 * light * np.linspace(-1, 1, width, dtype=np.float32)
    shade -= 0.12 * np.linspace(-1, 1, height, dtype=np.float32)[:, None]
    color = np.clip(color * shade[..., None], 0, 255 * alpha[..., None])
    color = (1 - haze_share) * color + haze_share * alpha[..., None] * np.asarray(haze, np.float32)
    solid = alpha > 0.5
    if not clear:
        pad, sigma = 3, 0.7 + 0.02 * max(width, height)
        border = ((pad, pad), (pad, pad))
        color = cv2.GaussianBlur(np.pad(color, (*border, (0, 0))), (0, 0), sigma) * 0.7
        alpha = cv2.GaussianBlur(np.pad(alpha, border), (0, 0), sigma) * 0.7
        solid, x, y = np.pad(solid, border), x - pad, y - pad
    return Sprite(color, alpha, solid, x, y)
