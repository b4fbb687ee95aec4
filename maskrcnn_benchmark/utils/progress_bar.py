"""Progress bars: of the main process, on a terminal, for what takes longer than a moment. Logs stay free of them."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from tqdm import tqdm

from maskrcnn_benchmark.utils import distributed

DELAY_S = 1.0  # what is over sooner needs no bar
INTERVAL_S = 0.2


def is_watched() -> bool:
    """Whether this process shows bars: it is the main one, and its messages go to a terminal."""
    return distributed.is_main_process() and sys.stderr.isatty()


def progress_bar(items: Iterable[Any] | None = None, **options: Any) -> tqdm:
    """tqdm with its own options, which shows nothing where nobody watches, and not before `DELAY_S`."""
    hidden = options.pop("disable", False) or not is_watched()
    return tqdm(items, **{"delay": DELAY_S, "disable": hidden, "dynamic_ncols": True, **options})


@contextlib.contextmanager
def following(position: Callable[[], int], total: int, what: str) -> Iterator[None]:
    """A bar for a block that cannot stop to move one: another thread asks for its position, of `total` bytes, and moves it."""
    if not is_watched():
        yield
        return
    over = threading.Event()

    def follow() -> None:
        with progress_bar(total=total, desc=what, unit="B", unit_scale=True, leave=False) as bar:
            while not over.wait(INTERVAL_S):
                bar.update(position() - bar.n)

    thread = threading.Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
