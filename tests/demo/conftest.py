import logging
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.tiny import write_model

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
def run_demo(demo_folder, run_program, monkeypatch) -> Callable[..., tuple[int, str]]:
    """Run a program of demo/ without a display, in this process: its name and arguments -> exit status and output."""
    handler = signal.getsignal(signal.SIGTERM)
    for name in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(name, raising=False)
    # Tools that ran before in this process log to outputs that are closed by now.
    monkeypatch.setattr(logging.getLogger("maskrcnn_benchmark"), "handlers", [])
    yield lambda name, *words: run_program(demo_folder / f"{name}.py", *words)
    signal.signal(signal.SIGTERM, handler)
