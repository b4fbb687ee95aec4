"""Drawing objects into images: uint8 [H, W, 3], BGR. What draws in place says so."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from maskrcnn_benchmark.visualization.lettering import leader, place_captions, put_text, text_size
from maskrcnn_benchmark.visualization.palette import class_colour, is_dark

MIN_SIDE = 480  # smaller images are enlarged, or their labels would cover them
MAX_SIDE = 4096  # none is enlarged beyond
MIN_LETTERS = 11  # pixels
CAPTIONS_SHARE = 0.1
AT_ONCE = 1 << 20  # pixels that are tinted at a time, in floating point
OUTSIDE = 1000  # pixels; no line is as wide
DASH = 8  # pixels from one dash to the next
RIM = 0.35  # of what is below a frame's rim remains


@dataclass(frozen=True)
class Pen:
    """Sizes in pixels that go with an image's."""

    line: int
    letters: int

    @staticmethod
    def of(image: np.ndarray) -> "Pen":
        side = min(image.shape[:2])
        return Pen(line=max(1, round(side / 450)), letters=max(12, round(side / 52)))

    def line_of(self, box: Sequence[float]) -> int:
        """A small object gets a line that leaves it and what is beside it to be seen."""
        side = min(box[2] - box[0], box[3] - box[1]) + 1
        return int(min(max(side // 6, (self.line + 1) // 2), self.line))


def enlargement(height: int, width: int) -> int:
    """How many times an image of this size is enlarged before something is drawn into it."""
    wanted = -(-MIN_SIDE // min(height, width))
    return max(1, min(wanted, MAX_SIDE // max(height, width)))


def enlarge(image: np.ndarray) -> tuple[np.ndarray, int]:
    """A copy with sides of at least MIN_SIDE pixels, unless another would exceed MAX_SIDE, and how many times as large it is."""
    factor = enlargement(*image.shape[:2])
    return cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC), factor


def draw_boxes(
    canvas: np.ndarray, boxes: np.ndarray, colours: Sequence[tuple[int, int, int]], dashed: bool = False
) -> None:
    """Frames around boxes [N, 4] xyxy, in place: outside of them, so that nothing of an object is hidden, with a rim (dark,
    or light around a dark colour) that sets them off from any ground. Small ones are drawn last."""
    pen, corners = Pen.of(canvas), _whole(boxes, canvas)
    rim = max(1, pen.line // 3)
    order = sorted(range(len(corners)), key=lambda i: -_area(corners[i]))
    for i in order:
        line = pen.line_of(corners[i])
        if not dashed:
            for place in _sides(corners[i], line, rim, canvas):
                canvas[place] = (canvas[place] * RIM + (255 * (1 - RIM) if is_dark(colours[i]) else 0)).astype(np.uint8)
        for place in _sides(corners[i], 0, line, canvas):
            if dashed:
                part = canvas[place]
                along = np.arange(max(part.shape[:2])) % DASH < DASH / 2
                part[along if part.shape[0] > part.shape[1] else (slice(None), along)] = colours[i]
            else:
                canvas[place] = colours[i]


def _area(box: Sequence[int]) -> int:
    return (box[2] - box[0] + 1) * (box[3] - box[1] + 1)


def _sides(box: Sequence[int], away: int, line: int, canvas: np.ndarray) -> list[tuple[slice, slice]]:
    """The rows and columns of the four sides of a frame of `line` pixels, `away` pixels outside of a box (inclusive corners).

    A side moves inwards as far as the image's border has no room for it; one of an edge outside of the image is left out.
    """
    spans = []
    for low, high, length in ((box[0], box[2], canvas.shape[1]), (box[1], box[3], canvas.shape[0])):
        first, last = low - away - line, high + away + 1
        spans.append((max(first, 0) if low >= 0 else first, min(last, length - line) if high < length else last))
    (left, right), (top, bottom) = spans
    across, down = slice(max(left, 0), max(right + line, 0)), slice(max(top + line, 0), max(bottom, 0))
    rows = [slice(y, y + line) for y in (top, bottom) if 0 <= y < canvas.shape[0]]
    columns = [slice(x, x + line) for x in (left, right) if 0 <= x < canvas.shape[1]]
    return [(row, across) for row in rows] + [(down, column) for column in columns]


def draw_masks(
    canvas: np.ndarray, masks: Sequence[np.ndarray], colours: Sequence[tuple[int, int, int]], opacity: float = 0.4
) -> None:
    """Tint masks (uint8 or bool [h, w], scaled to the canvas) and draw their outlines, in place; large ones first."""
    line = Pen.of(canvas).line
    regions = [cv2.boundingRect(np.asarray(masks[i], np.uint8)) for i in range(len(masks))]
    for i in sorted(range(len(masks)), key=lambda i: -regions[i][2] * regions[i][3]):
        x, y, w, h = regions[i]
        if not w * h:
            continue
        mask = masks[i]
        fy, fx = canvas.shape[0] / mask.shape[0], canvas.shape[1] / mask.shape[1]
        left, top, right, bottom = round(x * fx), round(y * fy), round((x + w) * fx), round((y + h) * fy)
        cut = np.asarray(mask[y : y + h, x : x + w], np.uint8)
        if right <= left or bottom <= top:
            continue
        inside = cv2.resize(cut, (right - left, bottom - top), interpolation=cv2.INTER_NEAREST)
        place = canvas[top:bottom, left:right]
        large = min(inside.shape) >= 24 * line  # an outline would hide a small object, and so would a strong tint
        strength = opacity if large else opacity / 2
        rows = max(AT_ONCE // inside.shape[1], 1)
        for first in range(0, len(inside), rows):
            part, chosen = place[first : first + rows], inside[first : first + rows] > 0
            tint = (1 - strength) * part[chosen] + strength * np.array(colours[i], np.float32)
            part[chosen] = tint.astype(np.uint8)
        if large:
            outlines, _ = cv2.findContours(inside, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
            cv2.drawContours(canvas, outlines, -1, colours[i], line, cv2.LINE_AA, offset=(left, top))


def draw_keypoints(canvas: np.ndarray, points: np.ndarray, connections: Sequence[Sequence[int]] = ()) -> None:
    """Skeletons of N objects with K keypoints, in place.

    Args:
        points: [N, K, 3] x, y in pixels of the canvas and visibility; those of 0 are not drawn.
        connections: pairs of indices into the keypoints.
    """
    pen = Pen.of(canvas)
    colours = [class_colour(1 + i) for i in range(max(len(connections), 1))]
    for person in np.asarray(points, np.float64):
        seen = person[person[:, 2] > 0]
        if not len(seen):
            continue
        extent = (np.ptp(seen[:, 0]) * np.ptp(seen[:, 1])) ** 0.5
        line = int(min(max(extent // 60, 1), 2 * pen.line))
        spots = person[:, :2].round().astype(int).tolist()
        for (a, b), colour in zip(connections, colours, strict=False):
            if person[a, 2] > 0 and person[b, 2] > 0:
                cv2.line(canvas, spots[a], spots[b], colour, line, cv2.LINE_AA)
        for spot, (_, _, visible) in zip(spots, person, strict=True):
            if visible > 0:
                cv2.circle(canvas, spot, line + 1, (0, 0, 0), cv2.FILLED, cv2.LINE_AA)
                cv2.circle(canvas, spot, line, (255, 255, 255), cv2.FILLED, cv2.LINE_AA)


def draw_captions(
    canvas: np.ndarray, boxes: np.ndarray, captions: Sequence[str], colours: Sequence[tuple[int, int, int]]
) -> None:
    """Captions beside their boxes, in place, where they hide neither small objects nor each other.

    The first ones choose their places first; one for which no place is left is not drawn.
    """
    pen, corners = Pen.of(canvas), _whole(boxes, canvas)
    wanted = [i for i, caption in enumerate(captions) if caption]
    others = [i for i, caption in enumerate(captions) if not caption]
    letters = _fitting([captions[i] for i in wanted], pen.letters, canvas.shape[0] * canvas.shape[1])
    sizes = [text_size(captions[i], letters) for i in wanted]
    order = np.array(wanted + others, dtype=int)
    every = np.array(corners, np.float64).reshape(-1, 4)[order]
    every += np.array([pen.line_of(corners[i]) for i in order]).reshape(-1, 1) * (-1, -1, 1, 1)  # with their frames
    places = place_captions(every, sizes, canvas.shape[1], canvas.shape[0])
    for i, place in zip(wanted, places, strict=True):
        line = place and leader(place, np.array(corners[i]))
        if line:
            cv2.line(canvas, *line, colours[i], max(1, pen.line // 2), cv2.LINE_AA)
    for i, place in zip(wanted, places, strict=True):
        if place:
            put_text(canvas, captions[i], place[0], place[1], colours[i], letters)


def _fitting(captions: Sequence[str], letters: int, area: int) -> int:
    """The size of letters, smaller where captions would fill more than CAPTIONS_SHARE of a picture of `area` pixels."""
    filled = sum(w * h for w, h in (text_size(caption, letters) for caption in captions))
    if filled <= CAPTIONS_SHARE * area:
        return letters
    return max(MIN_LETTERS, letters // 2, round(letters * (CAPTIONS_SHARE * area / filled) ** 0.5))


def _whole(boxes: np.ndarray, canvas: np.ndarray) -> list[list[int]]:
    """Corners in whole pixels; what lies far outside of the canvas comes nearer, where it cannot be seen either."""
    height, width = canvas.shape[:2]
    far = [width + OUTSIDE, height + OUTSIDE] * 2
    return np.clip(np.asarray(boxes, np.float64).reshape(-1, 4).round(), -OUTSIDE, far).astype(int).tolist()


def draw_objects(
    image: np.ndarray,
    boxes: np.ndarray,
    labels: Sequence[int],
    captions: Sequence[str],
    masks: Sequence[np.ndarray] | None = None,
    keypoints: np.ndarray | None = None,
    connections: Sequence[Sequence[int]] = (),
) -> np.ndarray:
    """A copy of the image, enlarged if it is small, with boxes, captions, tinted masks and skeletons.

    Args:
        image: uint8 [H, W, 3], BGR.
        boxes: [N, 4] xyxy, pixels.
        labels: class of each object, which gives its colour.
        captions: text beside each box; where objects stand too close, the first ones get theirs.
        masks: uint8 or bool [H, W] for each object.
        keypoints: [N, K, 3] x, y and visibility.
        connections: lines between keypoints, pairs of indices.
    """
    canvas, factor = enlarge(image)
    colours = [class_colour(label) for label in labels]
    draw_masks(canvas, masks or (), colours)
    # Both corners belong to a box: the last column of its last pixel is the outline's.
    corners = np.asarray(boxes, np.float64).reshape(-1, 4) + (0, 0, 1, 1)
    corners = corners * factor - (0, 0, 1, 1)
    draw_boxes(canvas, corners, colours)
    if keypoints is not None and len(keypoints):
        enlarged = (np.asarray(keypoints, np.float64) + (0.5, 0.5, 0)) * (factor, factor, 1) - (0.5, 0.5, 0)
        draw_keypoints(canvas, enlarged, connections)
    draw_captions(canvas, corners, captions, colours)
    return canvas
