"""Drawing what one pixel takes from an image."""

import cv2
import numpy as np

from maskrcnn_benchmark.visualization.objects import enlarge


def draw_weights(image: np.ndarray, weights: np.ndarray, point: tuple[float, float], limit: float) -> np.ndarray:
    """A copy of the image, darkened, with a map of signed weights over it (red above zero, blue below) and a ring around a
    point.

    Args:
        image: uint8 [H, W, 3], BGR.
        weights: [h, w], over the whole image.
        point: x and y, pixels.
        limit: of the weights' size, from which on the colour is full.
    """
    enlarged, factor = enlarge(image)
    canvas: np.ndarray = enlarged.astype(np.float32) * 0.5
    relative = np.clip(weights / (limit or 1.0), -1, 1).astype(np.float32)
    strength = cv2.resize(relative, canvas.shape[1::-1], interpolation=cv2.INTER_LINEAR)[..., None]
    red, blue = np.array((40, 40, 255), np.float32), np.array((255, 110, 30), np.float32)
    opacity = 0.85 * np.abs(strength)
    drawn = (canvas * (1 - opacity) + np.where(strength > 0, red, blue) * opacity).round().astype(np.uint8)
    centre = tuple(round((p + 0.5) * factor) for p in point)
    radius = max(9, round(min(drawn.shape[:2]) / 60))
    for colour, thickness in (((0, 0, 0), radius // 2), ((255, 255, 255), radius // 4)):
        cv2.circle(drawn, centre, radius, colour, thickness, cv2.LINE_AA)
    return drawn
