"""A table of boxes (CSV): a row an object, with the image's name, two corners and a class.

With a header the columns may stand in any order and be called as in TensorFlow's and other tools' tables (filename, xmin, ymin,
xmax, ymax, class); without one they are image, x1, y1, x2, y2, class. A row with an image alone is an image without objects.
Where a column "iscrowd" (or Open Images' "IsGroupOf") is 1, the box is a crowd's.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from maskrcnn_benchmark.data.datasets.image_names import ImageNames
from maskrcnn_benchmark.data.formats.content import SWAPPED, Content, chosen_split, single
from maskrcnn_benchmark.data.formats.files import read_rows, single_file, write_lines
from maskrcnn_benchmark.utils.progress_bar import progress_bar
from maskrcnn_benchmark.utils.wording import counted

NAMES_OF_OBJECTS = True  # no list of the classes: those that objects have
COLUMNS = {
    "image": (
        "filename",
        "file_name",
        "image",
        "image_path",
        "path",
        "file",
        "image_name",
        "image_id",
        "imageid",
        "img",
    ),
    "left": ("xmin", "x1", "x_min", "left"),
    "top": ("ymin", "y1", "y_min", "top"),
    "right": ("xmax", "x2", "x_max", "right"),
    "bottom": ("ymax", "y2", "y_max", "bottom"),
    "class": ("class", "label", "class_name", "category", "name", "label_name", "labelname"),
}
# The last may be the image's, and are the box's where there are no others.
EXTENTS = (
    *(("box_width", "box_height"), ("bbox_width", "bbox_height"), ("box_w", "box_h"), ("bbox_w", "bbox_h")),
    *(("w", "h"), ("width", "height")),
)
# Beside the extent of a box: its corner, or its middle.
CORNER = {"left": ("x", "bbox_x", "box_x"), "top": ("y", "bbox_y", "box_y")}
MIDDLE = {
    "left": ("cx", "x_center", "xcenter", "center_x", "x_centre"),
    "top": ("cy", "y_center", "ycenter", "center_y", "y_centre"),
}
IMAGE_SIZES = (("image_width", "image_height"), ("img_width", "img_height"), ("width", "height"))
GROUPS = ("iscrowd", "is_crowd", "isgroupof", "is_group_of")  # a box around several objects, the last as in Open Images
SLACK = 0.1  # by which fractions may leave the image
EMPTY = ("", "nan")  # pandas writes the second
ORDER = ("image", "left", "top", "right", "bottom", "class")
# Makesense's tables without a header, in which the second corner is the box's width and height.
MAKESENSE = ("class", "left", "top", "right", "bottom", "image", "image_width", "image_height")
HEADER = ("filename", "width", "height", "class", "xmin", "ymin", "xmax", "ymax")


def recognises(path: Path) -> bool:
    """Whether this is a table."""
    return path.suffix.lower() in (".csv", ".tsv") and path.is_file()


def splits(path: Path) -> list[str]:
    """The values in the column "split"."""
    rows = read_rows(path)
    column = _split_column(rows[0]) if rows else None
    return list(dict.fromkeys(_cell(row, column) for row in rows[1:] if any(row))) if column is not None else []


def read(path: str, images: str = "", split: str = "", classes: Sequence[str] = ()) -> Content:
    """A set from a table.

    Args:
        images: folder of the images; by default that of the table.
        split: of a table with a column "split", the rows with this value.
        classes: names in the order of the labels; by default those of the table, sorted.

    Raises FileNotFoundError or ValueError with the line.
    """
    rows = read_rows(Path(path))
    places, first, extents = _columns(rows, path)
    column = _split_column(rows[0]) if first else None
    if split and column is None:
        raise ValueError(f"{path} has no column `split`, but SPLIT is {split!r}.")
    there = splits(Path(path)) if column is not None else []
    split = chosen_split(path, there, split) if len(there) > 1 or split else ""
    names = {row[places["class"]] for row in rows[first:] if _cell(row, places["class"]).lower() not in EMPTY}
    root = Path(images) if images else Path(path).parent
    content = Content(str(root))
    content.name_classes(list(classes) or sorted(names))
    known = {category["name"]: category["id"] for category in content.categories}
    sizes = _image_size_columns(rows[0]) if first else None
    groups = next((i for i, cell in enumerate(rows[0]) if cell.lower() in GROUPS), None) if first else None
    if sizes and extents and sizes[0] == places["right"]:
        sizes = None
    is_of_fractions = _are_fractions(rows[first:], places)
    if is_of_fractions:
        content.notes.add("a table of fractions: boxes are taken as shares of the image's width and height", path)
    entries: dict[str, dict | None] = {}
    image_names = ImageNames(str(root), lambda: (_cell(row, places["image"]) for row in rows[first:]))
    unread: set[str] = set()
    listed = progress_bar(rows[first:], desc="reading annotations", unit="row", leave=False)
    for number, row in enumerate(listed, start=first + 1):
        where = f"{path}, line {number}"
        name = _cell(row, places["image"])
        if not any(row) or (split and column is not None and _cell(row, column) != split):
            continue
        if name not in entries:
            sides = [_cell(row, place) for place in sizes] if sizes else (None, None)
            entries[name] = None
            with single(content.notes):
                unread.add(name)
                file = image_names.find(name)
                entries[name] = content.add_annotated(file, sides, where) if file else None
                unread.discard(name)
        entry = entries[name]
        if name in unread:
            continue
        if entry is None:
            content.add_missing(name, "rows of images that are not there, left out", f"{where}: {name}")
        elif any(_cell(row, places[key]).lower() not in EMPTY for key in ORDER[1:]):
            factors = (entry["width"], entry["height"]) if is_of_fractions else (1, 1)
            with single():
                is_crowd = groups is not None and _number(_cell(row, groups)) == 1
                cells = [_cell(row, places[key]) for key in ORDER[1:]]
                _add_row(content, entry, cells, extents, factors, known, where, is_crowd)
    return content


def _split_column(header: list[str]) -> int | None:
    return next((i for i, name in enumerate(header) if name.lower() == "split"), None)


def _image_size_columns(header: list[str]) -> tuple[int, int] | None:
    """The places of the image's width and height, which stand beside two corners."""
    names = [cell.lower() for cell in header]
    return next(((names.index(w), names.index(h)) for w, h in IMAGE_SIZES if {w, h} <= set(names)), None)


def _are_fractions(rows: list[list[str]], places: dict[str, int]) -> bool:
    """Whether no box of the table has a number well above 1: as pixels they would all be of one pixel."""
    numbers = [_number(_cell(row, places[key])) for row in rows for key in ("left", "top", "right", "bottom")]
    given = [number for number in numbers if number is not None]
    is_near = bool(given) and max(given) <= 1 + SLACK and min(given) >= -SLACK
    return is_near and any(number % 1 for number in given)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _cell(row: list[str], place: int) -> str:
    return row[place] if place < len(row) else ""


def _columns(rows: list[list[str]], path: str) -> tuple[dict[str, int], int, str]:
    """The place of each column, the first row of data, and "corner" or "middle" where a box's width and height stand beside it;
    "" for two corners."""
    if not rows or not any(map(any, rows)):
        raise ValueError(f"{path} is empty; a row has an image, two corners and a class.")
    header = [cell.lower() for cell in rows[0]]

    def find(columns: Mapping[str, tuple[str, ...]]) -> dict[str, int]:
        return {key: next((header.index(n) for n in names if n in header), -1) for key, names in columns.items()}

    if len(rows[0]) == len(MAKESENSE) and all(_number(_cell(rows[0], i)) is not None for i in (1, 2, 3, 4, 6, 7)):
        return {key: MAKESENSE.index(key) for key in ORDER}, 0, "corner"
    found = find(COLUMNS)
    if found["image"] < 0 and found["class"] < 0:
        corners = [_cell(rows[0], place) for place in range(1, 5)]
        if len(rows[0]) != len(ORDER) or all(corner and _number(corner) is None for corner in corners):
            raise ValueError(
                f"{path} has no header that is understood (such as {','.join(HEADER)}) and {counted(len(rows[0]), 'column')}; "
                "without a header a row is image,x1,y1,x2,y2,class."
            )
        return dict(zip(ORDER, range(len(ORDER)), strict=True)), 0, ""
    extents = "corner" if found["right"] < 0 and found["bottom"] < 0 else ""
    if extents:
        pair = next((names for names in EXTENTS if set(names) <= set(header)), None)
        found |= {key: header.index(name) for key, name in zip(("right", "bottom"), pair or (), strict=False)}
        for kind, columns in (("corner", CORNER), ("middle", MIDDLE)):
            if found["left"] < 0 and found["top"] < 0:
                extents, found = kind, found | find(columns)
    missing = [f"{key} ({', '.join(COLUMNS[key][:2])})" for key, place in found.items() if place < 0]
    if missing:
        raise ValueError(f"{path} has no column for {' and '.join(missing)}; its columns are {', '.join(rows[0])}.")
    return found, 1, extents


def _add_row(
    content: Content,
    image: dict,
    cells: list[str],
    extents: str,
    factors: tuple[float, float],
    known: dict[str, int],
    where: str,
    is_crowd: bool,
) -> None:
    *texts, name = cells
    try:
        left, top, right, bottom = map(float, texts)
        if not all(map(math.isfinite, (left, top, right, bottom))):
            raise ValueError
    except ValueError:
        raise ValueError(f"{where}: a box is four numbers; got {', '.join(texts)}.") from None
    if not name:
        raise ValueError(f"{where}: the box has no class.")
    if name not in known:
        raise ValueError(f"{where}: the class {name!r} is not one of {', '.join(known) or 'any'}.")
    if extents == "middle":
        left, top = left - right / 2, top - bottom / 2
    is_image = (right * factors[0], bottom * factors[1]) == (image["width"], image["height"])
    if extents and is_image and (left > 0 or top > 0):
        raise ValueError(
            f"{where}: a box of the image's size, {image['width']} x {image['height']}, begins inside it. If the columns of "
            f"width and height are the image's, the table lacks the box's ({', '.join(EXTENTS[0])})."
        )
    if extents:
        right, bottom = left + right, top + bottom
    content.notes.add(SWAPPED, where, right < left or bottom < top)
    (left, right), (top, bottom) = sorted((left, right)), sorted((top, bottom))
    left, top, right, bottom = left * factors[0], top * factors[1], right * factors[0], bottom * factors[1]
    inside = (max(left, 0.0), max(top, 0.0), min(right, image["width"]), min(bottom, image["height"]))
    content.notes.add("boxes that leave the image, cut at its border", where, inside != (left, top, right, bottom))
    left, top, right, bottom = inside
    if right <= left or bottom <= top:
        content.notes.add("boxes of no size, left out", where)
        return
    content.notes.add("boxes around several objects, kept as crowds", where, is_crowd)
    content.add(image, known[name], (left, top, right - left, bottom - top), iscrowd=is_crowd)


def replaced(content: Content, out: str) -> list[Path]:
    """The file that `write` writes."""
    return [single_file(out, "annotations.csv")]


def write(content: Content, out: str) -> str:
    """One file, `out` (or annotations.csv in the folder `out`), a row an object; images without objects have a row too. There
    are columns "iscrowd" and "score" where an object has one. Returns the file's path."""
    names, by_image = content.names(), content.by_image()
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    more = ["iscrowd"] if any(annotation.get("iscrowd") for annotation in content.annotations) else []
    more += ["score"] if any("score" in annotation for annotation in content.annotations) else []
    writer.writerow((*HEADER, *more))
    for image in progress_bar(content.images, desc="writing annotations", unit="image", leave=False):
        size = (image["file_name"], image["width"], image["height"])
        objects = by_image[image["id"]]
        for annotation in objects:
            where = f"annotation {annotation['id']}"
            content.notes.add("masks, which a table cannot hold, left out", where, bool(annotation.get("segmentation")))
            content.notes.add(
                "keypoints, which a table cannot hold, left out", where, bool(annotation.get("keypoints"))
            )
        is_empty = True
        for annotation in objects:
            box = content.cut_box(image, annotation)
            if box is None:
                continue
            is_empty = False
            x, y, width, height = box
            row = (*size, names[annotation["category_id"]], x, y, round(x + width, 4), round(y + height, 4))
            writer.writerow((*row, *(annotation.get(key, "") for key in more)))
        if is_empty:
            writer.writerow((*size, *[""] * (5 + len(more))))
    (file,) = replaced(content, out)
    write_lines(file, text.getvalue().split("\n")[:-1])
    return str(file)
