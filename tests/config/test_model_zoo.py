"""docs/reference/models.md names every configuration once, with the weights that it starts from."""

from __future__ import annotations

import re
from pathlib import Path

from maskrcnn_benchmark.config import cfg as defaults

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "models.md"
ROW = re.compile(r"^\| \[(\S+\.yaml)\]\((\S+)\) \|(.*)\|$", re.MULTILINE)


def test_every_configuration_is_there_with_its_weights():
    text = PAGE.read_text()
    rows = ROW.findall(text)
    files = {str(p.relative_to(ROOT / "configs")) for p in (ROOT / "configs").rglob("*.yaml")}
    assert sorted(name for name, _, _ in rows) == sorted(
        name for name in files if not Path(name).name.startswith("base")
    )
    for name, link, rest in rows:
        assert (PAGE.parent / link).resolve() == ROOT / "configs" / name
        cfg = defaults.clone()
        cfg.merge_from_file(str(ROOT / "configs" / name))
        weight = cfg.MODEL.WEIGHT.removeprefix("catalog://")
        assert (f"`{weight}`" if weight else "none") in [cell.strip() for cell in rest.split("|")], name


def test_figures_say_whose_they_are():
    headers = [line for line in PAGE.read_text().splitlines() if line.startswith("| configuration")]
    figures = [cell for line in headers for cell in line.split("|") if re.search(r"\bA[PR]s?\b", cell)]
    assert figures and all(cell.strip().endswith((", upstream", ", paper")) for cell in figures)
