"""Parsers of the command lines: mistaken options get the nearest one, and configuration keys may stand anywhere."""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import yaml
from yacs.config import CfgNode

from maskrcnn_benchmark.config.whole import cfg
from maskrcnn_benchmark.utils.files import read_text


class CommandParser(argparse.ArgumentParser):
    """A parser whose description keeps its lines, and whose errors name the nearest option that exists."""

    def __init__(self, **options: Any):
        self._words: list[str] = []
        super().__init__(**{"formatter_class": argparse.RawDescriptionHelpFormatter, **options})

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:  # what every way of parsing comes to
        self._words = list(sys.argv[1:] if args is None else args)
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        options = self._option_string_actions
        names = [word.partition("=")[0] for word in self._words if word.startswith("--")]
        unknown = [name for name in names if not any(option.startswith(name) for option in options)]
        near = [close for name in unknown for close in difflib.get_close_matches(name, options, n=1)]
        if near:
            message += f"; there is no option {unknown[0]}: did you mean {' or '.join(near)}?"
        super().error(message)


class _Last(argparse.Action):
    """An option of which the last value counts, as of any option, and that says so."""

    def __call__(self, parser: Any, namespace: Any, values: Any, option_string: str | None = None) -> None:
        before = getattr(namespace, self.dest)
        if before != self.default:
            told = f"{option_string} {values} comes after {before}, which is not read"
            print(f"warning: {told}: a file takes another as its start with _BASE_.", file=sys.stderr)
        setattr(namespace, self.dest, values)


class KeyParser(CommandParser):
    """A parser whose results have `opts`, the pairs KEY VALUE of the command line, [key, value, key, value, ...].

    Pairs may stand before, between and behind the options, and end the words of an option that takes several. Where there is an
    option --config-file, its value may also stand alone, in any place: `mrb train my.yaml SOLVER.BASE_LR 0.005`.
    """

    needs_config = False

    def add_config(self, required: bool = False) -> None:
        """The option --config-file, whose value may also stand alone; `config_file` is "" where there is none."""
        self.needs_config = required
        self.add_argument(
            "--config-file",
            action=_Last,
            default="",
            metavar="CONFIG",
            help="a YAML file, or the name of a configuration of the package, like enl/faster_rcnn_R_50_FPN_3enl_td",
        )

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """Other words than pairs that no option takes come last in `opts`, whose reader says what is wrong with them."""
        # Added last, so that words which no option takes are the command's own first.
        if not any(action.dest == "opts" for action in self._actions):
            takes_config = "--config-file" in self._option_string_actions
            self.add_argument(
                "opts",
                nargs="*",
                metavar="CONFIG KEY VALUE" if takes_config else "KEY VALUE",
                help="the same as --config-file CONFIG; pairs KEY VALUE, which may stand anywhere, change configuration keys"
                if takes_config
                else "change configuration keys",
            )
        words = list(sys.argv[1:] if args is None else args)
        pairs: list[str] = []
        rest: list[str] = []
        while words:
            word = words.pop(0)
            if not is_key(word) or rest and self._takes_one(rest[-1]):
                rest.append(word)
                continue
            if not words or words[0] in self._option_string_actions:
                self.error(f"{word} has no value: configuration keys come in pairs KEY VALUE")
            pairs += [word, words.pop(0)]
        found = self.parse_intermixed_args(rest, namespace)
        if found.opts and hasattr(found, "config_file") and found.config_file == self.get_default("config_file"):
            # Of an odd number of words one belongs to no pair; a file is one in any case.
            if len(found.opts) % 2 or found.opts[0].endswith((".yaml", ".yml")):
                found.config_file = found.opts.pop(0)
        if self.needs_config and not found.config_file:
            self.error("name a configuration: CONFIG or --config-file CONFIG")
        found.opts = [*pairs, *found.opts]
        return found

    def _takes_one(self, word: str) -> bool:
        """Whether this is an option whose one value follows."""
        action = self._option_string_actions.get(word)
        return action is not None and action.nargs is None


def is_configuration(path: str) -> bool:
    """Whether a file is a configuration, of a user or as `mrb suggest` writes it: its keys say so."""
    try:
        content = yaml.safe_load(read_text(path))
    except (ValueError, yaml.YAMLError):
        return False
    return isinstance(content, dict) and bool(set(content) & {"_BASE_", *cfg})


def is_key(word: str) -> bool:
    """Whether a word is a configuration key, as far as its looks tell: a key of no group, or a group's name (perhaps with a
    slip in it), a dot and a name in capitals, and no such file."""
    group, dot, rest = word.partition(".")
    if not dot:
        return word in cfg and not isinstance(cfg[word], CfgNode)
    if not (group.isupper() and rest.partition(".")[0].isupper()) or os.path.exists(word):
        return False
    groups = [key for key, value in cfg.items() if isinstance(value, CfgNode)]
    return bool(difflib.get_close_matches(group, groups, n=1, cutoff=0.75))
