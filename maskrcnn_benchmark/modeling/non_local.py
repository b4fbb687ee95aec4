"""The non-local modules of a configuration."""

from torch import nn

from maskrcnn_benchmark.config.node import ConfigError
from maskrcnn_benchmark.layers.non_local import NonLocal2d


def make_non_local(non_local, type: str, channels: int) -> NonLocal2d:
    """The module that the MODEL.NON_LOCAL keys describe, for maps of `channels` channels."""
    return NonLocal2d(
        channels,
        type=type,
        position=non_local.POSITION,
        dct_size=non_local.DCT_SIZE,
        reduction=non_local.REDUCTION,
        init_std=non_local.INIT_STD,
        out_init_std=non_local.OUT_INIT_STD,
        literal=non_local.LITERAL,
    )


def check_is_there(module: nn.Module, key: str) -> None:
    """Raise ConfigError for a body or pyramid, of a fork, that has no place for the non-local modules that `key` asks for."""
    if not any(isinstance(part, NonLocal2d) for part in module.modules()):
        raise ConfigError(
            f"{key} asks for non-local modules, but {type(module).__name__} of {type(module).__module__}, a fork's own, has "
            "no place for them: set it to ''."
        )
