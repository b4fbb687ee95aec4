"""The optimizer's groups, and its steps against the formula of SGD with momentum."""

import pytest
import torch
from torch import nn

from maskrcnn_benchmark.config import cfg
from maskrcnn_benchmark.layers import EfficientNonLocal
from maskrcnn_benchmark.solver import make_optimizer


@pytest.fixture
def config():
    config = cfg.clone()
    config.SOLVER.BASE_LR, config.SOLVER.WEIGHT_DECAY, config.SOLVER.WEIGHT_DECAY_BIAS = 0.1, 0.01, 0.003
    return config


@pytest.fixture
def model() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 5, 3, bias=False), nn.Conv2d(5, 2, 1))
    model[2].weight.requires_grad_(False)
    return model.to(memory_format=torch.channels_last)


def test_biases_have_a_rate_and_a_decay_of_their_own(config, model):
    optimizer = make_optimizer(config, model)
    named = {id(p): n for n, p in model.named_parameters()}
    groups = [
        (g["lr"], g["weight_decay"], g["momentum"], [named[id(p)] for p in g["params"]]) for g in optimizer.param_groups
    ]
    assert groups == [
        (0.1, 0.01, 0.9, ["0.weight", "1.weight", "3.weight"]),
        (0.2, 0.003, 0.9, ["0.bias", "1.bias", "3.bias"]),
    ]


def test_a_model_without_biases(config):
    optimizer = make_optimizer(config, nn.Conv2d(1, 1, 1, bias=False))
    assert [len(g["params"]) for g in optimizer.param_groups] == [1]


def test_non_local_modules_have_a_rate_of_their_own(config):
    model = nn.Sequential(EfficientNonLocal(4), nn.Conv2d(4, 4, 1))
    assert len(make_optimizer(config, model).param_groups) == 2
    config.SOLVER.NON_LOCAL_LR_FACTOR = 5.0
    named = {id(p): n for n, p in model.named_parameters()}
    groups = [
        (round(g["lr"], 6), g["weight_decay"], {named[id(p)] for p in g["params"]})
        for g in make_optimizer(config, model).param_groups
    ]
    ours = {n for n in named.values() if n.startswith("0.")}
    assert groups == [
        (0.1, 0.01, {"1.weight"}),
        (0.2, 0.003, {"1.bias"}),
        (0.5, 0.01, {n for n in ours if "bias" not in n}),
        (1.0, 0.003, {n for n in ours if "bias" in n}),
    ]


def test_momentum_is_there_from_the_start(config, model):
    optimizer = make_optimizer(config, model)
    trained = [p for p in model.parameters() if p.requires_grad]
    assert len(optimizer.state) == len(trained)
    for p in trained:
        momentum = optimizer.state[p]["momentum_buffer"]
        assert momentum.stride() == p.stride() and momentum.count_nonzero() == 0
    config.SOLVER.MOMENTUM = 0.0
    assert not make_optimizer(config, model).state


def backward(model: nn.Module, seed: int) -> None:
    images = torch.randn(2, 3, 9, 9, generator=torch.Generator().manual_seed(seed))
    model.zero_grad()
    model(images.to(memory_format=torch.channels_last)).square().sum().backward()


def test_steps_follow_the_formula(config, model):
    """v <- 0.9 v + g + decay w; w <- w - rate v."""
    optimizer = make_optimizer(config, model)
    assert not model[0].weight.is_contiguous()  # channels last: memory in another order than the indices
    names = [n for n, p in model.named_parameters() if p.requires_grad]
    weights = {n: model.get_parameter(n).detach().clone().double() for n in names}
    velocity = {n: torch.zeros_like(w) for n, w in weights.items()}
    frozen = model[2].weight.clone()
    for step in range(4):
        backward(model, step)
        for n in names:
            rate, decay = (0.2, 0.003) if "bias" in n else (0.1, 0.01)
            velocity[n] = 0.9 * velocity[n] + model.get_parameter(n).grad.double() + decay * weights[n]
            weights[n] = weights[n] - rate * velocity[n]
        optimizer.step()
        for n in names:
            p = model.get_parameter(n)
            torch.testing.assert_close(p.detach().double(), weights[n], rtol=1e-5, atol=1e-5)
            torch.testing.assert_close(
                optimizer.state[p]["momentum_buffer"].double(), velocity[n], rtol=1e-5, atol=1e-5
            )
            # Going on from what the optimizer holds keeps rounding from growing with the steps.
            weights[n], velocity[n] = p.detach().double(), optimizer.state[p]["momentum_buffer"].double()
    assert torch.equal(model[2].weight, frozen)


def test_a_step_told_on_the_device_to_change_nothing_changes_nothing(config, model):
    optimizer = make_optimizer(config, model)
    backward(model, 0)
    optimizer.step()
    before = {n: p.detach().clone() for n, p in model.named_parameters()}
    momentum = [s["momentum_buffer"].clone() for s in optimizer.state.values()]
    backward(model, 1)
    for p in model.parameters():
        if p.grad is not None:
            p.grad.fill_(float("nan"))
    optimizer.found_inf = torch.tensor(1.0)
    optimizer.step()
    assert all(torch.equal(p, before[n]) for n, p in model.named_parameters())
    assert all(torch.equal(s["momentum_buffer"], m) for s, m in zip(optimizer.state.values(), momentum, strict=True))
    backward(model, 1)
    optimizer.found_inf = torch.tensor(0.0)
    optimizer.step()
    assert not torch.equal(model[0].weight, before["0.weight"])
