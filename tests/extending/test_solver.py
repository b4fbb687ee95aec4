"""How to use an optimizer, a schedule and a sampler of one's own: `setup_environment()` puts them in place."""

from __future__ import annotations

import os
import subprocess
import sys

OWN = """
import torch

import maskrcnn_benchmark.data.build
import maskrcnn_benchmark.solver


def make_optimizer(cfg, model):
    return torch.optim.AdamW(model.parameters(), lr=cfg.SOLVER.BASE_LR)


def make_lr_scheduler(cfg, optimizer):
    return torch.optim.lr_scheduler.OneCycleLR(optimizer, cfg.SOLVER.BASE_LR, total_steps=cfg.SOLVER.MAX_ITER)


def make_data_sampler(dataset, shuffle, distributed):
    return torch.utils.data.SequentialSampler(dataset)


def setup_environment():
    maskrcnn_benchmark.solver.make_optimizer = make_optimizer
    maskrcnn_benchmark.solver.make_lr_scheduler = make_lr_scheduler
    maskrcnn_benchmark.data.build.make_data_sampler = make_data_sampler
"""
ASKED = """
import torch
from maskrcnn_benchmark.engine import run
from maskrcnn_benchmark.data import build
optimizer = run.make_optimizer(run.cfg, torch.nn.Linear(2, 2))
scheduler = run.make_lr_scheduler(run.cfg, optimizer)
for made in (optimizer, scheduler, build._sampler(run.cfg, [1, 2, 3], True, False)):
    print(type(made).__name__)
"""


def test_a_training_asks_for_ones_own(tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    environment = dict(os.environ, TORCH_DETECTRON_ENV_MODULE=str(tmp_path / "own.py"))
    done = subprocess.run([sys.executable, "-c", ASKED], env=environment, capture_output=True, text=True)
    assert done.stdout.split() == ["AdamW", "OneCycleLR", "SequentialSampler"], done.stderr
