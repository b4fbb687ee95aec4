"""The code blocks of a document, and what is said about them."""

from __future__ import annotations

import re
import textwrap
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
# Documents whose every block is run; in the others commands are only looked through.
RUN = sorted(
    str(path.relative_to(ROOT)) for place in ("README.md", "INSTALL.md", "docs/**/*.md") for path in ROOT.glob(place)
)
OTHERS = ("CONTRIBUTING.md", "docker/*.md", "benchmarks/results/*.md", "projects/**/*.md", "tests/**/README.md")
READ = sorted(str(path.relative_to(ROOT)) for place in OTHERS for path in ROOT.glob(place))

FENCE = re.compile(
    r"^( *)(?:<!-- needs: (?P<needs>.+?) -->\n\1)?```(?P<info>.*)\n(?P<body>(?:.*\n)*?)\1```$", re.MULTILINE
)
TITLE = re.compile(r'(\w+)(?: title="([^"]+)")?')


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        language: shell and python blocks are run, yaml blocks are merged; text shows output.
        title: the name of the file that the block is; it is written rather than run.
        needs: what the block needs that tests have not, by the comment before it; empty if it runs anywhere.
        line: of the document, where it begins.
    """

    language: str
    title: str
    text: str
    needs: str
    line: int


def blocks_of(text: str) -> list[Block]:
    """Raises ValueError for a fence without a language."""
    found = []
    for match in FENCE.finditer(text):
        line = text.count("\n", 0, match.start()) + 1
        info = TITLE.fullmatch(match["info"].strip())
        if info is None:
            raise ValueError(f"line {line}: a block needs a language, and at most a title: {match['info']!r}")
        body = textwrap.dedent(match["body"])
        found.append(Block(info[1], info[2] or "", body, match["needs"] or "", line))
    return found
