"""Drawing objects into images: uint8 [H, W, 3], BGR. What draws in place says so."""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from maskrcnn_benchmark.utils.lettering import leader, place_captions, put_text, text_size
from maskrcnn_benchmark.utils.palette import class_colour

MIN_SIDE = 480  # smaller images are enlarged, or their labels would cover them
MIN_LETTERS = 11  # pixels
CAPTIONS_SHARE = 0.1
HEADER = 24  # pixels of a title's row


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
        """A small object gets a line that leaves it to be seen."""
        side = min(box[2] - box[0], box[3] - box[1]) + 1
        return int(min(max(side // 24, 1), self.line))


def enlargement(height: int, width: int) -> int:
    """How many times an image of this size is enlarged before something is drawn into it."""
    return max(1, -(-MIN_SIDE // min(height, width)))


def enlarge(image: np.ndarray) -> tuple[np.ndarray, int]:
    """A copy with sides of at least MIN_SIDE pixels, and how many times as large it is."""
    factor = enlargement(*image.shape[:2])
    return cv2.resize(image, None, fx=factor, fy=factor, interpolation=cv2.INTER_CUBIC), factor


def draw_boxes(canvas: np.ndarray, boxes: np.ndarray, colours: Sequence[tuple[int, int, int]]) -> None:
    """Outlines of boxes [N, 4] xyxy, in place."""
    pen = Pen.of(canvas)
    for (x1, y1, x2, y2), colour in zip(_whole(boxes), colours, strict=True):
        cv2.rectangle(canvas, (x1, y1), (x2, y2), colour, pen.line_of((x1, y1, x2, y2)))


def draw_masks(
    canvas: np.ndarray, masks: Sequence[np.ndarray], colours: Sequence[tuple[int, int, int]], opacity: float = 0.4
) -> None:
    """Tint masks (uint8 or bool [h, w], scaled to the canvas) and draw their outlines, in place; large ones first."""
    line = Pen.of(canvas).line
    regions = [cv2.boundingRect(np.asarray(mask, np.uint8)) for mask in masks]
    for i in sorted(range(len(masks)), key=lambda i: -regions[i][2] * regions[i][3]):
        x, y, w, h = regions[i]
        if not w * h:
            continue
        fy, fx = canvas.shape[0] / masks[i].shape[0], canvas.shape[1] / masks[i].shape[1]
        left, top, right, bottom = round(x * fx), round(y * fy), round((x + w) * fx), round((y + h) * fy)
        cut = np.asarray(masks[i][y : y + h, x : x + w], np.uint8)
        inside = cv2.resize(cut, (right - left, bottom - top), interpolation=cv2.INTER_NEAREST)
        place = canvas[top:bottom, left:right]
        large = min(inside.shape) >= 24 * line  # an outline would hide a small object, and so would a strong tint
        strength = opacity if large else opacity / 2
        tint = (1 - strength) * place[inside > 0] + strength * np.array(colours[i], np.float32)
        place[inside > 0] = tint.astype(np.uint8)
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
    pen, corners = Pen.of(canvas), _whole(boxes)
    wanted = [i for i, caption in enumerate(captions) if caption]
    others = [i for i, caption in enumerate(captions) if not caption]
    letters = _fitting([captions[i] for i in wanted], pen.letters, canvas.shape[0] * canvas.shape[1])
    sizes = [text_size(captions[i], letters) for i in wanted]
    order = np.array(wanted + others, dtype=int)
    every = np.array(corners, np.float64).reshape(-1, 4)[order]
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
    return max(MIN_LETTERS, round(letters * (CAPTIONS_SHARE * area / filled) ** 0.5))


def _whole(boxes: np.ndarray) -> list[list[int]]:
    return np.asarray(boxes, np.float64).reshape(-1, 4).round().astype(int).tolist()


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


def side_by_side(images: Sequence[np.ndarray], titles: Sequence[str]) -> np.ndarray:
    """Images of equal height in a row, each below its title."""
    panels = []
    for image, title in zip(images, titles, strict=True):
        header = np.full((HEADER, image.shape[1], 3), 255, np.uint8)
        put_text(header, title, 4, 3, (255, 255, 255), 14)
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
