"""Colours that differ as much as they can."""

from functools import lru_cache

import cv2
import numpy as np

SIZE = 100  # colours; labels beyond begin again


@lru_cache(maxsize=1)
def palette() -> np.ndarray:
    """uint8 [SIZE, 3], BGR: each colour is the one farthest (in CIE Lab, as the eye sees) from all before it.

    Only bright and saturated colours take part, which stand out from a photograph and carry black letters.
    """
    hue, saturation, value = np.meshgrid(np.arange(0, 360, 6), np.linspace(0.35, 1, 6), np.linspace(0.55, 1, 6))
    hsv = np.stack((hue, saturation, value), axis=-1).reshape(1, -1, 3).astype(np.float32)
    bgr = cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)
    lab = cv2.cvtColor(bgr, cv2.COLOR_BGR2Lab)[0]
    vivid = (lab[:, 0] > 45) & (np.hypot(lab[:, 1], lab[:, 2]) > 35)
    bgr, lab = bgr[0][vivid], lab[vivid]
    chosen = [int(np.argmax(lab[:, 1]))]  # a strong pink first
    distance = np.linalg.norm(lab - lab[chosen[0]], axis=1)
    while len(chosen) < SIZE:
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(lab - lab[chosen[-1]], axis=1))
    return (bgr[chosen] * 255).round().astype(np.uint8)


def class_colour(label: int) -> tuple[int, int, int]:
    """The BGR colour of a class; those of small labels differ most."""
    blue, green, red = palette()[label % SIZE].tolist()
    return blue, green, red
