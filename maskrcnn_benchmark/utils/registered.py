"""Looking up what a configuration names in a registry, whichever registry, ours or a fork's."""

import os
from collections.abc import Callable, Mapping
from typing import Any

from maskrcnn_benchmark.config.node import ConfigError

ENV_MODULE = "TORCH_DETECTRON_ENV_MODULE"  # names the file that registers what is one's own (utils/env.py)


def registered(registry: Mapping[str, Any], name: str, key: str) -> Any:
    """The class or function of this name, which the configuration key `key` gave. Raises ConfigError."""
    try:
        return registry[name]
    except KeyError as error:
        file = os.environ.get(ENV_MODULE)
        loaded = f"names {file!r}, which did not register it" if file else "is not set"
        said = error if isinstance(error, ConfigError) else f"{name!r} is not registered."  # in a fork's own registry
        raise ConfigError(
            f"{key}: {said} A name of your own is registered by the file that {ENV_MODULE} names; it {loaded}."
        ) from None


def maker(registry: Mapping[str, Any], name: str, key: str) -> Callable[..., Any]:
    """What makes a module of the configuration: the class method `from_config` of a class that has it, else the class or
    function itself. Both are called with the same arguments."""
    entry = registered(registry, name, key)
    return getattr(entry, "from_config", entry)
