"""Colours that differ as much as they can, also to eyes that do not tell red from green.

The first two are the orange and the sky blue of Okabe and Ito's palette. Each further one is the colour farthest from all before
it (Euclidean distance in CIE Lab) for the least favourable of three kinds of sight: ordinary, without long-wave cones
(protanopia) and without medium-wave ones (deuteranopia), the latter two as Machado, Oliveira and Fernandes simulate them (2009).
"""

from functools import lru_cache

import cv2
import numpy as np

SIZE = 100  # colours; labels beyond begin again
OKABE_ITO = np.array([[230, 159, 0], [86, 180, 233]]) / 255  # RGB: orange and sky blue
EQUAL_CONTRAST = 0.179  # the luminance of a colour against which black and white have the same contrast, 4.6 : 1
EQUAL = 12  # colours for which all kinds of sight count the same
# Beyond these there are not enough colours for two kinds of cones: their distances count so many times what they are, or all
# others would get fewer colours than they can tell.
WEIGHT = 2.0
# Linear RGB of what is seen from linear RGB.
PROTANOPIA = np.array(
    [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
)
DEUTERANOPIA = np.array(
    [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
)


def linear(rgb: np.ndarray) -> np.ndarray:
    """Linear light of sRGB values, both from 0 to 1."""
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def _encoded(light: np.ndarray) -> np.ndarray:
    light = light.clip(0, 1)
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def _lab(rgb: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(rgb[None].astype(np.float32), cv2.COLOR_RGB2Lab)[0]


def _as_seen(rgb: np.ndarray) -> np.ndarray:
    """CIE Lab of sRGB colours [N, 3] for the three kinds of sight: [3, N, 3]."""
    light = linear(rgb)
    return np.stack([_lab(rgb), *(_lab(_encoded(light @ matrix.T)) for matrix in (PROTANOPIA, DEUTERANOPIA))])


@lru_cache(maxsize=1)
def palette() -> np.ndarray:
    """uint8 [SIZE, 3], BGR. Only colours that are neither dark nor pale take part, which stand out from a photograph."""
    hue, saturation, value = np.meshgrid(np.arange(0, 360, 6), np.linspace(0.2, 1, 8), np.linspace(0.3, 1, 8))
    hsv = np.stack((hue, saturation, value), axis=-1).reshape(1, -1, 3).astype(np.float32)
    rgb = cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB)[0]
    lab = _lab(rgb)
    rgb = np.concatenate((OKABE_ITO, rgb[(lab[:, 0] > 42) & (np.hypot(lab[:, 1], lab[:, 2]) > 30)]))
    seen = _as_seen(rgb)
    chosen = list(range(len(OKABE_ITO)))
    # From the nearest that is chosen: [3, N].
    distance = np.linalg.norm(seen[:, :, None] - seen[:, None, : len(OKABE_ITO)], axis=3).min(axis=2)
    while len(chosen) < SIZE:
        weight = 1.0 if len(chosen) < EQUAL else WEIGHT
        chosen.append(int(np.minimum(distance[0], weight * distance[1:].min(axis=0)).argmax()))
        distance = np.minimum(distance, np.linalg.norm(seen - seen[:, chosen[-1:]], axis=2))
    return (rgb[chosen][:, ::-1] * 255).round().astype(np.uint8)


def class_colour(label: int) -> tuple[int, int, int]:
    """The BGR colour of a class; those of small labels differ most."""
    blue, green, red = palette()[label % SIZE].tolist()
    return blue, green, red


def luminance(colour: tuple[int, int, int]) -> float:
    """Relative luminance (WCAG) of a BGR colour, 0 to 1."""
    return float(linear(np.array(colour, np.float64) / 255) @ (0.0722, 0.7152, 0.2126))


def is_dark(colour: tuple[int, int, int]) -> bool:
    """Whether white stands out from a BGR colour more than black does."""
    return luminance(colour) < EQUAL_CONTRAST
