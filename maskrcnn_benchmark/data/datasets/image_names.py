"""Images by the names that annotations give them."""

from __future__ import annotations

import os

from maskrcnn_benchmark.data.datasets.images import IMAGE_ENDINGS
from maskrcnn_benchmark.utils.files import files_below


class ImageNames:
    """The images in a folder and those below it, found also by names of another machine: with other folders in front, with
    backslashes, in other capitals, or without the ending.

    Args:
        root: the folder.
    """

    def __init__(self, root: str):
        self.root = root
        self._known: dict[str, str] | None = None
        self._claims: dict[str, str] = {}

    def path(self, name: str) -> str:
        """The path of the image that annotations call `name`; where it would be by that name, if it is not there."""
        return os.path.join(self.root, self.find(name) or name)

    def find(self, name: str) -> str | None:
        """The path below the folder of the image that annotations call `name`; None where there is none, or two fit, or it
        was found by another name before."""
        if "\0" in name:
            return None
        if name and os.path.isfile(os.path.join(self.root, name)):
            return name
        parts = [part for part in name.lower().replace("\\", "/").split("/") if part not in ("", ".")]
        if self._known is None:
            self._known = _by_name(self.root)
        tails = ("/".join(parts[i:]) for i in range(len(parts)))
        found = next((self._known[tail] for tail in tails if tail in self._known), "")
        return found if found and self._claims.setdefault(found, name) == name else None


def _by_name(root: str) -> dict[str, str]:
    """Paths below a folder by themselves in small letters, with and without the ending; "" for two of one name."""
    found: dict[str, str] = {}
    paths = [os.path.relpath(path, root) for path in files_below(root) if path.lower().endswith(IMAGE_ENDINGS)]
    for path in paths:
        lower = path.lower().replace(os.sep, "/")
        for name in (lower, os.path.splitext(lower)[0]):
            found[name] = "" if name in found else path
    return found
