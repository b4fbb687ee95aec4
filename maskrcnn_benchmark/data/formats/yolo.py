"""YOLO's labels: a text file beside each image, a line an object, everything as fractions of the image's size.

    class center_x center_y width height                     a box
    class x1 y1 x2 y2 x3 y3 ...                              an outline (the segment form)
    class center_x center_y width height x y [visible] ...   keypoints, where data.yaml has kpt_shape

What is named is data.yaml (path, train, val, test, names), a text file that lists images, or a folder. The labels of
.../images/name.jpg are .../labels/name.txt, or name.txt beside the image.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from maskrcnn_benchmark.data.formats.content import Content, box_of_polygons, clip_polygon, single
from maskrcnn_benchmark.data.formats.files import (
    as_polygons,
    join_polygons,
    list_images,
    unique_stems,
    write_lines,
)
from maskrcnn_benchmark.data.formats.yolo_sets import (
    CLASS_FILES,
    SPLITS,
    class_file,
    class_names,
    images_of_split,
    keypoint_shape,
    listed_images,
    read_description,
    splits_of,
)
from maskrcnn_benchmark.utils.files import read_text
from maskrcnn_benchmark.utils.wording import counted

SLACK = 1e-3  # fractions by which labels of rounded pixels leave the image


def recognises(path: Path) -> bool:
    """Whether this is data.yaml, a list of images, or a folder of labels."""
    if path.is_dir():
        return (path / "data.yaml").is_file() or any(_label_folders(path))
    return path.suffix.lower() in (".yaml", ".yml", ".txt")


def _label_folders(folder: Path) -> Iterator[Path]:
    if next(folder.glob("*.txt"), None) and list_images(folder):
        yield folder
    yield from (path for path in folder.glob("**/labels") if path.is_dir())


def splits(path: Path) -> list[str]:
    """What may be given as `split`: the keys of data.yaml, or folders with images of such names."""
    described_by = path / "data.yaml" if path.is_dir() else path
    if described_by.suffix.lower() in (".yaml", ".yml") and described_by.is_file():
        return splits_of(read_description(described_by))
    return [name for name in (*SPLITS, "valid") if any(f.is_dir() and list_images(f) for f in _folders(path, name))]


def read(path: str, images: str = "", split: str = "", classes: Sequence[str] = ()) -> Content:
    """A set from data.yaml, a list of images, or a folder.

    Args:
        path: data.yaml; a .txt file with an image a line, relative to itself; or a folder.
        images: folder of the images, for labels that lie by themselves.
        split: train, val or test of a data.yaml, or of a folder images/SPLIT.
        classes: names, where no file says them.

    Raises FileNotFoundError or ValueError with file and line.
    """
    place = Path(path)
    described: dict[str, Any] = {}
    if place.is_dir():
        described_by = place / "data.yaml"
        if described_by.is_file() and not images:
            place = described_by
    if place.suffix.lower() in (".yaml", ".yml"):
        described = read_description(place)
        files, folder = images_of_split(described, place, split)
        names = list(classes) or class_names(described.get("names"), place)
    elif place.is_dir():
        folder = Path(images) if images else place
        files = _of_split(folder, split)
        names = list(classes) or class_file(place) or class_file(folder)
    elif place.is_file():
        folder = place.parent
        files = listed_images(place)
        names = list(classes) or class_file(folder)
    else:
        raise FileNotFoundError(f"There is no {path}: a data.yaml, a list of images or a folder was expected.")
    if not files:
        raise ValueError(f"{path} names no image: looked below {folder}.")
    files = [Path(os.path.abspath(file)) for file in files]
    root = Path(os.path.abspath(images) if images else os.path.commonpath([str(f.parent) for f in files]))
    content = Content(str(root))
    content.name_classes(names)
    for name in sorted({name for name in names if names.count(name) > 1}):
        content.notes.add("classes of the same name, which stay two", f"{place}: {name}")
    points = keypoint_shape(described, place)
    labelled = None
    if place.is_dir() and images:
        labelled = place / "labels" if (place / "labels").is_dir() else place
    seen: set[Path] = set()
    for file in files:
        label = _label_path(file) if labelled is None else labelled / file.relative_to(root).with_suffix(".txt")
        seen.add(label)
        with single():
            entry = content.add_image(file.relative_to(root).as_posix())
            _read_labels(content, entry, label, bool(names), points)
    folders = {label.parent for label in seen}
    images_there = {file.stem for file in files} | {f.stem for d in {f.parent for f in files} for f in list_images(d)}
    for orphan in sorted(set().union(*(d.glob("*.txt") for d in folders if d.is_dir())) - seen):
        if orphan.name not in CLASS_FILES and orphan.stem not in images_there:
            content.notes.add("label files without an image", str(orphan))
    if not names:
        highest = max((a["category_id"] for a in content.annotations), default=0)
        content.name_classes([str(i) for i in range(highest)])
        content.notes.add("classes without names, called by their numbers (no classes.txt or data.yaml)", str(place))
    if points:
        for category in content.categories:
            category["keypoints"], category["skeleton"] = [str(i + 1) for i in range(points[0])], []
    return content


def _of_split(folder: Path, split: str) -> list[Path]:
    inner = _folders(folder, split) if split else [folder / "images", folder]
    chosen = next((f for f in inner if f.is_dir() and list_images(f)), None)
    if chosen is None:
        raise FileNotFoundError(f"{folder} has no images{f' of the split {split!r}' if split else ''}.")
    return list_images(chosen)


def _folders(folder: Path, split: str) -> list[Path]:
    return [folder / "images" / split, folder / split / "images", folder / split]


def _label_path(image: Path) -> Path:
    parts = list(image.parts)
    for i in range(len(parts) - 2, -1, -1):
        if parts[i] == "images":
            parts[i] = "labels"
            moved = Path(*parts).with_suffix(".txt")
            if moved.is_file() or moved.parent.is_dir():
                return moved
            break
    return image.with_suffix(".txt")


def _read_labels(content: Content, image: dict, path: Path, named: bool, points: tuple[int, int] | None) -> None:
    if not path.is_file():
        content.notes.add("images without a label file, taken as without objects", image["file_name"])
        return
    lines = [line.split() for line in read_text(path).splitlines()]
    if not any(lines):
        content.notes.add("empty label files: images without objects", str(path))
    seen: set[tuple[str, ...]] = set()
    for number, words in enumerate(lines, start=1):
        if not words:
            continue
        where = f"{path}, line {number}"
        if tuple(words) in seen:
            content.notes.add("lines that repeat another one, left out", where)
            continue
        seen.add(tuple(words))
        with single():
            _read_line(content, image, words, where, named, points)


def _read_line(
    content: Content, image: dict, words: list[str], where: str, named: bool, points: tuple[int, int] | None
) -> None:
    label, values = _numbers(words, where)
    if named and label >= len(content.categories):
        raise ValueError(f"{where}: class {label}, but there are names for 0 to {len(content.categories) - 1} alone.")
    if (values < -SLACK).any() or (values > 1 + SLACK).any():
        if points is None or (values[:4] < -SLACK).any() or (values[:4] > 1 + SLACK).any():
            content.notes.add("objects with numbers outside of 0 to 1, cut at the image's border", where)
    _add_object(content, image, label, values, points, where)


def _numbers(words: list[str], where: str) -> tuple[int, np.ndarray]:
    try:
        label, values = float(words[0]), np.array([float(w) for w in words[1:]])
    except ValueError:
        raise ValueError(f"{where} holds something else than numbers: {' '.join(words)[:60]!r}.") from None
    if not (math.isfinite(label) and np.isfinite(values).all()):
        raise ValueError(f"{where} holds a number that is not finite: {' '.join(words)[:60]!r}.")
    if label != int(label) or label < 0:
        raise ValueError(f"{where}: a class is a whole number from 0; got {words[0]}.")
    return int(label), values


def _add_object(
    content: Content, image: dict, label: int, values: np.ndarray, points: tuple[int, int] | None, where: str
) -> None:
    width, height = image["width"], image["height"]
    expected = 4 + (points[0] * points[1] if points else 0)
    if points is None and len(values) >= 6 and len(values) % 2 == 0:
        polygon = clip_polygon((values.reshape(-1, 2) * (width, height)).flatten().tolist(), width, height)
        box = box_of_polygons([polygon])
        fields: dict[str, Any] = {"segmentation": [polygon]}
    elif len(values) == expected:
        center, extent = values[:2] * (width, height), np.abs(values[2:4]) * (width, height)
        corners = np.stack((center - extent / 2, center + extent / 2))
        low, high = corners.clip(0, (width, height))
        beyond = (
            np.abs(corners - (low, high)).max() > 1 and (values[:4] >= -SLACK).all() and (values[:4] <= 1 + SLACK).all()
        )
        content.notes.add("boxes that leave the image, cut at its border", where, bool(beyond))
        box = (*low.tolist(), *(high - low).tolist())
        fields = {}
        if points:
            located = values[4:].reshape(points)
            seen = located[:, 2] if points[1] == 3 else 2.0 * (located != 0).any(axis=1)
            flat = np.stack((located[:, 0] * width, located[:, 1] * height, seen), axis=1)
            fields = {"keypoints": [round(float(v), 4) for v in flat.flatten()], "num_keypoints": int((seen > 0).sum())}
    else:
        forms = (
            f"{expected + 1} numbers" if points else "5 numbers (a box), or a class and at least 3 corners (an outline)"
        )
        raise ValueError(f"{where} has {counted(len(values) + 1, 'number')}; a line has {forms}.")
    if box[2] <= 0 or box[3] <= 0:
        content.notes.add("objects without width or height inside the image, left out", where)
        return
    content.add(image, label + 1, box, **fields)


def write(content: Content, out: str) -> None:
    """labels/, classes.txt and data.yaml in the folder `out`, and images/ with links to the images, which stay where they are."""
    folder = Path(out)
    numbers = {category["id"]: i for i, category in enumerate(content.categories)}
    by_image, stems = content.by_image(), unique_stems(content)
    for image in content.images:
        lines = []
        for annotation in by_image[image["id"]]:
            lines += _line(content, image, annotation, numbers[annotation["category_id"]])
        stem, source = stems[image["id"]], Path(content.root, image["file_name"]).resolve()
        write_lines(folder / "labels" / f"{stem}.txt", lines)
        link = folder / "images" / f"{stem}{source.suffix}"
        if not source.is_file():
            content.notes.add("images that are not there, to which there is no link", str(source))
        elif not link.exists():
            link.parent.mkdir(parents=True, exist_ok=True)
            link.unlink(missing_ok=True)  # one that leads nowhere
            link.symlink_to(source)
    names = [category["name"] for category in content.categories]
    write_lines(folder / "classes.txt", names)
    described: dict[str, Any] = {"path": ".", "train": "images", "val": "images", "names": dict(enumerate(names))}
    counts = {len(a["keypoints"]) // 3 for a in content.annotations if a.get("keypoints")}
    if len(counts) == 1:
        described["kpt_shape"] = [counts.pop(), 3]
    write_lines(folder / "data.yaml", yaml.safe_dump(described, allow_unicode=True, sort_keys=False).splitlines())


def _line(content: Content, image: dict, annotation: dict, number: int) -> list[str]:
    size = np.array([image["width"], image["height"]], dtype=np.float64)
    where = f"annotation {annotation['id']}"
    if annotation.get("iscrowd"):
        content.notes.add("crowds, which YOLO's labels cannot mark, left out", where)
        return []
    content.notes.add("scores, which YOLO's labels cannot hold, left out", where, "score" in annotation)
    x, y, w, h = annotation["bbox"]
    values = np.concatenate(((np.array([x, y]) + np.array([w, h]) / 2) / size, np.array([w, h]) / size))
    if annotation.get("keypoints"):
        points = np.array(annotation["keypoints"], dtype=np.float64).reshape(-1, 3)
        points[:, :2] /= size
        values = np.concatenate((values, points.flatten()))
        content.notes.add(
            "masks beside keypoints, which one line cannot hold, left out", where, bool(annotation.get("segmentation"))
        )
    elif annotation.get("segmentation"):
        polygons = as_polygons(annotation["segmentation"], image)
        content.notes.add("outlines of several parts, joined by lines of no width", where, len(polygons) > 1)
        if polygons:
            values = (np.array(join_polygons(polygons)).reshape(-1, 2) / size).flatten()
    return [" ".join([str(number), *(f"{v:.6f}".rstrip("0").rstrip(".") or "0" for v in values)])]
