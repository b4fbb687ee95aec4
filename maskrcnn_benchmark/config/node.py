"""A yacs CfgNode whose errors name the key, where it was set, and the nearest key that exists."""

import contextlib
import difflib
import logging
import os
import re
import reprlib
from ast import literal_eval
from collections.abc import Iterator
from typing import Any

import yaml
from yacs.config import CfgNode

from maskrcnn_benchmark.config.areas import as_areas
from maskrcnn_benchmark.utils.files import why_unread
from maskrcnn_benchmark.utils.shipped import find_config
from maskrcnn_benchmark.utils.wording import counted

MOST_BYTES = 1 << 20  # of a file
MOST_LEVELS = 8
# Keys without a default that end so hold names of files: a folder "(1)" or "1e3" is no number.
PATH_KEYS = ("DIR", "FILE", "PATH", "ROOT", "FOLDER")
# Given as one name or as a mapping, held as a tuple.
AREAS_KEY = "TEST.COCO_AREAS"
COMMAND_LINE = "the command line"
BASE_KEY = "_BASE_"  # a YAML file may name another one, relative to itself or of the package, that it refines


logger = logging.getLogger(__name__)


class ConfigError(KeyError, ValueError):
    """A configuration that cannot be used; the message is one readable sentence."""

    def __str__(self) -> str:  # KeyError would print the repr of its message
        return str(self.args[0])


_short = reprlib.Repr()
_short.maxtuple = _short.maxlist = 12
_short.maxdict, _short.maxset, _short.maxlevel = 6, 6, 3
_short.maxstring = _short.maxother = 200


def shown(value: Any) -> str:
    """A value as Python writes it, for messages: shortened if it is long, whatever a file made of it."""
    try:
        return _short.repr(value)
    except ValueError:  # an integer of thousands of digits
        return f"a {type(value).__name__} too long to be shown"


class ConfigNode(CfgNode):
    """CfgNode with inheritance between files (`_BASE_`) and checked merges.

    A value must have the type of its default; an int is accepted where a float is expected, list and tuple stand for each
    other, and None goes with everything. Nodes built with `new_allowed=True` take keys that have no default.

    Which keys were read as attributes or by [] is noted, and which a file or a command line gave (see config/unread.py).
    """

    def __getattr__(self, name: str) -> Any:
        self._note_read(name)
        return super().__getattr__(name)

    def __getitem__(self, name: str) -> Any:
        self._note_read(name)
        return super().__getitem__(name)

    def _note_read(self, name: str) -> None:
        reads = self.__dict__.get("reads")
        if reads is not None:
            reads.add(name)

    def merge_from_file(self, cfg_filename: str | os.PathLike[str]) -> None:
        """Merge a YAML file, its bases first; it may also be the name of one that comes with the package, like
        "enl/faster_rcnn_R_50_FPN_3enl_td". Raises FileNotFoundError or ConfigError."""
        found = find_config(cfg_filename)
        for path, values in _load_chain(found, ()):
            self._merge(values, source=path, is_base=path != found)

    def merge_from_list(self, cfg_list: list[Any]) -> None:
        """Merge `[key, value, key, value, ...]`, as given at the end of a command line."""
        if len(cfg_list) % 2:
            raise ConfigError(
                f"Options on the command line come in pairs KEY VALUE; got {counted(len(cfg_list), 'word')}: "
                f"{' '.join(map(str, cfg_list))}"
            )
        for key, value in zip(cfg_list[0::2], cfg_list[1::2], strict=True):
            nested: Any = value
            for part in reversed(key.split(".")):
                nested = {part: nested}
            self._merge(nested, source=COMMAND_LINE)

    def _merge(self, values: dict[str, Any], source: str, is_base: bool = False) -> None:
        if self.is_frozen():
            raise AttributeError(f"The configuration is frozen; {source} cannot change it any more.")
        _merge_into(self, values, [], self, source)
        if not is_base:
            _note_given(self, values, source)


def _note_given(node: CfgNode, values: dict[str, Any], source: str) -> None:
    for key, value in values.items():
        if isinstance(value, dict) and isinstance(node.get(key), CfgNode):
            _note_given(node.get(key), value, source)
        else:
            node.__dict__.setdefault("given", {})[key] = source


def _load_chain(path: str, seen: tuple[str, ...]) -> list[tuple[str, dict[str, Any]]]:
    """Return [(file, values)] with the bases of `path` before it."""
    if os.path.abspath(path) in seen:
        raise ConfigError(f"{path}: {BASE_KEY} leads back to a file already being read: {' -> '.join(seen)}.")
    values = read_values(path)
    base = values.pop(BASE_KEY, None)
    chain = []
    if base is not None:
        if not isinstance(base, str):
            raise ConfigError(f"{path}: {BASE_KEY} must be the path of a file; got {shown(base)}.")
        beside = os.path.join(os.path.dirname(path), os.path.expanduser(base))
        if not os.path.isfile(beside):
            try:
                beside = find_config(base)
            except FileNotFoundError as error:
                raise FileNotFoundError(f"{path}: {BASE_KEY} names no file. {error}") from None
        chain = _load_chain(beside, (*seen, os.path.abspath(path)))
    return [*chain, (path, values)]


class _Loader(yaml.SafeLoader):
    """Says which keys a file gives twice: of equal ones YAML takes the last, and with a group its other keys go."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        first: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode) and first.setdefault(key.value, line) != line:
                logger.warning(
                    "%s, line %d: %s stands in line %d already. The last one alone counts; join the two.",
                    self.name,
                    line,
                    key.value,
                    first[key.value],
                )
        return super().construct_mapping(node, deep)


# YAML also takes 2024_01_05 and 0012 for numbers, which a folder is not called then; what looks like them is text that a key of
# numbers still understands (90_000).
_INTEGER = "tag:yaml.org,2002:int"
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in found if tag != _INTEGER]
    for first, found in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(_INTEGER, re.compile(r"[-+]?(?:0|[1-9][0-9]*)$"), list("-+0123456789"))


def read_values(path: str) -> dict[str, Any]:
    """What a YAML file of a configuration says, without its bases. Raises ConfigError with a sentence."""
    if os.path.getsize(path) > MOST_BYTES:
        raise ConfigError(
            f"{path} is of {os.path.getsize(path):,} bytes, and no configuration: it may have {MOST_BYTES:,}."
        )
    try:
        with open(path, "rb") as f:
            values = yaml.load(f, _Loader) or {}
    except OSError:
        raise
    except Exception as error:  # beside YAMLError what dates, numbers and nestings of a broken file come to
        said = why_unread(error) or type(error).__name__
        raise ConfigError(f"{path} is not valid YAML: {said}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path} holds a {type(values).__name__} where a mapping of configuration keys is expected.")
    return values


def _merge_into(node: CfgNode, values: dict[str, Any], parents: list[str], root: CfgNode, source: str) -> None:
    for key, value in values.items():
        dotted = ".".join([*parents, str(key)])
        if key not in node:
            if not node.is_new_allowed():
                raise ConfigError(f"{source}: there is no configuration key {dotted!r}{_nearest(dotted, root)}")
            dict.__setitem__(node, key, _as_new(value, str(key)))
            continue
        default = node[key]
        if isinstance(default, CfgNode):
            if not isinstance(value, dict):
                raise ConfigError(f"{source}: {dotted} is a group of keys and cannot be set to {shown(value)}.")
            _merge_into(default, value, [*parents, key], root, source)
        else:
            dict.__setitem__(node, key, _coerce(value, default, dotted, source))


def _as_new(value: Any, key: str = "", depth: int = 0) -> Any:
    if not isinstance(value, dict):
        return value if key.upper().endswith(PATH_KEYS) else _decode(value)
    if depth > MOST_LEVELS:
        raise ConfigError(
            f"A configuration has groups of keys at most {MOST_LEVELS} deep; this one goes on without an end."
        )
    node = ConfigNode(new_allowed=True)
    for name, item in value.items():
        dict.__setitem__(node, name, _as_new(item, str(name), depth + 1))
    return node


def _decode(value: Any) -> Any:
    """Strings that are Python literals stand for their value: YAML has no tuples, a command line only words."""
    if not isinstance(value, str):
        return value
    try:
        return literal_eval(value)
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return value


def _decode_limits(value: Any) -> Any:
    """A mapping like {tiny: (0, 256)}, whose limits YAML reads as text, and which is text itself on a command line; or what
    `_decode` makes of anything else."""
    value = _decode(value)
    if isinstance(value, str) and value.lstrip().startswith("{"):
        with contextlib.suppress(yaml.YAMLError, ValueError, RecursionError):
            value = yaml.load(value, _Loader)
    return {key: _decode(limits) for key, limits in value.items()} if isinstance(value, dict) else value


def _coerce(value: Any, default: Any, dotted: str, source: str) -> Any:
    if isinstance(default, str) and isinstance(value, str):
        return value
    value = as_areas(_decode_limits(value)) if dotted == AREAS_KEY else _decode(value)
    if default is None or value is None:  # as in yacs: None is no kind of its own
        return value
    if isinstance(default, (list, tuple)) and isinstance(value, (list, tuple)):
        return type(default)(value)
    if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise ConfigError(f"{source}: {dotted} must be a number; {shown(value)} is too large for one.") from None
    if isinstance(default, str) and isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)  # a run folder called 2024 is still a name
    if type(value) is not type(default):
        hint = f" Write ({shown(value)},)." if isinstance(default, (list, tuple)) else ""
        if hint and isinstance(value, str) and value.count("(") > value.count(")"):
            hint = " In braces, YAML takes a tuple's comma for its own: write a list, [1, 2], or a line for the key."
        raise ConfigError(
            f"{source}: {dotted} must be {_article(default)} like {shown(default)}; got {shown(value)}, {_article(value)}.{hint}"
        )
    return value


def _article(value: Any) -> str:
    name = type(value).__name__
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _nearest(dotted: str, root: CfgNode) -> str:
    known = list(_leaves(root, []))
    close = difflib.get_close_matches(dotted, known, n=1, cutoff=0.6)
    if not close:  # right name, wrong group
        tail = dotted.rsplit(".", 1)[-1]
        close = [key for key in known if key.rsplit(".", 1)[-1] == tail][:1]
    if not close:  # right name, in small letters
        close = [key for key in known if key.upper() == dotted.upper()][:1]
    return f"; did you mean {close[0]!r}?" if close else "."


def _leaves(node: CfgNode, parents: list[str]) -> Iterator[str]:
    for key, value in node.items():
        path = [*parents, str(key)]
        yield ".".join(path)
        if isinstance(value, CfgNode):
            yield from _leaves(value, path)
