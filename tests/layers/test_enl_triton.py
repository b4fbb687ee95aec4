"""The Triton kernels of the Efficient Non-Local operator against dense float64 formulas.

Without a GPU they run in Triton's interpreter, which must be chosen before triton is first imported and then holds for
the whole process: `test_in_the_interpreter` runs this file again in a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
import torch
from torch import Tensor

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
triton = pytest.importorskip("triton")
# Seen with Triton 3.6 and today's numpy: the interpreter cannot take a loop's bounds from values in the kernel. 3.8 can.
OLD_INTERPRETER = tuple(int(n) for n in triton.__version__.split(".")[:2]) < (3, 8)

from maskrcnn_benchmark.layers.non_local import Weights, operator, passes, triton_passes  # noqa: E402
from maskrcnn_benchmark.layers.non_local import triton_contract as algebra  # noqa: E402
from maskrcnn_benchmark.layers.non_local import triton_kernels as kernels  # noqa: E402
from maskrcnn_benchmark.layers.non_local.equations import dct_basis  # noqa: E402
from maskrcnn_benchmark.layers.non_local.triton_passes import contract, mix, position_sums  # noqa: E402

NEEDS_GPU = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
NEEDS_INTERPRETER = pytest.mark.skipif(not INTERPRETED, reason="runs in the process of test_in_the_interpreter")
DEVICES = [
    pytest.param("cpu", marks=NEEDS_INTERPRETER),
    pytest.param("cuda", marks=[NEEDS_GPU, pytest.mark.skipif(INTERPRETED, reason="interpreted")]),
]
DTYPES = [torch.float32, torch.bfloat16, torch.float16]
FORMATS = [torch.contiguous_format, torch.channels_last]
# B, C, H, W, Kh, Kw: several tiles of channels, chunks of positions, blocks of frequencies; the least of everything.
SIZES = [
    (2, 24, 7, 13, 3, 4),
    (1, 320, 9, 11, 9, 9),
    (2, 8, 1, 1, 1, 1),
    (1, 1, 5, 2, 2, 1),
    (1, 40, 15, 20, 12, 11),
    (2, 72, 12, 17, 9, 9),
]
# The interpreter takes seconds for the largest.
CASES = [(size, dtype) for size in SIZES for dtype in DTYPES if size[1] < 320 or dtype == torch.bfloat16]


def random_map(size: tuple[int, ...], dtype: torch.dtype, device: str, memory_format: torch.memory_format) -> Tensor:
    return torch.randn(size[:4]).to(device, dtype).contiguous(memory_format=memory_format)


def random_tables(size: tuple[int, ...], device: str) -> tuple[Tensor, Tensor]:
    """Tables without the symmetries of a DCT, of its magnitude."""
    _, _, height, width, kh, kw = size
    return (torch.randn(height, kh) / height**0.5).to(device), (torch.randn(width, kw) / width**0.5).to(device)


def flat(x: Tensor) -> Tensor:
    return x.double().flatten(2)


def dense(rows: Tensor, columns: Tensor) -> Tensor:
    """E[N, K], float64."""
    return torch.einsum("hi,wj->hwij", rows.double(), columns.double()).reshape(len(rows) * len(columns), -1)


def assert_within(actual: Tensor, expected: Tensor, bound: Tensor) -> None:
    """Every element within its bound; the difference is taken in float64."""
    excess = ((actual.double() - expected).abs() / (bound + 1e-30)).max().item()
    assert excess <= 1, f"{excess} times the bound"


# A sum of n products in float32 is off by at most n 2^-24 of the sum of the products' magnitudes, and by about the square
# root of that n in practice: 1e-6 covers the sizes here. A factor rounded to a dtype is off by at most that dtype's eps;
# half of it where the rounding is to nearest, which the interpreter's (bfloat16) and TF32's are not.
SUM = 1e-6


def eps(dtype: torch.dtype) -> float:
    return torch.finfo(dtype).eps


@pytest.mark.skipif(INTERPRETED, reason="this is that process")
@pytest.mark.skipif(OLD_INTERPRETER, reason="Triton's interpreter fails with this numpy before version 3.8")
@pytest.mark.slow
def test_in_the_interpreter():
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", __file__]
    # Without the options of this process: coverage would take longer than the kernels, of which it sees nothing.
    environment = os.environ | {"TRITON_INTERPRET": "1", "PYTEST_ADDOPTS": ""}
    result = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    assert " passed" in result.stdout


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("size", "dtype"), CASES)
def test_position_sums(size, dtype, device):
    torch.manual_seed(0)
    rows, columns = random_tables(size, device)
    waves = dense(rows, columns)
    x = random_map(size, dtype, device, FORMATS[size[3] % 2])
    u = random_map(size, dtype, device, FORMATS[size[1] % 3 % 2])
    for left in (x, u):
        gram, spectrum = position_sums(left, x, rows, columns)
        assert gram.dtype == spectrum.dtype == torch.float32
        magnitude = flat(left).abs() @ flat(x).abs().mT
        assert_within(gram, flat(left) @ flat(x).mT, SUM * magnitude)  # products of two factors are exact
        magnitude = flat(left).abs() @ waves.abs()
        assert_within(spectrum, flat(left) @ waves, (eps(dtype) + SUM) * magnitude)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("size", "dtype"), CASES)
def test_mix(size, dtype, device):
    torch.manual_seed(0)
    batch, channels = size[:2]
    rows, columns = random_tables(size, device)
    waves = dense(rows, columns)
    x = random_map(size, dtype, device, FORMATS[size[3] % 2])
    other = random_map(size, dtype, device, FORMATS[size[1] % 3 % 2])
    a, weight = torch.randn(2, batch, channels, channels, device=device) / channels**0.5
    p = torch.randn(batch, channels, waves.shape[1], device=device)

    expected = flat(x) + a.double() @ flat(x) + p.double() @ waves.T
    bound = (eps(dtype) + SUM) * (a.abs().double() @ flat(x).abs())
    bound += (2 * eps(dtype) + SUM) * (p.abs().double() @ waves.abs().T)
    for arguments in ((), (other, weight)):
        if arguments:
            expected = expected + weight.double() @ flat(other)
            bound = bound + (eps(dtype) + SUM) * (weight.abs().double() @ flat(other).abs())
        z = mix(x, a, p, rows, columns, *arguments)
        assert z.dtype == dtype and z.shape == x.shape and z.stride() == x.stride()
        assert_within(flat(z), expected, (1 + eps(dtype)) * bound + eps(dtype) * expected.abs())


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("position", [True, False])
@pytest.mark.parametrize("size", [(2, 24, 12, 91, 9), (1, 320, 160, 99, 81), (2, 8, 5, 1, 1), (1, 40, 150, 70, 20)])
def test_contract(size, position, device):
    torch.manual_seed(0)
    batch, channels, inner, count, frequencies = size
    x = torch.randn(batch, channels, count, dtype=torch.float64) + 0.3
    # Any orthonormal basis whose first column is constant.
    waves = torch.randn(count, frequencies, dtype=torch.float64)
    waves[:, 0] = 1
    waves = torch.linalg.qr(waves).Q
    waves *= waves[0, 0].sign()
    theta_w, phi_w, g_w = torch.randn(3, inner, channels, dtype=torch.float64) / channels**0.5
    theta_b, phi_b, g_b = torch.randn(3, inner, dtype=torch.float64)
    out_w, out_b = torch.randn(channels, inner, dtype=torch.float64) / inner**0.5, torch.randn(channels).double()

    g, phi = g_w @ x + g_b[:, None], phi_w @ x + phi_b[:, None]
    context = g @ phi.mT / count
    expected_a = out_w @ context @ theta_w
    constant = (out_w @ context @ theta_b + out_b)[:, :, None] * count**0.5
    expected_p = out_w @ g @ waves if position else torch.zeros(batch, channels, frequencies, dtype=torch.float64)
    expected_p = torch.cat((expected_p[:, :, :1] + constant, expected_p[:, :, 1:]), dim=2)

    weights = (theta_w, theta_b, phi_w, phi_b, g_w, g_b, out_w, out_b)
    gram, spectrum, *weights = (t.to(device, torch.float32) for t in (x @ x.mT, x @ waves, *weights))
    a, p = contract(gram, spectrum, count, Weights(*weights), position)
    for actual, expected in ((a, expected_a), (p, expected_p)):
        assert actual.dtype == torch.float32
        torch.testing.assert_close(actual.cpu().double(), expected, rtol=0, atol=1e-5 * expected.abs().max().item())


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2), (torch.float16, 4e-3)])
@pytest.mark.parametrize("dct_size", [9, 0])
def test_operator_on_these_passes(dct_size, dtype, bound, device, monkeypatch):
    """Forward and backward of the operator, with four launches in the former, against its tensor form in float64."""
    torch.manual_seed(0)
    shapes = [(16, 48, 1, 1), (16,)] * 3 + [(48, 16, 1, 1), (48,)]
    weights = [0.2 * torch.randn(shape, device=device) for shape in shapes]
    x, grad = (random_map((2, 48, 10, 14), dtype, device, torch.channels_last) for _ in range(2))
    monkeypatch.setattr(operator, "is_regrouped", lambda *arguments: True)
    launches = []

    def counted(kernel):
        class Counted:
            def __getitem__(self, grid):
                launches.append(kernel)
                return kernel[grid]

        return Counted()

    for module, name in [(kernels, f"{n}_kernel") for n in ("sums", "reduce", "mix")] + [(algebra, "contract_kernel")]:
        monkeypatch.setattr(module, name, counted(getattr(module, name)))
    z, *sums = operator._forward(triton_passes, x, *weights, dct_size)
    assert len(launches) == 4
    grads = operator._backward(triton_passes, grad, x, *weights, *sums, dct_size)
    assert len(launches) == 7

    wide = [w.double() for w in weights]
    expected, *sums = operator._forward(passes, x.double(), *wide, dct_size)
    expected_grads = operator._backward(passes, grad.double(), x.double(), *wide, *sums, dct_size)
    assert z.dtype == grads[0].dtype == dtype and z.is_contiguous(memory_format=torch.channels_last)
    for a, b in ((z, expected), *zip(grads, expected_grads, strict=True)):
        assert (a.double() - b).abs().max() < bound * b.abs().max()


@pytest.mark.parametrize("device", DEVICES)
def test_constant_column_is_exact(device):
    """The sums over positions enter the bias terms; a DCT's constant column does not round them in any dtype."""
    torch.manual_seed(0)
    x = random_map((1, 16, 23, 29), torch.bfloat16, device, torch.contiguous_format)
    rows, columns = (dct_basis(n, 9, torch.float32, x.device) for n in (23, 29))
    spectrum = position_sums(x, x, rows, columns)[1]
    total = flat(x).sum(dim=2)
    assert_within(spectrum[:, :, 0] * 667**0.5, total, SUM * flat(x).abs().sum(dim=2))
    p = torch.zeros_like(spectrum)
    p[:, :, 0] = 3 * 667**0.5
    z = mix(torch.zeros_like(x), x.new_zeros((1, 16, 16), dtype=torch.float32), p, rows, columns)
    torch.testing.assert_close(z.float(), torch.full_like(z, 3).float(), rtol=eps(torch.bfloat16), atol=0)


@pytest.mark.parametrize("device", DEVICES)
def test_matrices_beyond_float16(device):
    torch.manual_seed(0)
    x = random_map((1, 16, 4, 4), torch.float16, device, torch.contiguous_format) * 1e-2
    rows, columns = random_tables((1, 16, 4, 4, 1, 1), device)
    a = 1e5 * torch.randn(1, 16, 16, device=device)
    p = 2e5 + torch.rand(1, 16, 1, device=device)
    rows, columns = rows / 20, columns / 20
    expected = flat(x) + a.double() @ flat(x) + p.double() @ dense(rows, columns).T
    bound = 2 * eps(torch.float16) * (a.abs().double() @ flat(x).abs() + p.double() @ dense(rows, columns).abs().T)
    z = flat(mix(x, a, p, rows, columns))
    assert torch.isfinite(z).all()
    assert_within(z, expected, bound + eps(torch.float16) * expected.abs())


@pytest.mark.parametrize("device", DEVICES)
def test_sums_are_symmetric_and_repeat(device):
    torch.manual_seed(0)
    x = random_map((2, 80, 11, 21), torch.float32, device, torch.contiguous_format)
    rows, columns = random_tables((2, 80, 11, 21, 2, 5), device)
    gram, spectrum = position_sums(x, x, rows, columns)
    assert torch.equal(gram[:, 64:, :64], gram[:, :64, 64:].mT)  # one tile is the mirror image of the other
    again = position_sums(x, x, rows, columns)
    assert torch.equal(gram, again[0]) and torch.equal(spectrum, again[1])


@pytest.mark.parametrize("device", DEVICES)
def test_other_layouts_are_copied(device):
    """The gradient of a sum has strides of zero."""
    torch.manual_seed(0)
    x = random_map((2, 16, 4, 6), torch.float32, device, torch.contiguous_format)
    rows, columns = random_tables((2, 16, 4, 6, 2, 3), device)
    u = torch.full((), 0.5, device=device).expand_as(x)
    gram, _ = position_sums(u, x, rows, columns)
    assert_within(gram, flat(u) @ flat(x).mT, SUM * (flat(u).abs() @ flat(x).abs().mT))
    a = torch.randn(2, 16, 16, device=device)
    z = mix(u, a.mT, torch.zeros(2, 16, 6, device=device), rows, columns)
    expected = flat(u) + a.mT.double() @ flat(u)
    assert_within(flat(z), expected, SUM * (1 + a.mT.abs().double() @ flat(u)))


def test_bad_arguments():
    x = torch.zeros(1, 4, 2, 3)
    rows, columns, a, p = torch.zeros(2, 1), torch.zeros(3, 1), torch.zeros(1, 4, 4), torch.zeros(1, 4, 1)
    with pytest.raises(ValueError, match="got torch.float64"):
        position_sums(x.double(), x.double(), rows, columns)
    with pytest.raises(ValueError, match=r"got \(1, 4, 2, 2\) torch.float32"):
        position_sums(x[..., :2], x, rows, columns)
    with pytest.raises(ValueError, match="got one of them"):
        mix(x, a, p, rows, columns, other=x)
    with pytest.raises(ValueError, match=r"A is float32 \(1, 4, 4\); got torch.float64"):
        mix(x, a.double(), p, rows, columns)
    with pytest.raises(ValueError, match=r"rows is float32 \(2, 1\)"):
        mix(x, a, p, columns, columns)
