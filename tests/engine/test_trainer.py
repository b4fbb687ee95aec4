"""The training loop on a model small enough to be followed by hand."""

import json
import math
import os
import signal

import pytest
import torch

from maskrcnn_benchmark.config import cfg
from maskrcnn_benchmark.data.datasets.evaluation.evaluator import EvaluationResult
from maskrcnn_benchmark.engine import precision
from maskrcnn_benchmark.engine.errors import NonFiniteLossError, TrainingInterrupted
from maskrcnn_benchmark.engine.precision import autocast
from maskrcnn_benchmark.engine.step import _check_strides
from maskrcnn_benchmark.engine.trainer import reduce_loss_dict
from tests.support.fakes import Loader, Model, Run


def files(run: Run) -> set[str]:
    return {path.name for path in run.folder.iterdir()}


def lines(run: Run) -> list[dict]:
    return [json.loads(line) for line in (run.folder / "metrics.jsonl").read_text().splitlines()]


def test_the_loop_is_gradient_descent(tmp_path):
    """Against the plain loop, with torch's own reference implementation of the optimizer."""
    run = Run(tmp_path, 5, SOLVER__STEPS=(3,))
    run.train()
    model = Model()
    groups = [{"params": [model.linear.weight], "weight_decay": 0.0005}, {"params": [model.linear.bias], "lr": 0.1}]
    optimizer = torch.optim.SGD(groups, lr=0.05, momentum=0.9, foreach=False, fused=False)
    for i, (images, targets, _) in enumerate(Loader(5)):
        if i == 3:
            for group in optimizer.param_groups:
                group["lr"] *= 0.1
        optimizer.zero_grad()
        sum(model(images, targets).values()).backward()
        optimizer.step()
    torch.testing.assert_close(run.model.state_dict(), model.state_dict(), rtol=1e-5, atol=1e-6)
    saved = run.saved("model_final")
    assert saved["iteration"] == 5 and saved["scheduler"]["last_epoch"] == 5
    assert (tmp_path / "last_checkpoint").read_text().endswith("model_final.pth")


@pytest.mark.parametrize(("value", "loss"), [(math.nan, "nan"), (1e30, "inf")])
@pytest.mark.parametrize(("bad", "period"), [(1, 1), (3, 1), (5, 1), (3, 100)])
def test_a_loss_that_is_not_finite_stops_before_it_does_harm(tmp_path, bad, period, value, loss):
    run = Run(tmp_path / "run", 5, SOLVER__LOG_PERIOD=period)
    with pytest.raises(NonFiniteLossError) as raised:
        run.train(Loader(5, bad=bad, value=value), checkpoint_period=1 if period == 1 else 2)
    message = str(raised.value)
    assert f"The loss of iteration {bad} is not finite (rank 0: {{'loss_fit': {loss}}}" in message
    assert f"images [{100 + 2 * bad}, {101 + 2 * bad}]" in message and "loss_size" not in message

    saved = run.saved("model_nonfinite")
    expected = Model().state_dict()
    if bad > 1:
        before = Run(tmp_path / "before", bad - 1)
        before.train()
        expected = before.saved("model_final")["model"]
        momentum = before.saved("model_final")["optimizer"]["state"]
        for index, state in saved["optimizer"]["state"].items():
            assert torch.equal(state["momentum_buffer"], momentum[index]["momentum_buffer"])
    assert all(torch.equal(v, expected[name]) for name, v in saved["model"].items())
    assert "model_final.pth" not in files(run)
    if bad == 1:
        assert "last_checkpoint" not in files(run)
    else:
        tagged = (run.folder / "last_checkpoint").read_text()
        assert tagged.endswith(f"model_{bad - 1 if period == 1 else 2:07d}.pth")
    assert all(math.isfinite(line["loss"]) and line["iteration"] < bad for line in lines(run))


def test_checkpoints_and_tests_at_their_periods(tmp_path):
    run = Run(tmp_path, 6)
    tested = []

    def evaluate(pictures: dict) -> None:
        run.model.eval()
        tested.append(run.scheduler.last_epoch)

    modes = []
    run.model.register_forward_pre_hook(lambda module, _: modes.append(module.training))
    run.train(checkpoint_period=2, test_period=3, evaluate=evaluate)
    assert {n for n in files(run) if n.endswith(".pth")} == {
        "model_0000002.pth",
        "model_0000004.pth",
        "model_final.pth",
    }
    assert tested == [3]  # the last iteration's test is the caller's
    assert modes == [True] * 6


def test_a_checkpoint_knows_what_the_test_of_its_iteration_found(tmp_path):
    """So that a run that goes on from it after a kill does not take the next result, a worse one, for the best."""
    found = iter((0.5, 0.4, 0.3))

    def evaluate(pictures: dict) -> list[EvaluationResult]:
        return [EvaluationResult({"bbox": {"AP": next(found)}})]

    def run(iterations: int, arguments: dict) -> Run:
        made = Run(tmp_path, iterations, DATASETS__TEST=("mine",))
        made.train(Loader(iterations), checkpoint_period=2, test_period=2, evaluate=evaluate, arguments=arguments)
        return made

    first = run(5, {"iteration": 0})
    assert first.saved("model_0000002")["best"] == {
        "metric": "mine/bbox/AP",
        "value": 0.5,
        "iteration": 2,
        "tests_since": 0,
    }
    best = first.saved("model_0000004")["best"]
    assert (best["value"], best["tests_since"]) == (0.5, 1)
    run(7, {"iteration": 4, "best": best})
    assert first.saved("model_best")["best"]["value"] == 0.5


def test_reported_are_the_means_since_the_last_report(tmp_path):
    run = Run(tmp_path, 5, SOLVER__LOG_PERIOD=2)
    run.train()
    reported = lines(run)
    assert [line["iteration"] for line in reported] == [2, 4, 5]
    for line, part in zip(reported, (slice(0, 2), slice(2, 4), slice(4, 5)), strict=True):
        seen = run.model.seen[part]
        for name in ("loss_fit", "loss_size"):
            assert line[name] == pytest.approx(sum(s[name] for s in seen) / len(seen), rel=1e-5)
        assert line["loss"] == pytest.approx(line["loss_fit"] + line["loss_size"], rel=1e-5)
        assert line["lr"] == pytest.approx(0.05) and line["time"] > 0 and line["memory_mb"] > 10


def test_what_is_drawn_depends_on_the_iteration_alone(tmp_path):
    whole = Run(tmp_path / "whole", 5)
    whole.train()
    tail = Run(tmp_path / "tail", 5)
    torch.manual_seed(77)
    tail.train(Loader(5, start=3), arguments={"iteration": 3})
    assert tail.model.drawn == whole.model.drawn[3:] and len(set(whole.model.drawn)) == 5
    other = Run(tmp_path / "other", 5, SEED=2)
    other.train()
    assert not set(other.model.drawn) & set(whole.model.drawn)


class Interrupting(Loader):
    """Sends this process a signal while it fetches the batches of some iterations."""

    def __init__(self, iterations: int, number: int, at: tuple[int, ...]):
        super().__init__(iterations)
        self.number, self.at = number, at

    def __iter__(self):
        for i, batch in enumerate(super().__iter__(), start=1):
            if i in self.at:
                os.kill(os.getpid(), self.number)
            yield batch


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_training_with_a_checkpoint(tmp_path, number):
    handlers = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    run = Run(tmp_path, 50)
    with pytest.raises(TrainingInterrupted) as raised:
        run.train(Interrupting(50, number, at=(3,)))
    assert raised.value.code == 128 + number
    assert signal.Signals(number).name in raised.value.message
    done = run.saved("model_0000003")
    assert done["iteration"] == 3 and (tmp_path / "last_checkpoint").read_text().endswith("model_0000003.pth")
    before = Run(tmp_path / "before", 3)
    before.train()
    assert all(torch.equal(v, before.model.state_dict()[n]) for n, v in done["model"].items())
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == handlers


def test_a_second_signal_ends_it_at_once(tmp_path):
    # A shell starts what runs in the background with SIGINT ignored.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    run = Run(tmp_path, 50)

    class Impatient(Interrupting):
        def __iter__(self):
            for batch in super().__iter__():
                if len(run.model.seen) == 2:  # the third batch, with which the first signal came
                    os.kill(os.getpid(), self.number)
                yield batch

    try:
        with pytest.raises(KeyboardInterrupt):
            run.train(Impatient(50, signal.SIGINT, at=(3,)))
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("any_dtype")
def test_overflow_in_float16_skips_the_step_and_halves_the_scale(tmp_path):
    run = Run(tmp_path, 8, DTYPE="float16")
    weights = []
    run.model.register_forward_pre_hook(lambda module, _: weights.append(module.linear.weight.detach().clone()))
    # The gradients of the outputs, times the first scale of 65536, are beyond float16's 65504.
    run.train(Loader(8, bad=1, value=30.0))
    assert [line["scale"] for line in lines(run)] == [32768.0] * 8  # halved once
    changed = [not torch.equal(before, after) for before, after in zip(weights, weights[1:], strict=False)]
    assert changed == [False] + [True] * 6
    saved = run.saved("model_final")
    assert saved["scaler"]["scale"] == 32768 and saved["scaler"]["_growth_tracker"] == 7
    assert all(v.isfinite().all() for v in saved["model"].values())

    resumed = Run(tmp_path / "resumed", 9, DTYPE="float16")
    resumed.model.load_state_dict(saved["model"])
    resumed.train(Loader(9, start=8), arguments={"iteration": 8, "scaler": saved["scaler"]})
    assert resumed.saved("model_final")["scaler"]["_growth_tracker"] == 8


@pytest.mark.usefixtures("any_dtype")
def test_a_loss_that_is_not_finite_stops_in_float16_too(tmp_path):
    run = Run(tmp_path, 5, DTYPE="float16")
    with pytest.raises(NonFiniteLossError, match="iteration 3 .*loss_fit"):
        run.train(Loader(5, bad=3))
    assert all(v.isfinite().all() for v in run.saved("model_nonfinite")["model"].values())


@pytest.mark.usefixtures("any_dtype")
def test_dtypes():
    config = cfg.clone()
    config.DTYPE = "bfloat16"
    with autocast(config, torch.device("cpu")):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
    config.DTYPE = "float32"
    with autocast(config, torch.device("cpu")):
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
    config.DTYPE = "int8"
    with pytest.raises(ValueError, match="DTYPE must be one of float32, float16, bfloat16; got 'int8'"):
        autocast(config, torch.device("cpu"))


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_processor_without_16_bits_computes_in_float32(dtype, monkeypatch, log):
    monkeypatch.setattr(precision, "fast_dtypes", lambda: {torch.float32})
    precision._say_once.cache_clear()
    config = cfg.clone()
    config.DTYPE = dtype
    for _ in range(2):
        with autocast(config, torch.device("cpu")):
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float32
    assert log.text.count(f"DTYPE, {dtype}, is computed in float32") == 1
    assert precision.dtype_on(config, torch.device("cuda")) == precision.DTYPES[dtype]


def test_gradients_in_another_order_than_their_weights_are_noticed():
    conv = torch.nn.Conv2d(2, 3, 3).to(memory_format=torch.channels_last)
    conv.weight.grad = torch.zeros_like(conv.weight)
    _check_strides(conv)
    conv.weight.grad = torch.zeros_like(conv.weight).contiguous()
    with pytest.raises(RuntimeError, match="gradient of weight has the strides"):
        _check_strides(conv)
    pointwise = torch.nn.Conv2d(1, 3, 1)  # a dimension of size 1 has any stride
    pointwise.weight.grad = torch.zeros(3).as_strided((3, 1, 1, 1), (1, 7, 5, 3))
    _check_strides(pointwise)


def test_losses_of_a_single_process_are_its_own():
    loss = torch.ones((), requires_grad=True) * 2
    reduced = reduce_loss_dict({"loss": loss})
    assert reduced["loss"].item() == 2.0 and not reduced["loss"].requires_grad


def test_a_sum_that_overflows_is_named(tmp_path):
    class Overflowing(Model):
        def forward(self, images, targets):
            return {name: loss * 0 + 3e38 for name, loss in super().forward(images, targets).items()}

    run = Run(tmp_path, 2)
    run.model.__class__ = Overflowing
    with pytest.raises(NonFiniteLossError, match="{'their sum': inf}"):
        run.train()
