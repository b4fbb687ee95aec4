"""LabelMe's files: a JSON file an image, with its shapes. Shapes of one label and group_id are parts of one object."""

from __future__ import annotations

import base64
import io
import math
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pycocotools.mask as mask_utils
from PIL import Image

from maskrcnn_benchmark.data.formats.content import Content, box_of_polygons, clip_polygon, single
from maskrcnn_benchmark.data.formats.files import (
    ImagesByStem,
    ending_in_any_case,
    list_annotations,
    name_below,
    note_others,
    outlines_of,
    unique_stems,
)
from maskrcnn_benchmark.data.formats.shapes import circle, rectangle
from maskrcnn_benchmark.data.formats.turned import SeenImages
from maskrcnn_benchmark.utils.files import read_json, write_json
from maskrcnn_benchmark.utils.progress_bar import progress_bar
from maskrcnn_benchmark.utils.wording import counted

NAMES_OF_OBJECTS = True  # no list of the classes: those that objects have
LOOKED_AT = 20  # files of a folder, to tell its form
MOST_BYTES = 200_000_000  # of a file of one image, which may be in it
OPEN_SHAPES = ("point", "points", "line", "linestrip")


def recognises(path: Path) -> bool:
    """Whether this is a LabelMe file or a folder of them."""
    files = [path] if path.suffix.lower() == ".json" and path.is_file() else []
    return any(
        map(_is_labelme, files or (islice(path.rglob(ending_in_any_case(".json")), LOOKED_AT) if path.is_dir() else ()))
    )


def _is_labelme(path: Path) -> bool:
    if path.stat().st_size > MOST_BYTES:
        return False
    try:
        content = read_json(path)
    except ValueError:
        return False
    return isinstance(content, dict) and isinstance(content.get("shapes"), list)


def read(path: str, images: str = "", split: str = "", classes: Sequence[str] = ()) -> Content:
    """A set from a folder of JSON files, or from one.

    Args:
        images: folder of the images; by default they lie where "imagePath" says, or beside the files.
        split: not known to this form.
        classes: names in the order of the labels; by default those of the files, sorted.

    Raises FileNotFoundError or ValueError that names the file.
    """
    if split:
        raise ValueError(f"LabelMe's files have no splits; leave SPLIT {split!r} out and name the folder of the split.")
    place = Path(path)
    files = [place] if place.is_file() else list_annotations(place, ".json")
    if not files:
        raise FileNotFoundError(f"There is no LabelMe file {path}, nor a folder of that name with JSON files.")
    root = Path(images) if images else place if place.is_dir() else place.parent
    found = Content(str(root))
    contents: list[tuple[Path, dict]] = []
    for file in progress_bar(files, desc="reading annotations", unit="file", leave=False):
        with single():
            content = read_json(file)
            if place.is_file() or (isinstance(content, dict) and "shapes" in content):
                contents.append((file, _checked(content, file)))
            else:
                found.notes.add("JSON files that are not LabelMe's", str(file))
    labels = sorted(
        {shape["label"].strip() for _, content in contents for shape in content["shapes"] if _is_name(shape)}
    )
    found.name_classes(list(classes) or labels)
    stems = ImagesByStem(root, found.notes)
    known = {category["name"]: category["id"] for category in found.categories}
    claims = Counter((file.parent, _named_by(content)) for file, content in contents)
    annotated: set[str] = set()
    for file, content in contents:
        named = _named_by(content)
        below = file.relative_to(place) if place.is_dir() else Path(file.name)
        # The path leads from the file, unless the images lie in a folder of their own, which may have the same folders below it.
        beside = [file.parent / named, root / below.parent / Path(named).name, root / named]
        beside = beside if not images else [*beside[1:], beside[0]]
        image = next((b for b in beside if named and b.suffix.lower() != ".json" and b.is_file()), None)
        with single(found.notes):
            if image and claims[file.parent, named] > 1:
                image = stems.own(file, image, found.notes)
            image = image or stems.find(file, named)
            if image is None:
                inner = "; the copy in their imageData is not used" if content.get("imageData") else ""
                found.add_missing(named or file.stem, f"files without an image, left out{inner}", str(file))
                continue
            annotated.add(name_below(root, image))
            sides = (content.get("imageWidth"), content.get("imageHeight"))
            entry = found.add_annotated(name_below(root, image), sides, str(file))
            _add_objects(found, entry, content["shapes"], known, file)
    if place.is_dir():
        stems.note_others(annotated, found.notes)
    return found


def _named_by(content: dict) -> str:
    return str(content.get("imagePath") or "").replace("\\", "/")


def _is_name(shape: dict) -> bool:
    return isinstance(shape.get("label"), str) and bool(shape["label"].strip())


def _checked(content: Any, path: Path) -> dict:
    shapes = content.get("shapes") if isinstance(content, dict) else None
    if not isinstance(shapes, list) or not all(isinstance(shape, dict) for shape in shapes):
        raise ValueError(f"{path} is not a LabelMe file: it has no list of `shapes`.")
    return content


def _add_objects(found: Content, image: dict, shapes: list[dict], known: dict[str, int], path: Path) -> None:
    parts: dict[Any, tuple[int, list[list[float]], bool]] = {}
    masks: dict[Any, list[dict]] = {}  # run lengths
    for number, shape in enumerate(shapes):
        where = f"{path}, shape {number}"
        if not _is_name(shape):
            raise ValueError(f"{where}: its label must be the name of a class; got {shape.get('label')!r:.60}.")
        label, kind = shape["label"].strip(), shape.get("shape_type") or "polygon"
        if label not in known:
            raise ValueError(f"{where}: the class {label!r} is not one of {', '.join(known)}.")
        if kind in OPEN_SHAPES:
            found.notes.add("points and lines, which are no objects, left out", where)
            continue
        group = shape.get("group_id")
        key = (label, "group", str(group)) if group is not None else (label, "shape", number)
        if kind == "mask":
            mask, is_cut = _mask(shape, image, where)
            found.notes.add("masks that leave the image, cut at its border", where, is_cut)
            masks.setdefault(key, []).append(mask)
            parts.setdefault(key, (known[label], [], False))
            continue
        polygon = clip_polygon(_polygon(shape, kind, where), image["width"], image["height"])
        _, polygons, boxes_alone = parts.get(key, (0, [], True))
        parts[key] = (known[label], [*polygons, polygon], boxes_alone and kind == "rectangle")
    for key, (number, polygons, boxes_alone) in parts.items():
        label = key[0]
        outline: Any = None if boxes_alone else polygons
        if key in masks:
            outlines = mask_utils.frPyObjects(polygons, image["height"], image["width"]) if polygons else []
            joined = mask_utils.merge([*masks[key], *outlines])
            outline = {"size": joined["size"], "counts": joined["counts"].decode()}
            box, area = mask_utils.toBbox(joined).tolist(), float(mask_utils.area(joined))
        else:
            box, area = box_of_polygons(polygons), None
        if box[2] <= 0 or box[3] <= 0:
            found.notes.add("shapes of no size, left out", f"{path}: {label}")
            continue
        found.add(image, number, box, segmentation=outline, area=area)


def _mask(shape: dict, image: dict, where: str) -> tuple[dict, bool]:
    """The run lengths of a shape whose "mask" is a PNG of its box, both corners in it, and whether it leaves the image."""
    try:
        (left, top), _ = [(round(float(x)), round(float(y))) for x, y in shape["points"]]
        with Image.open(io.BytesIO(base64.b64decode(shape["mask"], validate=True))) as png:
            width, height = png.size
            if width > 2 * image["width"] or height > 2 * image["height"]:  # before it is decoded
                raise ValueError
            inner = np.asarray(png.convert("L")) > 0
    except (KeyError, TypeError, ValueError, OverflowError, OSError, Image.DecompressionBombError):
        raise ValueError(
            f"{where}: a mask needs two `points` and its `mask`, a PNG in base64, of the pixels between them."
        ) from None
    rows, columns = (slice(max(low, 0), max(low + side, 0)) for low, side in ((top, height), (left, width)))
    whole = np.zeros((image["height"], image["width"]), np.uint8, order="F")
    shown = inner[max(-top, 0) :, max(-left, 0) :][: whole[rows].shape[0], : whole[:, columns].shape[1]]
    whole[rows, columns] = shown
    return mask_utils.encode(whole), int(shown.sum()) < int(inner.sum())


def _polygon(shape: dict, kind: str, where: str) -> list[float]:
    try:
        points = [(float(x), float(y)) for x, y in shape["points"]]
    except (KeyError, TypeError, ValueError, OverflowError):
        raise ValueError(
            f"{where}: `points` must be a list of pairs of numbers; got {shape.get('points')!r:.60}."
        ) from None
    if not all(math.isfinite(v) for point in points for v in point):
        raise ValueError(f"{where}: a point is not finite.")
    if kind == "rectangle" and len(points) in (2, 4):
        xs, ys = zip(*points, strict=True)
        return rectangle(min(xs), min(ys), max(xs) - min(xs), max(ys) - min(ys))
    if kind == "circle" and len(points) == 2:
        return circle(*points[0], math.dist(*points))
    if kind in ("polygon", "rotation", "oriented_rectangle") and len(points) >= 3:
        return [v for point in points for v in point]
    raise ValueError(
        f"{where}: a {kind} of {counted(len(points), 'point')} is not understood; known are rectangle (2 points), circle "
        "(2), polygon (3 or more) and mask."
    )


def replaced(content: Content, out: str) -> list[Path]:
    """The files at a place that `write` writes."""
    return [Path(out) / f"{stem}.json" for stem in unique_stems(content).values()]


def write(content: Content, out: str) -> None:
    """A JSON file an image in the folder `out`; "imagePath" leads to the images, which stay where they are."""
    folder, names, by_image, as_seen = Path(out), content.names(), content.by_image(), SeenImages(content)
    root, stems = Path(content.root).resolve(), unique_stems(content)
    for image in progress_bar(content.images, desc="writing annotations", unit="image", leave=False):
        shapes: list[dict] = []
        image, annotations = as_seen(image, by_image[image["id"]])
        for annotation in annotations:
            shapes += _shapes(content, image, annotation, names[annotation["category_id"]])
        file = folder / f"{stems[image['id']]}.json"
        file.parent.mkdir(parents=True, exist_ok=True)
        described = {
            "version": "5.5.0",
            "flags": {},
            "shapes": shapes,
            "imagePath": str(root / image["file_name"]),
            "imageData": None,
            "imageHeight": image["height"],
            "imageWidth": image["width"],
        }
        write_json(str(file), described)
    note_others(content, folder, "**/*.json", (folder / f"{stem}.json" for stem in stems.values()))


def _shapes(content: Content, image: dict, annotation: dict, name: str) -> list[dict]:
    where = f"annotation {annotation['id']}"
    if annotation.get("iscrowd"):
        content.leave_out("crowds, which LabelMe cannot mark, left out", where)
        return []
    content.notes.add(
        "keypoints, which belong to no object in LabelMe, left out", where, bool(annotation.get("keypoints"))
    )
    common: dict[str, Any] = {"label": name, "flags": {}, "group_id": None}
    if "score" in annotation:
        common["score"] = annotation["score"]
    polygons = outlines_of(content, annotation, image)
    if not polygons:
        x, y, width, height = annotation["bbox"]
        return [{**common, "shape_type": "rectangle", "points": [[x, y], [x + width, y + height]]}]
    if len(polygons) > 1:
        common["group_id"] = annotation["id"]
    return [
        {**common, "shape_type": "polygon", "points": [list(p) for p in zip(o[::2], o[1::2], strict=True)]}
        for o in polygons
    ]
