from maskrcnn_benchmark.config.defaults import _C as cfg
from maskrcnn_benchmark.config.node import ConfigError, ConfigNode

__all__ = ["ConfigError", "ConfigNode", "cfg"]
