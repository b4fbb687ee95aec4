"""Names of weights without what wrappers put into them: DataParallel, torch.compile, averaged models, Lightning and others."""

from collections.abc import Iterable, Mapping
from itertools import combinations
from typing import Any

import torch
from torch import Tensor

from maskrcnn_benchmark.checkpoint.errors import CheckpointError

# Parts that wrappers add, anywhere in a name and perhaps several times.
WRAPPERS = frozenset(
    "module _orig_mod model _forward_module _fsdp_wrapped_module _checkpoint_wrapped_module ema ema_model ema_module "
    "online_model averaged_model average_model shadow net network detector student teacher".split()
)
MOST_WRAPPERS = 6  # in one name


def without_wrappers(name: str) -> str:
    """A name without any part that wrappers are known to add."""
    return ".".join(part for part in name.split(".") if part not in WRAPPERS)


def tails_of(names: Iterable[str]) -> set[str]:
    """The names and their dotted tails of two parts and more: what weights of a part of the model are called."""
    tails = set(names)
    for name in list(tails):
        parts = name.split(".")
        tails.update(".".join(parts[start:]) for start in range(1, len(parts) - 1))
    return tails


def unwrapped(weights: Mapping[str, Tensor], model_names: Iterable[str]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The weights under the names that a model has for them, and the names in the file of those that had others.

    A name that is the model's, or the tail of one, stays. From others go the parts that wrappers are known to add, wherever
    they stand, and then any prefix, if what is left is the model's. Names for which that does not help stay as they are.

    Raises CheckpointError if that gives one name to two different weights, as where a file holds a model and its average.
    """
    names = set(model_names)
    tails = tails_of(names)
    result = {name: value for name, value in weights.items() if name in tails}
    origins: dict[str, str] = {}
    for name, value in weights.items():
        if name in tails:
            continue
        inner = _inner_name(name, names, tails)
        if inner in result and inner not in origins:  # the file has it under its plain name, too
            inner = name
        if inner in origins and not _are_equal(result[inner], value):
            raise CheckpointError(
                f"The file holds two sets of weights: {origins[inner]} and {name} differ, and both stand for {inner}. Save "
                "the one that is meant alone."
            )
        result[inner] = value
        if inner != name:
            origins[inner] = name
    return result, origins


def _inner_name(name: str, names: set[str], tails: set[str]) -> str:
    parts = name.split(".")
    places = [i for i, part in enumerate(parts) if part in WRAPPERS][:MOST_WRAPPERS]
    shorter = [
        ".".join(part for i, part in enumerate(parts) if i not in left_out)
        for count in range(1, len(places) + 1)
        for left_out in combinations(places, count)
    ]
    for known in (names, tails):
        for inner in shorter:
            if inner in known:
                return inner
    for whole in (name, *shorter):
        rest = whole
        while "." in rest:
            rest = rest.partition(".")[2]
            if rest in names and "." in rest:
                return rest
    return name


def _are_equal(one: Any, other: Any) -> bool:
    return isinstance(one, Tensor) and isinstance(other, Tensor) and torch.equal(one, other)


def look_alikes(unused: Iterable[str], missing: Mapping[str, Any], weights: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Pairs (name in the file, name in the model) of weights that seem the same: the first has all parts of the second in their
    order, others in between, and its shape.

    Args:
        missing: the model's weights that found none, by name.
    """
    by_last: dict[str, list[tuple[str, list[str]]]] = {}
    for name in missing:
        parts = name.split(".")
        by_last.setdefault(parts[-1], []).append((name, parts))
    pairs = []
    for name in unused:
        parts = name.split(".")
        for model_name, wanted in by_last.get(parts[-1], ()):
            rest = iter(parts)
            is_inside = len(wanted) > 1 and all(part in rest for part in wanted)
            if is_inside and getattr(weights[name], "shape", None) == missing[model_name].shape:
                pairs.append((name, model_name))
                break
    return pairs
