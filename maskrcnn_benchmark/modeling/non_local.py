"""The non-local modules of a configuration."""

from torch import nn

from maskrcnn_benchmark.config.node import ConfigError
from maskrcnn_benchmark.layers.non_local import NON_LOCAL, NonLocal


def make_non_local(non_local, type: str, channels: int) -> NonLocal:
    """The module that the MODEL.NON_LOCAL keys describe, for maps of `channels` channels."""
    return NON_LOCAL[type].from_config(non_local, channels)


def check_is_there(module: nn.Module, key: str) -> None:
    """Raise ConfigError for a body or pyramid, of a fork, that has no place for the non-local modules that `key` asks for."""
    if not any(isinstance(part, NonLocal) for part in module.modules()):
        raise ConfigError(
            f"{key} asks for non-local modules, but {type(module).__name__} of {type(module).__module__}, a fork's own, has "
            "no place for them: set it to ''."
        )
