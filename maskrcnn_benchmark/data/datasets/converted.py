"""What users call a set whose annotations were converted: not by the file in COCO's format that was made for it."""

_sources: dict[str, str] = {}


def note_source(file: str, source: str) -> None:
    """Note that `file` was made from the annotations `source`."""
    _sources[file] = source


def source_of(file: str) -> str:
    """What an annotation file was made from, for messages; itself, if it was not made here."""
    return _sources.get(file, file)
