"""How to use an optimizer, a schedule and a sampler of one's own: `setup_environment()` puts them in place."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.docs.blocks import ROOT, blocks_of

DOCUMENT = ROOT / "docs/how-to/extend.md"
OWN = ("AdamW", "OneCycleLR", "RandomSampler")
ASKED = """
import torch
from maskrcnn_benchmark.engine import run
from maskrcnn_benchmark.data import build
optimizer = run.make_optimizer(run.cfg, torch.nn.Linear(2, 2))
scheduler = run.make_lr_scheduler(run.cfg, optimizer)
for made in (optimizer, scheduler, build._sampler(run.cfg, [1, 2, 3], True, False)):
    print(type(made).__name__)
"""


@pytest.mark.parametrize("is_named", [True, False])
def test_a_training_asks_for_ones_own(is_named, tmp_path):
    (own,) = (block.text for block in blocks_of(DOCUMENT.read_text()) if block.title == "adam.py")
    (tmp_path / "own.py").write_text(own)
    variable = {"TORCH_DETECTRON_ENV_MODULE": str(tmp_path / "own.py")} if is_named else {}
    done = subprocess.run([sys.executable, "-c", ASKED], env=os.environ | variable, capture_output=True, text=True)
    made = done.stdout.split()
    assert len(made) == 3 and [is_named] * 3 == [a == b for a, b in zip(made, OWN, strict=True)], done.stderr
