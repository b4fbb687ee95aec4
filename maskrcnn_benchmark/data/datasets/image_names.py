"""Images by the names that annotations give them."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Callable, Iterable

from maskrcnn_benchmark.data.datasets.images import IMAGE_ENDINGS
from maskrcnn_benchmark.utils.files import files_below
from maskrcnn_benchmark.utils.wording import counted

logger = logging.getLogger(__name__)


class ImageNames:
    """The images in a folder and those below it, found also by names of another machine: with other folders in front, with
    backslashes, in other capitals, or without the ending.

    Args:
        root: the folder.
        names: gives all names that the annotations have, which is asked for where one is not a path below the folder: of
            several that end as an image's path does, the image is that of the one that has more of the path.
    """

    def __init__(self, root: str, names: Callable[[], Iterable[str | None]]):
        self.root, self._names = root, names
        self._found: dict[str, str] | None = None

    def path(self, name: str) -> str:
        """The path of the image that annotations call `name`; where it would be by that name, if it is not there."""
        return os.path.join(self.root, self.find(name) or name)

    def find(self, name: str) -> str | None:
        """The path below the folder of the image that annotations call `name`; None where there is none, or two fit, or the
        image is that of another name."""
        if "\0" in name:
            return None
        if name and os.path.isfile(os.path.join(self.root, name)):
            return name
        if self._found is None:
            self._found = _found_by_ends(self.root, filter(None, self._names()))
        return self._found.get(_joined(name))


def _joined(name: str) -> str:
    return "/".join(part for part in name.replace("\\", "/").split("/") if part not in ("", "."))


def _found_by_ends(root: str, names: Iterable[str]) -> dict[str, str]:
    """The paths below a folder of the names that fit them best, by `_joined` names."""
    known, above = _by_name(root), os.path.abspath(root).lower().split(os.sep)
    fitting: dict[str, list[str]] = {}
    for name in dict.fromkeys(map(_joined, names)):
        parts = name.lower().split("/")
        tails = ("/".join(parts[i:]) for i in range(len(parts)))
        if path := next((known[tail] for tail in tails if tail in known), ""):
            fitting.setdefault(path, []).append(name)
    found: dict[str, str] = {}
    shared: list[tuple[str, list[str]]] = []
    for path, of_path in fitting.items():
        best = of_path
        if len(of_path) > 1:
            common = {name: _common_folders(above, path.replace(os.sep, "/"), name) for name in of_path}
            most = max(common.values())
            best = [name for name in of_path if common[name] == most]
        if len(best) == 1:
            found[best[0]] = path
        else:
            shared.append((path, best))
    if shared:
        path, best = shared[0]
        logger.warning(
            "%s in %s could be that of several names of the annotations each, for example %s that of %r and %r, and %s taken "
            "for none. Name the folder that the names lead from (--img-dir, IMG_DIR), or correct the names.",
            counted(len(shared), "image"),
            root,
            path,
            *best[:2],
            "is" if len(shared) == 1 else "are",
        )
    return found


def _common_folders(above: list[str], path: str, name: str) -> float:
    """How many folders at the end of a path are those of `name`; infinite where `name` is that path, from below the folder of
    which `above` are the parts."""
    if name == path:
        return float("inf")
    theirs, ours = [*above, *path.lower().split("/")[:-1]], name.lower().split("/")[:-1]
    pairs = zip(reversed(theirs), reversed(ours), strict=False)
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))


def _by_name(root: str) -> dict[str, str]:
    """Paths below a folder by themselves in small letters, with and without the ending; "" for two of one name."""
    found: dict[str, str] = {}
    paths = [os.path.relpath(path, root) for path in files_below(root) if path.lower().endswith(IMAGE_ENDINGS)]
    for path in paths:
        lower = path.lower().replace(os.sep, "/")
        for name in (lower, os.path.splitext(lower)[0]):
            found[name] = "" if name in found else path
    return found
