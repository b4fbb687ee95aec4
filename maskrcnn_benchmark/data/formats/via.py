"""The VGG Image Annotator's files (version 2, and 1): one JSON file with the regions of all images, or a table (CSV) of them."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from maskrcnn_benchmark.data.datasets.image_names import ImageNames
from maskrcnn_benchmark.data.formats.content import Content, box_of_polygons, clip_polygon, single
from maskrcnn_benchmark.data.formats.files import join_polygons, outlines_of, read_rows, single_file
from maskrcnn_benchmark.data.formats.shapes import circle, ellipse, rectangle
from maskrcnn_benchmark.data.formats.turned import SeenImages
from maskrcnn_benchmark.utils.files import read_json, write_json
from maskrcnn_benchmark.utils.progress_bar import progress_bar

NAMES_OF_OBJECTS = True  # no list of the classes: those that objects have
COLUMNS = ("filename", "region_shape_attributes", "region_attributes")
OPEN_SHAPES = ("point", "polyline")
# What holds a region's class, in the order of preference; else the attribute that most regions have.
CLASS_ATTRIBUTES = ("label", "class", "name", "type", "category", "object")


def recognises(path: Path) -> bool:
    """Whether this is a VIA file."""
    if path.suffix.lower() not in (".json", ".csv") or not path.is_file():
        return False
    try:
        return bool(_entries(_content(path)))
    except ValueError:
        return False


def _content(path: Path) -> Any:
    """What the JSON file holds, or the like of it from a table; {} for a table of something else."""
    if path.suffix.lower() != ".csv":
        return read_json(path)
    header, *rows = read_rows(path) or [[]]
    header = [cell.removeprefix("#") for cell in header]  # that of version 1.0 begins with one
    if not set(COLUMNS) <= set(header):
        return {}
    name, *of_region = (header.index(column) for column in COLUMNS)
    entries: dict[str, dict] = {}
    for number, row in enumerate(rows, start=2):
        if not any(row):
            continue
        try:
            shape, attributes = (json.loads(row[place] or "{}") for place in of_region)
        except (ValueError, IndexError, RecursionError):
            raise ValueError(f"{path}, line {number}: a region's shape and attributes must be JSON.") from None
        entry = entries.setdefault(row[name], {"filename": row[name], "regions": []})
        if shape:
            entry["regions"].append({"shape_attributes": shape, "region_attributes": attributes})
    return entries


def _entries(content: Any) -> list[dict]:
    """The images of a project file or an export; empty for anything else."""
    if not isinstance(content, dict):
        return []
    images = content.get("_via_img_metadata", content)
    found = list(images.values()) if isinstance(images, dict) else []
    return found if all(isinstance(e, dict) and {"filename", "regions"} <= set(e) for e in found) else []


def read(path: str, images: str = "", split: str = "", classes: Sequence[str] = (), attribute: str = "") -> Content:
    """A set from an export of annotations (JSON or CSV) or a saved project.

    Args:
        images: folder of the images; by default that of the file.
        split: not known to this form.
        classes: names in the order of the labels; by default those of the file, sorted.
        attribute: the region attribute that holds the class; by default one called label, class, name, type, category or
            object, else the one that most regions have. Regions of a file without attributes are of the class "object".

    Raises FileNotFoundError or ValueError with a sentence.
    """
    if split:
        raise ValueError(f"VIA's files have no splits; leave SPLIT {split!r} out and name the file of the split.")
    entries = _entries(_content(Path(path)))
    if not entries:
        raise ValueError(f"{path} is no export of the VGG Image Annotator: its entries need `filename` and `regions`.")
    root = Path(images) if images else Path(path).parent
    found = Content(str(root))
    image_names = ImageNames(str(root), lambda: (str(entry["filename"]) for entry in entries))
    regions = []
    for entry in progress_bar(entries, desc="reading annotations", unit="image", leave=False):
        with single():
            regions.append((entry, _regions(entry, path)))
    chosen = attribute or _class_attribute([region for _, listed in regions for region in listed])
    names = [[_class_of(region, chosen) for region in listed] for _, listed in regions]
    found.name_classes(list(classes) or sorted({name for listed in names for name in listed if name}))
    known = {category["name"]: category["id"] for category in found.categories}
    for (entry, listed), labels in zip(regions, names, strict=True):
        name = str(entry["filename"])
        file = image_names.find(name)
        if file is None:
            found.add_missing(name, "entries without an image, left out", f"{path}: {name}")
            continue
        image = None
        with single(found.notes):
            image = found.add_image(file)
        for number, (region, label) in enumerate(zip(listed, labels, strict=True) if image else ()):
            where = f"{path}: {entry['filename']}, region {number}"
            if _is_several(region, chosen):
                found.notes.add(f"regions with several options of {chosen!r}, of which the first counts", where)
            if not label:
                found.notes.add(f"regions without the attribute {chosen!r}, left out", where)
                continue
            with single():
                if label not in known:
                    raise ValueError(f"{where}: the class {label!r} is not one of {', '.join(known)}.")
                _add_region(found, image, known[label], region.get("shape_attributes"), where)
    return found


def _regions(entry: dict, path: str) -> list[dict]:
    """Version 1 has a dictionary of them."""
    regions = entry["regions"]
    listed = list(regions.values()) if isinstance(regions, dict) else regions
    if not isinstance(listed, list) or not all(isinstance(region, dict) for region in listed):
        raise ValueError(f"{path}: the `regions` of {entry['filename']} are no list.")
    return listed


def _attributes(region: dict) -> dict:
    found = region.get("region_attributes")
    return found if isinstance(found, dict) else {}


def _class_attribute(regions: list[dict]) -> str:
    counts = Counter(key for r in regions for key, value in _attributes(r).items() if value not in ("", None))
    lower = {key.lower(): key for key in counts}
    named = next((lower[name] for name in CLASS_ATTRIBUTES if name in lower), None)
    return named or (counts.most_common(1)[0][0] if counts else "")


def _is_several(region: dict, attribute: str) -> bool:
    value = _attributes(region).get(attribute)
    return isinstance(value, dict) and sum(bool(on) for on in value.values()) > 1


def _class_of(region: dict, attribute: str) -> str:
    if not attribute:
        return "object"
    value = _attributes(region).get(attribute, "")
    if isinstance(value, dict):  # a checkbox: its first option that is on
        value = next((key for key, on in value.items() if on), "")
    return str(value).strip()


def _add_region(found: Content, image: dict, category: int, shape: Any, where: str) -> None:
    kind = shape.get("name") if isinstance(shape, dict) else None
    if kind in OPEN_SHAPES:
        found.notes.add("points and lines, which are no objects, left out", where)
        return
    try:
        polygon = _polygon(shape, str(kind))
        if len(polygon) < 6 or not all(map(math.isfinite, polygon)):
            raise ValueError
    except (KeyError, TypeError, ValueError, OverflowError):
        raise ValueError(f"{where}: the shape {kind!r} is not understood: {str(shape)[:80]}.") from None
    polygon = clip_polygon(polygon, image["width"], image["height"])
    box = box_of_polygons([polygon])
    if box[2] <= 0 or box[3] <= 0:
        found.notes.add("shapes of no size, left out", where)
        return
    found.add(image, category, box, segmentation=None if kind == "rect" else [polygon])


def _polygon(shape: dict, kind: str) -> list[float]:
    if kind == "rect":
        return rectangle(*(float(shape[key]) for key in ("x", "y", "width", "height")))
    if kind == "circle":
        return circle(*(float(shape[key]) for key in ("cx", "cy", "r")))
    if kind == "ellipse":
        return ellipse(
            *(float(shape.get(key, 0) if key == "theta" else shape[key]) for key in ("cx", "cy", "rx", "ry", "theta"))
        )
    if kind == "polygon":
        points = zip(shape["all_points_x"], shape["all_points_y"], strict=True)
        return [float(v) for point in points for v in point]
    raise ValueError


def replaced(content: Content, out: str) -> list[Path]:
    """The file that `write` writes."""
    return [single_file(out, "annotations.json")]


def write(content: Content, out: str) -> str:
    """One file, `out` (or annotations.json in the folder `out`), whose regions have the attribute "label"; returns its path."""
    names, by_image, as_seen = content.names(), content.by_image(), SeenImages(content)
    entries = {}
    for image in progress_bar(content.images, desc="writing annotations", unit="image", leave=False):
        regions: list[dict] = []
        image, annotations = as_seen(image, by_image[image["id"]])
        for annotation in annotations:
            regions += _write_regions(content, image, annotation, names[annotation["category_id"]])
        size = _bytes_of(Path(content.root) / image["file_name"])
        entries[f"{image['file_name']}{size}"] = {
            "filename": image["file_name"], "size": size, "regions": regions, "file_attributes": {},
        }  # fmt: skip
    (file,) = replaced(content, out)
    file.parent.mkdir(parents=True, exist_ok=True)
    write_json(str(file), entries)
    return str(file)


def _bytes_of(path: Path) -> int:
    return path.stat().st_size if path.is_file() else -1


def _write_regions(content: Content, image: dict, annotation: dict, name: str) -> list[dict]:
    where = f"annotation {annotation['id']}"
    if annotation.get("iscrowd"):
        content.leave_out("crowds, which VIA cannot mark, left out", where)
        return []
    content.notes.add("keypoints, which belong to no object in VIA, left out", where, bool(annotation.get("keypoints")))
    content.notes.add("scores, which VIA has no place for, left out", where, "score" in annotation)
    polygons = outlines_of(content, annotation, image)
    content.notes.add("outlines of several parts, joined by lines of no width", where, len(polygons) > 1)
    if polygons:
        outline = join_polygons(polygons)
        shape = {"name": "polygon", "all_points_x": outline[::2], "all_points_y": outline[1::2]}
    else:
        shape = {"name": "rect", **dict(zip(("x", "y", "width", "height"), annotation["bbox"], strict=True))}
    return [{"shape_attributes": shape, "region_attributes": {"label": name}}]
