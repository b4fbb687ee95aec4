from collections.abc import Callable
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[3] / "projects" / "enl_paper"


@pytest.fixture
def run_tool(run_program) -> Callable[..., tuple[int, str]]:
    """Run a program of the project in this process: its name and its arguments -> its exit status and what it printed."""
    return lambda name, *words: run_program(PROJECT / f"{name}.py", *words)
