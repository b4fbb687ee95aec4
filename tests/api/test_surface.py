"""Upstream's whole interface: every module, name and signature in surface.txt imports here and takes its arguments."""

from __future__ import annotations

import ast
import importlib
import inspect
import re
from pathlib import Path
from typing import Any, NamedTuple

import pytest

SURFACE = Path(__file__).with_name("surface.txt")


class Entry(NamedTuple):
    """path: dotted name below the module; signature: upstream's, or None where only the name must be there."""

    module: str
    path: str
    signature: str | None


def entries() -> list[Entry]:
    found, module, owner = [], "", ""
    for line in SURFACE.read_text().splitlines():
        indent, text = len(line) - len(line.lstrip()), line.strip()
        if indent == 0:
            module = text
            found.append(Entry(module, "", None))
        elif text.startswith("re-exports "):
            found.append(Entry(module, text.removeprefix("re-exports "), None))
        else:
            name, signature = re.fullmatch(r"(?:class |def )?(\w+)(\(.*)", text).groups()  # type: ignore[union-attr]
            if indent == 4:
                owner = name if text.startswith("class ") else ""
            path = f"{owner}.{name}" if indent > 4 else name
            found.append(Entry(module, path, signature))
    return found


def resolve(entry: Entry) -> Any:
    target = importlib.import_module(entry.module)
    for part in filter(None, entry.path.split(".")):
        target = getattr(target, part)
    return target


def arguments(signature: str) -> ast.arguments:
    """Of upstream's signature as text; defaults that are not code (a class's repr) count as any value."""
    text = re.sub(r"<[^>]*>", "None", signature)
    function = ast.parse(f"def f{text}: pass").body[0]
    assert isinstance(function, ast.FunctionDef)
    return function.args


def accepts(target: Any, signature: str) -> str:
    """What is wrong with the target's signature for a caller who knows upstream's; empty if nothing."""
    theirs = arguments(signature)
    if theirs.vararg:  # upstream's own signature says nothing
        return ""
    ours = [p for p in inspect.signature(target).parameters.values() if p.name != "self"]
    names = [a.arg for a in theirs.args + theirs.kwonlyargs if a.arg not in ("self", "cls")]
    by_position = [p for p in ours if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    takes_more = any(p.kind == p.VAR_POSITIONAL for p in ours)
    takes_names = any(p.kind == p.VAR_KEYWORD for p in ours)
    known = {p.name for p in ours}
    if target.__name__ in ("forward", "__call__"):  # modules are called by position
        if not takes_more and len(names) > len(by_position):
            return f"takes {len(by_position)} arguments, upstream's {len(names)}"
        names = [p.name for p in by_position[: len(names)]]
    for index, name in enumerate(names):
        if name not in known and not (takes_names or takes_more):
            return f"no argument {name!r}"
        if index < len(by_position) and name in known and by_position[index].name != name and not takes_more:
            return f"argument {index} is {by_position[index].name!r}, upstream's {name!r}"
    extra = [
        p.name
        for p in ours
        if p.name not in names and p.default is p.empty and p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)
    ]
    return f"needs {', '.join(extra)} besides" if extra else ""


def key(entry: Entry) -> str:
    return f"{entry.module.removeprefix('maskrcnn_benchmark.')}:{entry.path}"


@pytest.mark.parametrize("entry", entries(), ids=key)
def test_is_there_and_takes_its_arguments(entry):
    target = resolve(entry)
    if entry.signature is not None:
        assert not accepts(target, entry.signature), (
            f"{key(entry)}{entry.signature}: {accepts(target, entry.signature)}"
        )
