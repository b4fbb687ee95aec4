"""What checking a data set found, as text and as data."""

from dataclasses import dataclass, field
from typing import Any

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


KINDS = {
    # kind: (is it a problem?, what it is)
    "image_fields": (True, 'images without an "id" or "file_name"'),
    "image_id": (True, "image ids that occur more than once; the last entry counts"),
    "missing_file": (True, "image files that do not exist"),
    "broken_file": (True, "image files that cannot be decoded"),
    "image_size": (True, "images whose file has another width or height than the annotations say"),
    "same_file_name": (True, "entries of images that name a file which another entry names"),
    "same_picture": (False, "image files with the same bytes as another one"),
    "no_objects": (
        False,
        "images without objects; training leaves them out unless DATALOADER.FILTER_EMPTY_ANNOTATIONS is False",
    ),
    "category_fields": (True, 'categories without an "id" or "name", or with an id that another has'),
    "category_name": (True, "categories with the name of another one"),
    "category_gaps": (False, "numbers missing among the category ids; labels are numbered without gaps"),
    "category_unused": (False, "categories without objects"),
    "category_unknown": (True, "annotations of a category that is not defined"),
    "image_unknown": (True, "annotations of an image that is not in the file"),
    "annotation_id": (True, "annotation ids that occur more than once"),
    "same_annotation": (True, "annotations with the image, category and box of another one"),
    "box_form": (True, 'annotations without a "bbox" of four finite numbers'),
    "box_empty": (True, "boxes without width or height; they are left out of training"),
    "box_outside": (True, "boxes outside their image; they are left out of training"),
    "box_beyond": (False, "boxes that reach more than a pixel beyond their image; they are clipped"),
    "mask_missing": (True, 'objects without a "segmentation" in a file where others have one'),
    "mask_invalid": (True, "masks that cannot be read, or of another size than their image"),
    "mask_empty": (True, "masks without a pixel"),
}


class Report:
    """What `check` found. summary: counts by name; findings: in the order of KINDS."""

    def __init__(self, name: str):
        self.name = name
        self.summary: dict[str, Any] = {}
        self._found = {kind: Finding(kind, is_problem, text) for kind, (is_problem, text) in KINDS.items()}

    def add(self, kind: str, example: Any) -> None:
        self._found[kind].add(example)

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
            shown = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, dict) else value
            lines.append(f"  {key.replace('_', ' ')}: {shown}")
        for finding in sorted(self.findings, key=lambda f: not f.is_problem):
            examples = ", ".join(map(str, finding.examples))
            lines.append(
                f"  {'PROBLEM' if finding.is_problem else 'note'}: {finding.count} {finding.text} ({examples})"
            )
        lines.append(f"  {'Fine.' if not self.problems else f'{len(self.problems)} kinds of problems.'}")
        return "\n".join(lines)
