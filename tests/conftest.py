import logging

import pytest


@pytest.fixture
def log(caplog, monkeypatch):
    """What the package logs, at every level, also after a command line has given its logger handlers of its own."""
    monkeypatch.setattr(logging.getLogger("maskrcnn_benchmark"), "propagate", True)
    caplog.set_level(logging.DEBUG, logger="maskrcnn_benchmark")
    return caplog
