"""The steps of `generate_anchors` by maskrcnn-benchmark's private names, which public code calls; numpy, one window at a time.

A window is [x1, y1, x2, y2] in pixels with inclusive corners.
"""

import numpy as np
import torch
from torch import Tensor


def _whctrs(anchor: np.ndarray) -> tuple[float, float, float, float]:
    """Width, height and centre of a window."""
    width, height = anchor[2] - anchor[0] + 1, anchor[3] - anchor[1] + 1
    return width, height, (anchor[0] + anchor[2]) / 2, (anchor[1] + anchor[3]) / 2


def _mkanchors(ws: np.ndarray, hs: np.ndarray, x_ctr: float, y_ctr: float) -> np.ndarray:
    """Windows [N, 4] of N widths and heights around one centre."""
    half_w, half_h = (np.asarray(ws) - 1) / 2, (np.asarray(hs) - 1) / 2
    return np.stack((x_ctr - half_w, y_ctr - half_h, x_ctr + half_w, y_ctr + half_h), axis=1)


def _ratio_enum(anchor: np.ndarray, ratios: np.ndarray) -> np.ndarray:
    """Windows [N, 4] of the same area with each of N ratios height / width, in whole pixels."""
    width, height, x, y = _whctrs(anchor)
    widths = np.round(np.sqrt(width * height / ratios))
    return _mkanchors(widths, np.round(widths * ratios), x, y)


def _scale_enum(anchor: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Windows [N, 4], N times as large."""
    width, height, x, y = _whctrs(anchor)
    return _mkanchors(width * scales, height * scales, x, y)


def _generate_anchors(base_size: float, scales: np.ndarray, aspect_ratios: np.ndarray) -> Tensor:
    """Every ratio at every scale of a square window of `base_size` at the origin: float64 Tensor[N, 4]."""
    square = np.array([0.0, 0.0, base_size - 1, base_size - 1])
    windows = [_scale_enum(shape, np.asarray(scales)) for shape in _ratio_enum(square, np.asarray(aspect_ratios))]
    return torch.from_numpy(np.concatenate(windows))
