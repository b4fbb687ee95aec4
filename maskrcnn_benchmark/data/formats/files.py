"""What the forms share: tables, text files, folders of images, outlines of masks."""

from __future__ import annotations

import csv
import io
from collections.abc import Container, Iterable, Sequence
from itertools import chain, count
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pycocotools.mask as mask_utils

from maskrcnn_benchmark.data.datasets.coco_tree import to_rle
from maskrcnn_benchmark.data.datasets.images import IMAGE_ENDINGS, UNREAD_ENDINGS
from maskrcnn_benchmark.data.formats.content import UNREAD, Content, Notes, polygon_area
from maskrcnn_benchmark.utils.files import files_below, read_text, write_atomically
from maskrcnn_benchmark.utils.wording import odd_name

NEAREST_OF = 1000  # corners: with all of them, a mask of thousands of specks would take minutes


def read_rows(path: Path) -> list[list[str]]:
    """The rows of a table, separated by commas, semicolons or tabs, or by what a first line "sep=;" says, which is no row."""
    text = read_text(path)
    first, _, rest = text.partition("\n")
    separator = max(",;\t", key=first.count)
    if first.strip().lower().startswith("sep=") and len(first.strip()) == 5:
        separator, text = first.strip()[-1], rest
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))
    except csv.Error as error:
        raise ValueError(f"{path} is no table of comma-separated values: {error}.") from None
    return [[cell.strip() for cell in row] for row in rows]


def list_images(folder: Path, endings: tuple[str, ...] = IMAGE_ENDINGS) -> list[Path]:
    """The image files of a folder and those below it, in order of their names; linked folders are followed."""
    return [Path(path) for path in files_below(str(folder)) if path.lower().endswith(endings)]


def list_annotations(folder: Path, ending: str) -> list[Path]:
    """The files of a folder and those below it whose names end so, in small letters or capitals, sorted; linked folders are
    followed."""
    return sorted(Path(path) for path in files_below(str(folder)) if path.lower().endswith(ending))


def ending_in_any_case(ending: str) -> str:
    """The pattern of files whose names end so, in small letters or capitals."""
    return "*" + "".join(f"[{letter}{letter.upper()}]" for letter in ending)


class ImagesByStem:
    """The images of a folder and those below it by their names without the ending; those of kinds that are not read are noted."""

    def __init__(self, folder: Path, notes: Notes):
        self.folder, self.files = folder, list_images(folder)
        for file in list_images(folder, UNREAD_ENDINGS):
            notes.add(UNREAD, str(file))
        self._files: dict[str, list[Path]] = {}
        for file in self.files:
            self._files.setdefault(file.stem, []).append(file)

    def find(self, annotations: Path, named: str = "") -> Path | None:
        """The image that has the name of a file of annotations, which calls it `named`. Raises ValueError where several fit."""
        fitting = self._files.get(annotations.stem, [])
        exact = [file for file in fitting if file.name == Path(named).name]
        fitting = exact or fitting
        if len(fitting) > 1:
            raise ValueError(
                f"{annotations}: several images fit, {fitting[0]} and {fitting[1]}. Name the folder of the one that is meant "
                "(--img-dir, IMG_DIR), and read each folder by itself."
            )
        return fitting[0] if fitting else None

    def note_others(self, named: Container[str], notes: Notes) -> None:
        """Note the images that no file of annotations names, of `named` ones (`name_below`)."""
        for file in self.files:
            is_other = name_below(self.folder, file) not in named
            notes.add("images without an annotation file, left out", str(file), is_other)

    def own(self, annotations: Path, image: Path, notes: Notes) -> Path:
        """Of an `image` that several files of annotations name, the one that has this file's name, where there is such: the file
        was copied with its image, and kept the name in it."""
        own = image if image.stem == annotations.stem else self.find(annotations)
        is_other = own not in (None, image)
        notes.add(
            "files that name the image of another one, taken for that of their own name", str(annotations), is_other
        )
        return own or image


def name_below(root: Path, image: Path) -> str:
    """How a set calls an image: from the folder of the images on where it lies there, also by another name of a linked folder,
    else its whole path."""
    if not image.is_relative_to(root):
        root, image = root.resolve(), image.resolve()
    return (image.relative_to(root) if image.is_relative_to(root) else image).as_posix()


def unique_stems(content: Content, flat: bool = False) -> dict[Any, str]:
    """A name without ending for each image's own file of annotations, by the image's id: that of the image, told apart by the
    image's ending or a number where others have it too; without folders if `flat`. It leads nowhere outside of a folder."""
    stems: dict[Any, str] = {}
    taken: set[str] = set()
    for image in content.images:
        path = Path(*(part for part in Path(image["file_name"]).parts if part not in ("/", "//", "..")) or ("image",))
        plain, told = path.with_suffix("").as_posix(), f"{path.with_suffix('').as_posix()}_{path.suffix[1:]}"
        tries = chain((plain, told), (f"{told}_{i}" for i in count(2)))
        names = (name.replace("/", "_") if flat else name for name in tries)
        stems[image["id"]] = next(name for name in names if name.lower() not in taken)
        taken.add(stems[image["id"]].lower())
    return stems


def single_file(out: str, name: str) -> Path:
    """Of a form that is one file: `out` itself, or in the folder `out` the file of this name."""
    return Path(out) if out.endswith(Path(name).suffix) else Path(out) / name


def note_others(content: Content, folder: Path, pattern: str, written: Iterable[Path]) -> None:
    """Note files of a set that was written to a folder before, and that stay beside the ones of this set."""
    others = sorted(set(folder.glob(pattern)) - set(written))
    content.notes.add(f"files of another set that stay in {folder}", str(others[0]) if others else "", len(others))


def write_lines(path: Path, lines: Sequence[str]) -> None:
    """A text file, whole or not at all. Raises ValueError for names that are no text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        content = "".join(f"{line}\n" for line in lines).encode()
    except UnicodeEncodeError:
        odd = odd_name(line.strip() for line in lines)
        raise ValueError(
            f"{path}: {odd} is no text in UTF-8. Rename the file or the class that is called so."
        ) from None
    write_atomically(str(path), lambda f: f.write(content))


def outlines_of(content: Content, annotation: dict, image: dict) -> list[list[float]]:
    """`as_polygons` of an annotation, none where it has no mask; `content` takes a note where its holes are lost."""
    if not annotation.get("segmentation"):
        return []
    polygons, has_holes = _outlines(annotation["segmentation"], image)
    content.notes.add("masks with holes, which are filled", f"annotation {annotation['id']}", has_holes)
    return polygons


def as_polygons(segmentation: Any, image: dict) -> list[list[float]]:
    """The outlines of an object, x1, y1, x2, y2, ..., the largest first; holes are lost.

    Args:
        segmentation: polygons or run lengths as COCO has them.
        image: its entry, for "height" and "width".
    """
    return _outlines(segmentation, image)[0]


def _outlines(segmentation: Any, image: dict) -> tuple[list[list[float]], bool]:
    """The outlines, and whether there are holes within them."""
    has_holes = False
    if isinstance(segmentation, list):
        polygons = [list(map(float, p)) for p in segmentation if len(p) >= 6]
    else:
        rle = to_rle(segmentation, image["height"], image["width"])
        x, y, width, height = (int(v) for v in mask_utils.toBbox(rle))
        inside = mask_utils.decode(rle)[y : y + height, x : x + width]
        # OpenCV's outlines join the centres of pixels. At twice the size these lie within the pixels at the border, so that
        # the outline covers the same pixels as the mask.
        doubled = inside.repeat(2, axis=0).repeat(2, axis=1)
        found, places = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
        is_outer = np.reshape(places if places is not None else [], (-1, 4))[:, 3] < 0  # the outline that each lies in
        has_holes = not is_outer.all()
        outer = [outline for outline, is_one in zip(found, is_outer, strict=True) if is_one]
        polygons = [((o.reshape(-1, 2) + 0.5) / 2 + (x, y)).flatten().tolist() for o in outer]
    return sorted(polygons, key=polygon_area, reverse=True), has_holes


def join_polygons(polygons: Sequence[Sequence[float]]) -> list[float]:
    """One outline around all of them: each is reached from its neighbour, the nearest of NEAREST_OF corners, on a line of no
    width, and left on the same."""
    joined = np.asarray(polygons[0], np.float64).reshape(-1, 2)
    for polygon in polygons[1:]:
        part = np.asarray(polygon, np.float64).reshape(-1, 2)
        last, step = max(len(joined) - NEAREST_OF, 0), len(part) // NEAREST_OF + 1
        distance = ((joined[last:, None] - part[::step]) ** 2).sum(axis=2)
        here, there = (int(i) for i in np.unravel_index(np.argmin(distance), distance.shape))
        here, there = here + last, there * step
        part = np.concatenate((part[there:], part[: there + 1]))
        joined = np.concatenate((joined[: here + 1], part, joined[here:]))
    return joined.flatten().tolist()
