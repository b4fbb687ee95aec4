"""Whether a fork was written for a torch in which `/` of whole-number tensors is true division: what in its code says so."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterator
from dataclasses import dataclass

# What torch has had since 1.5 or later, with that version: functions and methods, modules, and keywords.
FUNCTIONS = {"floor_divide": "1.5", "true_divide": "1.5"}
MODULES = {"torch.amp": "1.6", "torch.cuda.amp": "1.6"}
KEYWORDS = {"rounding_mode": "1.8", "weights_only": "1.13"}


@dataclass(frozen=True)
class Sign:
    """A piece of code that no torch before `since` runs."""

    path: str
    line: int
    code: str
    since: str


def sign_in(path: str, text: str) -> Sign | None:
    """The first sign in a file's code; comments and strings say nothing."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd escapes in strings
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError):
        return None
    names = dict(_imported(tree))
    found = [Sign(path, *sign) for node in ast.walk(tree) for sign in _signs(node, names)]
    return min(found, key=lambda sign: sign.line, default=None)


def _imported(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Local names of what the file imports, with the dotted names of it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield (alias.asname, alias.name) if alias.asname else (alias.name.split(".")[0],) * 2
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                yield alias.asname or alias.name, f"{node.module}.{alias.name}"


def _signs(node: ast.AST, names: dict[str, str]) -> Iterator[tuple[int, str, str]]:
    if isinstance(node, ast.Import):
        dotted = [alias.name for alias in node.names]
    elif isinstance(node, ast.ImportFrom) and not node.level:
        dotted = [f"{node.module}.{alias.name}" for alias in node.names]
    elif isinstance(node, ast.Attribute):
        dotted = [_dotted(node, names)]
    elif isinstance(node, ast.keyword) and node.arg in KEYWORDS:
        yield node.lineno, f"{node.arg}=", KEYWORDS[node.arg]
        return
    else:
        return
    for name in dotted:
        for module, since in MODULES.items():
            if name == module or name.startswith(f"{module}."):
                yield node.lineno, module, since
        last = name.rpartition(".")[2]
        if last in FUNCTIONS and name.split(".")[0] != "numpy":  # which has functions of these names, too
            yield node.lineno, last, FUNCTIONS[last]


def _dotted(node: ast.expr, names: dict[str, str]) -> str:
    """The dotted name that an expression stands for; of a method, its own name after a dot."""
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value, names)}.{node.attr}"
    return names.get(node.id, "") if isinstance(node, ast.Name) else ""
