"""Names of older versions of upstream: where the fork imports one that our module has not, the fork's module is used."""

from __future__ import annotations

import ast


def defined(text: str) -> set[str] | None:
    """Names at a module's top level; None if they cannot be told: it does not parse, or has a __getattr__ or a star import."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return None
    names: set[str] = set()
    for node in _statements(tree):
        if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.AsyncFunctionDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            if any(alias.name == "*" for alias in node.names):
                return None
            names |= {alias.asname or alias.name.split(".")[0] for alias in node.names}
        else:
            names |= {n.id for n in ast.walk(node) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    return None if "__getattr__" in names else names


def _statements(tree: ast.Module):
    """Statements that run when the module is imported, those under if, try, with and for included."""
    waiting: list[ast.stmt] = list(tree.body)
    while waiting:
        node = waiting.pop()
        yield node
        if isinstance(node, (ast.If, ast.Try, ast.With, ast.For, ast.While)):
            waiting += [inner for inner in ast.walk(node) if isinstance(inner, ast.stmt) and inner is not node]


def imported(path: str, text: str, package: str) -> dict[str, set[str]]:
    """Names that a file imports from modules of the package, by the module's dotted name."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return {}
    here = path.removesuffix(".py").split("/")
    here = here[:-1]  # the package that the file is in; an __init__.py is in its own
    found: dict[str, set[str]] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            base = here[: len(here) - node.level + 1] if node.level else []
            module = ".".join([*base, *filter(None, [node.module])])
            if module.split(".")[0] == package:
                found.setdefault(module, set()).update(alias.name for alias in node.names if alias.name != "*")
    return found
