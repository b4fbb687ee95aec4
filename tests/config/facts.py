"""Configurations and models as numbers that can be compared, of whichever maskrcnn_benchmark is imported."""

from __future__ import annotations

import json
import zlib
from ast import literal_eval
from collections.abc import Mapping
from typing import Any

from torch import nn


def _plain(value: Any) -> Any:
    """Numbers as floats and sequences as lists, whether YAML wrote them as strings or not."""
    if isinstance(value, str):
        try:
            value = literal_eval(value)
        except (ValueError, SyntaxError):
            return value
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else value


def flat(node: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted key -> value of every leaf of a configuration."""
    leaves = {}
    for key, value in node.items():
        leaves.update(flat(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: _plain(value)})
    return leaves


def crc(values: Mapping[str, Any]) -> int:
    return zlib.crc32("\n".join(f"{key} {json.dumps(value)}" for key, value in sorted(values.items())).encode())


def changes(cfg: Mapping[str, Any], defaults: Mapping[str, Any]) -> int:
    """A CRC of the keys whose values are not the defaults, with the values."""
    unchanged = flat(defaults)
    return crc({key: value for key, value in flat(cfg).items() if value != unchanged[key]})


def describe_model(model: nn.Module) -> dict[str, int]:
    """Parameter counts, and a CRC of the state dict's keys with their shapes."""
    entries = sorted(f"{key} {tuple(value.shape)}" for key, value in model.state_dict().items())
    return {
        "params": sum(p.numel() for p in model.parameters()),
        "trainable": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "keys": len(entries),
        "keys_crc": zlib.crc32("\n".join(entries).encode()),
    }
