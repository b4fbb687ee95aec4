"""Numbers and their nouns agree, in every message."""

import ast
import re
from pathlib import Path

import pytest

from maskrcnn_benchmark.utils.wording import counted, lasting, listed

ROOT = Path(__file__).parents[2]
# A number, then a noun in the plural: it would be wrong for one.
COUNTED_BY_HAND = re.compile(
    r"(?:%d|\{(?:len\(|[\w.]*count\b|[\w.]*total\b)[^{}]*\}) (?:of the )?[a-z-]+s\b(?! (?:of|in) shape)"
)


@pytest.mark.parametrize(
    ("count", "words", "said"),
    [
        (0, ("image",), "0 images"),
        (1, ("image",), "1 image"),
        (2, ("image",), "2 images"),
        (1, ("process", "processes"), "1 process"),
        (1234, ("image is", "images are"), "1,234 images are"),
    ],
)
def test_counted(count, words, said):
    assert counted(count, *words) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.2, "1 second"),
        (6, "6 seconds"),
        (59.7, "1 minute"),
        (90, "1.5 minutes"),
        (600, "10 minutes"),
        (3601, "60 minutes"),
        (90_000, "1,500 minutes"),
    ],
)
def test_lasting(seconds, said):
    assert lasting(seconds) == said


def test_listed():
    assert listed(["a", "b"]) == "a, b" and listed([]) == ""
    assert listed(range(7)) == "0, 1, 2, 3, 4 and 2 more" and listed(dict.fromkeys("abc"), 1) == "a and 2 more"


def texts(path: Path) -> list[tuple[int, str]]:
    """The texts of a file with the lines they are in, also formatted ones; docstrings are none."""
    tree = ast.parse(path.read_text())
    docs = {id(n.body[0].value) for n in ast.walk(tree) if isinstance(n, (ast.Module, ast.FunctionDef, ast.ClassDef))
            and n.body and isinstance(n.body[0], ast.Expr)}  # fmt: skip
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str)):
            if id(node) not in docs:
                found.append((node.lineno, ast.unparse(node)))
    return found


def test_no_message_counts_by_hand():
    """Where a number may be one, `counted` writes it. Left out is what is never one: maps of a pyramid, points of a shape."""
    never_one = ("maps", "values", "bytes", "elements", "frames")
    found = []
    for top in ("maskrcnn_benchmark", "tools", "demo"):
        for path in sorted((ROOT / top).rglob("*.py")):
            for line, text in texts(path):
                if (match := COUNTED_BY_HAND.search(text)) and not match[0].endswith(never_one):
                    found.append(f"{path.relative_to(ROOT)}:{line} {match[0]}")
    assert found == []
