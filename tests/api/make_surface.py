"""Make surface.txt from maskrcnn-benchmark itself: see README.md."""

from __future__ import annotations

import argparse
import ast
import importlib
import inspect
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import torch.utils.cpp_extension

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "maskrcnn_benchmark"
SPECIAL = ("__call__", "__getitem__", "__len__")


def signature(target: Any) -> str:
    return str(inspect.signature(target))


def class_lines(name: str, target: type) -> Iterator[str]:
    """A class with the arguments of its constructor, and the methods that it defines itself."""
    arguments = signature(target.__init__)
    yield f"    class {name}{arguments}"
    for method, value in sorted(vars(target).items()):
        value = value.__func__ if isinstance(value, staticmethod | classmethod) else value
        if inspect.isfunction(value) and (method in SPECIAL or not method.startswith("_")):
            yield f"        {method}{signature(value)}"


def reexported(path: Path) -> set[str]:
    """What an __init__.py imports from other modules of the package."""
    imports = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.ImportFrom))
    own = (node for node in imports if node.level or (node.module or "").startswith(PACKAGE))
    return {alias.asname or alias.name for node in own for alias in node.names}


def module_lines(module: ModuleType) -> Iterator[str]:
    """A module's public classes and functions; of a package also those that it takes from its modules."""
    yield module.__name__
    imported = reexported(Path(module.__file__ or "")) if hasattr(module, "__path__") else set()
    for name, value in sorted(vars(module).items()):
        owner = getattr(value, "__module__", None) or ""
        if name.startswith("_"):
            continue
        if owner == module.__name__ and inspect.isclass(value):
            yield from class_lines(name, value)
        elif owner == module.__name__ and inspect.isfunction(value):
            yield f"    def {name}{signature(value)}"
        elif name in imported and not isinstance(value, ModuleType):
            yield f"    re-exports {name}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--upstream", type=Path, required=True, help="a clone of maskrcnn-benchmark")
    options = parser.parse_args()

    sys.path.append(str(ROOT))
    from tests.support.upstream import use_upstream

    use_upstream(options.upstream)
    torch.utils.cpp_extension.load = lambda *arguments, **keywords: None  # layers/_utils.py would compile
    package = importlib.import_module(PACKAGE)
    for found in sorted(pkgutil.walk_packages(package.__path__, f"{PACKAGE}."), key=lambda found: found.name):
        print("\n".join(module_lines(importlib.import_module(found.name))))


if __name__ == "__main__":
    main()
