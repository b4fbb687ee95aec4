"""Loads a `_C` built with CUDA in place of the package's own and runs its CPU operators.

Usage: python .ci/check_cuda_library.py PATH/_C.abi3.so
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))


def load(path: str) -> object:
    spec = importlib.util.spec_from_file_location("maskrcnn_benchmark._C", path)
    assert spec is not None and spec.loader is not None
    library = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(library)
    sys.modules["maskrcnn_benchmark._C"] = library
    return library


def main() -> None:
    library = load(sys.argv[1])
    assert library.WITH_CUDA == 1, "built without CUDA"

    from maskrcnn_benchmark.ops.nms import nms
    from maskrcnn_benchmark.ops.roi_align import roi_align

    for name in (
        "multiscale_roi_align",
        "multiscale_roi_align_backward",
        "batched_nms",
        "suppress",
        "deform_im2col",
        "deform_col2im",
    ):
        for key in ("CPU", "CUDA"):
            operator = f"maskrcnn_benchmark::{name}"
            assert torch._C._dispatch_has_kernel_for_dispatch_key(operator, key), f"{operator} has no {key} kernel"

    # A ramp: the average over a bin is the ramp's value at the bin's centre.
    ramp = torch.arange(16.0).expand(1, 3, 16, 16).clone().requires_grad_()
    pooled = roi_align(ramp, torch.tensor([[0.0, 2.0, 2.0, 10.0, 10.0]]), 2, 1.0, 2)
    torch.testing.assert_close(pooled, torch.tensor([4.0, 8.0]).expand(1, 3, 2, 2))
    pooled.sum().backward()
    torch.testing.assert_close(ramp.grad.sum(), torch.tensor(12.0))
    boxes = torch.tensor([[0.0, 0.0, 9.0, 9.0], [0.0, 0.0, 9.0, 8.0], [20.0, 20.0, 29.0, 29.0]])
    assert nms(boxes, torch.tensor([0.1, 0.9, 0.5]), 0.5).tolist() == [1, 2]


if __name__ == "__main__":
    main()
