"""From a plan to an image and its annotations."""

from __future__ import annotations

import cv2
import numpy as np
from pycocotools import mask as coco_mask

from .backdrop import Backdrop, develop, paint_backdrop
from .plan import ScenePlan, Thing, plan_scene
from .spec import RELATIONS_CATEGORIES, RelationsSpec
from .sprite import Sprite, draw_sprite

_IDS = {category["name"]: category["id"] for category in RELATIONS_CATEGORIES}
_ROLES = {category["name"]: category["role"] for category in RELATIONS_CATEGORIES}
_SKY = ("wing", "balloon")
_LEAST_VISIBLE = 0.4  # share of its whole mask that an annotated object shows
_LEAST_PIXELS = 16
_LEAST_DECIDER = 0.5  # share of its mask that a decider always shows
_LEAST_OUTLINED = 0.7  # visible share below which a mask is stored as RLE, being in pieces more often than not
_LEAST_POLYGON_IOU = 0.95  # between an object's pixels and its simplified polygons; below, RLE is stored
_STRIDE = 1000  # annotation id = image id * _STRIDE + running number


def _window(sprite: Sprite, height: int, width: int) -> tuple[tuple[slice, slice], tuple[slice, slice]] | None:
    """The part of a sprite that lies in the image, as slices of the image and of the sprite; None if none does."""
    y1, x1 = max(sprite.y, 0), max(sprite.x, 0)
    y2, x2 = min(sprite.y + sprite.alpha.shape[0], height), min(sprite.x + sprite.alpha.shape[1], width)
    if y1 >= y2 or x1 >= x2:
        return None
    inner = slice(y1 - sprite.y, y2 - sprite.y), slice(x1 - sprite.x, x2 - sprite.x)
    return (slice(y1, y2), slice(x1, x2)), inner


def _sprites(plan: ScenePlan, backdrop: Backdrop) -> list[tuple[Thing, Sprite]]:
    """Every thing drawn, the farthest first: the sky, then the ground from the horizon on."""
    things = sorted(plan.resolved(), key=lambda thing: (thing.look not in _SKY, thing.near, thing.seed))
    drawn = []
    for thing in things:
        share = 0.45 * (1 - thing.near) ** 2
        sprite = draw_sprite(thing.look, thing.box, thing.seed, thing.clear, backdrop.light, backdrop.haze, share)
        drawn.append((thing, sprite))
    return drawn


def _masks(drawn: list[tuple[Thing, Sprite]], height: int, width: int) -> list[np.ndarray]:
    """bool[height, width] for each thing: its whole mask as far as it lies in the image."""
    masks = []
    for _, sprite in drawn:
        mask = np.zeros((height, width), bool)
        window = _window(sprite, height, width)
        if window is not None:
            mask[window[0]] = sprite.solid[window[1]]
        masks.append(mask)
    return masks


def _visible(drawn: list[tuple[Thing, Sprite]], height: int, width: int) -> list[tuple[Thing, Sprite, np.ndarray]]:
    """The things that stay, nearest first, each with the pixels (bool[height, width]) that show.

    From the nearest to the farthest: what would show less than 40 % of itself is taken out of the scene, and so is
    what would hide half of a decider. Both are asked as if both deciders of a pair stood in their place, so that what
    stays does not tell which of them does.
    """
    kept = []
    covered, maybe_covered = np.zeros((height, width), bool), np.zeros((height, width), bool)
    masks = _masks(drawn, height, width)
    behind = [mask for (thing, _), mask in zip(drawn, masks, strict=True) if _ROLES.get(thing.category) == "decider"]
    for (thing, sprite), mask in zip(reversed(drawn), reversed(masks), strict=True):
        if _ROLES.get(thing.category) == "decider":
            behind.pop()
        else:
            hidden = maybe_covered | mask
            least = max(_LEAST_VISIBLE * sprite.solid.sum(), _LEAST_PIXELS)
            hides = (other for other in behind if (other & mask).any())
            if (mask & ~maybe_covered).sum() < least or any(
                (other & ~hidden).sum() < _LEAST_DECIDER * other.sum() for other in hides
            ):
                continue
        maybe_covered |= mask
        if thing.stands:
            kept.append((thing, sprite, mask & ~covered))
            covered |= mask
    return kept


def _cast_shadow(canvas: np.ndarray, thing: Thing, light: float) -> None:
    """Darken the ground around the foot of a thing; reaches a tenth of its width beyond its box."""
    width, height = thing.box[2] - thing.box[0], thing.box[3] - thing.box[1]
    depth = 0.09 * min(width, 2 * height) + 1.0
    center = (thing.box[0] + thing.box[2]) / 2 - 0.1 * light * width
    x1, x2 = int(center - width / 2), int(np.ceil(center + width / 2))
    y1, y2 = int(thing.box[3] - 1.2 * depth), int(np.ceil(thing.box[3] + 0.8 * depth))
    x1, x2, y1, y2 = max(x1, 0), min(x2, canvas.shape[1]), max(y1, 0), min(y2, canvas.shape[0])
    if x1 >= x2 or y1 >= y2:
        return
    across = (np.arange(x1, x2, dtype=np.float32) + 0.5 - center) / (width / 2)
    down = (np.arange(y1, y2, dtype=np.float32) + 0.5 - (thing.box[3] - 0.2 * depth)) / depth
    shade = np.clip(1 - across[None] ** 2 - down[:, None] ** 2, 0, 1) ** 0.7
    canvas[y1:y2, x1:x2] *= (1 - 0.5 * shade)[..., None]


def _polygons(mask: np.ndarray) -> list[list[float]] | None:
    """Outlines of a mask along its pixel edges, simplified; None where polygons cannot say it (holes, specks).

    OpenCV outlines the centres of the border pixels. Those of a mask twice as large, halved and rounded up, are the
    corners between pixels, which is where COCO's polygons run.
    """
    ys, xs = np.nonzero(mask)
    top, left = ys.min(), xs.min()
    part = mask[top : ys.max() + 1, left : xs.max() + 1].astype(np.uint8)
    double = part.repeat(2, 0).repeat(2, 1)
    contours, hierarchy = cv2.findContours(double, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    if (hierarchy[0, :, 3] >= 0).any() or len(contours) > 3:
        return None
    polygons = []
    for contour in contours:
        corners = cv2.approxPolyDP(((contour + 1) // 2).astype(np.int32), 0.6, True).reshape(-1, 2)
        if len(corners) < 3:
            return None
        polygons.append((corners + (left, top)).astype(float).ravel().tolist())
    return polygons


def _encode(mask: np.ndarray, outlined: bool) -> tuple[dict, list[list[float]] | dict]:
    """A mask as RLE (counts as bytes) and as what is stored: polygons if wanted and exact enough, otherwise RLE."""
    height, width = mask.shape
    exact = coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))
    polygons = _polygons(mask) if outlined else None
    if polygons is not None:
        rle = coco_mask.merge(coco_mask.frPyObjects(polygons, height, width))
        if coco_mask.iou([rle], [exact], [0])[0, 0] >= _LEAST_POLYGON_IOU:
            return rle, polygons
    return exact, {"size": [height, width], "counts": exact["counts"].decode("ascii")}


def _annotate(kept: list[tuple[Thing, Sprite, np.ndarray]], image_id: int) -> list[dict]:
    annotations: list[dict] = []
    for thing, sprite, shows in kept:
        if not thing.category:
            continue
        whole = shows.sum() >= _LEAST_OUTLINED * sprite.solid.sum()
        rle, segmentation = _encode(shows, bool(whole) and not thing.crowd)
        annotations.append(
            {
                "id": image_id * _STRIDE + len(annotations) + 1,
                "image_id": image_id,
                "category_id": _IDS[thing.category],
                "bbox": [float(v) for v in coco_mask.toBbox(rle)],
                "area": float(coco_mask.area(rle)),
                "segmentation": segmentation,
                "iscrowd": int(thing.crowd),
                "role": _ROLES[thing.category],
                "degraded": int(not thing.clear),
            }
        )
    return annotations


def render_scene(plan: ScenePlan, image_id: int) -> tuple[np.ndarray, list[dict]]:
    """Draw a plan. Returns uint8[H, W, 3] BGR and COCO annotations, nearest object first."""
    backdrop = paint_backdrop(
        plan.height, plan.width, plan.horizon, plan.hardness, np.random.default_rng([plan.seed, 1])
    )
    canvas = backdrop.canvas
    kept = _visible(_sprites(plan, backdrop), plan.height, plan.width)
    for thing, _, _ in kept:
        if thing.look not in _SKY:
            _cast_shadow(canvas, thing, backdrop.light)
    for _, sprite, _ in reversed(kept):
        window = _window(sprite, plan.height, plan.width)
        assert window is not None
        outer, inner = window
        canvas[outer] = canvas[outer] * (1 - sprite.alpha[inner][..., None]) + sprite.color[inner]
    image = develop(canvas, plan.hardness, np.random.default_rng([plan.seed, 2]))
    return image, _annotate(kept, image_id)


def generate_scene(spec: RelationsSpec, index: int, seed: int) -> tuple[np.ndarray, list[dict]]:
    """Scene number ``index`` (0, 1, ...) of the stream ``seed``: the same arguments give the same pixels.

    (With the same releases of NumPy and OpenCV; between releases a grey level may differ by rounding.)

    Returns the image, uint8[H, W, 3] BGR, and its annotations: COCO's keys, "role" and, 1 for the degraded members of a
    group, "degraded". The image id is index + 1.
    bbox is [x, y, width, height] in pixels, area in pixels; both are those of the stored segmentation.
    """
    if index < 0 or seed < 0:
        raise ValueError(f"index and seed must not be negative, got index={index}, seed={seed}")
    return render_scene(plan_scene(spec, index, seed), index + 1)
