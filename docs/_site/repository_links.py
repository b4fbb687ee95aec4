"""Links of the documents that lead to files outside docs/: the site gets a page of each such file.

In the repository a link is the path of a file, so that it works where the files are read. In the site a document outside docs/
becomes a page, a program or a configuration a page with its text, and an image is copied. Links to folders become plain text.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
LINK = re.compile(r"(!?\[(?:[^\]\[]|\[[^\]]*\])*\])\((?!https?:|mailto:|#)([^)\s#]+)(#[^)\s]*)?\)")
IMAGES = (".png", ".jpg", ".jpeg", ".svg", ".gif")
# Where documents outside docs/ stand in the site; others are below source/ by their own paths.
PLACES = {
    "INSTALL.md": "start/install.md",
    "CONTRIBUTING.md": "contributing.md",
    "README.md": "index.md",
    "CHANGELOG.md": "changelog.md",
    "SECURITY.md": "security.md",
    "docker/README.md": "how-to/containers.md",
    "projects/enl_paper/REPRODUCING.md": "reference/numbers/paper.md",
    **{
        str(path.relative_to(ROOT)): f"reference/numbers/{path.name}"
        for folder in ("benchmarks/results", "projects/enl_paper/results")
        for path in sorted((ROOT / folder).glob("*.md"))
    },
}
LANGUAGES = {".py": "python", ".yaml": "yaml", ".yml": "yaml", ".sh": "shell", ".sbatch": "shell", ".json": "json"}


def target_of(document: str, link: str) -> str | None:
    """The file of the repository that a link of a document leads to, or None if there is none of that name."""
    path = os.path.normpath(os.path.join(os.path.dirname(document), link))
    if (ROOT / path).is_dir() and (ROOT / path / "README.md").is_file():
        path = os.path.join(path, "README.md")
    return path if (ROOT / path).exists() else None


def place_of(path: str) -> str | None:
    """Where a file of the repository stands in the site; None for a folder."""
    if (ROOT / path).is_dir():
        return None
    if path.startswith("docs/"):
        return path.removeprefix("docs/")
    if path in PLACES:
        return PLACES[path]
    is_page = path.endswith((".md", *IMAGES))
    return f"source/{path}" if is_page else f"source/{path}.md"


def rewritten(text: str, document: str, place: str) -> str:
    """The text of a document of the repository with its links as the site needs them, for the page at `place`."""

    def one(found: re.Match[str]) -> str:
        label, link, anchor = found[1], found[2], found[3] or ""
        target = target_of(document, link)
        goal = place_of(target) if target else None
        if target is None:
            return found[0]
        if goal is None:
            return label.strip("![]")
        return f"{label}({os.path.relpath(goal, os.path.dirname(place) or '.')}{anchor})"

    return outside_code(LINK, one, text)


def outside_code(pattern: re.Pattern[str], replace, text: str) -> str:
    """`pattern.sub(replace, text)`, without what stands in fenced blocks."""
    parts = re.split(r"(^ *```.*?^ *```$)", text, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if i % 2 else pattern.sub(replace, part) for i, part in enumerate(parts))


def outside_pages() -> dict[str, str]:
    """Files of the repository by their places in the site: PLACES, and what they and the pages below docs/ link to."""
    found: dict[str, str] = {}
    waiting = [str(path.relative_to(ROOT)) for path in sorted((ROOT / "docs").rglob("*.md"))]
    waiting += [path for path in PLACES if (ROOT / path).is_file()]
    seen = set(waiting)
    while waiting:
        path = waiting.pop()
        place = place_of(path)
        if place is None:
            continue
        if not path.startswith("docs/") and path != "README.md":  # docs/index.md stands for the README
            found[place] = path
        if path.endswith(".md"):
            for _, link, _ in LINK.findall((ROOT / path).read_text()):
                target = target_of(path, link)
                if target and target not in seen:
                    seen.add(target)
                    waiting.append(target)
    return found


def page_of(path: str, place: str) -> str:
    """The Markdown of the page of a text file outside docs/; programs and configurations are left out of the search."""
    text = (ROOT / path).read_text()
    if path.endswith(".md"):
        return text
    if path.endswith(".ipynb"):
        text = "\n\n".join(_cells(text))
        return f"---\nsearch:\n  exclude: true\n---\n\n# {path}\n\nA notebook; it runs in JupyterLab.\n\n{text}\n"
    language = LANGUAGES.get(Path(path).suffix, "docker" if path.endswith("Dockerfile") else "text")
    return f"---\nsearch:\n  exclude: true\n---\n\n# {path}\n\n~~~~{language}\n{text.rstrip()}\n~~~~\n"


def _cells(notebook: str) -> list[str]:
    import json

    cells = json.loads(notebook)["cells"]
    return [
        "".join(c["source"]) if c["cell_type"] == "markdown" else f"~~~~python\n{''.join(c['source'])}\n~~~~"
        for c in cells
    ]
