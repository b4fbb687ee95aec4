"""What a run was made with: its configuration and its environment."""

from __future__ import annotations

import os
import platform
import shlex
import sys
from typing import Any

import torch
from yacs.config import CfgNode

from maskrcnn_benchmark import __version__
from maskrcnn_benchmark.config.options import OPTIONS
from maskrcnn_benchmark.config.standard import STANDARD
from maskrcnn_benchmark.reports.page import Markup, facts, long_text, paragraph, section, table

MOST_VALUE = 2000  # characters of a value


def flat(node: CfgNode, prefix: str = "") -> dict[str, Any]:
    """The values of a configuration by their dotted keys."""
    values: dict[str, Any] = {}
    for key, value in node.items():
        if isinstance(value, CfgNode):
            values.update(flat(value, f"{prefix}{key}."))
        else:
            values[f"{prefix}{key}"] = value
    return values


def differences(cfg: CfgNode) -> list[tuple[str, Any, Any]]:
    """Key, value and default ("" where there is none) of whatever is not as it is by default."""
    defaults = {**flat(STANDARD), **flat(OPTIONS)}
    found = []
    for key, value in flat(cfg).items():
        default = defaults.get(key)
        if key not in defaults or _plain(value) != _plain(default):
            found.append((key, value, default if key in defaults else ""))
    return sorted(found, key=lambda entry: entry[0])


def _plain(value: Any) -> Any:
    return list(map(_plain, value)) if isinstance(value, (list, tuple)) else value


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= MOST_VALUE else f"{text[:MOST_VALUE]} …"


def configuration(cfg: CfgNode) -> Markup:
    rows = [(key, _short(value), _short(default)) for key, value, default in differences(cfg)]
    return section(
        "Configuration",
        paragraph("What differs from the defaults:"),
        table(("Key", "Value", "Default"), rows, numbers=False),
        long_text("The whole configuration", cfg.dump()),
    )


def environment(output_dir: str) -> Markup:
    """This process, and what the training in `output_dir`, if there was one, noted of its own."""
    on_gpu = torch.cuda.is_available()
    pairs = [
        ("command", shlex.join(sys.orig_argv)),
        ("folder", os.getcwd()),
        ("host", f"{platform.node()}, {platform.platform()}, {os.cpu_count()} CPU cores"),
        ("device", torch.cuda.get_device_name() if on_gpu else f"CPU, {torch.get_num_threads()} threads"),
        (
            "versions",
            f"maskrcnn_benchmark {__version__}, Python {platform.python_version()}, torch {torch.__version__}",
        ),
    ]
    path = os.path.join(output_dir, "environment.txt")
    parts = [facts(pairs)]
    if output_dir and os.path.isfile(path):
        with open(path, encoding="utf-8", errors="replace") as f:
            parts.append(long_text("environment.txt, which the training wrote", f.read()))
    return section("Environment", *parts)
