import logging
import runpy
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.tiny import write_model

DEMO = Path(__file__).parents[2] / "demo"


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> list[str]:
    """The configuration and the weights of a small ENL model."""
    return write_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def demo_folder(monkeypatch) -> Path:
    """The folder demo/, from which its programs import each other as they do when Python starts them."""
    monkeypatch.syspath_prepend(str(DEMO))
    return DEMO


@pytest.fixture
def run_demo(demo_folder, monkeypatch, capfd) -> Callable[..., tuple[int, str]]:
    """Run a program of demo/ without a display, in this process: its name and arguments -> exit status and output."""
    handler = signal.getsignal(signal.SIGTERM)

    def call(name: str, *words: object) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", [name, *map(str, words)])
        code = 0
        try:
            runpy.run_path(str(demo_folder / f"{name}.py"), run_name="__main__")
        except SystemExit as stop:
            code = int(stop.code or 0)
        printed = capfd.readouterr()
        return code, printed.out + printed.err

    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    # Tools that ran before in this process log to outputs that are closed by now.
    monkeypatch.setattr(logging.getLogger("maskrcnn_benchmark"), "handlers", [])
    yield call
    signal.signal(signal.SIGTERM, handler)
