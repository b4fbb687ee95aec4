"""Text in images, and places for captions where they hide little."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from maskrcnn_benchmark.visualization.fonts import draw_line
from maskrcnn_benchmark.visualization.palette import is_dark

Rectangle = tuple[int, int, int, int]  # x, y, width, height in pixels

MARGIN = 2  # pixels of ground around letters
MOST_LETTERS = 200  # of a text
# Captions farther from their box than this have a line to it, pixels.
NEAR = 4
# A caption that would hide more is left out: fractions of other captions (weighed HIDDEN_TEXT times) and of objects, added up.
MOST_HIDDEN = 0.25
HIDDEN_TEXT = 4.0


@lru_cache(maxsize=4096)
def _letters(text: str, size: int) -> np.ndarray:
    """How much of each pixel is ink: uint8 [h, w] with the margin; all texts of a size have one height and one base line."""
    shown = text if len(text) <= MOST_LETTERS else f"{text[: MOST_LETTERS - 1]}…"
    return np.asarray(draw_line(shown, size, MARGIN))


def text_size(text: str, size: int) -> tuple[int, int]:
    """Width and height of a text with its ground, pixels, for letters of `size` pixels."""
    height, width = _letters(text, size).shape
    return width, height


def put_text(image: np.ndarray, text: str, x: int, y: int, ground: tuple[int, int, int], size: int) -> None:
    """Draw text in place on a filled ground, its upper left corner at (x, y), moved into the image. BGR."""
    letters = _letters(text, size)
    x = max(min(x, image.shape[1] - letters.shape[1]), 0)
    y = max(min(y, image.shape[0] - letters.shape[0]), 0)
    place = image[y : y + letters.shape[0], x : x + letters.shape[1]]
    ink = 255.0 if is_dark(ground) else 0.0
    opacity = letters[: place.shape[0], : place.shape[1], None] / np.float32(255)
    place[:] = (np.array(ground, np.float32) * (1 - opacity) + ink * opacity).round()


def _candidates(box: np.ndarray, width: int, height: int) -> np.ndarray:
    """Corners [C, 2] of places for a caption around a box (x1, y1, x2, y2), the best ones first."""
    x1, y1, x2, y2 = box
    right, middle = x2 - width + 1, (y1 + y2 - height) / 2
    places = [(x1, y1 - height), (x1, y2 + 1), (right, y1 - height), (right, y2 + 1)]
    places += [(x2 + 2, y1), (x1 - width - 1, y1), (x2 + 2, middle), (x1 - width - 1, middle)]
    if (x2 - x1) * (y2 - y1) > 6 * width * height:
        places.insert(1, (x1, y1))  # the object is large enough to have it inside
    for steps in (1, 2, 3.5, 5):
        away = steps * height
        places += [(x1, y1 - height - away), (x1, y2 + away), (x1 - width / 2, y1 - height - away)]
        places += [(x2 + away, middle), (x1 - width - away, middle), (x2 + away, y1 - away), (x2 + away, y2 + away)]
        places += [(x1 - width - away, y1 - height - away), (x1 - width - away, y2 + away)]
    return np.array(places)


def _overlap(places: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Common area of each of C places and each of N rectangles: [C, 4] and [N, 4] (x1, y1, x2, y2, exclusive) -> [C, N]."""
    low = np.maximum(places[:, None, :2], others[None, :, :2])
    high = np.minimum(places[:, None, 2:], others[None, :, 2:])
    return (high - low).clip(min=0).prod(axis=2)


def place_captions(
    boxes: np.ndarray, sizes: Sequence[tuple[int, int]], width: int, height: int
) -> list[Rectangle | None]:
    """Where captions hide least of the objects and of each other; the first ones choose first.

    Args:
        boxes: [M, 4] xyxy, pixels of an image of `width` x `height`.
        sizes: width and height of the captions of the first N boxes; the others want none.

    Returns:
        For each one its place in the image, or None where there is none that hides little.
    """
    objects = np.asarray(boxes, np.float64).reshape(-1, 4) + (0, 0, 1, 1)
    areas = (objects[:, 2:] - objects[:, :2]).clip(min=1).prod(axis=1)
    taken = np.zeros((0, 4))
    result: list[Rectangle | None] = []
    for box, (w, h) in zip(objects, sizes, strict=False):
        corners = _candidates(box - (0, 0, 1, 1), w, h).round()
        corners = corners.clip(0, np.maximum((width - w, height - h), 0))
        places = np.concatenate((corners, corners + (w, h)), axis=1)
        hidden = (_overlap(places, objects) / areas).sum(axis=1)
        hidden += HIDDEN_TEXT * _overlap(places, taken).sum(axis=1) / (w * h)
        best = int((hidden + 0.01 * np.arange(len(places))).argmin())
        if hidden[best] > MOST_HIDDEN:
            result.append(None)
            continue
        taken = np.concatenate((taken, places[best : best + 1]))
        result.append((int(corners[best, 0]), int(corners[best, 1]), w, h))
    return result


def leader(place: Rectangle, box: np.ndarray) -> tuple[tuple[int, int], tuple[int, int]] | None:
    """The ends of the shortest line from a caption to its box (xyxy), or None where they are near each other."""
    x, y, width, height = place
    low, high = np.array((x, y)), np.array((x + width - 1, y + height - 1))
    ends = []
    for a, b, c, d in zip(low, high, box[:2], box[2:], strict=True):
        # Along each axis: the middle of what both share, or the nearest ends.
        both = (max(a, c) + min(b, d)) / 2
        ends.append((both, both) if max(a, c) <= min(b, d) else (b, c) if b < c else (a, d))
    (start_x, end_x), (start_y, end_y) = ends
    if max(abs(start_x - end_x), abs(start_y - end_y)) <= NEAR:
        return None
    return (round(start_x), round(start_y)), (round(end_x), round(end_y))
