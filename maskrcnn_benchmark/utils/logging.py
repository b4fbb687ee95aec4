"""utils/logger.py by its name of October 2018, for forks."""

from maskrcnn_benchmark.utils.logger import setup_logger

__all__ = ["setup_logger"]
