"""Weights as files: .pth and .pkl, changed as values and as bytes."""

from __future__ import annotations

import functools
import io
import pickle
import random
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from maskrcnn_benchmark.checkpoint.errors import CheckpointError
from maskrcnn_benchmark.config import cfg
from maskrcnn_benchmark.config.node import CfgNode
from maskrcnn_benchmark.utils.checkpoint import DetectronCheckpointer
from tests.fuzz.driver import Kind, folder
from tests.fuzz.mutations import changed_bytes, changed_value, odd_value

WRAPPERS = ("module.", "_orig_mod.", "model.", "ema.", "a.b.")


class Tiny(nn.Module):
    """Names like a detector's."""

    def __init__(self):
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))
        self.roi_heads = nn.ModuleDict({"box": nn.Linear(4, 3), "mask": nn.Conv2d(4, 2, 1)})


@functools.cache
def tiny_state() -> dict[str, Tensor]:
    """Its weights, the same in each process."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return dict(Tiny().state_dict())


def odd_tensor(rng: random.Random, tensor: Tensor) -> Any:
    kinds: list[Any] = [
        lambda t: t.half(),
        lambda t: t.double(),
        lambda t: t.to(torch.complex64),
        lambda t: t.long(),
        lambda t: t.reshape(-1),
        lambda t: t[:0],
        lambda t: t.new_zeros(()),
        lambda t: t * float("nan"),
        lambda t: t.to_sparse(),
        lambda t: t.expand(2, *t.shape),
        lambda t: torch.empty(t.shape, device="meta"),
        lambda t: t.numpy(),
        lambda t: odd_value(rng),
        lambda t: nn.Parameter(t),
    ]
    return rng.choice(kinds)(tensor)


def content(rng: random.Random) -> Any:
    """What a file may hold: the state of a run, or a part of it."""
    state: dict[Any, Any] = dict(tiny_state())
    for _ in range(rng.choice((0, 1, 1, 2))):
        name = rng.choice(list(state))
        kind = rng.randrange(5)
        if kind == 0:
            del state[name]
        elif kind == 1:
            prefix = rng.choice(WRAPPERS)
            state = {prefix + str(n): v for n, v in state.items()}
        elif kind == 2:
            part = str(name).rpartition(".")
            state[f"{part[0]}.{rng.choice(WRAPPERS)}{part[2]}"] = state.pop(name)
        elif isinstance(state[name], Tensor):
            state[name] = odd_tensor(rng, state[name])
    whole: Any = {
        "model": state,
        "optimizer": {
            "state": {0: {"momentum_buffer": torch.zeros(4, 3, 3, 3)}},
            "param_groups": [{"lr": 0.1, "params": [0]}],
        },
        "scheduler": {"last_epoch": 3, "base_lrs": [0.1]},
        "iteration": 3,
        "ema": state,
        "best": {"metric": "bbox/AP", "value": 0.1, "iteration": 2, "tests_since": 0},
    }
    whole = rng.choice((whole, whole, state, {"state_dict": state, "epoch": 3}, {"model": {"model": state}}))
    for _ in range(rng.choice((0, 1, 1, 2))):
        whole = changed_value(rng, whole)
    return whole


def pth(rng: random.Random) -> bytes:
    buffer = io.BytesIO()
    try:
        torch.save(content(rng), buffer, _use_new_zipfile_serialization=rng.random() < 0.7)
    except Exception:  # what cannot be saved is no input
        return b""
    return changed_bytes(rng, buffer.getvalue()) if rng.random() < 0.5 else buffer.getvalue()


def pkl(rng: random.Random) -> bytes:
    generator = np.random.default_rng(0)
    blobs: Any = {
        name: generator.normal(size=shape).astype(rng.choice(("f4", "f8", ">f4", "f2")))
        for name, shape in (
            ("conv1_w", (4, 3, 3, 3)),
            ("res2_0_branch2a_w", (4, 4, 1, 1)),
            ("fc6_w", (3, 4)),
            ("fc6_b", (3,)),
        )
    }
    blobs["cfg"] = "text"
    own = {name: value.numpy() for name, value in tiny_state().items()}
    whole: Any = rng.choice((blobs, {"blobs": blobs}, {"model": blobs, "__author__": "x"}, {"model": own}))
    for _ in range(rng.choice((0, 1, 1, 2, 3))):
        whole = changed_value(rng, whole)
    try:
        dumped = pickle.dumps(whole, protocol=rng.choice((0, 1, 2, 3, 4, 5)))
    except Exception:
        return b""
    return changed_bytes(rng, dumped) if rng.random() < 0.7 else dumped


class Unchanged(CfgNode):
    """A configuration that nothing changes: a copy for each input would cost more than the input."""

    def clone(self) -> Unchanged:
        return self


@functools.cache
def _config() -> Any:
    return Unchanged(cfg)


def load(ending: str, dumped: bytes) -> None:
    """As a training starts from weights, and as one goes on from its last checkpoint."""
    path = folder() / f"model_0000001{ending}"
    path.write_bytes(dumped)
    (folder() / "last_checkpoint").write_text(str(path))
    model = Tiny()
    model.load_state_dict(tiny_state())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 3)
    checkpointer = DetectronCheckpointer(_config(), model, optimizer, scheduler, str(folder()))
    checkpointer.logger.disabled = True
    errors = []
    for latest in (False, True) if ending == ".pth" else (False,):
        try:
            checkpointer.load(str(path), use_latest=latest)
        except ALLOWED as error:
            errors.append(error)
    if errors:
        raise errors[0]


ALLOWED = (CheckpointError, ValueError)
PTH = Kind("pth", pth, functools.partial(load, ".pth"), ALLOWED)
PKL = Kind("pkl", pkl, functools.partial(load, ".pkl"), ALLOWED)
