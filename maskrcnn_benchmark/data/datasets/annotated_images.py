"""The images of a set whose annotations say how large they are."""

import logging
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

from maskrcnn_benchmark.data.datasets.image_names import ImageNames
from maskrcnn_benchmark.data.datasets.images import BrokenImageError, Header, read_header, read_rgb
from maskrcnn_benchmark.data.datasets.pixels import OnceForAll
from maskrcnn_benchmark.utils.wording import counted

# So many headers, evenly over the set, are read to learn whether its annotations were made on turned images.
LOOKED_AT = 2000

logger = logging.getLogger(__name__)

Size = tuple[int, int]  # width, height in pixels


class WrongSizeError(BrokenImageError):
    """An image file of another size than its annotations were made on."""


class AnnotatedImages:
    """Reads images as they were annotated: turned as EXIF says, or as stored where the annotated size is that of the stored one.

    Where both sizes are equal (square, or turned by 180 degrees) the other images of the set decide; without any, it is turned.

    Args:
        name: of the set, for messages.
        count: images in it.
        of: for the image at a position its path and annotated (width, height), None where that is not known. It may raise
            BrokenImageError.
    """

    def __init__(self, name: str, count: int, of: Callable[[int], tuple[str, Size | None]]):
        self.name, self.count, self.of = name, count, of
        self._counts: tuple[int, int] | None = None
        self._example = ""
        self.unturned: list[str] = []  # paths of images that EXIF would turn and that were read as they are stored
        self._said = OnceForAll()

    @classmethod
    def of_entries(cls, name: str, root: str, entries: Sequence[dict]) -> "AnnotatedImages":
        """Of sound entries of a COCO file's images, whose files lie in the folder `root`."""
        names = ImageNames(root, lambda: (entry["file_name"] for entry in entries))
        return cls(name, len(entries), lambda i: (names.path(entries[i]["file_name"]), size_of(entries[i])))

    def read_at(self, index: int) -> Image.Image:
        """The image at a position, see `read`."""
        return self.read(*self.of(index))

    def read(self, path: str, size: Size | None) -> Image.Image:
        """The image as RGB. Raises BrokenImageError, also (WrongSizeError) where `size` is not the image's."""

        def turn(header: Header) -> bool:
            is_turned = self._turn(header, path, size)
            if not is_turned:
                self.unturned.append(path)
            return is_turned

        return read_rgb(path, turn)

    def size(self, path: str) -> Size:
        """(width, height) of an image that was annotated without a size. Raises BrokenImageError."""
        header = read_header(path)
        return header.seen if self._turn(header, path, None) else header.stored

    def _turn(self, header: Header, path: str, size: Size | None) -> bool:
        if size is not None and size not in (header.seen, header.stored):
            raise WrongSizeError(
                f"The image {path} is {_shown(header.seen)} pixels (width x height), but the annotations ({self.name}) are of "
                f"{_shown(size)}: they are of another image, or of this one before it was scaled or turned. Correct the "
                "annotations or bring the image that they were made on"
            )
        if header.orientation == 1:
            return True
        if size is not None and header.seen != header.stored:
            if size == header.stored:
                self._say(path)
            return size == header.seen
        return not self.as_stored()

    def as_stored(self) -> bool:
        """Whether the set's annotations were made on images as they are stored, not as they are seen."""
        stored, seen = self._count()
        if stored > seen:
            self._say(self._example)
        return stored > seen

    def _count(self) -> tuple[int, int]:
        """Of the images that EXIF turns and whose annotated size tells: annotated as they are stored, and as they are seen."""
        if self._counts is None:
            votes: Counter[bool] = Counter()
            for index in np.unique(np.linspace(0, self.count - 1, min(self.count, LOOKED_AT)).astype(int)).tolist():
                try:
                    path, size = self.of(index)
                    header = read_header(path)
                except BrokenImageError:
                    continue  # it is reported when its own turn comes
                if header.seen != header.stored and size in (header.seen, header.stored):
                    votes[size == header.stored] += 1
                    self._example = path if size == header.stored else self._example
            self._counts = votes[True], votes[False]
        return self._counts

    def _say(self, example: str) -> None:
        if self._said():
            stored, seen = self._count()
            logger.warning(
                "%s: annotations were made on the pixels as stored, not on the image as its EXIF entry turns it: those of"
                " %d of %s "
                "that EXIF turns, for example %s. These are used as they are stored, in training and tests.",
                self.name,
                stored,
                counted(stored + seen, "image"),
                example,
            )


def size_of(entry: dict) -> Size | None:
    """(width, height) that an image's sound entry gives."""
    return (entry["width"], entry["height"]) if "width" in entry else None


def _shown(size: Size) -> str:
    return f"{size[0]} x {size[1]}"
