"""Pascal VOC's annotations: an XML file an image. Corners are pixels counted from 1, both of them inside the box."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from maskrcnn_benchmark.data.datasets.voc_files import (
    CLASSES_FILES,
    SIDES,
    ClassLabels,
    annotation_path,
    names_beside,
    names_of_objects,
    objects_of,
    read_annotation,
    read_image_set,
    text_of,
)
from maskrcnn_benchmark.data.formats.content import SWAPPED, Content, single
from maskrcnn_benchmark.data.formats.files import (
    ImagesByStem,
    ending_in_any_case,
    list_annotations,
    name_below,
    note_others,
    unique_stems,
    write_lines,
)
from maskrcnn_benchmark.utils.progress_bar import progress_bar


def recognises(path: Path) -> bool:
    """Whether this is a folder with XML files, or with Annotations in it."""
    files = ending_in_any_case(".xml")
    return path.is_dir() and any(next(path.glob(f"{inner}{files}"), None) for inner in ("", "[Aa]nnotations/"))


def splits(path: Path) -> list[str]:
    """The image sets that a data set is commonly split into, of those that are there."""
    return [name for name in ("train", "val", "test") if (path / "ImageSets" / "Main" / f"{name}.txt").is_file()]


def read(path: str, images: str = "", split: str = "", classes: Sequence[str] = (), first_pixel: int = 1) -> Content:
    """A set from a folder of XML files, or from the folder that holds Annotations, JPEGImages and ImageSets.

    Args:
        split: a file in ImageSets/Main without its ".txt"; without one all XML files are read.
        classes: names in the order of the labels; by default those of a classes.txt in the folder that has all of the files',
            else those, sorted.
        first_pixel: the number of the first pixel: 1 as in VOC, 0 for tools that count from 0.

    Raises FileNotFoundError or ValueError that names the file.
    """
    folder = Path(path)
    inner = next((folder / name for name in ("Annotations", "annotations") if (folder / name).is_dir()), folder)
    if not inner.is_dir():
        raise FileNotFoundError(f"There is no folder {path}.")
    if split:
        files = [Path(annotation_path(str(inner), name)) for name in read_image_set(str(folder), split)]
    else:
        files = list_annotations(inner, ".xml")
    if not files:
        raise ValueError(f"{inner} holds no XML file.")
    usual = ("JPEGImages", "images") if inner != folder else ("JPEGImages",)
    root = Path(images or next((folder / name for name in usual if (folder / name).is_dir()), inner))
    parsed = []
    for file in progress_bar(files, desc="reading annotations", unit="file", leave=False):
        with single():
            element = read_annotation(str(file))
            if element.tag.lower() != "annotation" and element.find("object") is None:
                raise ValueError(
                    f"{file} is no file of Pascal VOC: it has <{element.tag}> where those have <annotation>. Export the labels "
                    "as VOC, COCO or YOLO."
                )
            parsed.append((file, element))
    content = Content(str(root))
    names = list(classes) or _names(content, folder, [element for _, element in parsed])
    content.name_classes(names)
    stems = ImagesByStem(root, content.notes)
    claims = Counter((file.parent, _named_by(element)) for file, element in parsed)
    numbers = ClassLabels({name: i for i, name in enumerate(names, start=1)})
    annotated: set[str] = set()
    for file, element in parsed:
        named = _named_by(element)
        written = Path((element.findtext("path") or "").strip())  # of the image on the machine where it was annotated
        beside = [root / file.relative_to(inner).parent / named, root / named] if file.is_relative_to(inner) else []
        image = next((b for b in beside if named and b.is_file()), None)
        with single(content.notes):
            if image and claims[file.parent, named] > 1:
                image = stems.own(file, image, content.notes)
            image = image or stems.find(file, named)
            image = image or (written if written.is_absolute() and written.is_file() else None)
            if image is None:
                content.add_missing(named or file.stem, "annotation files without an image, left out", str(file))
                continue
            annotated.add(name_below(root, image))
            sides = [element.findtext(f"size/{side}") for side in ("width", "height")]
            entry = content.add_annotated(name_below(root, image), sides, str(file))
            _add_objects(content, entry, element, file, first_pixel, numbers)
    if not split:
        stems.note_others(annotated, content.notes)
    return content


def _names(content: Content, folder: Path, annotations: Sequence[ET.Element]) -> list[str]:
    """Those in the folder's file of them, if it has all that the objects have."""
    found = names_of_objects(annotations)
    try:
        beside = names_beside(str(folder))
    except ValueError as error:
        content.notes.add("files of class names that are none, left aside", str(error))
        return found
    labels = ClassLabels({name: i for i, name in enumerate(beside, start=1)})
    unknown = [name for name in found if labels.get(name) is None]
    content.notes.add(
        "names of classes that the file of them lacks; it is left aside", str(folder), len(unknown) * bool(beside)
    )
    return found if unknown else beside


def _named_by(element: ET.Element) -> str:
    """What a file calls its image, "" for nothing."""
    return (element.findtext("filename") or "").strip()


def _add_objects(
    content: Content, image: dict, root: ET.Element, file: Path, first_pixel: int, numbers: ClassLabels
) -> None:
    for found, box, is_difficult in objects_of(root, str(file), first_pixel):
        name = text_of(found, "name", str(file))
        number = numbers.get(name)
        if number is None:
            known = ", ".join(content.names().values()) or "any"
            raise ValueError(f"{file}: the class {name!r} is not one of {known}.")
        as_written = f"{file}: {name} {', '.join(f'{side + first_pixel:g}' for side in box)}"
        _add_object(content, image, number, box, is_difficult, as_written)


def _add_object(
    content: Content, image: dict, number: int, box: Sequence[float], is_difficult: bool, as_written: str
) -> None:
    content.notes.add(SWAPPED, as_written, box[2] < box[0] or box[3] < box[1])
    box = [*map(min, box[:2], box[2:]), *map(max, box[:2], box[2:])]
    content.notes.add(
        "corners before the first pixel; if these files count from 0, say FIRST_PIXEL 0 (--first-pixel 0)",
        as_written,
        min(box[:2]) < 0,
    )
    left, top = max(box[0], 0.0), max(box[1], 0.0)
    right, bottom = min(box[2] + 1, image["width"]), min(box[3] + 1, image["height"])
    is_cut = (right, bottom) != (box[2] + 1, box[3] + 1)
    content.notes.add("boxes that leave the image, cut at its border", as_written, is_cut)
    if right - left <= 1 or bottom - top <= 1:
        content.notes.add("boxes of no size, left out", as_written)
        return
    content.notes.add("objects marked as difficult, kept as crowds", as_written, is_difficult)
    content.add(image, number, (left, top, right - left, bottom - top), iscrowd=is_difficult)


IMAGE_SET = Path("ImageSets", "Main", "all.txt")


def replaced(content: Content, out: str) -> list[Path]:
    """The files at a place that `write` writes."""
    stems = unique_stems(content, flat=True).values()
    return [
        Path(out) / CLASSES_FILES[0],
        Path(out) / IMAGE_SET,
        *(Path(out, "Annotations", f"{stem}.xml") for stem in stems),
    ]


def write(content: Content, out: str) -> None:
    """Annotations/NAME.xml, ImageSets/Main/all.txt and classes.txt in the folder `out`; images stay where they are."""
    folder, names, by_image = Path(out), content.names(), content.by_image()
    images = Path(content.root).resolve()
    stems = unique_stems(content, flat=True)
    for image in progress_bar(content.images, desc="writing annotations", unit="image", leave=False):
        stem = stems[image["id"]]
        root = ET.Element("annotation")
        ET.SubElement(root, "filename").text = image["file_name"]
        ET.SubElement(root, "path").text = str(images / image["file_name"])
        size = ET.SubElement(root, "size")
        for tag, value in (("width", image["width"]), ("height", image["height"]), ("depth", 3)):
            ET.SubElement(size, tag).text = str(value)
        for annotation in by_image[image["id"]]:
            _write_object(content, image, root, annotation, names[annotation["category_id"]])
        ET.indent(root)
        write_lines(folder / "Annotations" / f"{stem}.xml", ET.tostring(root, encoding="unicode").splitlines())
    write_lines(folder / IMAGE_SET, list(stems.values()))
    write_lines(folder / CLASSES_FILES[0], list(names.values()))
    inner = folder / "Annotations"
    note_others(content, inner, "**/*.xml", (inner / f"{stem}.xml" for stem in stems.values()))


def _write_object(content: Content, image: dict, root: ET.Element, annotation: dict, name: str) -> None:
    where = f"annotation {annotation['id']}"
    cut = content.cut_box(image, annotation)
    if cut is None:
        return
    content.notes.add("masks, which VOC's boxes cannot hold, left out", where, bool(annotation.get("segmentation")))
    content.notes.add("keypoints, which VOC's boxes cannot hold, left out", where, bool(annotation.get("keypoints")))
    content.notes.add("scores, which VOC's boxes cannot hold, left out", where, "score" in annotation)
    content.notes.add("crowds, written as difficult", where, annotation.get("iscrowd", 0))
    element = ET.SubElement(root, "object")
    ET.SubElement(element, "name").text = name
    ET.SubElement(element, "difficult").text = str(annotation.get("iscrowd", 0))
    x, y, width, height = cut
    box = ET.SubElement(element, "bndbox")
    for side, value in zip(SIDES, (x + 1, y + 1, x + width, y + height), strict=True):
        ET.SubElement(box, side).text = f"{value:.4f}".rstrip("0").rstrip(".")
