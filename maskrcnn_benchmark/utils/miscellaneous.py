import os

from maskrcnn_benchmark.utils.run_record import save_config, save_labels

__all__ = ["mkdir", "save_config", "save_labels"]


def mkdir(path: str) -> None:
    os.makedirs(path, exist_ok=True)
