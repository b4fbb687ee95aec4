"""Drawing what became of the objects of an image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from enl_paper.outcome import CONFUSED, FOUND, MISSED, ImageOutcome
from maskrcnn_benchmark.visualization import draw_boxes, draw_captions, put_text
from maskrcnn_benchmark.visualization.lettering import text_size
from maskrcnn_benchmark.visualization.objects import enlarge

EXTRA = "nothing there"
COLOURS = {FOUND: (80, 220, 80), CONFUSED: (40, 40, 255), MISSED: (255, 255, 255), EXTRA: (0, 200, 255)}  # BGR
LETTERS = 14  # pixels, of the legend


def panel(
    image: np.ndarray, objects: Sequence[dict], detections: Sequence[dict], outcome: ImageOutcome, names: dict
) -> np.ndarray:
    """The image, enlarged, with the detections that found an object or confused its class, dashed boxes around what was missed,
    and the detections of nothing. Of COCO annotations and results; names: by category id, empty for no captions."""
    canvas, factor = enlarge(image)
    kept = [k for k, thing in enumerate(objects) if not thing.get("iscrowd")]
    missed = [objects[k] for k in kept if outcome.of_object[k] == MISSED]
    hits = [(detections[outcome.hits[k]], outcome.of_object[k]) for k in kept if outcome.of_object[k] != MISSED]
    shown = [(detections[i], EXTRA, "") for i in outcome.extra]
    shown += [(found, state, names.get(found["category_id"], "")) for found, state in hits]
    colours = [COLOURS[state] for _, state, _ in shown]
    boxes = _corners([found for found, _, _ in shown], factor)
    draw_boxes(canvas, boxes, colours)
    draw_boxes(canvas, _corners(missed, factor), [COLOURS[MISSED]] * len(missed), dashed=True)
    draw_captions(canvas, boxes, [caption for _, _, caption in shown], colours)
    return canvas


def _corners(entries: Sequence[dict], factor: int) -> np.ndarray:
    """xyxy of COCO's boxes in the enlarged image, both corners inside."""
    boxes = np.array([entry["bbox"] for entry in entries], np.float64).reshape(-1, 4) * factor
    boxes[:, 2:] += boxes[:, :2] - 1
    return boxes


def legend(width: int, states: Sequence[str]) -> np.ndarray:
    """A strip, `width` pixels wide, that says what the colours mean."""
    strip = np.full((26, width, 3), 40, np.uint8)
    x = 8
    for state in states:
        put_text(strip, state, x, 3, COLOURS[state], LETTERS)
        x += text_size(state, LETTERS)[0] + 16
    return strip
