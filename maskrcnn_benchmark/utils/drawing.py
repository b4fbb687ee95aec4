"""Drawing objects into images."""

import colorsys
from collections.abc import Sequence

import cv2
import numpy as np

FONT = cv2.FONT_HERSHEY_SIMPLEX
MIN_SIDE = 480  # smaller images are enlarged, or their labels would cover them


def class_colour(label: int) -> tuple[int, int, int]:
    """A BGR colour; neighbouring labels differ most (steps of the golden ratio around the colour circle)."""
    red, green, blue = colorsys.hsv_to_rgb(label * 0.618034 % 1.0, 0.75, 1.0)
    return int(blue * 255), int(green * 255), int(red * 255)


def _put_text(image: np.ndarray, text: str, x: int, y: int, colour: tuple[int, int, int], scale: float) -> None:
    """Text on a filled ground, its lower left corner at (x, y), moved into the image."""
    (width, height), below = cv2.getTextSize(text, FONT, scale, 1)
    x = max(min(x, image.shape[1] - width - 3), 0)
    y = max(min(y, image.shape[0] - below), height + 2)
    cv2.rectangle(image, (x, y - height - 2), (x + width + 2, y + below - 1), colour, cv2.FILLED)
    ink = (0, 0, 0) if sum(colour) > 300 else (255, 255, 255)
    cv2.putText(image, text, (x + 1, y - 1), FONT, scale, ink, 1, cv2.LINE_AA)


def draw_objects(
    image: np.ndarray,
    boxes: np.ndarray,
    labels: Sequence[int],
    captions: Sequence[str],
    masks: Sequence[np.ndarray] | None = None,
) -> np.ndarray:
    """A copy of the image, enlarged if it is small, with boxes, captions and tinted masks.

    Args:
        image: uint8 [H, W, 3], BGR.
        boxes: [N, 4] xyxy, pixels.
        labels: class of each object, which gives its colour.
        captions: text above each box.
        masks: uint8 or bool [H, W] for each object.
    """
    height, width = image.shape[:2]
    factor = max(1, -(-MIN_SIDE // min(height, width)))
    canvas = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    for mask, label in zip(masks or (), labels, strict=False):
        inside = cv2.resize(mask.astype(np.uint8), (canvas.shape[1], canvas.shape[0]), interpolation=cv2.INTER_NEAREST)
        colour = np.array(class_colour(label), np.float32)
        canvas[inside > 0] = (0.6 * canvas[inside > 0] + 0.4 * colour).astype(np.uint8)
    # Both corners belong to a box: the last column of its last pixel is the outline's.
    corners = np.asarray(boxes, np.float64).reshape(-1, 4) + (0, 0, 1, 1)
    corners = (corners * factor - (0, 0, 1, 1)).round().astype(int).tolist()
    for (x1, y1, x2, y2), label in zip(corners, labels, strict=True):
        cv2.rectangle(canvas, (x1, y1), (x2, y2), class_colour(label), 1, cv2.LINE_AA)
    for (x1, y1, _, _), label, caption in zip(corners, labels, captions, strict=True):
        _put_text(canvas, caption, x1, y1 - 2, class_colour(label), 0.4)
    return canvas


def side_by_side(images: Sequence[np.ndarray], titles: Sequence[str]) -> np.ndarray:
    """Images of equal height in a row, each below its title."""
    panels = []
    for image, title in zip(images, titles, strict=True):
        header = np.full((24, image.shape[1], 3), 255, np.uint8)
        cv2.putText(header, title, (6, 17), FONT, 0.5, (0, 0, 0), 1, cv2.LINE_AA)
        panels.append(np.pad(np.concatenate((header, image)), ((0, 0), (0, 6), (0, 0)), constant_values=255))
    return np.concatenate(panels, axis=1)


def make_sheet(pictures: Sequence[np.ndarray], columns: int, cell_width: int) -> np.ndarray:
    """All pictures at one width, in rows."""
    cells = [cv2.resize(p, (cell_width, p.shape[0] * cell_width // p.shape[1])) for p in pictures]
    height = max(c.shape[0] for c in cells)
    cells = [np.pad(c, ((0, height - c.shape[0]), (0, 0), (0, 0)), constant_values=255) for c in cells]
    cells += [np.full_like(cells[0], 255)] * (-len(cells) % columns)
    return np.concatenate([np.concatenate(cells[i : i + columns], axis=1) for i in range(0, len(cells), columns)])


def draw_weights(image: np.ndarray, weights: np.ndarray, point: tuple[float, float], limit: float) -> np.ndarray:
    """A copy of the image, darkened, with a map of signed weights over it (red above zero, blue below) and a ring around a
    point.

    Args:
        image: uint8 [H, W, 3], BGR.
        weights: [h, w], over the whole image.
        point: x and y, pixels.
        limit: of the weights' size, from which on the colour is full.
    """
    height, width = image.shape[:2]
    factor = max(1, -(-MIN_SIDE // min(height, width)))
    enlarged = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    canvas: np.ndarray = enlarged.astype(np.float32) * 0.5
    relative = np.clip(weights / (limit or 1.0), -1, 1).astype(np.float32)
    strength = cv2.resize(relative, canvas.shape[1::-1], interpolation=cv2.INTER_LINEAR)[..., None]
    red, blue = np.array((40, 40, 255), np.float32), np.array((255, 110, 30), np.float32)
    opacity = 0.85 * np.abs(strength)
    drawn = (canvas * (1 - opacity) + np.where(strength > 0, red, blue) * opacity).round().astype(np.uint8)
    centre = tuple(round((p + 0.5) * factor) for p in point)
    for colour, thickness in (((0, 0, 0), 4), ((255, 255, 255), 2)):
        cv2.circle(drawn, centre, 9, colour, thickness, cv2.LINE_AA)
    return drawn
