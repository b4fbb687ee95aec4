"""Drawing what became of the objects of an image."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from enl_paper.outcome import CONFUSED, FOUND, MISSED, ImageOutcome

EXTRA = "nothing there"
COLOURS = {FOUND: (80, 220, 80), CONFUSED: (40, 40, 255), MISSED: (255, 255, 255), EXTRA: (0, 200, 255)}  # BGR
SHORTER_SIDE = 480  # images are enlarged to at least that
FONT = cv2.FONT_HERSHEY_SIMPLEX
Colour = tuple[int, int, int]


def _rectangle(canvas: np.ndarray, bbox: Sequence[float], factor: int, colour: Colour, dashed: bool = False) -> None:
    x, y, w, h = (round(v * factor) for v in bbox)
    corners = [(x, y), (x + w - 1, y), (x + w - 1, y + h - 1), (x, y + h - 1)]
    for ink, width in (((0, 0, 0), 3), (colour, 1)):  # the dark edge below all of the line
        for a, b in zip(corners, corners[1:] + corners[:1], strict=True):
            dashes = max(abs(a[0] - b[0]), abs(a[1] - b[1])) // 8 if dashed else 1
            places = np.linspace(a, b, 2 * max(dashes, 1)).round().astype(int).tolist()
            for start, end in zip(places[::2], places[1::2], strict=True):
                cv2.line(canvas, start, end, ink, width, cv2.LINE_AA)


def panel(
    image: np.ndarray, objects: Sequence[dict], detections: Sequence[dict], outcome: ImageOutcome, names: dict
) -> np.ndarray:
    """The image, enlarged, with the detections that found an object or confused its class, dashed boxes around what was missed,
    and the detections of nothing. Of COCO annotations and results; names: by category id, empty for no captions."""
    factor = max(1, -(-SHORTER_SIDE // min(image.shape[:2])))
    canvas = cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC)
    for i in outcome.extra:
        _rectangle(canvas, detections[i]["bbox"], factor, COLOURS[EXTRA])
    for thing, state, hit in zip(objects, outcome.of_object, outcome.hits, strict=True):
        if thing.get("iscrowd"):
            continue
        shown = thing if state == MISSED else detections[hit]
        _rectangle(canvas, shown["bbox"], factor, COLOURS[state], dashed=state == MISSED)
        if state != MISSED and names:
            _label(canvas, names[shown["category_id"]], shown["bbox"], factor, COLOURS[state])
    return canvas


def _label(canvas: np.ndarray, text: str, bbox: Sequence[float], factor: int, colour: Colour) -> None:
    (width, height), _ = cv2.getTextSize(text, FONT, 0.42, 1)
    x = int(np.clip(bbox[0] * factor, 0, canvas.shape[1] - width))
    y = round(bbox[1] * factor) - 4
    y = y if y > height else round((bbox[1] + bbox[3]) * factor) + height + 4
    for ink, thickness in (((0, 0, 0), 3), (colour, 1)):
        cv2.putText(canvas, text, (x, y), FONT, 0.42, ink, thickness, cv2.LINE_AA)


def legend(width: int, states: Sequence[str]) -> np.ndarray:
    """A strip, `width` pixels wide, that says what the colours mean."""
    strip = np.full((26, width, 3), 40, np.uint8)
    x = 8
    for state in states:
        cv2.putText(strip, state, (x, 18), FONT, 0.5, COLOURS[state], 1, cv2.LINE_AA)
        x += cv2.getTextSize(state, FONT, 0.5, 1)[0][0] + 24
    return strip
