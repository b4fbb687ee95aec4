"""Drawing shapes in unit coordinates, for the sprites of the Relations data set. Colours are BGR, 0 to 255."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence

import cv2
import numpy as np

Color = tuple[float, float, float]
Point = tuple[float, float]

_SHIFT = 4  # fractional bits of the coordinates given to OpenCV
OPAQUE = 255


def bgr(hue: float, saturation: float, value: float) -> Color:
    """A BGR colour (0 to 255) from hue, saturation and value (each 0 to 1; the hue wraps)."""
    red, green, blue = colorsys.hsv_to_rgb(hue % 1.0, min(max(saturation, 0.0), 1.0), min(max(value, 0.0), 1.0))
    return 255 * blue, 255 * green, 255 * red


class Pen:
    """Draws shapes given in unit coordinates into a colour and an opacity canvas."""

    def __init__(self, width: int, height: int) -> None:
        longest = max(width, height)
        self.scale = 4 if longest <= 40 else 3 if longest <= 100 else 2
        self.width, self.height = width * self.scale, height * self.scale
        self.color = np.zeros((self.height, self.width, 3), np.uint8)
        self.alpha = np.zeros((self.height, self.width), np.uint8)

    def _fixed(self, points: Sequence[Point]) -> np.ndarray:
        pixels = np.asarray(points, np.float64) * (self.width, self.height) - 0.5
        return np.round(pixels * (1 << _SHIFT)).astype(np.int32)

    def poly(self, points: Sequence[Point], color: Color, alpha: int = OPAQUE) -> None:
        fixed = [self._fixed(points)]
        cv2.fillPoly(self.color, fixed, color, shift=_SHIFT)
        cv2.fillPoly(self.alpha, fixed, (alpha,), shift=_SHIFT)

    def rect(self, x1: float, y1: float, x2: float, y2: float, color: Color) -> None:
        self.poly([(x1, y1), (x2, y1), (x2, y2), (x1, y2)], color)

    def ellipse(self, x: float, y: float, rx: float, ry: float, color: Color, angle: float = 0.0) -> None:
        center = tuple(int(v) for v in self._fixed([(x, y)])[0])
        axes = (int(rx * self.width * (1 << _SHIFT)), int(ry * self.height * (1 << _SHIFT)))
        for canvas, value in ((self.color, color), (self.alpha, (OPAQUE,))):
            cv2.ellipse(canvas, center, axes, angle, 0, 360, value, cv2.FILLED, cv2.LINE_8, _SHIFT)

    def line(self, start: Point, end: Point, width: float, color: Color, alpha: int = OPAQUE) -> None:
        """A stroke; ``width`` is a share of the box's height."""
        first, last = (tuple(int(v) for v in p) for p in self._fixed([start, end]))
        thickness = max(1, round(width * self.height))
        cv2.line(self.color, first, last, color, thickness, cv2.LINE_8, _SHIFT)
        cv2.line(self.alpha, first, last, (alpha,), thickness, cv2.LINE_8, _SHIFT)
