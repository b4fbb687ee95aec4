"""Modules of this package whose path a new file of the fork's has: in OUT they stand beside it under another name."""

from __future__ import annotations

import re
from collections.abc import Iterable

SUFFIX = "_of_this_package"


def displaced(paths: Iterable[str], package: str, ours: Iterable[str]) -> dict[str, str]:
    """Dotted names below the package, the new one by the old one.

    Args:
        paths: the fork's new files, as in fcos_core/engine/predictor.py.
        ours: this package's modules that upstream has not, as in engine/predictor.py.
    """
    own = set(ours)
    found = {}
    for path in paths:
        first, _, rest = path.partition("/")
        if first == package and rest in own and not rest.endswith("__init__.py"):
            name = rest.removesuffix(".py").replace("/", ".")
            found[name] = name + SUFFIX
    return found


def with_new_names(text: str, package: str, moved: dict[str, str]) -> str:
    """The text of a file of ours, which imports the moved modules under their new names."""
    for old, new in moved.items():
        text = _with_new_name(text, package, *old.rpartition(".")[::2], new.rpartition(".")[2])
    return text


def _with_new_name(text: str, package: str, parent: str, stem: str, new_stem: str) -> str:
    folder = f"{package}.{parent}" if parent else package

    def renamed(statement: re.Match) -> str:
        names = re.sub(rf"\b{stem}\b( as \w+)?", lambda name: new_stem + (name[1] or f" as {stem}"), statement[2])
        return statement[1] + names

    text = re.sub(rf"\b{re.escape(folder)}\.{stem}\b", f"{folder}.{new_stem}", text)
    text = re.sub(rf"(?m)^(\s*from \.){stem}\b", rf"\g<1>{new_stem}", text)
    return re.sub(rf"(?m)^(\s*from (?:{re.escape(folder)}|\.) import )(\([^)]*\)|[^\n]*)", renamed, text)
