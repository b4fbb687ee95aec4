"""The functions that a fork's C++ and CUDA sources export, and who calls those that this package lacks."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass

from .fork import Fork

SOURCES = (".cpp", ".cc", ".cxx", ".cu", ".h", ".hpp", ".cuh", ".c")
_EXPORT = re.compile(r'\.\s*def\s*\(\s*"(?:\w+::)?(\w+)')
_REGISTERED = re.compile(r'\.op\s*\(\s*"(?:\w+::)?(\w+)')
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)


@dataclass(frozen=True)
class Missing:
    """A native function of the fork that this package has not: its source, and the places that call it ("file:line")."""

    name: str
    source: str
    callers: tuple[str, ...]


def exported(fork: Fork) -> dict[str, str]:
    """Names that the fork's bindings export, with the file that does."""
    found: dict[str, str] = {}
    for path in fork.files:
        if not path.endswith(SOURCES):
            continue
        text = _COMMENT.sub(" ", fork.read(path).decode(errors="replace"))
        if "PYBIND11_MODULE" in text or "RegisterOperators" in text or "TORCH_LIBRARY" in text:
            for name in (*_EXPORT.findall(text), *_REGISTERED.findall(text)):
                found.setdefault(name, path)
    return found


def missing(fork: Fork, ours: set[str], texts: dict[str, str]) -> list[Missing]:
    """What the fork exports or calls of `_C` and is not in `ours`.

    Args:
        texts: the fork's Python files by path, upstream's left out.
    """
    calls: dict[str, list[str]] = {}
    for path, text in texts.items():
        for name, line in _calls(text):
            calls.setdefault(name, []).append(f"{path}:{line}")
    native = exported(fork)
    names = {name for name in (*native, *calls) if name not in ours}
    return [Missing(name, native.get(name, ""), tuple(calls.get(name, ()))) for name in sorted(names)]


def _calls(text: str) -> list[tuple[str, int]]:
    """Functions taken from an imported native module: its name as in `from pkg import _C`, and each line."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return []
    modules = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            modules |= {a.asname or a.name for a in node.names if a.name == "_C" or a.name.endswith("_cuda")}
        elif isinstance(node, ast.Import):
            modules |= {a.asname for a in node.names if a.asname and a.name.endswith("._C")}
    return [
        (node.attr, node.lineno)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules
    ]
