"""The operators without layers/, under another name, and twice in one process."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import maskrcnn_benchmark

PACKAGE = Path(maskrcnn_benchmark.__file__).parent
USE = """
import torch
boxes = torch.tensor([[0.0, 0, 9, 9], [1, 1, 10, 10], [20, 20, 29, 29]])
assert {0}._C.nms(boxes, torch.tensor([0.1, 0.9, 0.5]), 0.5).tolist() == [1, 2]
assert {0}._C.roi_align_forward(torch.ones(1, 2, 8, 8), torch.tensor([[0.0, 0, 0, 6, 6]]), 1.0, 2, 2, 2).eq(1).all()
"""


def make_copy(folder: Path, name: str) -> Path:
    """A copy of the package as `name`, its own imports renamed, its layers those that a fork may have: none of ours."""
    copy = folder / name
    shutil.copytree(PACKAGE, copy, ignore=shutil.ignore_patterns("__pycache__"))
    for file in copy.rglob("*.py"):
        file.write_text(file.read_text().replace("from maskrcnn_benchmark", f"from {name}"))
    return copy


def run(folder: Path, program: str) -> subprocess.CompletedProcess[str]:
    # The finder of an editable install would offer the original.
    hide = "import sys, torch; sys.meta_path[:] = [f for f in sys.meta_path if '__editable__' not in str(f)]\n"
    return subprocess.run([sys.executable, "-c", hide + program], cwd=folder, capture_output=True, text=True)


def test_no_file_of_layers_is_executed(tmp_path: Path) -> None:
    copy = make_copy(tmp_path, "maskrcnn_benchmark")
    for file in (copy / "layers").rglob("*.py"):
        file.write_text("raise RuntimeError('layers was imported')\n")
    result = run(tmp_path, "import maskrcnn_benchmark._C" + USE.format("maskrcnn_benchmark"))
    assert result.returncode == 0, result.stderr


def test_package_under_another_name(tmp_path: Path) -> None:
    make_copy(tmp_path, "other_core")
    program = "import sys, other_core._C" + USE.format("other_core")
    result = run(
        tmp_path, program + "assert 'maskrcnn_benchmark' not in sys.modules, sys.modules['maskrcnn_benchmark']"
    )
    assert result.returncode == 0, result.stderr


@pytest.mark.parametrize("first", ["import maskrcnn_benchmark.layers", "from maskrcnn_benchmark import _C"])
@pytest.mark.parametrize("early", [True, False])
def test_second_copy_uses_the_operators_of_the_first(tmp_path: Path, first: str, early: bool) -> None:
    make_copy(tmp_path, "maskrcnn_benchmark")
    make_copy(tmp_path, "other_core")
    program = "import other_core\n" if early else ""
    program += f"{first}\nimport other_core.ops, other_core.layers, maskrcnn_benchmark.layers\n"
    program += USE.format("other_core") + USE.format("maskrcnn_benchmark")
    program += """
import other_core.ops.nms, maskrcnn_benchmark.ops.nms
assert other_core.ops.nms is maskrcnn_benchmark.ops.nms
x = torch.rand(1, 16, 12, 12, requires_grad=True)
for package in (other_core, maskrcnn_benchmark):
    package.layers.EfficientNonLocal(16)(x).sum().backward()
    package.layers.ROIAlign((2, 2), 1.0, 2)(x, torch.tensor([[0.0, 0, 0, 6, 6]])).sum().backward()
"""
    result = run(tmp_path, program)
    assert result.returncode == 0, result.stderr


def test_second_copy_with_other_operators_is_refused(tmp_path: Path) -> None:
    make_copy(tmp_path, "maskrcnn_benchmark")
    other = make_copy(tmp_path, "other_core")
    with (other / "csrc" / "library.cpp").open("a") as source:
        source.write("// changed\n")
    result = run(tmp_path, "import maskrcnn_benchmark.ops, other_core.ops")
    line = result.stderr.strip().splitlines()[-1]
    assert (
        line.startswith("ImportError: other_core and maskrcnn_benchmark are copies") and "import one of the two" in line
    )
