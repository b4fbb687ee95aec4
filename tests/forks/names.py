"""Finds what a program takes from a module beyond the names that maskrcnn-benchmark's version of it has."""

import ast
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path


def own_names_used(path: Path, package: str, upstream: Mapping[str, Collection[str]]) -> Iterator[tuple[str, str, int]]:
    """Yield (module, name, line) for each name of an upstream module that `path` uses and upstream's version lacks.

    Args:
        package: the dotted package that the file lies in, which relative imports start from; "" outside packages.
        upstream: the names of each of upstream's modules.
    """
    tree = ast.parse(path.read_text(encoding="utf-8"), str(path))
    bound: dict[str, str] = {}  # what a name or a dotted name in this file stands for -> a module
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                # `import a.b` binds a, whose attribute b is then written out; the dotted name stands for the module.
                bound[alias.asname or alias.name] = alias.name
        elif isinstance(node, ast.ImportFrom):
            module = _absolute(node, package)
            for alias in node.names:
                submodule = f"{module}.{alias.name}"
                if _is_module(submodule, upstream):
                    bound[alias.asname or alias.name] = submodule
                elif _lacks(module, alias.name, upstream):
                    yield module, alias.name, node.lineno
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            owner = bound.get(_dotted(node.value))
            if owner and _lacks(owner, node.attr, upstream) and not _is_module(f"{owner}.{node.attr}", upstream):
                yield owner, node.attr, node.lineno


def _absolute(node: ast.ImportFrom, package: str) -> str:
    if not node.level:
        return node.module or ""
    parents = package.split(".")[: len(package.split(".")) - node.level + 1]
    return ".".join([*parents, *([node.module] if node.module else [])])


def _dotted(node: ast.expr) -> str:
    """`a.b.c` as text; empty for anything but names and attributes."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = _dotted(node.value)
        return f"{before}.{node.attr}" if before else ""
    return ""


def _is_module(name: str, upstream: Mapping[str, Collection[str]]) -> bool:
    """Whether a name is a module, upstream's or one of ours."""
    root = Path(__file__).resolve().parents[2]
    path = root.joinpath(*name.split("."))
    files = (path.with_suffix(".py"), path.with_suffix(".pyi"), path / "__init__.py")  # .pyi: `_C`, which is compiled
    return name in upstream or any(f.is_file() for f in files)


def _lacks(module: str, name: str, upstream: Mapping[str, Collection[str]]) -> bool:
    dunder = name.startswith("__") and name.endswith("__")
    return module in upstream and not dunder and name != "*" and name not in upstream[module]
