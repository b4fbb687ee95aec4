"""The functions that a fork's C++ and CUDA sources export, and who calls those that this package lacks."""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass

from .assembling import lines_in_fork
from .fork import Fork

SOURCES = (".cpp", ".cc", ".cxx", ".cu", ".h", ".hpp", ".cuh", ".c")
_EXPORT = re.compile(r'\.\s*def\s*\(\s*"(?:\w+::)?(\w+)')
_REGISTERED = re.compile(r'\.op\s*\(\s*"(?:\w+::)?(\w+)')
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)


_EXTENSION = re.compile(r"""\b\w*(?:[Ee]xtension|_ext)\s*\(\s*(?:name\s*=\s*)?["']([\w.]+)["']""")


@dataclass(frozen=True)
class Missing:
    """A native function of the fork that this package has not.

    Attributes:
        module: the native module's name: "_C" or an extension of the fork's own.
        source: the file that exports it.
        callers: the places that call it ("file:line").
    """

    name: str
    source: str
    callers: tuple[str, ...]
    module: str = "_C"


def extensions(fork: Fork) -> dict[str, str]:
    """Native modules besides `_C` that setup.py files of the fork build, each with that file."""
    found: dict[str, str] = {}
    for path in fork.files:
        if path.rpartition("/")[2] == "setup.py":
            for name in _EXTENSION.findall(fork.read(path).decode(errors="replace")):
                found.setdefault(name.rpartition(".")[2], path)
    found.pop("_C", None)
    return found


def exported(fork: Fork) -> dict[tuple[str, str], str]:
    """What the fork's bindings export, as (module, function), with the file that does."""
    found: dict[tuple[str, str], str] = {}
    own = extensions(fork)
    for path in fork.files:
        if not path.endswith(SOURCES):
            continue
        text = _COMMENT.sub(" ", fork.read(path).decode(errors="replace"))
        if "PYBIND11_MODULE" in text or "RegisterOperators" in text or "TORCH_LIBRARY" in text:
            module = _module_of(path, own)
            for name in (*_EXPORT.findall(text), *_REGISTERED.findall(text)):
                found.setdefault((module, name), path)
    return found


def _module_of(source: str, own: dict[str, str]) -> str:
    """The extension of a source: the one of its name, or the one that a setup.py in a folder around it builds."""
    stem = source.rpartition("/")[2].partition(".")[0]
    around = [name for name, setup in own.items() if "/" in setup and source.startswith(setup.removesuffix("setup.py"))]
    return stem if stem in own else next(iter(around), "_C")


def missing(fork: Fork, ours: set[str], texts: dict[str, str]) -> list[Missing]:
    """What the fork exports or calls of native modules and is not there: of `_C`, what is not in `ours`.

    Args:
        texts: the fork's Python files by path, upstream's left out.
    """
    files = {path.rpartition("/")[2] for path in fork.files}
    own = set(extensions(fork))
    calls: dict[tuple[str, str], list[str]] = {}
    for path, text in texts.items():
        found_here = _calls(text, own)
        place = lines_in_fork(fork, path, text) if found_here else int
        for module, name, line in found_here:
            if f"{module}.py" not in files:
                calls.setdefault((module, name), []).append(f"{path}:{place(line)}")
    native = exported(fork)
    found = {(module, name) for module, name in (*native, *calls) if module != "_C" or name not in ours}
    return [
        Missing(name, native.get((module, name), ""), tuple(calls.get((module, name), ())), module)
        for module, name in sorted(found)
    ]


def _calls(text: str, own: set[str]) -> list[tuple[str, str, int]]:
    """Functions taken from native modules, each with its module's name and the line."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return []

    def is_native(name: str) -> bool:
        return name == "_C" or name in own or name.endswith("_cuda")

    modules, found = {}, []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            last = (node.module or "").rpartition(".")[2]
            is_torchs = (node.module or "").startswith("torch")
            for alias in node.names if not is_torchs else ():
                if is_native(last):
                    found.append((last, alias.name, node.lineno))
                elif is_native(alias.name):
                    modules[alias.asname or alias.name] = alias.name
        elif isinstance(node, ast.Import):
            for alias in node.names:
                last = alias.name.rpartition(".")[2]
                if is_native(last) and (alias.asname or last == alias.name):
                    modules[alias.asname or last] = last
    return found + [
        (modules[node.value.id], node.attr, node.lineno)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in modules
    ]
