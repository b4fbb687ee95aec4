"""OpenCV, the same under all of its versions."""

from typing import Any

import cv2


def findContours(*args: Any, **kwargs: Any) -> tuple:
    """cv2.findContours: (contours, hierarchy), also under OpenCV 3, which gives the image first."""
    return tuple(cv2.findContours(*args, **kwargs)[-2:])
