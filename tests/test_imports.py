"""Modules of the package do not import each other in circles, and predictions do not wait for what only trainings need."""

from __future__ import annotations

import ast
import graphlib
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FILES = {
    ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"): path
    for path in (ROOT / "maskrcnn_benchmark").rglob("*.py")
}


def imports(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    """Import statements, those in functions too, which would only hide a circle; not those for a type checker alone."""
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        yield node
    elif not (isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING"):
        for child in ast.iter_child_nodes(node):
            yield from imports(child)


def imported(name: str, source: str, files: dict) -> set[str]:
    found: set[str] = set()
    package = name if files[name].name == "__init__.py" else name.rpartition(".")[0]
    for node in imports(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
            continue
        base = node.module or ""
        if node.level:
            parents = package.split(".")[: len(package.split(".")) - node.level + 1]
            base = ".".join([*parents, *([node.module] if node.module else [])])
        found |= {full if (full := f"{base}.{alias.name}") in files else base for alias in node.names}
    return {other for other in found if other in files and other != name}


def test_no_circles():
    graph = {name: imported(name, path.read_text(encoding="utf-8"), FILES) for name, path in FILES.items()}
    assert sum(map(len, graph.values())) > 500
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def test_a_circle_is_found():
    files = {"p": Path("p/__init__.py"), "p.a": Path("p/a.py"), "p.b": Path("p/b.py")}
    sources = {"p": "", "p.a": "def f():\n    from .b import x\n    return x\n", "p.b": "import p.a\n"}
    graph = {name: imported(name, source, files) for name, source in sources.items()}
    with pytest.raises(graphlib.CycleError):
        graphlib.TopologicalSorter(graph).prepare()


def test_no_command_waits_for_slow_imports_before_it_has_read_its_options():
    """Each of these takes a second or more to import."""
    program = """
        import importlib, sys
        from maskrcnn_benchmark.cli import commands
        for name in commands.COMMANDS:
            importlib.import_module(f"maskrcnn_benchmark.cli.{name.replace(' ', '_')}")
        print(*sys.modules)
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    loaded = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert "torch" in loaded and not {"torchvision", "torch._dynamo", "matplotlib", "pandas"} & set(loaded)


def test_names_that_are_imported_late():
    from maskrcnn_benchmark import data
    from maskrcnn_benchmark.data import datasets

    assert data.make_data_loader.__module__ == "maskrcnn_benchmark.data.build"
    assert all(getattr(datasets, name).__name__ == name for name in datasets.__all__)
    assert data.build.__name__ == "maskrcnn_benchmark.data.build"
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        data.nothing  # noqa: B018
