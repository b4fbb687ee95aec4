import json

import numpy as np
import pytest
import torch

from maskrcnn_benchmark.utils.metric_logger import MetricLogger, SmoothedValue
from maskrcnn_benchmark.utils.metric_writer import MetricWriter, read_metrics


@pytest.mark.parametrize("count", [1, 4, 5, 12])
def test_statistics_are_torchs(count):
    values = np.random.default_rng(count).normal(size=count)
    meter = SmoothedValue(window_size=5)
    for i, value in enumerate(values):  # numbers and tensors mixed, in order
        meter.update(torch.tensor(value, dtype=torch.float64) if i % 3 else float(value))
    window = values[-5:]
    assert meter.median == pytest.approx(
        torch.from_numpy(window).median().item(), rel=1e-6
    )  # of an even number the lower one
    assert meter.avg == pytest.approx(window.mean(), rel=1e-6)
    assert meter.global_avg == pytest.approx(values.mean(), rel=1e-6)


def test_attributes_that_forks_read_hold_every_value():
    meter = SmoothedValue(window_size=3)
    for value in range(5):
        meter.update(torch.tensor(float(value)))
    assert list(meter.series) == [0, 1, 2, 3, 4] and list(meter.deque) == [2, 3, 4]
    assert (meter.total, meter.count) == (10.0, 5)


def test_an_empty_series_has_no_value():
    meter = SmoothedValue()
    assert all(np.isnan(v) for v in (meter.median, meter.avg, meter.global_avg))


def test_tensors_are_read_only_when_a_value_is_asked_for(monkeypatch):
    reads = []
    for name in ("item", "tolist", "__float__", "cpu"):
        original = getattr(torch.Tensor, name)

        def counted(self, *args, _name=name, _original=original):
            reads.append(_name)
            return _original(self, *args)

        monkeypatch.setattr(torch.Tensor, name, counted)
    meter = MetricLogger()
    for i in range(50):
        meter.update(loss=torch.tensor(float(i), requires_grad=True))
    assert reads == []
    assert meter.loss.global_avg == 24.5
    assert reads == ["tolist"]  # all of them at once


def test_a_series_does_not_keep_the_graph():
    meter = SmoothedValue()
    meter.update(torch.ones((), requires_grad=True) * 2)
    assert not meter._pending[0].requires_grad


def test_series_by_name():
    meters = MetricLogger(delimiter="; ")
    meters.update(a=1.0, b=torch.tensor(2.0))
    meters.update(a=3.0)
    assert str(meters) == "a: 1.0000 (2.0000); b: 2.0000 (2.0000)"
    assert meters.a.global_avg == 2.0
    with pytest.raises(AttributeError, match="no series 'c'"):
        _ = meters.c


def test_lines_of_json_are_appended(tmp_path):
    path = tmp_path / "metrics.jsonl"
    for iteration in (1, 2):
        writer = MetricWriter(str(path), start=iteration - 1)
        writer.write(iteration, {"loss": 0.5, "note": "x"})
        assert len(path.read_text().splitlines()) == iteration  # on the disk at once
        writer.close()
    assert [json.loads(line) for line in path.read_text().splitlines()] == [
        {"iteration": i, "loss": 0.5, "note": "x"} for i in (1, 2)
    ]


def test_a_run_that_goes_on_leaves_no_line_twice(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text('{"iteration": 1}\n{"iteration": 2}\n{"iteration": 3}\n{"itera')
    writer = MetricWriter(str(path), start=2)
    writer.write(3, {"loss": 1.0})
    writer.close()
    assert read_metrics(str(path)) == [{"iteration": 1}, {"iteration": 2}, {"iteration": 3, "loss": 1.0}]


def test_a_full_disk_costs_lines_but_not_the_training(tmp_path, log):
    writer = MetricWriter(str(tmp_path / "metrics.jsonl"))

    class Full:
        name = "metrics.jsonl"

        def write(self, text: str) -> None:
            raise OSError(28, "No space left on device")

    writer._file.close()
    writer._file = Full()
    for i in range(3):
        writer.write(i, {"loss": 1.0})
    assert log.text.count("metrics.jsonl is not complete") == 1


def test_tensorboard_gets_the_numbers(tmp_path, monkeypatch):
    scalars = []

    class Writer:
        def __init__(self, folder: str, purge_step: int):
            self.folder = folder
            scalars.append(("from", purge_step))

        def add_scalar(self, name: str, value: float, step: int) -> None:
            scalars.append((self.folder, name, value, step))

        def close(self) -> None:
            scalars.append("closed")

    import sys
    import types

    stand_in = types.ModuleType("torch.utils.tensorboard")
    stand_in.SummaryWriter = Writer
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", stand_in)
    writer = MetricWriter(str(tmp_path / "m.jsonl"), str(tmp_path), start=2)
    writer.write(3, {"loss": 0.5, "note": "x"})
    writer.close()
    assert scalars == [("from", 3), (str(tmp_path), "loss", 0.5, 3), "closed"]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(ImportError, match="pip install tensorboard"):
        MetricWriter(str(tmp_path / "m.jsonl"), str(tmp_path))
