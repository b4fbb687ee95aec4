"""The documents as a site: built without a warning, and nothing in it is loaded from elsewhere."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

import repository_links
from tests.docs.blocks import ROOT

LOADED = {
    "script": "src",
    "link": "href",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "object": "data",
}


class Loads(HTMLParser):
    """The addresses that a page loads by itself."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag, attributes):
        address = dict(attributes).get(LOADED.get(tag, "")) or ""
        if address and dict(attributes).get("rel") not in ("canonical", "prev", "next"):
            self.found.append(address)


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    pytest.importorskip("mkdocs")
    out = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(out)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return out


def test_every_page_is_in_the_navigation():
    config = (ROOT / "mkdocs.yml").read_text()
    shown = re.findall(
        r"([a-z0-9_/-]+\.md)$", config[config.index("\nnav:") : config.index("\nvalidation:")], re.MULTILINE
    )
    pages = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    assert len(shown) == len(set(shown)) and set(shown) == pages | set(repository_links.PLACES.values())


@pytest.mark.slow
def test_nothing_is_loaded_from_elsewhere(site):
    pages = list(site.rglob("*.html"))
    assert len(pages) > 40
    for page in pages:
        loads = Loads()
        loads.feed(page.read_text())
        assert loads.found, page
        for address in loads.found:
            assert not re.match(r"(https?:)?//", address), (page, address)
            if not address.startswith("data:") and page.name != "404.html":
                assert (page.parent / address.split("?")[0].split("#")[0]).exists(), (page, address)
    for sheet in site.rglob("*.css"):
        assert not re.search(r"url\(\s*[\"']?(https?:)?//|@import", sheet.read_text()), sheet


@pytest.mark.slow
def test_generated_references_are_there(site):
    keys = (site / "reference/configuration.html").read_text()
    assert 'id="SOLVER.EMA"' in keys and "generated:" not in keys
    assert "usage: mrb train" in (site / "reference/command-line.html").read_text()
    assert (site / "reference/numbers/non_local.html").is_file() and (site / "start/install.html").is_file()
