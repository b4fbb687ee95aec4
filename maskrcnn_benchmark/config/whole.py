"""The global configuration with every key, also where a fork's `config/__init__.py` adds none."""

from maskrcnn_benchmark.config import cfg
from maskrcnn_benchmark.config.options import complete

complete(cfg)

__all__ = ["cfg"]
