"""Shapes that annotation tools offer, as polygons x1, y1, x2, y2, ..."""

from __future__ import annotations

import math

SIDES = 64  # of the polygon in the place of an ellipse: its area differs by 0.16 %


def rectangle(x: float, y: float, width: float, height: float) -> list[float]:
    return [x, y, x + width, y, x + width, y + height, x, y + height]


def circle(x: float, y: float, radius: float) -> list[float]:
    return ellipse(x, y, radius, radius)


def ellipse(x: float, y: float, radius_x: float, radius_y: float, angle: float = 0.0) -> list[float]:
    """Around (x, y); the angle in radians turns it clockwise in the image."""
    corners = []
    for i in range(SIDES):
        along, across = radius_x * math.cos(2 * math.pi * i / SIDES), radius_y * math.sin(2 * math.pi * i / SIDES)
        corners += [
            x + along * math.cos(angle) - across * math.sin(angle),
            y + along * math.sin(angle) + across * math.cos(angle),
        ]
    return corners
