"""Make upstream_names.json from the history of maskrcnn-benchmark: see README.md."""

from __future__ import annotations

import argparse
import ast
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

PACKAGE = "maskrcnn_benchmark"


def top_level_names(statements: list[ast.stmt]) -> Iterator[str]:
    """What the statements of a module define or import, in branches too."""
    for node in statements:
        if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            yield node.name
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            yield from ((alias.asname or alias.name).partition(".")[0] for alias in node.names)
        elif isinstance(node, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (n.id for target in targets for n in ast.walk(target) if isinstance(n, ast.Name))
        elif isinstance(node, (ast.If, ast.Try, ast.With, ast.For, ast.While)):
            handlers = [statement for handler in getattr(node, "handlers", []) for statement in handler.body]
            more = (getattr(node, field, []) for field in ("body", "orelse", "finalbody"))
            yield from top_level_names([*(statement for block in more for statement in block), *handlers])


def module_of(path: str) -> str:
    return path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def names_of_every_version(clone: Path) -> dict[str, list[str]]:
    """Module -> the names that every version of it had; names with two underscores aside."""

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", clone, *words], check=True, capture_output=True, text=True).stdout

    versions: dict[str, set[str]] = {}  # path -> blob ids
    for commit in git("rev-list", "HEAD").split():
        for line in git("ls-tree", "-r", commit, PACKAGE).splitlines():
            facts, path = line.split("\t")
            if path.endswith(".py"):
                versions.setdefault(path, set()).add(facts.split()[2])
    names = {}
    for path, blobs in versions.items():
        common = set.intersection(*(set(top_level_names(ast.parse(git("cat-file", "blob", b)).body)) for b in blobs))
        names[module_of(path)] = sorted(name for name in common if not name.startswith("__"))
    return dict(sorted(names.items()))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--upstream", type=Path, required=True, help="a clone of maskrcnn-benchmark with its history")
    print(json.dumps(names_of_every_version(parser.parse_args().upstream), indent=0))
