"""What the benchmarks share: who runs when, what counts, and what is made of the figures."""

from __future__ import annotations

import time

import pytest
import torch

import harness


def test_all_sides_run_in_every_turn_and_the_first_does_not_count():
    log: list[str] = []
    sides = {name: lambda name=name: log.append(name) for name in "abc"}
    found = harness.take_turns(sides, 3, lambda run: (run(), len(log))[1])
    assert "".join(log) == "cba" + "abc" + "cba" + "abc"
    assert found == {"a": [4, 9, 10], "b": [5, 8, 11], "c": [6, 7, 12]}
    log.clear()
    harness.take_turns(sides, 1, lambda run: run(), warm_up=0)
    assert "".join(log) == "abc"


def test_a_ratio_is_the_median_of_the_turns_ratios():
    assert harness.ratio([2.0, 30.0, 4.0], [1.0, 10.0, 4.0]) == 2.0  # of the medians it would be 1
    with pytest.raises(ValueError):
        harness.ratio([1.0], [1.0, 2.0])


def test_seconds_are_those_of_one_call():
    assert 0.02 <= harness.seconds(lambda: time.sleep(0.02)) < 2
    calls: list[float] = []

    def short() -> None:
        calls.append(time.sleep(0.001) or time.perf_counter())

    assert 0.001 <= harness.seconds_of_short(short) < 0.2 and len(calls) > 1


def test_a_gpu_is_waited_for(monkeypatch):
    """Before the clock starts and before it stops."""
    log: list[str] = []
    monkeypatch.setattr(torch.cuda, "synchronize", lambda device: log.append("wait"))
    harness.seconds(lambda: log.append("run"), torch.device("cuda"), calls=2)
    assert log == ["wait", "run", "run", "wait"]


def test_arguments_and_the_machine():
    parser = harness.argument_parser("About.", repeat=7, dtypes=harness.DTYPES)
    args = parser.parse_args(["--device", "cpu", "--dtype", "bfloat16"])
    device, dtype = harness.device_and_dtype(args)
    assert (args.repeat, device.type, dtype) == (7, "cpu", torch.bfloat16)
    with harness.autocast(device, dtype):
        assert torch.mm(torch.ones(2, 2), torch.ones(2, 2)).dtype == torch.bfloat16
    with harness.autocast(device, torch.float32):
        assert torch.mm(torch.ones(2, 2), torch.ones(2, 2)).dtype == torch.float32
    assert torch.__version__ in harness.machine() and f"{torch.get_num_threads()} CPU threads" in harness.machine()
