"""maskrcnn-benchmark of November 2019 under today's torch, for the scripts that make goldens from what it computes.

    git clone https://github.com/facebookresearch/maskrcnn-benchmark UPSTREAM && git -C UPSTREAM checkout 57eec25b

Of what it needs and is gone, this gives as much as imports, inference and training on a CPU ask for: `torch._six`, names of
torch.hub, NumPy and cityscapesscripts, `apex.amp` (which changes nothing in float32), and its compiled operators in torchvision's
words. Backward of ROIAlign, which it had on CUDA alone, is torchvision's.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
import torch.hub
import torchvision
from torch import Tensor

COMMIT = "57eec25b75144d9fb1a6857f32553e1574177daf"


def _module(name: str, **values: Any) -> None:
    module = ModuleType(name)
    vars(module).update(values)
    sys.modules[name] = module
    parent, _, child = name.rpartition(".")
    if parent in sys.modules:
        setattr(sys.modules[parent], child, module)


def nms(boxes: Tensor, scores: Tensor, threshold: float) -> Tensor:
    """Boxes have inclusive corners, torchvision's have not."""
    return torchvision.ops.nms(boxes + boxes.new_tensor((0, 0, 1, 1)), scores, threshold)


def roi_align_forward(input: Tensor, rois: Tensor, scale: float, height: int, width: int, ratio: int) -> Tensor:
    return torchvision.ops.roi_align(input, rois, (height, width), scale, ratio, aligned=False)


def roi_align_backward(grad: Tensor, rois: Tensor, scale: float, height: int, width: int, *more: int) -> Tensor:
    batch, channels, rows, columns, ratio = more
    sizes = (height, width, batch, channels, rows, columns)
    return torch.ops.torchvision._roi_align_backward(grad, rois, scale, *sizes, ratio, False)


def use_upstream(folder: Path) -> None:
    """Make `import maskrcnn_benchmark` mean the clone in `folder`."""
    if not (folder / "maskrcnn_benchmark" / "config" / "defaults.py").is_file():
        raise FileNotFoundError(f"{folder} holds no maskrcnn_benchmark; it must be a clone of maskrcnn-benchmark.")
    if any(name.partition(".")[0] == "maskrcnn_benchmark" for name in sys.modules):
        raise RuntimeError("maskrcnn_benchmark was imported before.")
    sys.path.insert(0, os.fspath(folder.resolve()))
    np.float = float  # type: ignore[attr-defined]
    _module("torch._six", PY3=True, PY37=True, string_classes=(str,), int_classes=(int,))
    torch.hub._download_url_to_file = torch.hub.download_url_to_file  # type: ignore[attr-defined]
    _module("cityscapesscripts")
    _module("cityscapesscripts.helpers")
    helpers = ("writeDict2JSON", "ensurePath", "colors", "getColorEntry")
    _module("cityscapesscripts.helpers.csHelpers", **dict.fromkeys(helpers))
    _module("apex")
    _module("apex.amp", float_function=lambda function: function)
    operators = {"nms": nms, "roi_align_forward": roi_align_forward, "roi_align_backward": roi_align_backward}
    missing = ("roi_pool_forward", "roi_pool_backward", "sigmoid_focalloss_forward", "sigmoid_focalloss_backward")
    _module("maskrcnn_benchmark._C", **operators, **dict.fromkeys(missing))
