"""Sets with a text file of labels an image, in a folder of their own: what DOTA's and VisDrone's have in common."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from pathlib import Path

from maskrcnn_benchmark.data.formats.content import Content, single
from maskrcnn_benchmark.data.formats.files import ImagesByStem, ending_in_any_case, name_below
from maskrcnn_benchmark.utils.files import read_text
from maskrcnn_benchmark.utils.progress_bar import progress_bar
from maskrcnn_benchmark.utils.wording import listed

LOOKED_AT = 20  # files of a folder, to tell its form


def label_folder(path: Path, names: Iterable[str], fits: Callable[[str], bool]) -> Path | None:
    """The folder below `path` of one of these names (with wildcards), or itself, that has a file whose first line `fits`; None
    where there is none. Raises ValueError where several below it do."""
    below = [f for name in names for f in sorted(path.glob(name)) if has_labels(f, fits)]
    if len(below) > 1:
        raise ValueError(f"{path} has several folders of labels, {listed([f.name for f in below])}: name one of them.")
    return below[0] if below else path if has_labels(path, fits) else None


def has_labels(folder: Path, fits: Callable[[str], bool]) -> bool:
    """Whether the first line of a text file in this folder `fits`."""
    for file in islice(sorted(folder.glob(ending_in_any_case(".txt"))), LOOKED_AT) if folder.is_dir() else ():
        with contextlib.suppress(ValueError):
            if fits(next((line for line in read_text(file).splitlines() if line.strip()), "")):
                return True
    return False


def holds_labels(path: Path, names: Iterable[str], fits: Callable[[str], bool]) -> bool:
    """Whether `path`, or a folder of one of these names below it, has such files."""
    return any(has_labels(f, fits) for f in (path, *(f for name in names for f in path.glob(name))))


def labelled_images(content: Content, folder: Path) -> Iterator[tuple[dict, list[tuple[str, str]]]]:
    """Each image of `content.root` that has a file of its name in `folder`: its entry, which is new, and the lines that are not
    empty, each with its place."""
    root = Path(content.root)
    stems = ImagesByStem(root, content.notes)
    files = sorted(folder.glob(ending_in_any_case(".txt")))
    labelled = {file.stem for file in files}
    for file in progress_bar(files, desc="reading annotations", unit="file", leave=False):
        entry, lines = None, []
        with single(content.notes):
            image = stems.find(file)
            if image is None:
                content.add_missing(file.stem, "label files without an image, left out", str(file))
                continue
            lines = read_text(file).splitlines()
            entry = content.add_image(name_below(root, image))
        if entry is not None:
            places = ((line.strip(), f"{file}, line {number}") for number, line in enumerate(lines, start=1))
            yield entry, [(line, place) for line, place in places if line]
    for image in stems.files:
        content.notes.add("images without a label file, left out", str(image), image.stem not in labelled)


def images_beside(folder: Path, images: str) -> Path:
    """The folder of the images: the given one, or images/ beside that of the labels, or that."""
    beside = folder.parent / "images"
    return Path(images) if images else beside if beside.is_dir() else folder
