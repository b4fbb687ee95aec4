"""Command lines that change configuration keys: KEY VALUE anywhere among the options."""

from __future__ import annotations

import argparse
import difflib
import os
import sys
from collections.abc import Sequence
from typing import Any

from maskrcnn_benchmark.config.node import CfgNode
from maskrcnn_benchmark.config.whole import cfg


class KeyParser(argparse.ArgumentParser):
    """A parser whose results have `opts`, the pairs KEY VALUE of the command line, [key, value, key, value, ...].

    Pairs may stand before, between and behind the options, and end the words of an option that takes several.
    """

    def parse_args(self, args: Sequence[str] | None = None, namespace: Any = None) -> Any:  # type: ignore[override]
        """Other words than pairs that no option takes come last in `opts`, whose reader says what is wrong with them."""
        # Added last, so that words which no option takes are the command's own first.
        if not any(action.dest == "opts" for action in self._actions):
            self.add_argument("opts", nargs="*", metavar="KEY VALUE", help="change configuration keys")
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
        found.opts = [*pairs, *found.opts]
        return found

    def _takes_one(self, word: str) -> bool:
        """Whether this is an option whose one value follows."""
        action = self._option_string_actions.get(word)
        return action is not None and action.nargs is None


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
