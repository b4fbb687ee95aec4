"""The table of registries in extend.md names every registry that a configuration's names come from."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PLACES = ("modeling/registries.py", "data/registries.py", "data/transforms/registry.py", "layers/non_local/modules.py")


def test_every_registry_is_in_the_table():
    code = "".join((ROOT / "maskrcnn_benchmark" / place).read_text() for place in PLACES)
    names = re.findall(r"^([A-Z]\w+) = (?:Registry|_of)\(", code, re.MULTILINE)
    table = (ROOT / "docs/how-to/extend.md").read_text().partition("## All registries")[2]
    assert len(names) > 10 and set(names) == set(re.findall(r"^\| `([A-Z]\w+)`", table, re.MULTILINE))
