"""tools/launch.py: the exit status of a run that was stopped, of one that failed, of one that ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from torch.distributed.elastic.multiprocessing import SignalException
from torch.distributed.elastic.rendezvous import RendezvousConnectionError

from maskrcnn_benchmark.cli import launch as launch_module

LAUNCH = Path(__file__).parents[2] / "tools" / "launch.py"
WORKER = """
import pathlib, signal, sys, time

def stop(number, frame):
    time.sleep(0.5)  # writes a checkpoint
    pathlib.Path(f"stopped_by_{number}").touch()
    sys.exit(128 + number)

signal.signal(signal.SIGTERM, stop)
pathlib.Path("started").touch()
if len(sys.argv) > 1:
    sys.exit(int(sys.argv[1]))
time.sleep(60)
"""


@pytest.fixture
def launch(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("worker.py").write_text(WORKER)

    def start(*arguments: str) -> subprocess.Popen:
        command = [sys.executable, str(LAUNCH), "--standalone", "--nproc_per_node=1", "worker.py", *arguments]
        return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})

    return start


@pytest.fixture
def main(monkeypatch):
    """tools/launch.py's function, where torchrun ends with an exception."""
    monkeypatch.setenv("TORCH_ELASTIC_SHUTDOWN_TIMEOUT", "1")

    def call(error: Exception) -> int:
        def run(arguments: object) -> None:
            raise error

        monkeypatch.setattr(launch_module.run, "main", run)
        before = signal.getsignal(signal.SIGUSR1)
        try:
            return launch_module.main([])
        finally:
            signal.signal(signal.SIGUSR1, before)

    return call


@pytest.mark.slow
def test_slurms_warning_stops_the_run(launch):
    process = launch()
    for _ in range(600):
        if Path("started").exists():
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGUSR1)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 143, errors
    assert Path("stopped_by_15").exists() and "Traceback" not in errors


@pytest.mark.parametrize(("status", "expected"), [(143, 143), (3, 1)])
def test_the_status_of_processes(launch, status, expected):
    """143: another machine's process was asked to stop, and so all did."""
    process = launch(str(status))
    _, errors = process.communicate(timeout=60)
    assert process.returncode == expected, errors
    assert ("worker.py FAILED" in errors) == (expected == 1) and "Traceback" not in errors


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals(main, number):
    assert main(SignalException("stop", number)) == 128 + number


def test_a_lost_node_is_a_sentence(main, capsys):
    assert main(RendezvousConnectionError("broken")) == 1
    assert "one left before the others: broken" in capsys.readouterr().err
