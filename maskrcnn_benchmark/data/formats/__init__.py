"""Forms that annotations come in: a module for each, with `read` and `recognises`, `splits` where it has any, and for a form that
is written too `write` and `replaced`, the files at a place that `write` writes. NAMES_OF_OBJECTS says that a form has no list of
the classes.

A form of one's own is such a module, or any object with these, and one line: `FORMATS.register("name", form)`.
"""

from __future__ import annotations

import contextlib
import inspect
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from maskrcnn_benchmark.config.node import ConfigError
from maskrcnn_benchmark.data.datasets.voc_files import given_names, names_alike
from maskrcnn_benchmark.data.formats import coco, dota, labelme, table, via, visdrone, voc, yolo
from maskrcnn_benchmark.data.formats.content import SPLITS, Content, Notes, chosen_split
from maskrcnn_benchmark.utils.files import read_json
from maskrcnn_benchmark.utils.registry import Registry
from maskrcnn_benchmark.utils.wording import listed, odd_name

__all__ = [
    "FORMATS",
    "Content",
    "Notes",
    "check_keeps",
    "form_of",
    "locate",
    "place_of_images",
    "read",
    "splits",
    "write",
    "written_forms",
]

# The order is that in which they are tried on a file without a named form.
FORMATS = Registry(
    {
        "coco": coco,
        "lvis": coco,
        "via": via,
        "labelme": labelme,
        "csv": table,
        "voc": voc,
        "dota": dota,
        "visdrone": visdrone,
        "yolo": yolo,
    }
)

WITHOUT_PLACES = ("coco", "lvis", "via", "csv")  # forms that do not say where the images lie
FILE_ENDINGS = (".json", ".csv", ".tsv")  # of forms that are one file


def written_forms() -> list[str]:
    """The names of the forms that `write` knows."""
    return [name for name, form in FORMATS.items() if hasattr(form, "write")]


def form_of(path: str) -> str:
    """The name of the form that a file or folder is in. Raises FileNotFoundError or ValueError naming the known ones."""
    return locate(path)[0]


def locate(path: str, form: str = "", split: str = "") -> tuple[str, str]:
    """The form of annotations, found where it is not given, and the file or folder that is read: the one annotation file of a
    folder that is in no form itself, or the folder of a split.

    Raises FileNotFoundError or ValueError naming the known forms.
    """
    if folders := _split_folders(path, form):
        path = os.path.join(path, chosen_split(path, folders, split))
    return _locate(path, form)


def _locate(path: str, form: str) -> tuple[str, str]:
    place = Path(path)
    if not place.exists():
        raise FileNotFoundError(f"There is no {path}.")
    files = sorted(f for f in place.iterdir() if f.suffix.lower() in FILE_ENDINGS) if place.is_dir() else []
    forms = {form: FORMATS[form]} if form else dict(FORMATS.items())
    for candidate in (place, *(files if len(files) == 1 else ())):
        for name, known in forms.items():
            if known.recognises(candidate):
                return name, str(candidate)
    if form:
        return form, path  # its reader says what is wrong
    if place.suffix.lower() == ".json" and place.is_file():
        read_json(place)  # raises where it is cut off, or no JSON
    several = f" It holds {listed([file.name for file in files])}: name one file." if len(files) > 1 else ""
    raise ValueError(
        f"{path} is in none of the known forms: {', '.join(FORMATS)}.{several} Expected is a COCO, LVIS or VIA file (.json), a "
        "folder of LabelMe's .json, VOC's .xml or DOTA's and VisDrone's .txt files, a table (.csv), or for YOLO a data.yaml, a "
        "list of images (.txt) or a folder with images and labels."
    )


def read(
    path: str, form: str = "", images: str = "", split: str = "", classes: str | Sequence[str] = (), **options: Any
) -> Content:
    """The annotations of a file or folder.

    Args:
        form: a name in FORMATS; by default the one that the file is in.
        images: folder of the images, where they do not lie where the form has them.
        split: of a form that holds several.
        classes: names in the order of their labels, or a text file of them, where the form does not say them or others are
            wanted.
        options: what the form's `read` takes beside these.

    Raises FileNotFoundError or ValueError with a sentence.
    """
    if form and form not in FORMATS:
        raise ConfigError(f"There is no form {form!r} of annotations; known are {', '.join(FORMATS)}.")
    if images and not Path(images).is_dir():
        raise FileNotFoundError(f"There is no image folder {images!r}, which {path} belongs to.")
    if folders := _split_folders(path, form):
        path, split = os.path.join(path, chosen_split(path, folders, split)), ""
    form, path = _locate(path, form) if Path(path).exists() else (form or form_of(path), path)
    given = (path, images, split, given_names(classes))
    try:
        inspect.signature(FORMATS[form].read).bind(*given, **options)
    except TypeError as error:
        raise ConfigError(f"{path} does not fit its form, {form}: {error}.") from None
    content = FORMATS[form].read(*given, **options)
    if not content.images:
        content.check_images(path)
    if odd := odd_name(content.names().values()):
        raise ValueError(
            f"{path}: the name of a class, {odd}, holds half of a character (a lone surrogate), which cannot be written. "
            "Correct it."
        )
    for name in names_alike(content.names().values()):
        content.notes.add("classes whose names differ in capitals or spaces alone, which stay apart", name)
    return content


def splits(path: str, form: str = "") -> list[str]:
    """The names that `read` takes as `split`; none for a form without. Raises FileNotFoundError or ValueError."""
    if folders := _split_folders(path, form):
        return folders
    form, path = _locate(path, form)
    found = getattr(FORMATS[form], "splits", None)
    return found(Path(path)) if found else []


def _split_folders(path: str, form: str) -> list[str]:
    """Folders train, val, valid and test of a folder that hold a set each, where the form itself knows no such splits."""
    if not os.path.isdir(path):
        return []
    found, is_one_itself = [], False
    with contextlib.suppress(ValueError, FileNotFoundError):
        known, inner = _locate(path, form)
        if hasattr(FORMATS[known], "splits"):
            return []
        is_one_itself = FORMATS[known].recognises(Path(inner))
    for name in SPLITS:
        with contextlib.suppress(ValueError, FileNotFoundError):
            known, inner = _locate(os.path.join(path, name), form)
            found += [name] if FORMATS[known].recognises(Path(inner)) else []
    return found if len(found) > 1 or not is_one_itself else []


def check_keeps(content: Content, source: str, form: str, out: str, overwrite: bool = False) -> None:
    """Raise FileExistsError where `write` to `out` would replace the annotations `content`, which were read from `source`, or
    without `overwrite` any other file."""
    kept = Path(source).resolve()
    find = getattr(FORMATS[form], "replaced", None)
    for place in find(content, out) if find else (Path(out),):
        if not place.is_file():
            continue
        if place.resolve().is_relative_to(kept):
            raise FileExistsError(f"--out {out} would replace the source, {source}: name another place.")
        if not overwrite:
            raise FileExistsError(f"{place} is there already: name another place, or replace it with --overwrite.")


def write(content: Content, form: str, out: str) -> str:
    """Write annotations in a form; what it cannot hold is added to `content.notes`. Returns the file, or the folder `out`."""
    content.unwritten = 0
    names, used = content.names(), {annotation["category_id"] for annotation in content.annotations}
    if getattr(FORMATS[form], "NAMES_OF_OBJECTS", False) and list(names.values()) != sorted(names[i] for i in used):
        content.notes.add(
            "the list of classes, without which those that have objects are read, in the order of the alphabet; to keep it, name "
            "the classes where the set is read (--classes, CLASSES)",
            ", ".join(names.values()),
        )
    for image in content.images:
        is_missing = not os.path.isfile(os.path.join(content.root, image["file_name"]))
        content.notes.add("images that are not there, whose labels are written", image["file_name"], is_missing)
    return FORMATS[form].write(content, out) or out


def place_of_images(content: Content, form: str) -> str:
    """What is said, behind what was written, of the folder that names of images count from; "" where the form says so itself."""
    if form not in WITHOUT_PLACES or all(os.path.isabs(image["file_name"]) for image in content.images):
        return ""
    return f" (its images are in {content.root}, for --img-dir or IMG_DIR)"
