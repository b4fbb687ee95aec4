"""The package stands alone: no module of it imports what is made with it."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "maskrcnn_benchmark"


def top_levels(folder: Path) -> set[str]:
    """The names that a Python file may import when `folder` is on its path."""
    return {path.stem for path in folder.iterdir() if path.suffix == ".py" or path.is_dir() and path.suffix == ""}


OUTSIDE = {"projects", "benchmarks", "tests", "demo", "tools"}.union(
    *(top_levels(folder) for folder in [ROOT / "benchmarks", ROOT / "demo", *(ROOT / "projects").iterdir()])
) - {"__pycache__", "results", "configs"}


def imported(path: Path) -> set[str]:
    """The first part of every module that a file imports, inside functions too, and of what import_module is given."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            found.add(str(node.module).partition(".")[0])
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            found |= {str(a.value).partition(".")[0] for a in node.args if isinstance(a, ast.Constant)}
    return found


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_package_imports_no_project(path):
    assert not imported(path) & OUTSIDE


def test_what_is_outside_is_seen(tmp_path):
    """The scan knows the projects, and finds an import wherever it stands."""
    assert {"enl_paper", "projects", "harness"} <= OUTSIDE
    (tmp_path / "a.py").write_text(
        "def f():\n    from enl_paper.relations import PRESETS\nimportlib.import_module('projects.x')\nimport tools.y as z\n"
    )
    assert imported(tmp_path / "a.py") == {"enl_paper", "projects", "tools"}
