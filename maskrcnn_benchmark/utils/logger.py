import logging
import os
import sys

from maskrcnn_benchmark.utils.log_file import LogFile


def setup_logger(name: str, save_dir: str, distributed_rank: int, filename: str = "log.txt") -> logging.Logger:
    """Log to the standard output and, if `save_dir` is given, with all details to a file in it.

    Other ranks than 0 log warnings only, to the standard output.
    """
    logger = logging.getLogger(name)
    logger.setLevel(logging.DEBUG if distributed_rank == 0 else logging.WARNING)
    logger.propagate = False
    for handler in list(logger.handlers):
        logger.removeHandler(handler)
        handler.close()
    rank = f" rank {distributed_rank}" if distributed_rank else ""
    formatter = logging.Formatter(f"%(asctime)s{rank} %(levelname)s: %(message)s", datefmt="%Y-%m-%d %H:%M:%S")
    console = logging.StreamHandler(stream=sys.stdout)
    console.setLevel(logging.INFO)
    handlers: list[logging.Handler] = [console]
    if save_dir and distributed_rank == 0:
        os.makedirs(save_dir, exist_ok=True)
        handlers.append(LogFile(os.path.join(save_dir, filename)))
    for handler in handlers:
        handler.setFormatter(formatter)
        logger.addHandler(handler)
    return logger
