"""Several images in one."""

from collections.abc import Sequence

import cv2
import numpy as np

from maskrcnn_benchmark.visualization.lettering import put_text

HEADER = 24  # pixels of a title's row
MOST_UPRIGHT = 4


def side_by_side(images: Sequence[np.ndarray], titles: Sequence[str]) -> np.ndarray:
    """Images of equal height in a row, each below its title."""
    panels = []
    for image, title in zip(images, titles, strict=True):
        header = np.full((HEADER, image.shape[1], 3), 255, np.uint8)
        put_text(header, title, 4, 3, (255, 255, 255), 14)
        panels.append(np.pad(np.concatenate((header, image)), ((0, 0), (0, 6), (0, 0)), constant_values=255))
    return np.concatenate(panels, axis=1)


def make_sheet(pictures: Sequence[np.ndarray], columns: int, cell_width: int) -> np.ndarray:
    """All pictures at one width, in rows; those more than MOST_UPRIGHT times as high as wide are flattened."""
    heights = [min(max(p.shape[0] * cell_width // p.shape[1], 1), MOST_UPRIGHT * cell_width) for p in pictures]
    cells = [cv2.resize(p, (cell_width, height)) for p, height in zip(pictures, heights, strict=True)]
    height = max(c.shape[0] for c in cells)
    cells = [np.pad(c, ((0, height - c.shape[0]), (0, 0), (0, 0)), constant_values=255) for c in cells]
    cells += [np.full_like(cells[0], 255)] * (-len(cells) % columns)
    return np.concatenate([np.concatenate(cells[i : i + columns], axis=1) for i in range(0, len(cells), columns)])
