"""Requests that take their time: how far they are, and an end before they are done."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator


class Cancelled(Exception):
    """The browser wants no answer any more."""


class Job:
    """One request that waits or is worked on."""

    def __init__(self) -> None:
        self.state, self.done, self.total, self.is_cancelled = "waiting", 0, 0, False

    def advance(self, done: int, total: int) -> None:
        """Note how many parts of how many are done. Raises Cancelled if they are not wanted any more."""
        self.state, self.done, self.total = "working", done, total
        if self.is_cancelled:
            raise Cancelled

    def describe(self) -> dict:
        return {"state": self.state, "done": self.done, "total": self.total}


class Jobs:
    """Those under way, by the names that the browser gave them."""

    def __init__(self) -> None:
        self.running: dict[str, Job] = {}

    @contextlib.contextmanager
    def add(self, name: str) -> Iterator[Job]:
        """A job, which is listed under a name (unless empty or taken) until the block ends."""
        job = Job()
        is_listed = bool(name) and self.running.setdefault(name, job) is job
        try:
            yield job
        finally:
            if is_listed:
                del self.running[name]
