"""Which images of an annotation file those of a prediction are: the same files, whatever numbers the prediction gave them."""

import filecmp
import logging
import os
from collections.abc import Sequence
from typing import Any

from pycocotools.coco import COCO

from maskrcnn_benchmark.data.datasets.coco_entries import matching_id, number
from maskrcnn_benchmark.data.datasets.image_names import ImageNames
from maskrcnn_benchmark.utils.wording import counted

logger = logging.getLogger(__name__)


class PredictedImages:
    """The images that a prediction lists in its images.json, matched with those of the annotations.

    An image belongs to the annotations where it is one of their files, or, where it was moved or copied, a file of the same name
    and content. Of images that are not there (the prediction is from another machine) the name, the number and the size have to
    agree.

    Args:
        path: of the predictions, for messages.
        entries: the images of images.json.
        img_dir: the folder of the annotated images; "" where nobody knows.

    Raises ValueError where none is an image of the annotations, and where a number or size belongs to another one.
    """

    def __init__(self, path: str, entries: Sequence[Any], coco: COCO, img_dir: str = ""):
        self.path = path
        self.id_of: dict[Any, Any] = {}  # of an image of the prediction, the annotations' id
        self.others: dict[Any, str] = {}  # images of the prediction that the annotations do not have, and their names
        self._images = {matching_id(id): image for id, image in coco.imgs.items()}
        named = {id: image["file_name"] for id, image in self._images.items() if image.get("file_name")}
        names = ImageNames(img_dir, named.values)
        self._files = {id: names.path(name) for id, name in named.items()} if img_dir else {}
        self._by_name: dict[str, list] = {}
        for id, name in named.items():
            self._by_name.setdefault(os.path.basename(name), []).append(id)
        self._taken: set = set()  # of the annotations, by `matching_id`
        self._match([entry for entry in entries if isinstance(entry, dict) and "id" in entry])

    def _match(self, entries: list[dict]) -> None:
        contradiction = ""
        for entry in self._match_files(entries):
            id, theirs = matching_id(entry["id"]), str(entry.get("file_name"))
            image, is_there = self._same_name(id, theirs), os.path.isfile(theirs)
            if image is None:
                self.others[id] = theirs
                continue
            ours = self._files.get(matching_id(image["id"]), image["file_name"])
            is_alike = os.path.basename(theirs) == os.path.basename(ours)
            if is_there and os.path.isfile(ours):
                if is_alike and filecmp.cmp(theirs, ours, shallow=False):
                    self._take(entry, image)
                    continue
                self.others[id] = theirs
                contradiction = contradiction or self._contradiction(entry, ours)
            elif is_alike:
                self._take(entry, image)
            else:
                raise ValueError(self._contradiction(entry, ours))
        if self.others and not self.id_of:
            raise ValueError(
                contradiction
                or f"{self.path}: none of its images is one of the annotations, for example {next(iter(self.others.values()))}. "
                "Predict on the images that the annotations belong to."
            )
        if self.others:
            logger.warning(
                "%s: %s, for example %s.",
                self.path,
                counted(
                    len(self.others),
                    "image is none of the annotations' and is left out",
                    "images are none of the annotations' and are left out",
                ),
                next(iter(self.others.values())),
            )
        missing = [image for id, image in self._images.items() if id not in self._taken]
        if missing and self.id_of:
            logger.warning(
                "%s: of the annotations, %s not among its images, for example %s: objects there count as missed.",
                self.path,
                counted(len(missing), "image is", "images are"),
                missing[0].get("file_name") or missing[0]["id"],
            )

    def _match_files(self, entries: list[dict]) -> list[dict]:
        """Take the images that are files of the annotations; the others are returned."""
        rest = []
        by_path: dict[str, dict] | None = None
        for entry in entries:
            theirs, image = str(entry.get("file_name")), self._images.get(matching_id(entry["id"]))
            ours = self._files.get(matching_id(entry["id"]), "")
            if not os.path.isfile(theirs) or not self._files:
                rest.append(entry)
                continue
            if image is None or not os.path.isfile(ours) or not os.path.samefile(theirs, ours):
                if by_path is None:  # most predictions have the annotations' ids, and need none of this
                    by_path = {os.path.realpath(file): self._images[id] for id, file in self._files.items()}
                image = by_path.get(os.path.realpath(theirs))
            if image is None:
                rest.append(entry)
            else:
                self._take(entry, image)
        return rest

    def _same_name(self, id: Any, theirs: str) -> dict | None:
        """The annotated image that a prediction's may be a copy of: that of its number, or the one of its name that is left."""
        image = self._images.get(id)
        same = [known for known in self._by_name.get(os.path.basename(theirs), ()) if known not in self._taken]
        if id in same:
            return image
        if os.path.isfile(theirs) and len(same) == 1:
            return self._images[same[0]]
        return image if image is not None and image.get("file_name") else None

    def _take(self, entry: dict, image: dict) -> None:
        theirs, ours = ([number(of.get(side)) for side in ("width", "height")] for of in (entry, image))
        if None not in (*theirs, *ours) and theirs != ours:
            raise ValueError(
                f"{self.path}: its image {entry.get('file_name')} is of {_shown(theirs)} pixels (width x height), and that of "
                f"the annotations, {image.get('file_name')}, of {_shown(ours)}: they are of another image, or of this one turned "
                "or scaled. Predict on the images that were annotated, with --ann-file."
            )
        self.id_of[matching_id(entry["id"])] = image["id"]
        self._taken.add(matching_id(image["id"]))

    def _contradiction(self, entry: dict, ours: str) -> str:
        theirs = str(entry.get("file_name"))
        if os.path.basename(theirs) == os.path.basename(ours):
            return (
                f"{self.path}: its image {entry['id']} is {theirs}, and that of the annotations is {ours}, which is another "
                "image. Predict on the folder that the annotations belong to, or name the annotations of the images predicted on."
            )
        return (
            f"{self.path}: its image {entry['id']} is {theirs}, and that of the annotations is {ours}. Predict with --ann-file, "
            "so that the ids are theirs."
        )


def check_mask_size(path: str, place: int, entry: dict, image: dict) -> None:
    """Raise ValueError where a detection's mask is of another size than the annotated image."""
    mask = entry.get("segmentation")
    size = mask.get("size") if isinstance(mask, dict) else None
    height, width = image.get("height"), image.get("width")
    if isinstance(size, list) and len(size) == 2 and height and width and size != [height, width]:
        raise ValueError(
            f"{path}: the mask of entry {place} is of {_shown(size[::-1])} pixels (width x height), and the image "
            f"{image.get('file_name') or image['id']} of the annotations of {_shown([width, height])}: they are of another set, "
            "or of images that were scaled. Test on these annotations."
        )


def _shown(size: Sequence[Any]) -> str:
    return " x ".join(f"{side:g}" if isinstance(side, float) else str(side) for side in size)
