from maskrcnn_benchmark.config.defaults import _C as cfg
from maskrcnn_benchmark.config.node import ConfigError, ConfigNode
from maskrcnn_benchmark.config.options import complete

complete(cfg)

__all__ = ["ConfigError", "ConfigNode", "cfg"]
