import pytest

from maskrcnn_benchmark.utils import timer as module
from maskrcnn_benchmark.utils.timer import Timer, get_time_str


def test_time_adds_up(monkeypatch):
    clock = iter([0.0, 10.0, 12.0, 20.0, 21.0, 30.0])
    monkeypatch.setattr(module.time, "perf_counter", lambda: next(clock))
    timer = Timer()
    timer.tic()
    assert timer.toc() == 2.0
    timer.tic()
    assert timer.toc(average=False) == 1.0
    assert (timer.total_time, timer.calls, timer.average_time, timer.diff) == (3.0, 2, 1.5, 1.0)
    assert timer.avg_time_str() == "0:00:01.500000"
    timer.reset()
    assert (timer.total_time, timer.calls, timer.average_time) == (0.0, 0, 0.0)


@pytest.mark.parametrize(("seconds", "text"), [(0.9, "0:00:00"), (61.2, "0:01:01"), (90000, "1 day, 1:00:00")])
def test_seconds_as_text(seconds, text):
    assert get_time_str(seconds) == text
