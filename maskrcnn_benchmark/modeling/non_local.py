"""The non-local modules of a configuration."""

from torch import Tensor, nn

from maskrcnn_benchmark.config.node import ConfigError
from maskrcnn_benchmark.layers.non_local import NON_LOCAL, NonLocal
from maskrcnn_benchmark.utils.registered import maker


def make_non_local(non_local, place: str, channels: int) -> NonLocal:
    """The module that the MODEL.NON_LOCAL keys describe for "TOP_DOWN" or "BOTTOM_UP", for maps of `channels` channels."""
    type = non_local[place].TYPE
    make = maker(NON_LOCAL, type, f"MODEL.NON_LOCAL.{place}.TYPE")
    module = make(channels) if make is NON_LOCAL[type] else make(non_local, channels)
    if not isinstance(module, NonLocal):
        raise ConfigError(
            f"{type!r} of NON_LOCAL makes a {module.__class__.__name__}, which is no context module: let its class be a "
            "subclass of maskrcnn_benchmark.layers.non_local.NonLocal."
        )
    return module


def with_context(module: nn.Module, x: Tensor) -> Tensor:
    """What a context module makes of a map. Raises ValueError unless that has the map's shape."""
    y = module(x)
    if y.shape != x.shape:
        raise ValueError(
            f"The context module {type(module).__name__} made a map of shape {list(y.shape)} of one of shape {list(x.shape)}; "
            "the rest of the network needs the same shape."
        )
    return y


def check_is_there(module: nn.Module, keys: str, stages) -> None:
    """Raise ConfigError for a body or pyramid without the non-local modules that `keys` ask for at `stages`."""
    if not stages:
        raise ConfigError(f"{keys}.STAGES is empty: name the stages that get a module, or set {keys}.TYPE to ''.")
    if not any(isinstance(part, NonLocal) for part in module.modules()):
        raise ConfigError(
            f"{keys}.TYPE asks for non-local modules, but {type(module).__name__} of {type(module).__module__}, a fork's own, "
            "has no place for them: set it to ''."
        )
