import copy
import logging
import runpy
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from maskrcnn_benchmark.config import cfg
from maskrcnn_benchmark.engine import precision

DEFAULTS = copy.deepcopy(cfg)


def restore_defaults() -> None:
    if cfg != DEFAULTS or cfg.is_frozen():
        cfg.defrost()
        cfg.clear()
        cfg.update(copy.deepcopy(DEFAULTS))


@pytest.fixture(autouse=True)
def same_defaults() -> Iterator[None]:
    """The global configuration, which programs change, is after each test what it was."""
    yield
    restore_defaults()


@pytest.fixture
def any_dtype(monkeypatch):
    """Every DTYPE is computed in, also where it takes long."""
    monkeypatch.setattr(precision, "fast_dtypes", lambda: set(precision.DTYPES.values()))


@pytest.fixture
def log(caplog, monkeypatch):
    """What the package logs, at every level, also after a command line has given its logger handlers of its own."""
    monkeypatch.setattr(logging.getLogger("maskrcnn_benchmark"), "propagate", True)
    caplog.set_level(logging.DEBUG, logger="maskrcnn_benchmark")
    return caplog


@pytest.fixture
def run_program(monkeypatch, capfd) -> Callable[..., tuple[int, str]]:
    """Run a Python program in this process: its path and its arguments -> its exit status and what it printed."""

    def call(path: Path, *words: object) -> tuple[int, str]:
        restore_defaults()
        monkeypatch.setattr(sys, "argv", [path.stem, *map(str, words)])
        code = 0
        try:
            runpy.run_path(str(path), run_name="__main__")
        except SystemExit as stop:
            code = int(stop.code or 0)
        finally:
            restore_defaults()  # a process of its own would have left this one's configuration as it was
        printed = capfd.readouterr()
        return code, printed.out + printed.err

    return call
