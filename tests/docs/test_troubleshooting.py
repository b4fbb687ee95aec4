"""docs/troubleshooting.md quotes messages as the program prints them."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LEAST = 10  # letters of the words in a row that a message shares with one in the sources; the others are filled in


@functools.cache
def literals() -> str:
    """Every text in the sources; what is filled in is a line break."""
    found = []
    for folder in ("maskrcnn_benchmark", "demo"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.JoinedStr):
                    found.append("".join(str(v.value) if isinstance(v, ast.Constant) else "\n" for v in node.values))
                elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                    found.append(re.sub(r"%[sdrg]|%\.\d[fg]", "\n", node.value))
    return "\n".join(found)


def quoted() -> list[str]:
    """The messages in the first column of the tables whose head says `printed`."""
    messages, counts = [], False
    for line in (ROOT / "docs" / "troubleshooting.md").read_text().splitlines():
        cells = line.split(" | ")
        if line.startswith("| printed"):
            counts = True
        elif not line.startswith("|"):
            counts = False
        elif counts and not line.startswith("|---"):
            messages += re.findall(r"`([^`]+)`", cells[0])
    return [m for m in messages if " " in m]


def longest_shared(message: str) -> str:
    """The longest row of the message's words that the sources have in one text."""
    words = message.split()
    rows = (" ".join(words[i:j]).strip(" ,;:.") for i in range(len(words)) for j in range(i + 1, len(words) + 1))
    return max((row for row in rows if row in literals()), key=len, default="")


@pytest.mark.parametrize("message", quoted())
def test_the_message_is_one_of_the_program(message):
    assert len(longest_shared(message)) >= LEAST


def test_there_are_messages_and_another_is_not_found():
    assert len(quoted()) > 50 and len(longest_shared("crocodiles bathe in lukewarm lemonade")) < LEAST
