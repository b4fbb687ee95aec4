"""Names that a configuration may use for classes and functions."""

import difflib
from collections.abc import Callable
from typing import Any

from maskrcnn_benchmark.config.node import ConfigError


class Registry(dict):
    """A dictionary filled by `registry.register(name, module)` or by `@registry.register(name)`.

    Looking up an unknown name says which names there are.
    """

    def register(self, module_name: str, module: Any = None) -> Callable[[Any], Any]:
        if module is not None:
            self._add(module_name, module)

        def decorator(decorated: Any) -> Any:
            self._add(module_name, decorated)
            return decorated

        return decorator

    def _add(self, name: str, module: Any) -> None:
        if name in self and self[name] is not module:
            raise KeyError(f"{name!r} is registered already, as {self[name]!r}.")
        self[name] = module

    def __missing__(self, name: str) -> Any:
        close = difflib.get_close_matches(str(name), list(self), n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        known = f"is not one of {', '.join(sorted(self))}" if self else "is not registered, nor is any other name"
        raise ConfigError(f"{name!r} {known}.{hint}")


def _register_generic(module_dict: Registry, module_name: str, module: Any) -> None:
    """What `register` does, by the name that forks call."""
    module_dict.register(module_name, module)
