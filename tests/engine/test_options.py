"""What a training can do beside plain descent: accumulation, clipping, averages, the best model, an early end."""

from __future__ import annotations

import json
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from maskrcnn_benchmark.config import ConfigError, cfg
from maskrcnn_benchmark.data import make_data_loader
from maskrcnn_benchmark.data.datasets.evaluation.evaluator import EvaluationResult
from maskrcnn_benchmark.engine import run as engine_run
from maskrcnn_benchmark.engine.periodic_test import PeriodicTest, flat_metrics, keep_if_best
from maskrcnn_benchmark.engine.saving import Saver
from maskrcnn_benchmark.solver import make_ema
from maskrcnn_benchmark.utils import distributed as comm
from tests.support.fakes import Loader, Model, Run
from tests.support.helpers import CONFIG, options, write_coco
from tests.support.processes import run_in_processes


class Halves(Loader):
    """The batches of a Loader, each as two of one image."""

    def __iter__(self):
        for images, targets, indices in super().__iter__():
            yield images[:1], targets, indices[:1]
            yield images[1:], targets, indices[1:]


def test_a_batch_in_parts_is_the_batch(tmp_path):
    whole = Run(tmp_path / "whole", 6)
    whole.train()
    parts = Run(tmp_path / "parts", 6, SOLVER__ACCUMULATE=2)
    parts.train(Halves(6), checkpoint_period=4)
    torch.testing.assert_close(parts.model.state_dict(), whole.model.state_dict(), rtol=1e-5, atol=1e-6)
    lines = [[json.loads(line) for line in (tmp_path / name / "metrics.jsonl").open()] for name in ("whole", "parts")]
    for a, b in zip(*lines, strict=True):
        assert a["iteration"] == b["iteration"] and a["lr"] == b["lr"]
        assert a["loss_fit"] == pytest.approx(b["loss_fit"], rel=1e-5) and a["loss"] == pytest.approx(
            b["loss"], rel=1e-5
        )
    resumed = Run(tmp_path / "parts", 6, SOLVER__ACCUMULATE=2)
    (tmp_path / "parts" / "model_final.pth").unlink()
    resumed.checkpointer.tag_last_checkpoint(str(tmp_path / "parts" / "model_0000004.pth"))
    arguments = resumed.checkpointer.load()
    resumed.train(Halves(6, start=4), arguments=arguments)
    assert all(torch.equal(v, parts.model.state_dict()[n]) for n, v in resumed.model.state_dict().items())


def accumulate_in_processes(folder: str) -> dict:
    run = Run(Path(folder), 4, SOLVER__ACCUMULATE=2)
    wrapped = engine_run.distribute(run.model, torch.device("cpu"))
    run.train(Halves(4, seed=comm.get_rank()), wrapped)
    return {name: value.tolist() for name, value in run.model.state_dict().items()}


@pytest.mark.slow
def test_parts_of_a_batch_in_two_processes(tmp_path):
    first, second = run_in_processes(accumulate_in_processes, str(tmp_path / "two"))
    assert first == second
    run = Run(tmp_path / "one", 4)

    class Joined(Loader):
        def __iter__(self):
            for (a, targets, indices), (b, _, _) in zip(super().__iter__(), Loader(4, seed=1), strict=True):
                yield torch.cat((a, b)), targets, indices

    run.train(Joined(4))
    for name, value in run.model.state_dict().items():
        torch.testing.assert_close(torch.tensor(first[name]), value, rtol=1e-5, atol=1e-6)


@pytest.mark.usefixtures("any_dtype")
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_gradients_are_no_longer_than_allowed(tmp_path, dtype):
    limit = 0.05
    run = Run(tmp_path, 3, SOLVER__CLIP_GRAD_NORM=limit, SOLVER__MOMENTUM=0.0, SOLVER__WEIGHT_DECAY=0.0, DTYPE=dtype)
    for group in run.optimizer.param_groups:  # so that a step's length is that of its gradient
        group["weight_decay"], group["lr"], group["initial_lr"] = 0.0, 1.0, 1.0
    run.scheduler.base_lrs = [1.0, 1.0]
    places = []

    def note(*_: object) -> None:
        places.append(torch.cat([p.detach().flatten() for p in run.model.parameters()]))

    note()
    run.optimizer.register_step_post_hook(note)
    run.train(Loader(3))
    moved = [(after - before).norm().item() for before, after in zip(places, places[1:], strict=False)]
    assert moved[-2:] == pytest.approx([limit] * 2, rel=1e-3)  # float16's first scale is too much for the first step
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").open()]
    assert all(line["grad_norm"] > 2 * limit for line in lines[1:])


def test_short_gradients_stay_as_they_are(tmp_path):
    clipped, plain = Run(tmp_path / "a", 3, SOLVER__CLIP_GRAD_NORM=1e6), Run(tmp_path / "b", 3)
    clipped.train()
    plain.train()
    torch.testing.assert_close(clipped.model.state_dict(), plain.model.state_dict())


@pytest.mark.usefixtures("any_dtype")
def test_skipped_steps_are_counted(tmp_path):
    run = Run(tmp_path, 8, DTYPE="float16")
    run.train(Loader(8, bad=1, value=30.0))
    assert [json.loads(line)["skipped"] for line in (tmp_path / "metrics.jsonl").open()] == [1] * 8


def test_averaged_weights(tmp_path):
    decay, expected = 0.9, None
    run = Run(tmp_path, 5, SOLVER__EMA=decay)
    ema = make_ema(run.cfg, run.model)
    expected = run.model.linear.weight.detach().clone()
    seen = []
    run.optimizer.register_step_post_hook(lambda *_: seen.append(run.model.linear.weight.detach().clone()))
    run.train(ema=ema, checkpoint_period=3)
    for weight in seen:
        expected = decay * expected + (1 - decay) * weight
    torch.testing.assert_close(ema.module.linear.weight, expected)
    saved = run.saved("model_final")
    assert torch.equal(saved["ema"]["linear.weight"], ema.module.linear.weight)
    assert torch.equal(saved["model"]["linear.weight"], run.model.linear.weight)

    resumed = Run(tmp_path, 5, SOLVER__EMA=decay)
    resumed.checkpointer.tag_last_checkpoint(str(tmp_path / "model_0000003.pth"))
    arguments = resumed.checkpointer.load()
    again = make_ema(resumed.cfg, resumed.model, arguments.pop("ema"))
    resumed.train(Loader(5, start=3), arguments=arguments, ema=again)
    assert torch.equal(again.module.linear.weight, ema.module.linear.weight)

    tested = Run(tmp_path, 5)
    tested.checkpointer.load(averaged=True)
    assert torch.equal(tested.model.linear.weight, ema.module.linear.weight)
    with pytest.raises(ValueError, match=r"SOLVER.EMA must be at least 0 and less than 1; got 1"):
        make_ema(Run(tmp_path, 1, SOLVER__EMA=1.0).cfg, Model())


def result(ap: float) -> EvaluationResult:
    return EvaluationResult({"bbox": {"AP": ap, "AP50": math.nan}, "segm": {"AP": math.nan, "APs": 1 - ap}})


def run_with_tests(folder: Path, aps: list[float], metric: str = "", **keys: object) -> tuple[Run, dict]:
    run = Run(folder, 20, DATASETS__TEST=("one", "two"), TEST__BEST_METRIC=metric, **keys)
    given, arguments = iter(aps), {"iteration": 0}
    run.train(evaluate=lambda _: [result(next(given)), result(0.0)], test_period=2, arguments=arguments)
    return run, arguments


def test_the_best_model_is_kept(tmp_path):
    run, arguments = run_with_tests(tmp_path, [0.1, 0.4, 0.3, 0.2, 0.4, 0.3, 0.2, 0.1, 0.1])
    assert run.saved("model_best")["iteration"] == 4
    assert arguments["best"] == {"metric": "one/bbox/AP", "value": 0.4, "iteration": 4, "tests_since": 7}
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").open()]
    assert [line["test/one/bbox/AP"] for line in lines if "test/one/bbox/AP" in line][:3] == [0.1, 0.4, 0.3]
    assert (tmp_path / "last_checkpoint").read_text().endswith("model_final.pth")


@pytest.mark.parametrize(("ap", "iteration"), [(0.39, 4), (0.41, 20), (math.nan, 4)])
def test_the_test_at_the_end_counts_too(ap, iteration, tmp_path):
    run, _ = run_with_tests(tmp_path, [0.1, 0.4, *[0.2] * 7])
    cfg = run.cfg.clone()
    cfg.OUTPUT_DIR = str(tmp_path)
    keep_if_best(cfg, [result(ap), None])
    best = run.saved("model_best")
    assert best["iteration"] == best["best"]["iteration"] == iteration
    assert run.saved("model_final")["best"]["value"] == best["best"]["value"]  # what a resumed training has to surpass
    assert torch.equal(best["model"]["linear.weight"], run.saved("model_final")["model"]["linear.weight"]) == (
        iteration == 20
    )


@pytest.mark.parametrize("metric", ["segm/APs", "one/segm/APs"])
def test_another_metric_may_choose(tmp_path, metric):
    run, arguments = run_with_tests(tmp_path, [0.5, 0.4, 0.3, 0.6, 0.6, 0.6, 0.6, 0.6, 0.6], metric)
    assert run.saved("model_best")["iteration"] == 6 and arguments["best"]["metric"] == "one/segm/APs"


def test_an_unknown_metric_is_an_error(tmp_path):
    with pytest.raises(ConfigError, match=r"TEST.BEST_METRIC 'AP60' is none of .*one/bbox/AP, "):
        run_with_tests(tmp_path, [0.5], "AP60")


def test_training_that_brings_nothing_more_ends(tmp_path):
    run, arguments = run_with_tests(tmp_path, [0.1, 0.4, 0.3, 0.5, 0.4, 0.5, 0.2], SOLVER__EARLY_STOP=3)
    assert arguments["iteration"] == 14 and arguments["early_stopped"]
    saved = run.saved("model_final")
    assert saved["iteration"] == 14 and saved["early_stopped"] and saved["best"]["iteration"] == 8


def test_metrics_of_every_evaluation_are_numbers_by_name():
    found = flat_metrics(["a", "b"], [result(0.5), None])
    assert {name: v for name, v in found.items() if not math.isnan(v)} == {"a/bbox/AP": 0.5, "a/segm/APs": 0.5}
    assert len(found) == 4 and flat_metrics(["a"], None) == {}


def own(**metrics: float) -> EvaluationResult:
    return EvaluationResult({"own": metrics})


class InTraining:
    """Tests in a training, each with the results that it is given; notes which model was the best of them."""

    def __init__(self, results: list[list[EvaluationResult | None]], metric: str = "", arguments: dict | None = None):
        config = cfg.clone()
        config.merge_from_list(["DATASETS.TEST", ("one", "two"), "TEST.BEST_METRIC", metric])
        config.merge_from_list(["SOLVER.EARLY_STOP", 2])
        self.saved: list[int] = []
        self.noted: list[dict] = []
        self.arguments: dict = {} if arguments is None else arguments
        given = iter(results)
        checkpointer = SimpleNamespace(has_checkpoint=lambda: False, save=self.save)
        self.test = PeriodicTest(
            config,
            lambda pictures: next(given),
            Saver(checkpointer, 0),
            self.arguments,
            lambda iteration, metrics, pictures: self.noted.append(metrics),
        )
        self.ends = [self.test.run(iteration) for iteration in range(1, len(results) + 1)]

    def save(self, name: str, **values: Any) -> None:
        assert name == "model_best"
        self.saved.append(values["best"]["iteration"])


@pytest.mark.parametrize("named", ["mae", ("mae",), {"own/mae"}])
def test_the_lowest_may_be_the_best(named):
    def found(mae: float) -> EvaluationResult:
        return EvaluationResult({"own": {"mae": mae, "bias-mae": -mae}}, lower_is_better=named)

    tests = InTraining([[found(mae), found(0.0)] for mae in (9.0, 5.0, 2.0, 2.0, 3.0)])
    assert tests.saved == [1, 2, 3] and tests.ends == [False] * 4 + [True]
    assert InTraining([[found(mae)] for mae in (9.0, 5.0, 2.0)], "bias-mae").saved == [1, 2, 3]


def test_a_resumed_training_keeps_its_metric():
    arguments = {"best": {"metric": "two/own/AP", "value": 0.5, "iteration": 1, "tests_since": 0}}
    tests = InTraining([[own(AP=0.9), own(AP=0.4)], [own(AP=0.1), own(AP=0.6)]], arguments=arguments)
    assert tests.saved == [2] and arguments["best"]["metric"] == "two/own/AP"
    tests = InTraining([[own(AP=0.3), own(AP=0.4)]], "one/own/AP", arguments=arguments)
    assert tests.saved == [1] and arguments["best"]["metric"] == "one/own/AP"


@pytest.mark.parametrize("metric", ["", "own/rare", "one/own/rare"])
def test_one_metric_chooses_in_all_tests(metric):
    """A test in which it could not be measured counts for nothing, the first included."""
    rare = [math.nan, 0.5, math.nan, 0.6, math.nan, 0.5, math.nan, 0.4]
    tests = InTraining([[own(rare=v, AP=0.9 - 0.1 * i), own(rare=0.8)] for i, v in enumerate(rare)], metric)
    assert tests.saved == [2, 4] and tests.ends == [False] * 7 + [True]
    assert tests.arguments["best"] == {"metric": "one/own/rare", "value": 0.6, "iteration": 4, "tests_since": 2}
    assert "one/own/rare" not in tests.noted[0] and tests.noted[0]["one/own/AP"] == 0.9


def test_a_loader_yields_the_parts(tmp_path):
    write_coco(tmp_path, images=8)

    def batches(start: int = 0, **keys: object) -> list[tuple[int, ...]]:
        config = cfg.clone()
        config.merge_from_file(str(CONFIG))
        config.merge_from_list(options(tmp_path, SOLVER__IMS_PER_BATCH=4, SOLVER__MAX_ITER=3, **keys))
        return [indices for _, _, indices in make_data_loader(config, start_iter=start)]

    parts = batches(SOLVER__ACCUMULATE=2)
    assert len(parts) == 6 and all(len(part) == 2 for part in parts)
    assert batches(start=1, SOLVER__ACCUMULATE=2) == parts[2:]
    with pytest.raises(
        ConfigError, match="IMS_PER_BATCH is 4; it must be a multiple of .* 1 times SOLVER.ACCUMULATE, 3"
    ):
        batches(SOLVER__ACCUMULATE=3)
    with pytest.raises(ConfigError, match="SOLVER.ACCUMULATE is 0"):
        batches(SOLVER__ACCUMULATE=0)
