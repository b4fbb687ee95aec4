"""What checking a data set found, as text and as data."""

from dataclasses import dataclass, field
from typing import Any

from maskrcnn_benchmark.data.formats.content import Notes
from maskrcnn_benchmark.utils.wording import counted

EXAMPLES = 5


@dataclass
class Finding:
    """One kind of thing that was found.

    kind: a short name, which does not change. is_problem: whether it is an error rather than something to know. text: a sentence
    of what it is and does. count: how many. examples: the first of them, ids or file names.
    """

    kind: str
    is_problem: bool
    text: str
    count: int = 0
    examples: list = field(default_factory=list)

    def add(self, example: Any) -> None:
        self.count += 1
        if len(self.examples) < EXAMPLES:
            self.examples.append(example)


# What training and tests do about a problem is said where it is not plain.
KINDS = {
    # kind: (is it a problem?, what it is)
    "image_fields": (True, 'images without an "id" or "file_name"; they are left out'),
    "image_id": (True, "image ids that occur more than once; the last entry counts"),
    "id_form": (
        True,
        "ids of another kind than their fellows, like text for numbers; they are matched by what they mean",
    ),
    "id_huge": (True, "ids of images or categories larger than an integer of 64 bits; such a file is refused"),
    "file_name_form": (True, 'images whose file is not named by "file_name" but by another key; that one is used'),
    "image_size_form": (
        True,
        'images whose "width" or "height" is no whole number above 0; the file\'s count where it is none',
    ),
    "image_huge": (True, "images said to have more pixels than can be read; such a file is refused"),
    "missing_file": (True, "image files that do not exist"),
    "broken_file": (True, "image files that cannot be decoded"),
    "image_size": (
        True,
        "images whose file has another width or height than the annotations say; they are not trained on",
    ),
    "unturned": (
        False,
        "images that are used as they are stored, not as EXIF turns them: their annotations were made so",
    ),
    "same_file_name": (True, "entries of images that name a file which another entry names"),
    "same_picture": (False, "image files with the same bytes as another one"),
    "nothing": (True, "lists of the file that are empty: there is nothing to train on"),
    "not_annotated": (
        False,
        'files without "annotations", as those of COCO\'s own test sets: images to predict on, and nothing to train on',
    ),
    "no_objects": (
        False,
        "images without objects; training leaves them out unless DATALOADER.FILTER_EMPTY_ANNOTATIONS is False",
    ),
    "dense": (
        False,
        "images with more than 100 objects; see MODEL.ROI_HEADS.DETECTIONS_PER_IMG (of RetinaNet TEST.DETECTIONS_PER_IMG) and "
        "TEST.COCO_MAX_DETECTIONS",
    ),
    "info_form": (False, '"info" that is no object; it is left aside'),
    "category_fields": (True, 'categories without an "id" or "name", or with an id that another has'),
    "category_name": (True, "names that several categories have; they are numbered"),
    "category_spelling": (
        False,
        "names of categories that differ in capitals and spaces alone; each is a class of its own",
    ),
    "category_name_form": (True, "names of categories that are no text"),
    "category_text": (
        True,
        "names of categories that hold half of a character (a lone surrogate), which cannot be written",
    ),
    "category_placeholder": (
        False,
        "category 0, which no object has, left aside (Roboflow writes one); it is no class",
    ),
    "category_gaps": (False, "numbers missing among the category ids; labels are numbered without gaps"),
    "category_unused": (False, "categories without objects"),
    "category_unknown": (True, "annotations of a category that is not defined"),
    "image_unknown": (True, "annotations of an image that is not in the file"),
    "annotation_form": (True, "annotations that are no objects; they are left out"),
    "annotation_id": (True, "annotation ids that occur more than once; they are numbered anew inside"),
    "annotation_id_form": (True, "annotation ids that are no whole numbers above 0; they are numbered anew inside"),
    "same_annotation": (True, "annotations with the image, category and box of another one"),
    "area": (True, 'annotations without a possible "area"; it is computed from the mask or the box'),
    "iscrowd": (True, 'annotations whose "iscrowd" is missing, or not 0 or 1; it is taken as 0 where it means neither'),
    "crowds_alone": (True, 'sets in which each object is a crowd ("iscrowd" 1): training and tests leave crowds out'),
    "box_form": (True, 'annotations without a "bbox" of four finite numbers; they are left out'),
    "box_text": (True, "boxes whose numbers are text; they are read as numbers"),
    "box_fractions": (
        True,
        "sets whose boxes all lie within one pixel: shares of the image's width and height, where COCO's boxes are pixels",
    ),
    "box_corners": (
        True,
        "sets whose boxes look like corners (x1, y1, x2, y2), where COCO's boxes are x, y, width, height: write x2 - x1 and "
        "y2 - y1 in place of x2 and y2",
    ),
    "box_centres": (
        True,
        "sets whose boxes look like centres (x, y of the middle, width, height), where COCO's x and y are those of the corner "
        "above on the left: subtract half of the width and height",
    ),
    "box_empty": (True, "boxes without width or height; they are left out of training"),
    "box_outside": (True, "boxes outside their image; they are left out of training"),
    "box_beyond": (False, "boxes that reach more than a pixel beyond their image; they are clipped"),
    "mask_missing": (True, 'objects without a "segmentation" in a file where others have one; they train no masks'),
    "mask_invalid": (True, "masks that cannot be read, or of another size than their image; they train no masks"),
    "mask_empty": (True, "masks without a pixel"),
    "mask_elsewhere": (
        True,
        "objects whose box and the extent of whose mask share less than a quarter of their union: one of them is another "
        "object's, or the box is not x, y, width, height",
    ),
    "mask_form": (True, "masks in a form that is not COCO's but is understood"),
    "keypoints_form": (
        True,
        'objects whose "keypoints" are not x, y and visibility of as many keypoints as the category names, or the others have',
    ),
    "keypoints_none": (
        True,
        "objects whose keypoints are all not labelled, in sets without a visible keypoint; they train none",
    ),
    "keypoints_unseen": (
        False,
        "objects without a visible keypoint in images that show none: a training of keypoints leaves these images out",
    ),
    "keypoints_names": (True, "names that several keypoints have; such a file trains no keypoints"),
    "keypoints_mirror": (
        False,
        "keypoints of which nothing tells left from right, names or a flip_idx; see INPUT.KEYPOINT_FLIP_PAIRS",
    ),
}


class Report:
    """What `check` found. summary: counts by name; findings: in the order of KINDS."""

    def __init__(self, name: str):
        self.name = name
        self.summary: dict[str, Any] = {}
        self._found = {kind: Finding(kind, is_problem, text) for kind, (is_problem, text) in KINDS.items()}

    def add(self, kind: str, example: Any) -> None:
        self._found[kind].add(example)

    def withdraw(self, kind: str) -> None:
        """Forget what only follows from another finding."""
        self._found[kind] = Finding(kind, *KINDS[kind])

    def add_notes(self, notes: Notes) -> None:
        """What reading a form other than COCO's changed or left out."""
        for what, count in notes.counts.items():
            lost = any(word in what for word in ("left out", "cut at", "without an image", "same name", "refuse"))
            self._found[what] = Finding(what, lost, what, count, list(notes.places[what]))

    @property
    def findings(self) -> list[Finding]:
        return [finding for finding in self._found.values() if finding.count]

    @property
    def problems(self) -> list[Finding]:
        return [finding for finding in self.findings if finding.is_problem]

    def as_dict(self) -> dict:
        return {"name": self.name, "summary": self.summary, "findings": [vars(f) for f in self.findings]}

    def as_text(self) -> str:
        lines = [self.name]
        for key, value in self.summary.items():
            shown = ", ".join(f"{k}: {v}" for k, v in value.items()) if isinstance(value, dict) else value
            lines.append(f"  {key.replace('_', ' ')}: {shown}")
        for finding in sorted(self.findings, key=lambda f: not f.is_problem):
            examples = ", ".join(map(str, finding.examples))
            lines.append(
                f"  {'PROBLEM' if finding.is_problem else 'note'}: {finding.text}: {finding.count:,} ({examples})"
            )
        lines.append(
            f"  {'Fine.' if not self.problems else counted(len(self.problems), 'kind of problem', 'kinds of problems') + '.'}"
        )
        return "\n".join(lines)
