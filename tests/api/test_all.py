"""What a module's __all__ promises: every name once, in the module, and no public function or class of its own left out."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def promises(path: Path) -> list[str] | None:
    """The names in a module's __all__, or None if it has none."""
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            return ast.literal_eval(node.value)
    return None


FILES = [path for path in sorted((ROOT / "maskrcnn_benchmark").rglob("*.py")) if promises(path) is not None]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_all_is_right(path):
    names = promises(path)
    assert len(names) == len(set(names))
    if path.stem.startswith("triton"):
        pytest.importorskip("triton")
    module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"))
    assert [name for name in names if not hasattr(module, name)] == []
    own = [node.name for node in ast.parse(path.read_text()).body if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
    assert [name for name in own if not name.startswith("_") and name not in names] == []
