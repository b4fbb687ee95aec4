from collections.abc import Callable
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[2] / "tools"


@pytest.fixture
def run_tool(run_program) -> Callable[..., tuple[int, str]]:
    """Run a tool in this process: its name and its arguments -> its exit status and what it printed."""
    return lambda name, *words: run_program(TOOLS / f"{name}.py", *words)
