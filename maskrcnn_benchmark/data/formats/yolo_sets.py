"""What describes a YOLO set beside its labels: data.yaml, lists of images, files of class names."""

from __future__ import annotations

import contextlib
import glob
import os
import reprlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from maskrcnn_benchmark.data.datasets.coco_keypoints import is_mirror
from maskrcnn_benchmark.data.datasets.image_names import ImageNames
from maskrcnn_benchmark.data.datasets.images import IMAGE_ENDINGS, UNREAD_ENDINGS
from maskrcnn_benchmark.data.formats.content import UNREAD, Content, chosen_split, single
from maskrcnn_benchmark.data.formats.files import ending_in_any_case, list_annotations, list_images
from maskrcnn_benchmark.data.formats.yolo_labels import MOST_CLASSES
from maskrcnn_benchmark.utils.files import is_too_long, read_text, why_unread
from maskrcnn_benchmark.utils.wording import counted

CLASS_FILES = ("classes.txt", "obj.names", "_darknet.labels", "names.txt")
DESCRIBED_SPLITS = ("train", "val", "test")
MOST_KEYPOINTS = 1000


def _shown(value: Any) -> str:
    """A value of a file in a message: short, however much YAML's aliases make of a few bytes."""
    short = reprlib.Repr()
    short.maxlevel = 2
    return short.repr(value)


def read_description(path: Path) -> dict:
    """The content of a data.yaml. Raises ValueError."""
    try:
        text = read_text(path)
        described = yaml.safe_load(text)
        written = yaml.load(text, yaml.BaseLoader)  # `yes`, `1.10` and `2024` are names
    except (yaml.YAMLError, ValueError) as error:
        if isinstance(error, ValueError) and not is_too_long(error):  # of a file that is no text
            raise
        raise ValueError(f"{path} is not a YAML file: {' '.join(why_unread(error).split())}") from None
    if not isinstance(described, dict):
        raise ValueError(f"{path} is no description of a YOLO data set: it needs the keys train, val and names.")
    if described.get("names"):
        described["names"] = _as_written(written["names"])
    for key in ("path", *DESCRIBED_SPLITS):
        if described.get(key) is not None:
            described[key] = written[key]
            if not all(
                isinstance(name, str) for name in ([written[key]] if isinstance(written[key], str) else written[key])
            ):
                raise ValueError(f"{path}: `{key}` must be a path or a list of paths; got {_shown(described[key])}.")
    return described


def _as_written(names: Any) -> Any:
    """Names as they are written, not as YAML's booleans and numbers; the numbers before them stay numbers."""
    if isinstance(names, dict):
        return {int(key) if str(key).isdecimal() else key: name for key, name in names.items()}
    return names


def class_names(described: dict, path: Path) -> dict[int, str]:
    """The names of a data.yaml by their numbers, which may have gaps, in order. Raises ValueError."""
    given = described.get("names")
    if isinstance(given, list):
        given = dict(enumerate(given))
    if not isinstance(given, dict) or not given:
        raise ValueError(f"{path}: `names` must list the classes; got {_shown(given)}.")
    if not all(isinstance(name, str) for name in given.values()):
        raise ValueError(f"{path}: each of `names` must be the name of a class; got {_shown(given)}.")
    if not all(isinstance(number, int) and number >= 0 for number in given):
        raise ValueError(
            f"{path}: the numbers of `names` must be whole, from 0; got {_shown(sorted(map(str, given)))}."
        )
    if max(given) >= MOST_CLASSES:
        raise ValueError(f"{path}: `names` has the number {max(given)}; a set has at most {MOST_CLASSES:,} classes.")
    count = described.get("nc")
    if isinstance(count, list | dict):
        raise ValueError(f"{path}: nc must be the number of classes; got {_shown(count)}.")
    if count is not None and str(count) not in (str(len(given)), str(max(given) + 1)):
        raise ValueError(
            f"{path}: nc is {count}, but names has {counted(len(given), 'name')}. Correct the one or the other."
        )
    return {number: given[number] for number in sorted(given)}


def given_names(classes: Sequence[str], described: dict) -> dict[int, str]:
    """Other names for the numbers of a data.yaml; where it names another number of classes, from 0 on."""
    names: Any = described.get("names")
    is_told = isinstance(names, dict) and len(names) == len(classes) and all(isinstance(n, int) for n in names)
    return dict(zip(sorted(names) if is_told else range(len(classes)), classes, strict=True))


def splits_of(described: dict) -> list[str]:
    """The splits that a data.yaml has."""
    return [key for key in DESCRIBED_SPLITS if described.get(key)]


def images_of_split(described: dict, path: Path, split: str, images: str = "") -> tuple[list[Path], Path]:
    """The images of a split of data.yaml, and the folder that its paths are relative to: `images`, if that is named."""
    there = splits_of(described)
    if not there:
        hint = "; it is a configuration, not annotations" if described.get("DATASETS") else ""
        raise ValueError(
            f"{path} names no images: a data.yaml has one of the keys {', '.join(DESCRIBED_SPLITS)}{hint}."
        )
    is_one = len({str(described[key]) for key in there}) == 1
    chosen = chosen_split(path, there[:1] if is_one and not split else there, split)
    base = Path(str(described.get("path") or ""))
    roots = [base] if base.is_absolute() else [path.parent / base, base, path.parent]
    own = [Path(images)] if images else []
    files: list[Path] = []
    names = _entries(described, chosen)
    known = [ImageNames(str(root), lambda: names) for root in own or roots]
    for name in names:
        # Exports of some sites name ../train/images in a data.yaml that lies beside train/.
        tries = [root / name for root in roots] + [path.parent / name.removeprefix("../")]
        found = next((t for t in tries if t.is_file() or (t.exists() and not own)), None)
        if found is None and (matching := next((m for root in own or roots if (m := _matching(root, name))), [])):
            files += matching
            continue
        if found is None and name.lower().endswith(IMAGE_ENDINGS):
            found = next((Path(k.root, file) for k in known if (file := k.find(name))), None)
        if found is None:
            found = _folder_elsewhere(described, chosen, name, own or [path.parent]) or next(iter(own), None)
        if found is None:
            raise FileNotFoundError(
                f"{path}: there is no {name!r} of its split {chosen!r} below {roots[0]}. Correct it there, or name the folder "
                "of the images: --img-dir, or IMG_DIR in DATASETS.DEFINITIONS."
            )
        is_image = found.is_file() and name.lower().endswith(IMAGE_ENDINGS)
        files += [found] if is_image else listed_images(found, images) if found.is_file() else list_images(found)
    return files, roots[0]


def _entries(described: dict, split: str) -> list[str]:
    """The paths of a split."""
    given = described.get(split) or []
    return list(map(str, given if isinstance(given, list) else [given]))


def _folder_elsewhere(described: dict, split: str, name: str, roots: Sequence[Path]) -> Path | None:
    """What a path of another machine, with other folders in front or with backslashes, is below one of `roots`; None where
    nothing there has the end of the path, or it may be that of another split."""

    def find(path: str) -> Path | None:
        parts = [part for part in path.replace("\\", "/").split("/") if part not in ("", ".", "..")]
        tails = ("/".join(parts[i:]) for i in range(len(parts)))
        return next((root / tail for tail in tails for root in roots if (root / tail).exists()), None)

    others = {path for key in splits_of(described) if key != split for path in _entries(described, key)} - {name}
    found = find(name)
    return None if found is None or found in map(find, others) else found


def _matching(root: Path, pattern: str) -> list[Path]:
    """The images below a folder that a pattern with wildcards stands for."""
    found = glob.glob(os.path.join(glob.escape(str(root)), pattern), recursive=True)
    return [Path(path) for path in sorted(found) if path.lower().endswith(IMAGE_ENDINGS)]


def listed_images(path: Path, images: str = "") -> list[Path]:
    """The images that a text file lists, each relative to it, to the folder `images`, or to the working directory; also those
    that had other folders in front where the list was made."""
    files = []
    lines = [line.strip() for line in read_text(path).splitlines()]
    names = [ImageNames(folder, lambda: lines) for folder in ([images] if images else []) + [str(path.parent)]]
    for number, name in enumerate(lines, start=1):
        if not name:
            continue
        file = next((f for f in (path.parent / name, Path(name)) if f.is_file()), None)
        for known in names if file is None else ():
            if found := known.find(name):
                file = Path(known.root, found)
                break
        with single():
            if file is None:
                raise FileNotFoundError(f"{path}, line {number}: there is no image {name}.")
            files.append(file)
    return files


def note_orphans(
    content: Content, files: Sequence[Path], label_of: Callable[[Path], Path], seen: set[Path], is_split: bool
) -> None:
    """Note the images that are not read, and the label files that are of no image: beside those that were `seen`, and in all of
    the folder labels/ that belongs to the images, or of a split in its part of that."""
    places, within = {file.parent for file in files}, {label.parent for label in seen}
    inner: dict[Path, set[str]] = {}
    for place in places:
        if "images" in place.parts:
            last = len(place.parts) - place.parts[::-1].index("images")
            inner.setdefault(Path(*place.parts[: last - 1]), set()).add(str(Path(*place.parts[last:])))
    for folder, below in inner.items():
        part = os.path.commonpath(below) if is_split else "."
        if found := list_annotations(folder / "labels" / part, ".txt"):
            within |= {path.parent for path in found}
            places.add(folder / "images" / part)
    unread = {file for place in places for file in list_images(place, UNREAD_ENDINGS)}
    for file in sorted(unread):
        content.notes.add(UNREAD, str(file))
    texts = {
        file for folder in within for file in folder.glob(ending_in_any_case(".txt")) if file.name not in CLASS_FILES
    }
    if others := texts - seen:
        others -= {label_of(image) for place in places for image in list_images(place)}
        of_unread = {label_of(image) for image in unread}
        for file in sorted(others):
            content.notes.add(
                "label files without an image" + (file in of_unread) * " of a kind that is read", str(file)
            )


def description_in(folder: Path) -> Path | None:
    """The data.yaml of a folder, or its only YAML file with names of classes and splits; None where there is none."""
    usual = folder / "data.yaml"
    if usual.is_file():
        return usual
    found = []
    for file in sorted((*folder.glob("*.yaml"), *folder.glob("*.yml"))):
        with contextlib.suppress(ValueError):
            described = read_description(file)
            found += [file] if described.get("names") and splits_of(described) else []
    return found[0] if len(found) == 1 else None


def class_file(folder: Path) -> list[str]:
    """Names of classes from a file of one a line in a folder, its labels/ or the one above; none where there is no such file."""
    for directory in (folder, folder / "labels", folder.parent):
        for name in CLASS_FILES:
            if (directory / name).is_file():
                return [line.strip() for line in read_text(directory / name).splitlines() if line.strip()]
    return []


def keypoint_flips(described: dict, path: Path, count: int) -> list[int] | None:
    """Which of `count` keypoints each one turns into in a mirror; None where a data.yaml does not say so. Raises ValueError."""
    flips = described.get("flip_idx") or None  # an empty list says nothing
    if flips is not None and not is_mirror(flips, count):
        raise ValueError(
            f"{path}: flip_idx must list what each of {counted(count, 'keypoint')} turns into in a mirror, like [1, 0] for two "
            f"that change places; got {_shown(flips)}."
        )
    return flips


def keypoint_shape(described: dict, path: Path) -> tuple[int, int] | None:
    """Keypoints of an object, and numbers of each, 2 or 3; None for a set without. Raises ValueError."""
    shape = described.get("kpt_shape")
    if shape is None:
        return None
    is_shape = isinstance(shape, list) and len(shape) == 2 and shape[1] in (2, 3) and type(shape[0]) is int
    if not is_shape or not 1 <= shape[0] <= MOST_KEYPOINTS:
        raise ValueError(
            f"{path}: kpt_shape must be [number of keypoints (1 to {MOST_KEYPOINTS}), 2 or 3]; got {_shown(shape)}."
        )
    return shape[0], shape[1]
