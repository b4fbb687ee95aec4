"""The reference of configuration keys, made from the package: defaults, what each may hold, and its meaning."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from maskrcnn_benchmark.config.checks import rule_of
from maskrcnn_benchmark.config.descriptions import DESCRIPTIONS, GROUPS
from maskrcnn_benchmark.config.options import OPTIONS
from maskrcnn_benchmark.config.standard import STANDARD

OPEN = "DATASETS.DEFINITIONS"  # a group whose keys are the user's


def keys_of(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The keys of a configuration with their defaults; groups within groups by their dotted names."""
    for name, value in tree.items():
        key = f"{prefix}{name}"
        if isinstance(value, Mapping) and key != OPEN:
            yield from keys_of(value, f"{key}.")
        else:
            yield key, value


def all_keys() -> dict[str, tuple[Any, bool]]:
    """Every key with its default, and whether maskrcnn-benchmark has it too."""
    upstream = {key: (default, True) for key, default in keys_of(STANDARD)}
    return {**upstream, **{key: (default, False) for key, default in keys_of(OPTIONS)}}


def shown_default(key: str, default: Any) -> str:
    """A default as it is written in YAML or on the command line; the catalog's path without this machine's folders."""
    if key == "PATHS_CATALOG":
        return "that of the package"
    return f"`{dict(default) if isinstance(default, Mapping) else default!r}`"


def row(key: str, default: Any, is_upstream: bool) -> str:
    """A line of a group's table."""
    broken = key.replace(".", ".<wbr>").replace("_", "_<wbr>")  # where a narrow table may break it
    name = f'<code id="{key}">{broken}</code>' + ("" if is_upstream else " ⁺")
    rule = "a group of names" if key == OPEN else rule_of(key, default).words
    values = f"Default {shown_default(key, default)}; may be {rule}."
    return f"| {name} | {DESCRIPTIONS[key]} <small>{values}</small> |"


def reference() -> str:
    """A section for each group of keys, in the order of GROUPS."""
    keys = all_keys()
    sections = []
    for group, summary in GROUPS.items():
        members = sorted(key for key in keys if key.rpartition(".")[0] == group)
        rows = [row(key, *keys[key]) for key in members]
        sections += [f"## {group or 'General'}", "", summary, ""]
        if rows:
            sections += ["| key | meaning |", "|---|---|", *rows, ""]
    return "\n".join(sections)
