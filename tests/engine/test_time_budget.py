"""SOLVER.MAX_TIME: a schedule that is as long as the time allows, by a clock that the test turns."""

import pytest
import torch

from maskrcnn_benchmark.config import cfg
from maskrcnn_benchmark.engine import time_budget
from maskrcnn_benchmark.engine.time_budget import TimeBudget
from tests.support.fakes import Loader, Run
from tests.support.helpers import CONFIG, options, write_coco

TRAIN = CONFIG.parents[2] / "tools/train_net.py"


@pytest.fixture
def clock(monkeypatch):
    class Clock:
        now = 100.0

        def perf_counter(self) -> float:
            return self.now

    found = Clock()
    monkeypatch.setattr(time_budget, "time", found)
    return found


def rates(run: Run, clock, seconds: float, **given) -> list[float]:
    """Train with a clock that goes on by `seconds` with each iteration; the rate of each iteration."""
    seen = []

    def tick(*_) -> None:
        clock.now += seconds
        seen.append(run.optimizer.param_groups[0]["lr"])

    handle = run.model.register_forward_pre_hook(tick)
    run.train(Loader(100_000, **given.pop("loader", {})), **given)
    handle.remove()
    return seen


def test_the_schedule_keeps_its_shape(tmp_path, clock):
    """A written schedule of 100 iterations with a step at 50 takes half a minute: 60 iterations of half a second."""
    run = Run(tmp_path, 100, SOLVER__STEPS=(50,), SOLVER__MAX_TIME=0.5)
    seen = rates(run, clock, 0.5)
    assert len(seen) == 60
    assert seen[:30] == pytest.approx([0.05] * 30) and seen[31:] == pytest.approx([0.005] * 29)
    saved = run.saved("model_final")
    assert saved["iteration"] == 60 and saved["seconds"] == pytest.approx(30)


def test_more_iterations_than_written(tmp_path, clock):
    run = Run(tmp_path, 10, SOLVER__STEPS=(5,), SOLVER__MAX_TIME=0.5)
    seen = rates(run, clock, 0.1)
    assert abs(len(seen) - 300) <= 1 and seen[148] == pytest.approx(0.05) and seen[152] == pytest.approx(0.005)


def test_slower_iterations_are_noticed(clock):
    budget = TimeBudget(100, 1000)
    positions = []
    for i in range(40):
        clock.now += 1 if i < 20 else 4
        positions.append(budget.advance())
    assert positions[19] == 200 and positions[39] == 1000 and budget.is_over
    assert positions == sorted(positions)


def test_a_resumed_run_has_the_rest_of_the_time(tmp_path, clock):
    run = Run(tmp_path, 100, SOLVER__MAX_TIME=0.5)
    arguments = {"iteration": 20, "seconds": 10.0}
    assert len(rates(run, clock, 0.5, arguments=arguments, loader={"start": 20})) == 40
    assert arguments["iteration"] == 60


def test_by_the_command_line(tmp_path, run_program):
    """A training of 1.2 seconds ends long before the iterations that are written, and has nothing to do when started again."""
    write_coco(tmp_path)
    words = [
        "--skip-test",
        "--config-file",
        str(CONFIG),
        *options(tmp_path, SOLVER__MAX_TIME=0.02, SOLVER__MAX_ITER=10**6),
    ]
    code, said = run_program(TRAIN, *words)
    assert code == 0, said
    assert "Training from iteration 0 for 1 second" in said and "model_final.pth" in said
    saved = torch.load(tmp_path / "run/model_final.pth", weights_only=False)
    assert 1 <= saved["iteration"] < 1000 and saved["seconds"] >= 1.2
    cfg.defrost()
    code, said = run_program(TRAIN, *words)
    assert code == 0 and "Nothing to train" in said
