"""The native library: what it links against, and what is said when it is missing, stale or broken."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import maskrcnn_benchmark
from maskrcnn_benchmark.ops.source_hash import source_hash

PACKAGE = Path(maskrcnn_benchmark.__file__).parent
COMMAND = "pip install --no-build-isolation -e ."


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the package with no more than the operators."""
    copy = tmp_path / "maskrcnn_benchmark"
    copy_operators(copy)
    return copy


def copy_operators(copy: Path) -> None:
    for folder in ("csrc", "ops"):
        shutil.copytree(PACKAGE / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in (PACKAGE / "__init__.py", PACKAGE / "_copies.py", *PACKAGE.glob("_C*.so")):
        shutil.copy(file, copy)


def import_ops(package: Path) -> subprocess.CompletedProcess[str]:
    # The finder of an editable install would offer the library of the original for the copy's.
    program = (
        "import sys; sys.meta_path[:] = [f for f in sys.meta_path if '__editable__' not in str(f)]; "
        "from maskrcnn_benchmark.ops.library import ops; ops.batched_nms; print('loaded')"
    )
    return subprocess.run([sys.executable, "-c", program], cwd=package.parent, capture_output=True, text=True)


def error_of(package: Path) -> str:
    """The one line that ends the import, after checking that no other exception is shown above it."""
    result = import_ops(package)
    assert result.returncode != 0
    assert result.stderr.count("Traceback") == 1, result.stderr
    line = result.stderr.strip().splitlines()[-1]
    assert line.startswith("ImportError: ") and COMMAND in line
    return line


def test_a_faithful_copy_loads(package: Path) -> None:
    result = import_ops(package)
    assert result.stdout.strip() == "loaded", result.stderr


def test_missing_library(package: Path) -> None:
    for library in package.glob("_C*.so"):
        library.unlink()
    assert "are not built" in error_of(package)


@pytest.mark.parametrize("path", ["library.cpp", "cpu/new_kernel.cpp"])
def test_stale_library(package: Path, path: str) -> None:
    with (package / "csrc" / path).open("a") as source:
        source.write("// changed\n")
    assert "were built from other sources" in error_of(package)


def test_installed_without_sources(package: Path) -> None:
    shutil.rmtree(package / "csrc")
    assert import_ops(package).stdout.strip() == "loaded"


def test_library_that_does_not_load(package: Path) -> None:
    for library in package.glob("_C*.so"):
        library.write_bytes(b"not a library")
    line = error_of(package)
    assert f"do not load under torch {torch.__version__}" in line


def test_source_hash_sees_names_and_contents_of_sources_alone(tmp_path: Path) -> None:
    def write(name: str, text: str) -> str:
        (tmp_path / name).write_text(text)
        return source_hash(tmp_path)

    hashes = [write("a.cpp", "1"), write("a.cpp", "2"), write("b.h", ""), write("c.cu", "")]
    assert len(set(hashes)) == 4
    assert write("notes.txt", "changes nothing") == hashes[-1]
    (tmp_path / "b.h").rename(tmp_path / "d.h")
    assert source_hash(tmp_path) not in hashes


@pytest.mark.skipif(shutil.which("nm") is None, reason="needs nm")
def test_only_the_stable_abi_is_used() -> None:
    """A symbol of PyTorch's C++ interface would tie the library to one release; C functions do not."""
    (library,) = PACKAGE.glob("_C*.so")
    assert ".abi3." in library.name
    listing = subprocess.run(["nm", "-D", "--undefined-only", library], capture_output=True, text=True, check=True)
    symbols = [line.split()[-1] for line in listing.stdout.splitlines()]
    assert any(symbol.startswith("aoti_torch_") for symbol in symbols)
    unstable = [symbol for symbol in symbols if symbol.startswith("_Z") and ("c10" in symbol or "2at" in symbol)]
    assert unstable == []


@pytest.mark.parametrize("capability", ["default", "avx2"])
def test_every_instruction_set_agrees(capability: str, tmp_path: Path) -> None:
    """The processor of a test machine takes one of three code paths; the environment variable selects another."""
    program = """if True:
        import sys, torch
        from maskrcnn_benchmark.ops.nms import batched_nms
        from maskrcnn_benchmark.ops.roi_align import roi_align
        from maskrcnn_benchmark.ops.winograd import WinogradConv2d
        generator = torch.Generator().manual_seed(0)
        corner = torch.rand(400, 2, generator=generator) * 50
        boxes = torch.cat([corner, corner + torch.rand(400, 2, generator=generator) * 20], 1)
        features = torch.randn(1, 83, 30, 30, generator=generator).requires_grad_()
        pooled = roi_align(features, torch.cat([torch.zeros(400, 1), boxes], 1), 3, 0.5, 2)
        (pooled * pooled).sum().backward()
        groups = torch.arange(400) % 3
        kept = batched_nms(boxes, torch.rand(400, generator=generator), groups, 0.3)
        convolution = WinogradConv2d(torch.nn.Conv2d(83, 35, 3, padding=1))
        for values in convolution.parameters():
            values.data.normal_(generator=generator)
        torch.save((pooled.detach(), features.grad, kept, convolution(features.detach()).detach()), sys.argv[1])
    """

    def run(environment: dict[str, str]) -> tuple[torch.Tensor, ...]:
        path = tmp_path / "result.pt"
        subprocess.run([sys.executable, "-c", program, str(path)], check=True, env={**os.environ, **environment})
        return torch.load(path)

    pooled, grad, kept, convolved = run({"ATEN_CPU_CAPABILITY": capability})
    expected_pooled, expected_grad, expected_kept, expected_convolved = run({})
    torch.testing.assert_close(pooled, expected_pooled)
    torch.testing.assert_close(grad, expected_grad, rtol=1e-4, atol=1e-5)
    assert kept.tolist() == expected_kept.tolist()
    torch.testing.assert_close(
        convolved, expected_convolved, rtol=1e-4, atol=1e-4 * float(expected_convolved.abs().max())
    )
