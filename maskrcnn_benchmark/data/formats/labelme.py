"""LabelMe's files: a JSON file an image, with its shapes. Shapes of one label and group_id are parts of one object."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from maskrcnn_benchmark.data.formats.content import Content, box_of_polygons, clip_polygon, single
from maskrcnn_benchmark.data.formats.files import (
    ImagesByStem,
    as_polygons,
    name_below,
    note_others,
    unique_stems,
)
from maskrcnn_benchmark.data.formats.shapes import circle, rectangle
from maskrcnn_benchmark.utils.files import read_json, write_json
from maskrcnn_benchmark.utils.progress_bar import progress_bar
from maskrcnn_benchmark.utils.wording import counted

OPEN_SHAPES = ("point", "points", "line", "linestrip")


def recognises(path: Path) -> bool:
    """Whether this is a LabelMe file or a folder of them."""
    files = [path] if path.suffix.lower() == ".json" and path.is_file() else []
    try:
        first = files[0] if files else next(path.rglob("*.json"), None) if path.is_dir() else None
        content = read_json(first) if first else None
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
    files = [place] if place.is_file() else sorted(place.rglob("*.json"))
    if not files:
        raise FileNotFoundError(f"There is no LabelMe file {path}, nor a folder of that name with JSON files.")
    root = Path(images) if images else place if place.is_dir() else place.parent
    contents = []
    for file in progress_bar(files, desc="reading annotations", unit="file", leave=False):
        with single():
            contents.append((file, _content(file)))
    labels = sorted({shape["label"] for _, content in contents for shape in content["shapes"] if _is_name(shape)})
    found = Content(str(root))
    found.name_classes(list(classes) or labels)
    stems = ImagesByStem(root)
    known = {category["name"]: category["id"] for category in found.categories}
    for file, content in contents:
        named = str(content.get("imagePath") or "").replace("\\", "/")
        below = file.relative_to(place) if place.is_dir() else Path(file.name)
        # The path leads from the file, unless the images lie in a folder of their own, which may have the same folders below it.
        beside = [file.parent / named, root / below.parent / Path(named).name, root / named]
        beside = beside if not images else [*beside[1:], beside[0]]
        image = next((b for b in beside if named and b.is_file()), None)
        with single():
            image = image or stems.find(file, named)
            if image is None:
                found.add_missing(named or file.stem, "files without an image, left out", str(file))
                continue
            sides = (content.get("imageWidth"), content.get("imageHeight"))
            entry = found.add_annotated(name_below(root, image), sides, str(file))
            _add_objects(found, entry, content["shapes"], known, file)
    return found


def _is_name(shape: dict) -> bool:
    return isinstance(shape.get("label"), str) and bool(shape["label"].strip())


def _content(path: Path) -> dict:
    content = read_json(path)
    shapes = content.get("shapes") if isinstance(content, dict) else None
    if not isinstance(shapes, list) or not all(isinstance(shape, dict) for shape in shapes):
        raise ValueError(f"{path} is not a LabelMe file: it has no list of `shapes`.")
    return content


def _add_objects(found: Content, image: dict, shapes: list[dict], known: dict[str, int], path: Path) -> None:
    parts: dict[Any, tuple[int, list[list[float]], bool]] = {}
    for number, shape in enumerate(shapes):
        where = f"{path}, shape {number}"
        if not _is_name(shape):
            raise ValueError(f"{where}: its label must be the name of a class; got {shape.get('label')!r:.60}.")
        label, kind = shape["label"], shape.get("shape_type") or "polygon"
        if label not in known:
            raise ValueError(f"{where}: the class {label!r} is not one of {', '.join(known)}.")
        if kind in OPEN_SHAPES:
            found.notes.add("points and lines, which are no objects, left out", where)
            continue
        polygon = clip_polygon(_polygon(shape, kind, where), image["width"], image["height"])
        group = shape.get("group_id")
        key = (label, "group", str(group)) if group is not None else (label, "shape", number)
        _, polygons, boxes_alone = parts.get(key, (0, [], True))
        parts[key] = (known[label], [*polygons, polygon], boxes_alone and kind == "rectangle")
    for (label, *_), (number, polygons, boxes_alone) in parts.items():
        box = box_of_polygons(polygons)
        if box[2] <= 0 or box[3] <= 0:
            found.notes.add("shapes of no size, left out", f"{path}: {label}")
            continue
        found.add(image, number, box, segmentation=None if boxes_alone else polygons)


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
        "(2) and polygon (3 or more)."
    )


def replaced(out: str) -> list[Path]:
    """The files at a place that `write` may write to."""
    return list(Path(out).rglob("*.json"))


def write(content: Content, out: str) -> None:
    """A JSON file an image in the folder `out`; "imagePath" leads to the images, which stay where they are."""
    folder, names, by_image = Path(out), content.names(), content.by_image()
    root, stems = Path(content.root).resolve(), unique_stems(content)
    for image in progress_bar(content.images, desc="writing annotations", unit="image", leave=False):
        shapes: list[dict] = []
        for annotation in by_image[image["id"]]:
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
        content.notes.add("crowds, which LabelMe cannot mark, left out", where)
        return []
    content.notes.add(
        "keypoints, which belong to no object in LabelMe, left out", where, bool(annotation.get("keypoints"))
    )
    common: dict[str, Any] = {"label": name, "flags": {}, "group_id": None}
    if "score" in annotation:
        common["score"] = annotation["score"]
    polygons = as_polygons(annotation["segmentation"], image) if annotation.get("segmentation") else []
    if not polygons:
        x, y, width, height = annotation["bbox"]
        return [{**common, "shape_type": "rectangle", "points": [[x, y], [x + width, y + height]]}]
    if len(polygons) > 1:
        common["group_id"] = annotation["id"]
    return [
        {**common, "shape_type": "polygon", "points": [list(p) for p in zip(o[::2], o[1::2], strict=True)]}
        for o in polygons
    ]
