"""Configurations: YAML files, and options of the command line; what is allowed builds a loader's transforms and a schedule."""

from __future__ import annotations

import functools
import random
from pathlib import Path
from typing import Any

import torch
import yaml

from maskrcnn_benchmark.config import ConfigError, cfg
from maskrcnn_benchmark.config.checks import check_config
from maskrcnn_benchmark.data.catalog import dataset_catalog
from maskrcnn_benchmark.data.transforms import build_transforms
from maskrcnn_benchmark.solver import make_lr_scheduler, make_optimizer
from maskrcnn_benchmark.solver.scaling import scale_to_batch
from tests.fuzz.driver import Kind, folder
from tests.fuzz.mutations import ODD_TEXTS, changed_bytes, changed_value, odd_value

ODD_KEY = "DATASETS.DEFINITIONS.a.IMG_DIR"
FILES = sorted((Path(__file__).parents[2] / "configs").rglob("*.yaml"))
Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)  # the first is faster


@functools.cache
def keys() -> list[str]:
    found: list[str] = []

    def walk(node: Any, prefix: str) -> None:
        for name, value in node.items():
            walk(value, f"{prefix}{name}.") if isinstance(value, dict) and value else found.append(f"{prefix}{name}")

    walk(cfg, "")
    return found


@functools.cache
def written() -> list[tuple[bytes, dict]]:
    """The project's configurations: text and values, the latter without what they build on."""
    texts = [path.read_bytes() for path in FILES]
    return [(text, {k: v for k, v in yaml.safe_load(text).items() if k != "_BASE_"}) for text in texts]


def yaml_file(rng: random.Random) -> bytes:
    text, values = rng.choice(written())
    kind = rng.randrange(3)
    if kind == 0:
        return changed_bytes(rng, text)
    for _ in range(rng.choice((1, 1, 2, 4))):
        values = changed_value(rng, values)
    dumped = yaml.dump(_plain(values), Dumper=Dumper, allow_unicode=True).encode("utf-8", "replace")
    return changed_bytes(rng, dumped) if kind == 1 and rng.random() < 0.5 else dumped


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key if isinstance(key, (str, int, float, bool, type(None))) else str(key): _plain(v)
            for key, v in value.items()
        }
    return [_plain(v) for v in value] if isinstance(value, (list, tuple)) else value


def options(rng: random.Random) -> list:
    words: list = []
    for _ in range(rng.choice((1, 1, 1, 2, 3, 5))):
        key = rng.choice(keys())
        if rng.random() < 0.1:
            key = rng.choice((key + "x", key.lower(), key.partition(".")[2], key + ".A", "", ".", ODD_KEY))
        value = odd_value(rng) if rng.random() < 0.6 else changed_value(rng, _default(key))
        words += [key, rng.choice((str(value), repr(value), value, rng.choice(ODD_TEXTS)))]
    if rng.random() < 0.05:
        words.pop()
    return words


def _default(key: str) -> Any:
    node: Any = cfg
    for part in key.split("."):
        if not isinstance(node, dict) or part not in node:
            return 0
        node = node[part]
    return node


def use(config: Any) -> None:
    """What a training makes of a configuration before it reads any data."""
    check_config(config)
    scale_to_batch(config, 1)
    build_transforms(config, is_train=True)
    build_transforms(config, is_train=False)
    model = torch.nn.Linear(1, 1)
    scheduler = make_lr_scheduler(config, make_optimizer(config, model))
    for iteration in (0, 1, config.SOLVER.MAX_ITER):
        scheduler.last_epoch = iteration
        scheduler.get_lr()
    catalog = dataset_catalog(cfg)
    catalog.definitions = config.DATASETS.DEFINITIONS
    for name in config.DATASETS.DEFINITIONS:
        catalog.get(name)
    yaml.dump(_plain(config), Dumper=Dumper)  # as config.yml is written


def use_file(text: bytes) -> None:
    path = folder() / "changed.yaml"
    path.write_bytes(text)
    config = cfg.clone()
    config.merge_from_file(str(path))
    use(config)


def use_options(words: list) -> None:
    config = cfg.clone()
    config.merge_from_list(words)
    use(config)


ALLOWED = (ConfigError, ValueError, FileNotFoundError)
YAML = Kind("yaml", yaml_file, use_file, ALLOWED)
OPTIONS = Kind("options", options, use_options, ALLOWED)
