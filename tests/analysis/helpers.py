"""A detector small enough to count by hand, and the command lines."""

from __future__ import annotations

import os
import runpy
import sys
from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import nn

ROOT = Path(__file__).parents[2]
CONFIGS = ROOT / "configs"
DEMO = CONFIGS / "demo" / "relations_R_18_FPN_enl.yaml"


class Pyramid(nn.Module):
    """One convolution, called twice; its output and a smaller one."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)

    def forward(self, x: torch.Tensor) -> list[torch.Tensor]:
        return [self.conv(x), self.conv(x[..., ::2, ::2])]


class Head(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.Conv2d(4, 2, 1)

    def forward(self, features: list[torch.Tensor]) -> list[torch.Tensor]:
        return [self.logits(x) for x in features]


class Tiny(nn.Module):
    """On images of 8 x 12: maps of 4 channels, 4 x 6 and 2 x 3."""

    def __init__(self, kernel: int = 3) -> None:
        super().__init__()
        body = nn.Sequential(nn.Conv2d(3, 4, kernel, stride=2, padding=kernel // 2), nn.ReLU())
        self.backbone = nn.Sequential(OrderedDict(body=body, fpn=Pyramid()))
        self.rpn = nn.Module()
        self.rpn.head = Head()
        self.roi_heads = None


def call_tool(monkeypatch: pytest.MonkeyPatch, path: str, *words: object) -> int:
    """The exit code of a script of the repository, run in this process."""
    monkeypatch.setattr(sys, "argv", [os.path.basename(path), *map(str, words)])
    try:
        runpy.run_path(str(ROOT / path), run_name="__main__")
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0
