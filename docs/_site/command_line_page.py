"""The reference of commands: what each of them prints with --help."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import signal
import sys
from unittest import mock

from maskrcnn_benchmark.cli import commands

WIDTH = "100"  # characters of a line of help


@functools.cache
def help_of(command: str) -> str:
    """What `mrb COMMAND --help` prints; of `mrb` itself for the empty command."""
    printed = io.StringIO()
    before = signal.getsignal(signal.SIGUSR1)  # which `mrb launch` handles
    settings = {"COLUMNS": WIDTH, "NO_COLOR": "1"}
    try:
        with mock.patch.dict(os.environ, settings), mock.patch.object(sys, "argv", ["mrb"]):
            with contextlib.redirect_stdout(printed), contextlib.suppress(SystemExit):
                commands.main([*command.split(), "--help"])
    finally:
        signal.signal(signal.SIGUSR1, before)
    return printed.getvalue().rstrip()


def names() -> list[str]:
    """All commands, those of this repository's other package among them."""
    return [*commands.COMMANDS, *commands.plugins()]


def reference() -> str:
    """A section for each command."""
    sections = ["```text", help_of(""), "```", ""]
    for name in names():
        sections += [f"## mrb {name}", ""]
        if name == "launch":
            sections += ["It takes the options of torchrun, which `mrb launch --help` lists.", ""]
        else:
            sections += ["```text", help_of(name), "```", ""]
    return "\n".join(sections)
