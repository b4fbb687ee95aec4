"""Sigmoid focal loss against its formula, torchvision, and what PyTorch asks of an operator."""

from __future__ import annotations

import math

import pytest
import torch
import torchvision
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from maskrcnn_benchmark.layers.sigmoid_focal_loss import SigmoidFocalLoss
from maskrcnn_benchmark.ops.library import ops
from maskrcnn_benchmark.ops.sigmoid_focal_loss import sigmoid_focal_loss

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU"))]
on_devices = pytest.mark.parametrize("device", DEVICES)


def random_case(rows: int, classes: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Logits of either sign up to about 15, and targets of which some are background and some ignored."""
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(rows, classes, generator=generator, dtype=torch.float64) * 4
    targets = torch.randint(-1, classes + 1, (rows,), generator=generator)
    return logits.to(dtype), targets


def naive_focal_loss(logits: Tensor, targets: Tensor, gamma: float, alpha: float) -> Tensor:
    """The definition, one element at a time, in float64."""
    loss = torch.zeros(logits.shape, dtype=torch.float64)
    for row, target in enumerate(targets.tolist()):
        for column in range(logits.shape[1]):
            p = 1 / (1 + math.exp(-logits[row, column].item()))
            if target == column + 1:
                loss[row, column] = -alpha * (1 - p) ** gamma * math.log(p)
            elif target >= 0:
                loss[row, column] = -(1 - alpha) * p**gamma * math.log(1 - p)
    return loss


@on_devices
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("gamma", "alpha"), [(2.0, 0.25), (0.0, 0.5), (1.5, 0.9)])
@pytest.mark.parametrize(("rows", "classes"), [(40, 1), (9, 7), (3, 300)])
def test_follows_the_definition(
    device: str, rows: int, classes: int, gamma: float, alpha: float, dtype: torch.dtype
) -> None:
    logits, targets = random_case(rows, classes, dtype)
    loss = sigmoid_focal_loss(logits.to(device), targets.to(device), gamma, alpha)
    assert loss.dtype == dtype and loss.is_contiguous()
    # The formula itself loses digits where p is close to 1.
    tolerance = {"rtol": 1e-9, "atol": 1e-13} if dtype == torch.float64 else {"rtol": 2e-6, "atol": 1e-12}
    torch.testing.assert_close(loss.cpu().double(), naive_focal_loss(logits, targets, gamma, alpha), **tolerance)
    narrow = sigmoid_focal_loss(logits.to(device), targets.int().to(device), gamma, alpha)
    assert torch.equal(narrow, loss)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 600), st.integers(1, 90), st.integers(0, 1000))
def test_any_shape(rows: int, classes: int, seed: int) -> None:
    logits, targets = random_case(rows, classes, torch.float32, seed)
    known = targets >= 0
    wanted = torch.nn.functional.one_hot(targets.clamp(min=0), classes + 1)[:, 1:].float()
    expected = torchvision.ops.sigmoid_focal_loss(logits, wanted, 0.25, 2.0) * known[:, None]
    torch.testing.assert_close(sigmoid_focal_loss(logits, targets, 2.0, 0.25), expected, rtol=1e-4, atol=1e-6)


@on_devices
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_agrees_with_torchvision(device: str, dtype: torch.dtype) -> None:
    logits, targets = random_case(500, 83, dtype)
    targets = targets.clamp(min=0)
    ours, theirs = (logits.to(device).clone().requires_grad_() for _ in range(2))
    loss = sigmoid_focal_loss(ours, targets.to(device), 2.0, 0.25)
    wanted = torch.nn.functional.one_hot(targets, 84)[:, 1:].to(device, dtype)
    expected = torchvision.ops.sigmoid_focal_loss(theirs, wanted, 0.25, 2.0)
    torch.testing.assert_close(loss, expected, rtol=1e-4, atol=1e-6)
    weights = torch.randn(loss.shape, generator=torch.Generator().manual_seed(1), dtype=dtype).to(device)
    loss.backward(weights)
    expected.backward(weights)
    torch.testing.assert_close(ours.grad, theirs.grad, rtol=1e-4, atol=1e-6)


@on_devices
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("gamma", [0.0, 2.0])
def test_large_logits(device: str, dtype: torch.dtype, gamma: float) -> None:
    """A wrong prediction costs in proportion to its logit and pulls at full strength; a right one costs nothing."""
    size = torch.tensor([50.0, 1e4, 1e30], dtype=dtype, device=device)
    logits = torch.cat([size, -size])[:, None].requires_grad_()
    for target, sign in ((1, 1.0), (0, -1.0)):
        weight = 0.25 if target else 0.75
        loss = sigmoid_focal_loss(logits, torch.full((6,), target, device=device), gamma, 0.25)
        z = sign * logits.detach()
        torch.testing.assert_close(loss, weight * (-z).clamp(min=0), rtol=1e-6, atol=1e-20)
        (slope,) = torch.autograd.grad(loss.sum(), logits)
        torch.testing.assert_close(slope, -sign * weight * (z < 0).to(dtype), rtol=1e-6, atol=1e-20)


def test_small_losses_keep_their_digits() -> None:
    """float32 against float64, relative to the value, from hopeless to certain predictions."""
    logits = torch.linspace(-40, 40, 4001)[:, None]
    for target in (0, 1):
        targets = torch.full((4001,), target)
        narrow, exact = logits.clone().requires_grad_(), logits.double().requires_grad_()
        loss, expected = sigmoid_focal_loss(narrow, targets, 0.7, 0.25), sigmoid_focal_loss(exact, targets, 0.7, 0.25)
        torch.testing.assert_close(loss.double(), expected, rtol=5e-6, atol=0)
        reference = 0.75 * torch.nn.functional.softplus(exact, threshold=100) * torch.sigmoid(exact) ** 0.7
        if target == 1:
            reference = 0.25 * torch.nn.functional.softplus(-exact, threshold=100) * torch.sigmoid(-exact) ** 0.7
        torch.testing.assert_close(expected, reference, rtol=1e-12, atol=0)
        (grad,), (wanted,) = torch.autograd.grad(loss.sum(), narrow), torch.autograd.grad(expected.sum(), exact)
        torch.testing.assert_close(grad.double(), wanted, rtol=5e-6, atol=0)


@on_devices
def test_ignored_rows_cost_nothing_whatever_they_hold(device: str) -> None:
    logits = torch.tensor([[math.nan, math.inf], [1.0, math.nan], [0.5, 2.0]], device=device, requires_grad=True)
    loss = sigmoid_focal_loss(logits, torch.tensor([-1, 1, -7], device=device), 2.0, 0.25)
    assert loss[0].eq(0).all() and loss[2].eq(0).all() and loss[1, 0] > 0 and loss[1, 1].isnan()
    (grad,) = torch.autograd.grad(loss.sum(), logits)
    assert grad[0].eq(0).all() and grad[2].eq(0).all() and grad[1, 0] < 0


@on_devices
def test_gradcheck(device: str) -> None:
    logits, targets = random_case(6, 3)
    logits = logits.to(device).requires_grad_()
    for gamma in (0.0, 1.0, 2.5):
        assert torch.autograd.gradcheck(sigmoid_focal_loss, (logits, targets.to(device), gamma, 0.3))


@on_devices
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_opcheck(device: str, dtype: torch.dtype) -> None:
    logits, targets = (tensor.to(device) for tensor in random_case(6, 5, dtype))
    torch.library.opcheck(ops.sigmoid_focal_loss, (logits.clone().requires_grad_(), targets, 2.0, 0.25))
    grad = torch.randn_like(logits)
    torch.library.opcheck(ops.sigmoid_focal_loss_backward, (grad, logits, targets, 2.0, 0.25))


@on_devices
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_reduced_types_compute_in_float32(device: str, dtype: torch.dtype) -> None:
    logits, targets = (tensor.to(device) for tensor in random_case(50, 30, dtype))
    narrow, wide = logits.clone().requires_grad_(), logits.float().requires_grad_()
    loss, expected = (sigmoid_focal_loss(x, targets, 2.0, 0.25) for x in (narrow, wide))
    step = torch.finfo(dtype).eps
    assert loss.dtype == dtype
    torch.testing.assert_close(loss.float(), expected, rtol=step, atol=step * 1e-2)
    weights = torch.randn_like(loss)
    (grad,), (wanted,) = (
        torch.autograd.grad(loss, narrow, weights),
        torch.autograd.grad(expected, wide, weights.float()),
    )
    assert grad.dtype == dtype
    torch.testing.assert_close(grad.float(), wanted, rtol=step, atol=step * 1e-2)


@on_devices
def test_autocast_computes_in_float32(device: str) -> None:
    logits, targets = (tensor.to(device) for tensor in random_case(50, 30, torch.bfloat16))
    logits.requires_grad_()
    with torch.autocast(device, torch.bfloat16):
        loss = SigmoidFocalLoss(2.0, 0.25)(logits, targets)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, sigmoid_focal_loss(logits.float(), targets, 2.0, 0.25).sum())
    loss.backward()
    assert logits.grad.dtype == torch.bfloat16 and logits.grad.abs().sum() > 0


@on_devices
@pytest.mark.parametrize("shape", [(0, 5), (4, 0), (0, 0)])
def test_empty(device: str, shape: tuple[int, int]) -> None:
    logits = torch.zeros(shape, device=device, requires_grad=True)
    loss = sigmoid_focal_loss(logits, torch.zeros(shape[0], dtype=torch.int64, device=device), 2.0, 0.25)
    assert loss.shape == shape
    loss.sum().backward()
    assert logits.grad.shape == shape


@on_devices
def test_non_contiguous_arguments(device: str) -> None:
    logits, targets = (tensor.to(device) for tensor in random_case(40, 12, torch.float32))
    dense = logits.t().contiguous().t()[::2].contiguous().requires_grad_()
    strided = logits.t().contiguous().t().requires_grad_()
    loss = sigmoid_focal_loss(strided[::2], targets[::2], 2.0, 0.25)
    expected = sigmoid_focal_loss(dense, targets[::2].contiguous(), 2.0, 0.25)
    assert torch.equal(loss, expected)
    loss.sum().backward()  # the gradient is one number, expanded
    expected.backward(torch.ones_like(expected))
    assert torch.equal(strided.grad[::2], dense.grad) and strided.grad[1::2].eq(0).all()


@on_devices
def test_compiles(device: str) -> None:
    def loss(logits: Tensor, targets: Tensor) -> Tensor:
        return SigmoidFocalLoss(2.0, 0.25)(logits * 2, targets) / 3

    torch._dynamo.reset()
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    for rows in (10, 13):
        logits, targets = (tensor.to(device) for tensor in random_case(rows, 4, torch.float32))
        ours, theirs = logits.clone().requires_grad_(), logits.clone().requires_grad_()
        result, expected = compiled(ours, targets), loss(theirs, targets)
        torch.testing.assert_close(result, expected)
        torch.testing.assert_close(torch.autograd.grad(result, ours), torch.autograd.grad(expected, theirs))


def test_module_sums() -> None:
    logits, targets = random_case(20, 5, torch.float32)
    module = SigmoidFocalLoss(1.5, 0.4)
    assert repr(module) == "SigmoidFocalLoss(gamma=1.5, alpha=0.4)"
    expected = naive_focal_loss(logits, targets, 1.5, 0.4)
    torch.testing.assert_close(module(logits, targets).double(), expected.sum(), rtol=1e-5, atol=1e-6)


def test_second_derivative_is_refused() -> None:
    logits, targets = random_case(3, 2)
    logits.requires_grad_()
    loss = sigmoid_focal_loss(logits, targets.clamp(min=0), 2.0, 0.25).sum()
    (grad,) = torch.autograd.grad(loss, logits, create_graph=True)
    with pytest.raises(RuntimeError, match="cannot be differentiated again"):
        grad.sum().backward()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"logits": torch.zeros(3)}, r"logits must have shape \[N, C\], got \[3\]"),
        ({"logits": torch.zeros(3, 2, dtype=torch.int64)}, "logits must be float32, .*got Long"),
        ({"targets": torch.zeros(2, dtype=torch.int64)}, r"targets must be .* of shape \[3\].*got Long of shape \[2\]"),
        ({"targets": torch.zeros(3)}, "targets must be int32 or int64 .*got Float"),
        ({"gamma": -1.0}, "gamma must not be negative, got -1"),
    ],
)
def test_bad_arguments_are_named(change: dict, message: str) -> None:
    arguments = {
        "logits": torch.zeros(3, 2),
        "targets": torch.zeros(3, dtype=torch.int64),
        "gamma": 2.0,
        "alpha": 0.25,
    }
    with pytest.raises(RuntimeError, match=message):
        sigmoid_focal_loss(**{**arguments, **change})
