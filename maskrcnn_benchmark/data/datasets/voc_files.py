"""The files of a data set in Pascal VOC's layout: image sets, annotations, names of classes, images."""

import os
import re
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence

from maskrcnn_benchmark.data.datasets.coco_entries import number
from maskrcnn_benchmark.data.datasets.facts import BACKGROUND
from maskrcnn_benchmark.utils.files import read_text

SIDES = ("xmin", "ymin", "xmax", "ymax")
CLASSES_FILES = ("classes.txt", "labels.txt", "predefined_classes.txt")  # looked for in the folder of the data set
# What stands behind a name in the image set of a class: whether its objects are in the image.
_FLAG = re.compile(r"\s+-?[01]$")


def spaced(name: str) -> str:
    """The name of a class as it is compared: lines and indents of XML are spaces."""
    return " ".join(name.split())


def class_key(name: str) -> str:
    """What is compared of a name where one class alone can be meant: not its capitals, as in maskrcnn-benchmark."""
    return spaced(name).casefold()


class ClassLabels:
    """The labels of classes by their names as they are written, or, where only one class can be meant, in other capitals."""

    def __init__(self, labels: Mapping[str, int]):
        self._exact = {spaced(name): label for name, label in labels.items()}
        alike = Counter(map(class_key, self._exact))
        self._loose = {class_key(name): label for name, label in self._exact.items() if alike[class_key(name)] == 1}

    def get(self, name: str) -> int | None:
        """None for the name of no class."""
        return self._exact.get(spaced(name), self._loose.get(class_key(name)))


def names_alike(names: Iterable[str]) -> list[str]:
    """Those that differ from another in capitals or spaces alone."""
    names = list(dict.fromkeys(names))
    alike = Counter(map(class_key, names))
    return [name for name in names if alike[class_key(name)] > 1]


def read_annotation(path: str) -> ET.Element:
    """The root of an annotation file. Raises FileNotFoundError or ValueError with a sentence."""
    try:
        with open(path, "rb") as f:
            return ET.fromstring(f.read().lstrip())  # some editors begin with an empty line
    except FileNotFoundError:
        raise FileNotFoundError(f"There is no annotation file {path}, which its image set names.") from None
    except (ET.ParseError, ValueError, LookupError) as error:
        if isinstance(error, ET.ParseError):
            read_text(path)  # raises where the text is in another encoding, which a file of XML has to declare
        raise ValueError(f"{path} is not an XML file: {error}") from None


def text_of(parent: ET.Element, tag: str, path: str) -> str:
    text = parent.findtext(tag)
    if text is None:
        raise ValueError(f"{path} is not a Pascal VOC annotation: <{parent.tag}> has no <{tag}>.")
    return text.strip()


def number_of(parent: ET.Element, tag: str, path: str) -> float:
    text = text_of(parent, tag, path)
    value = number(text)
    if value is None:
        raise ValueError(f"{path} is not a Pascal VOC annotation: <{tag}> should be a number; got {text!r}.")
    return value


def annotation_path(folder: str, name: str) -> str:
    """The annotation file of what an image set calls `name`, which may be the name of the image's file."""
    tries = [
        os.path.join(folder, f"{stem}{ending}")
        for stem in (name, os.path.splitext(name)[0])
        for ending in (".xml", ".XML", ".Xml")
    ]
    return next(filter(os.path.isfile, tries), tries[0])


def objects_of(
    root: ET.Element, path: str, first_pixel: int, difficult_too: bool = True
) -> Iterator[tuple[ET.Element, list[float], bool]]:
    """Entry, box (x1, y1, x2, y2 counted from pixel 0, both corners inside) and "difficult" of each object.

    Args:
        path: of the annotation file, for messages.
        first_pixel: the number that the file gives to the first pixel.
    """
    for entry in root.iter("object"):
        difficult = (entry.findtext("difficult") or "0").strip() == "1"
        if difficult and not difficult_too:
            continue
        box = entry.find("bndbox")
        if box is None:
            raise ValueError(f"{path} is not a Pascal VOC annotation: an <object> has no <bndbox>.")
        yield entry, [number_of(box, side, path) - first_pixel for side in SIDES], difficult


def size_of(root: ET.Element) -> tuple[int, int] | None:
    """(width, height) as an annotation gives them, None where it does not."""
    width, height = (number(root.findtext(f"size/{side}")) for side in ("width", "height"))
    if width is None or height is None or width < 1 or height < 1:
        return None
    return int(width), int(height)


def read_image_set(data_dir: str, split: str) -> list[str]:
    """The names in ImageSets/Main/SPLIT.txt. Raises FileNotFoundError with a sentence."""
    listing = os.path.join(data_dir, "ImageSets", "Main", f"{split}.txt")
    if not os.path.isfile(listing):
        raise FileNotFoundError(
            f"There is no image set {listing!r}. Check the folder ({data_dir}; for the built-in names it lies in that of "
            f"the environment variable MRB_DATASETS) and the split ({split})."
        )
    try:
        with open(listing, encoding="utf-8-sig") as f:
            lines = [line.strip() for line in f]
    except UnicodeDecodeError as error:
        raise ValueError(f"{listing} is not a text file of image names in UTF-8: {error}") from None
    names = []
    for line in filter(None, lines):
        # A flag is none where it belongs to the name of a file.
        is_name = not _FLAG.search(line) or os.path.isfile(os.path.join(data_dir, "Annotations", f"{line}.xml"))
        names.append(line if is_name else _FLAG.sub("", line))
    return names


def find_classes(data_dir: str, classes: str | Sequence[str] | None, default: Sequence[str]) -> tuple[str, ...]:
    """The names of the classes, the background first.

    The first of these counts: `classes`, a list of names or a text file of one a line; such a file in the folder of the data
    set (CLASSES_FILES); `default`, if all objects in the folder's annotations are of those; the names that the annotations
    have, in the order of the alphabet.
    """
    if isinstance(classes, str):
        return (BACKGROUND, *_names_in(classes))
    if classes is not None:
        names = [str(name).strip() for name in classes]
        return tuple(names) if names[:1] == [BACKGROUND] else (BACKGROUND, *names)
    if names := names_beside(data_dir):
        return (BACKGROUND, *names)
    known = {class_key(name) for name in default}
    found = names_of_objects(_sound_annotations(os.path.join(data_dir, "Annotations")))
    if {class_key(name) for name in found} <= known:
        return tuple(default)
    return (BACKGROUND, *found)


def names_beside(folder: str) -> list[str]:
    """The names in a folder's file of them (CLASSES_FILES); none where there is no such file."""
    files = (os.path.join(folder, name) for name in CLASSES_FILES)
    return next((_names_in(file) for file in files if os.path.isfile(file)), [])


def given_names(classes: str | Sequence[str]) -> tuple[str, ...]:
    """Names of classes, of which one alone may be a text file of them: one that is there, or ends as such files do."""
    names = (classes,) if isinstance(classes, str) else tuple(map(str, classes))
    is_file = len(names) == 1 and (os.path.isfile(names[0]) or names[0].lower().endswith((".txt", ".names")))
    return tuple(_names_in(names[0])) if is_file else names


def _names_in(path: str) -> list[str]:
    try:
        with open(path, encoding="utf-8-sig") as f:
            names = [line.strip() for line in f]
    except FileNotFoundError:
        raise FileNotFoundError(f"There is no file of class names {path!r}.") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a text file of class names in UTF-8: {error}") from None
    names = [name for name in names if name and name != BACKGROUND]
    if len(set(map(spaced, names))) < len(names) or not names:
        raise ValueError(f"{path} must name at least one class, and each once, on a line of its own.")
    return names


def names_of_objects(roots: Iterable[ET.Element]) -> list[str]:
    """The names that objects have in annotations, in the order of the alphabet; those that differ in capitals are several."""
    found = {spaced(entry.findtext("name") or "") for root in roots for entry in root.iter("object")}
    return sorted(found - {""}, key=lambda name: (class_key(name), name))


def _sound_annotations(folder: str) -> Iterator[ET.Element]:
    for name in sorted(os.listdir(folder)) if os.path.isdir(folder) else ():
        if not name.lower().endswith(".xml"):
            continue
        try:
            yield read_annotation(os.path.join(folder, name))
        except (OSError, ValueError):
            continue  # it is named when its image is asked for


class ImageFiles:
    """The files in a folder of images, whatever their endings."""

    def __init__(self, folder: str):
        self.folder = folder
        self._names: dict[str, str] | None = None

    def path(self, name: str) -> str:
        """Of the image called `name`; NAME.jpg where there is none."""
        usual = os.path.join(self.folder, f"{name}.jpg")
        if os.path.isfile(usual):
            return usual
        if self._names is None:
            files = sorted(os.listdir(self.folder)) if os.path.isdir(self.folder) else []
            self._names = {os.path.splitext(file)[0]: file for file in files} | {file: file for file in files}
        return os.path.join(self.folder, self._names.get(name, f"{name}.jpg"))
