"""YOLO's labels: a text file beside each image, a line an object, everything as fractions of the image's size.

    class center_x center_y width height                     a box
    class x1 y1 x2 y2 x3 y3 ...                              an outline (the segment form)
    class center_x center_y width height x y [visible] ...   keypoints, where data.yaml has kpt_shape (and flip_idx)

What is named is data.yaml (path, train, val, test, names), a text file that lists images, or a folder. The labels of
.../images/name.jpg are .../labels/name.txt, or name.txt beside the image.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from maskrcnn_benchmark.data.datasets.coco_entries import keypoints_of
from maskrcnn_benchmark.data.datasets.coco_keypoints import expected_keypoints, told_flips
from maskrcnn_benchmark.data.datasets.images import UNREAD_ENDINGS, unread_images
from maskrcnn_benchmark.data.formats.content import SPLITS, Content, chosen_split, single
from maskrcnn_benchmark.data.formats.files import (
    ending_in_any_case,
    join_polygons,
    list_images,
    note_others,
    outlines_of,
    unique_stems,
    write_lines,
)
from maskrcnn_benchmark.data.formats.text_labels import has_labels
from maskrcnn_benchmark.data.formats.turned import SeenImages
from maskrcnn_benchmark.data.formats.yolo_labels import LabelReader, is_line
from maskrcnn_benchmark.data.formats.yolo_sets import (
    class_file,
    class_names,
    description_in,
    given_names,
    images_of_split,
    keypoint_flips,
    keypoint_shape,
    listed_images,
    note_orphans,
    read_description,
    splits_of,
)
from maskrcnn_benchmark.utils.progress_bar import progress_bar

WRITTEN = {"path": ".", "train": "images", "val": "images"}  # in the data.yaml of `write`, beside the names


def recognises(path: Path) -> bool:
    """Whether this is data.yaml, a list of images, or a folder of labels."""
    if path.is_dir():
        return description_in(path) is not None or any(_label_folders(path))
    return path.is_file() and path.suffix.lower() in (".yaml", ".yml", ".txt")


def _label_folders(folder: Path) -> Iterator[Path]:
    if next(folder.glob(ending_in_any_case(".txt")), None) and (list_images(folder) or has_labels(folder, is_line)):
        yield folder
    yield from (path for path in folder.glob("**/labels") if path.is_dir())


def splits(path: Path) -> list[str]:
    """What may be given as `split`: the keys of data.yaml, or folders with images of such names."""
    described_by = description_in(path) if path.is_dir() else path
    if described_by and described_by.suffix.lower() in (".yaml", ".yml") and described_by.is_file():
        return splits_of(read_description(described_by))
    return _splits_of_folder(path)


def _splits_of_folder(folder: Path) -> list[str]:
    """Those with a folder of images, or a list of them."""
    return [name for name in SPLITS if _folder_of(folder, name) or (folder / f"{name}.txt").is_file()]


def read(path: str, images: str = "", split: str = "", classes: Sequence[str] = ()) -> Content:
    """A set from data.yaml, a list of images, or a folder.

    Args:
        path: data.yaml; a .txt file with an image a line, relative to itself; or a folder.
        images: folder of the images, for labels that lie by themselves.
        split: train, val, valid or test: of a data.yaml, or of a folder with images/SPLIT, SPLIT/images or SPLIT.txt.
        classes: names, where no file says them.

    Raises FileNotFoundError or ValueError with file and line.
    """
    place = Path(path)
    described: dict[str, Any] = {}
    if place.is_dir():
        place = (not images and description_in(place)) or place
    if place.suffix.lower() in (".yaml", ".yml"):
        described = read_description(place)
        files, folder = images_of_split(described, place, split, images)
        names = given_names(classes, described) or class_names(described, place)
    elif place.is_dir():
        folder = Path(images) if images else place
        files = _of_split(folder, place, split)
        names = dict(enumerate(classes or class_file(place) or class_file(folder)))
    elif place.is_file():
        folder = place.parent
        if place.suffix.lower() != ".txt":
            raise ValueError(f"{path} is neither a data.yaml nor a list of images (.txt), as YOLO has them.")
        files = listed_images(place, images)
        names = dict(enumerate(classes or class_file(folder)))
    else:
        raise FileNotFoundError(f"There is no {path}: a data.yaml, a list of images or a folder was expected.")
    if not files:
        where = "it is an empty list" if place.is_file() and not described else f"looked below {folder}"
        raise ValueError(" ".join(filter(None, (f"{path} names no image: {where}.", _unread(folder)))))
    files = [Path(os.path.abspath(file)) for file in files]
    twice = [str(file) for file, count in Counter(files).items() if count > 1]
    root = Path(os.path.commonpath([str(f.parent) for f in files]))
    if images and root.is_relative_to(os.path.abspath(images)):
        root = Path(os.path.abspath(images))
    content = Content(str(root))
    content.notes.add("images that are listed several times, and count as often", twice[0] if twice else "", len(twice))
    content.name_classes(list(names.values()))
    for name, count in Counter(names.values()).items():
        content.notes.add("classes of the same name, which stay two", f"{place}: {name}", count > 1)
    if gaps := max(names, default=-1) + 1 - len(names):
        content.notes.add(
            "class numbers without a name, which no object has; labels are without gaps", str(place), gaps
        )
    points = keypoint_shape(described, place)
    flips = keypoint_flips(described, place, points[0]) if points else None
    is_told = "kpt_shape" in described and points is None
    labels = LabelReader(content, {number: i for i, number in enumerate(names, start=1)}, points, is_told)
    labelled = None
    if place.is_dir() and images:
        labelled = place / "labels" if (place / "labels").is_dir() else place
    elif described and images and not any(_label_path(file).is_file() for file in files):
        tries = (Path(place.parent, *parts) for parts in (("labels", split), (split, "labels"), ("labels",)))
        labelled = next((folder for folder in tries if folder.is_dir()), None)

    def label_of(image: Path) -> Path:
        if labelled is None or not image.is_relative_to(root):
            return _label_path(image)
        return _text_beside(labelled / image.relative_to(root))

    seen: set[Path] = set()
    for file in progress_bar(files, desc="reading annotations", unit="file", leave=False):
        label = label_of(file)
        seen.add(label)
        with single(content.notes):
            entry = content.add_image(file.relative_to(root).as_posix())
            labels.read(entry, label)
    with single():
        labels.check_outlines(str(place))
    note_orphans(content, files, label_of, seen, bool(split))
    if not names:
        highest = max((a["category_id"] for a in content.annotations), default=0)
        content.name_classes([str(i) for i in range(highest)])
        content.notes.add("classes without names, called by their numbers (no classes.txt or data.yaml)", str(place))
    if points:
        for category in content.categories:
            category["keypoints"], category["skeleton"] = [str(i + 1) for i in range(points[0])], []
            if flips is not None:
                category["flip_idx"] = flips
    return content


def _of_split(folder: Path, labelled: Path, split: str) -> list[Path]:
    """The images of a split of a folder, or of one that has none; `labelled` has the lists."""
    description = description_in(labelled)
    if description and not split and _is_ours(read_description(description)):
        # `write` leaves labels of each of its images; others in the folder, and lists of splits there, are of another set.
        labels = labelled / "labels"
        return [f for f in list_images(folder) if (labels / f.relative_to(folder).with_suffix(".txt")).is_file()]
    listed = [name for name in SPLITS if (labelled / f"{name}.txt").is_file()]
    there = list(dict.fromkeys(_splits_of_folder(folder) + listed))
    if split or len(there) > 1:
        chosen = chosen_split(labelled, there, split)
        if inner := _folder_of(folder, chosen):
            return list_images(inner)
        return listed_images(labelled / f"{chosen}.txt", str(folder))
    inner = next((f for f in (folder / "images", folder) if f.is_dir() and list_images(f)), None)
    if inner is None:
        todo = _unread(folder) or "Name their folder: --img-dir, or IMG_DIR in DATASETS.DEFINITIONS."
        raise FileNotFoundError(f"{folder} has no images. {todo}")
    return list_images(inner)


def _unread(folder: Path) -> str:
    return unread_images(list_images(folder, UNREAD_ENDINGS))


def _folder_of(folder: Path, split: str) -> Path | None:
    """The folder with the images of a split."""
    tries = (folder / "images" / split, folder / split / "images", folder / split)
    return next((f for f in tries if f.is_dir() and list_images(f)), None)


def _label_path(image: Path) -> Path:
    parts = image.parts
    for i in range(len(parts) - 2, -1, -1):
        if parts[i] == "images":
            moved = _text_beside(Path(*parts[:i], "labels", *parts[i + 1 :]))
            if moved.is_file() or moved.parent.is_dir():
                return moved
    beside = _text_beside(image)
    other = _text_beside(image.parent.parent / "labels" / image.name)  # of img/name.jpg
    return other if other.is_file() and not beside.is_file() else beside


def _text_beside(path: Path) -> Path:
    """The text file of a path's name, its ending in small letters or capitals."""
    tries = [path.with_suffix(ending) for ending in (".txt", ".TXT", ".Txt")]
    return next((file for file in tries if file.is_file()), tries[0])


def replaced(content: Content, out: str) -> list[Path]:
    """The files at a place that `write` writes; links to images are none."""
    labels = (Path(out, "labels", f"{stem}.txt") for stem in unique_stems(content).values())
    return [Path(out) / "data.yaml", Path(out) / "classes.txt", *labels]


def write(content: Content, out: str) -> None:
    """labels/, classes.txt and data.yaml in the folder `out`, and images/ with links to the images, which stay where they are.

    Raises FileExistsError where `out` is a set with images of its own.
    """
    folder = Path(out)
    names = [category["name"] for category in content.categories]
    described: dict[str, Any] = {**WRITTEN, "names": dict(enumerate(names))}
    _check_ours(folder / "data.yaml")
    if Path(content.root).resolve().is_relative_to((folder / "images").resolve()):
        raise FileExistsError(
            f"The images lie in {folder / 'images'}, where links to them would be. Name another folder."
        )
    stems = unique_stems(content)
    links = {image["id"]: _link(content, image, folder / "images", stems[image["id"]]) for image in content.images}

    numbers = {category["id"]: i for i, category in enumerate(content.categories)}
    with_points = [a for a in content.annotations if a.get("keypoints") and not a.get("iscrowd")]
    keypoints = expected_keypoints(content.categories, (len(a["keypoints"]) for a in with_points))
    if keypoints:
        described["kpt_shape"] = [keypoints, 3]
        if (flips := told_flips(content.categories, keypoints)) is not None:
            described["flip_idx"] = flips
    elif with_points:
        content.notes.add("numbers of keypoints that differ from object to object; keypoints are left out", out)
    by_image, as_seen = content.by_image(), SeenImages(content)
    for image in progress_bar(content.images, desc="writing annotations", unit="image", leave=False):
        seen, annotations = as_seen(image, by_image[image["id"]])
        lines = []
        for annotation in annotations:
            number = numbers[annotation["category_id"]]
            lines += _line(content, seen, annotation, number, keypoints)
        write_lines(folder / "labels" / f"{stems[image['id']]}.txt", lines)
    note_others(content, folder / "labels", "**/*.txt", (folder / "labels" / f"{stem}.txt" for stem in stems.values()))
    note_others(content, folder / "images", "**/*.*", links.values())
    write_lines(folder / "classes.txt", names)
    write_lines(folder / "data.yaml", yaml.safe_dump(described, allow_unicode=True, sort_keys=False).splitlines())


def _is_ours(described: dict) -> bool:
    return all(described.get(key) == value for key, value in WRITTEN.items())


def _check_ours(file: Path) -> None:
    """A data.yaml that is not one of `write` describes other images, or tells splits apart."""
    if not file.exists():
        return
    described = read_description(file)
    if not _is_ours(described):
        raise FileExistsError(f"{file} describes another set, and would be replaced. Name another folder.")


def _link(content: Content, image: dict, folder: Path, stem: str) -> Path:
    """The link to an image, which is made where there is none or one that leads elsewhere."""
    source = Path(content.root, image["file_name"]).resolve()
    link = folder / f"{stem}{source.suffix}"
    if link.exists() and not link.is_symlink():
        raise FileExistsError(f"{link} is an image itself, and not a link as it would be here. Name another folder.")
    if source.is_file() and (not link.is_symlink() or link.resolve() != source):
        link.parent.mkdir(parents=True, exist_ok=True)
        link.unlink(missing_ok=True)
        link.symlink_to(source)
    return link


def _line(content: Content, image: dict, annotation: dict, number: int, keypoints: int) -> list[str]:
    """The line of an object, with so many keypoints; none for what has no place in YOLO's labels."""
    size = np.array([image["width"], image["height"]], dtype=np.float64)
    where = f"annotation {annotation['id']}"
    if annotation.get("iscrowd"):
        content.leave_out("crowds, which YOLO's labels cannot mark, left out", where)
        return []
    content.notes.add("scores, which YOLO's labels cannot hold, left out", where, "score" in annotation)
    x, y, w, h = annotation["bbox"]
    low = np.array([x, y], dtype=np.float64).clip(0, size)
    high = np.array([x + w, y + h], dtype=np.float64).clip(0, size)
    if (high <= low).any():
        content.leave_out("objects without width or height inside the image, left out", where)
        return []
    is_cut = max(-x, -y, x + w - size[0], y + h - size[1]) > 1
    content.notes.add("boxes that leave the image, cut at its border", where, bool(is_cut))
    values = np.concatenate(((low + high) / 2 / size, (high - low) / size))
    if keypoints:
        given = annotation.get("keypoints") or []
        is_odd = len(given) not in (0, 3 * keypoints)
        content.notes.add("other numbers of keypoints than the others', written as not labelled", where, is_odd)
        points = np.array(keypoints_of(given, keypoints), dtype=np.float64).reshape(-1, 3)
        points[:, :2] /= size
        values = np.concatenate((values, points.flatten()))
        content.notes.add(
            "masks beside keypoints, which one line cannot hold, left out", where, bool(annotation.get("segmentation"))
        )
    elif annotation.get("segmentation"):
        polygons = outlines_of(content, annotation, image)
        content.notes.add("outlines of several parts, joined by lines of no width", where, len(polygons) > 1)
        if polygons:
            values = (np.array(join_polygons(polygons)).reshape(-1, 2) / size).flatten().clip(0, 1)
    return [" ".join([str(number), *(f"{v:.6f}".rstrip("0").rstrip(".") or "0" for v in values)])]
